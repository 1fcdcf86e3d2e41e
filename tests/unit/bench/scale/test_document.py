"""The measured part of docs/scale.md."""

from pathlib import Path

import pytest

from stella.bench.scale import document, results
from stella.bench.scale.results import Must, Outcome
from stella.bench.scale.timings import spread

PAGE = f"before\n{document.BEGIN}\nold\n{document.END}\nafter\n"


def test_results_are_put_between_the_markers_and_nothing_else_changes(tmp_path: Path) -> None:
    page = tmp_path / "scale.md"
    page.write_text(PAGE)
    outcome = Outcome(
        command="load",
        settings={"hosts": 3},
        tables={"load": [results.row("a|b", spread([0.25]))]},
        musts=[Must(text="p99 < 1 s", kept=False, seen="2 s")],
    )
    results.write(tmp_path / "results", outcome, results.machine())
    for _ in range(2):
        assert document.write(page, tmp_path / "results") == ("load",)
        text = page.read_text()
        assert text.startswith("before\n") and text.endswith(f"{document.END}\nafter\n") and "old" not in text
        assert "| load: p99 &lt; 1 s | 2 s | **short** |" in text and "| a\\|b | 1 | 250.0 |" in text


@pytest.mark.parametrize("text", ["no markers", document.BEGIN])
def test_a_page_without_markers_is_refused(tmp_path: Path, text: str) -> None:
    page = tmp_path / "scale.md"
    page.write_text(text)
    with pytest.raises(document.InvalidDocument, match="needs the lines"):
        document.write(page, tmp_path)
    assert page.read_text() == text


def test_the_page_in_the_repository_has_the_markers() -> None:
    text = (Path(__file__).parents[4] / "docs" / "scale.md").read_text()
    assert text.count(document.BEGIN) == text.count(document.END) == 1
