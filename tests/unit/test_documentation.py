"""The documentation: links lead somewhere, every page is in its index, release notes can be read."""

import re
from collections import Counter
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).parents[2]
DOCS = REPOSITORY / "docs"
PAGES = sorted([*REPOSITORY.glob("README*.md"), *DOCS.rglob("*.md")])
_FIGURE = re.compile(r"\d+(?:[. ]\d+)*")
_LINK = re.compile(r"\]\(([^)#]+)[^)]*\)")


def _links(page: Path) -> list[str]:
    return [link for link in _LINK.findall(page.read_text(encoding="utf-8")) if "://" not in link]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_links_lead_somewhere(page: Path) -> None:
    missing = [link for link in _links(page) if not (page.parent / link).exists()]
    assert not missing


@pytest.mark.parametrize("directory", [DOCS, DOCS / "decisions"], ids=["docs", "decisions"])
def test_every_page_is_in_its_index(directory: Path) -> None:
    listed = set(_links(directory / "README.md"))
    missing = [page.name for page in directory.glob("*.md") if page.name != "README.md" and page.name not in listed]
    assert not missing, f"add a line to {directory.relative_to(REPOSITORY)}/README.md for each"


def test_the_readme_is_short_and_has_the_two_commands() -> None:
    lines = (REPOSITORY / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 90
    assert any(line.startswith("    make demo ") for line in lines)
    assert any(line.startswith("    make test ") for line in lines)


_KOREAN = sorted(page for page in PAGES if page.name.endswith(".ko.md"))


@pytest.mark.parametrize("page", _KOREAN, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_a_korean_page_says_what_the_english_says(page: Path) -> None:
    """The same sections, commands and figures of tables; they link to each other."""
    english = page.with_name(page.name.replace(".ko.md", ".md"))
    texts = [one.read_text(encoding="utf-8") for one in (english, page)]
    for pattern in (r"^#+ ", r"^    ([^#\n]*[^#\s])", r"^(\|)"):
        ours, theirs = (re.findall(pattern, text, re.MULTILINE) for text in texts)
        assert ours == theirs
    figures = ([Counter(_FIGURE.findall(row)) for row in text.splitlines() if row.startswith("| ")] for text in texts)
    assert not [ours - theirs for ours, theirs in zip(*figures, strict=True) if ours - theirs]
    ours, theirs = ({re.sub(r"\.(en|ko)\.(md|png)$|\.md$", "", link) for link in _LINK.findall(text)} for text in texts)
    assert ours == theirs
    assert page.name in _links(english)
    assert english.name in _links(page)


@pytest.mark.parametrize(
    "note", sorted((REPOSITORY / "releasenotes" / "notes").glob("*.yaml")), ids=lambda note: note.stem
)
def test_release_notes_have_known_sections(note: Path) -> None:
    known = {"prelude", "features", "issues", "upgrade", "deprecations", "critical", "security", "fixes", "other"}
    sections = yaml.safe_load(note.read_text(encoding="utf-8"))
    assert set(sections) <= known
    assert re.search(r"-[0-9a-f]{16}$", note.stem)
    for name, items in sections.items():
        assert isinstance(items, str) if name == "prelude" else all(isinstance(item, str) for item in items)
