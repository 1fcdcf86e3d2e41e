"""`stella-bench figures`: which families, how long, the file they are kept in, the page, the exit status."""

from pathlib import Path

import pytest

from stella.bench.figures import command
from stella.bench.figures.families import FAMILIES, UnknownFamily, chosen
from stella.bench.figures.markdown import INTRODUCTION, how, page
from stella.bench.figures.row import AGENT, INVALID, PASS, Bound, Facts, Row, row_of
from stella.bench.figures.session import Family, Part, Session, in_turn
from stella.bench.figures.store import InvalidStore, Store
from stella.bench.lab.model import LabError
from stella.bench.policies import COMPARED
from stella.bench.progress import Progress
from stella.bench.run import InvalidRun
from stella.bench.scenario import Scenario
from stella.cmd.stella_bench import main


def test_chosen() -> None:
    assert chosen("") == FAMILIES
    assert [f.name for f in chosen("seeds, ceiling")] == ["ceiling", "seeds"]
    with pytest.raises(UnknownFamily, match="nonsense"):
        chosen("seeds,nonsense")


def test_all_figures_take_no_more_than_they_may() -> None:
    planned = command.plan("", 3)
    assert 30 * 60 <= sum(seconds for _, _, seconds in planned) <= command.MOST_SECONDS
    assert {family.name: len(parts) for family, parts, _ in planned}["demonstration"] == 3
    assert float(command.listing("", 3).splitlines()[-1].split()[1]) <= command.MOST_SECONDS / 60


def test_every_comparison_runs_all_policies_for_the_same_time() -> None:
    """What stands beside Stella in one family does in all; the others ask about the agent alone."""
    asked: dict[str, list[str]] = {}

    class Listening:
        def round(self, scenario: Scenario, policies: list[str], *, title: str, **_: object) -> Facts:
            asked[title] = policies
            return {"policies": {}}

    for family in FAMILIES:
        for part in family.parts(3):
            family.run(part.name, Listening())  # type: ignore[arg-type]
    compared = {title.split()[0] for title, policies in asked.items() if sorted(policies) == sorted(COMPARED)}
    assert compared == {"demonstration", "changes", "mixed", "ceiling", "seeds"}
    assert {title: p for title, p in asked.items() if title.split()[0] not in compared} == {
        "attainment round-1": ["stella"],
        "honesty round-1": ["stella-observe"],
        "kill round-1": ["stella"],
        "offender round-1": ["stella-observe"],
    }
    assert asked["demonstration round-2"][0] != asked["demonstration round-1"][0]
    assert in_turn(("a", "b", "c"), "round-5") == ["b", "c", "a"]


class Silent(Progress):
    def note(self, text: str) -> None:
        pass


def make_family(outcomes: list[object]) -> Family:
    def run(part: str, session: Session) -> Facts:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return {"policies": {"stella": {"x": outcome, "discarded": ["steal"] if outcome == 0.5 else []}}}

    return Family(
        name="toy",
        title="toy",
        parts=lambda repeat: [Part(name=f"round-{n}", seconds=60.0) for n in range(1, repeat + 1)],
        run=run,
        judge=lambda parts: [
            row_of(parts, "stella", lambda f: f["x"], name="toy.a", title="toy", bound=Bound(least=1), source=AGENT)
        ],
    )


def figures(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    outcomes: list[object],
    *,
    fresh: bool = False,
    commit: str = "abc",
) -> list[Row]:
    monkeypatch.setattr(command, "chosen", lambda only: (make_family(outcomes),))
    monkeypatch.setattr(command, "provenance", lambda: {"commit": commit, "command": "stella-bench figures"})
    asked = command.Asked(output=tmp_path, document=tmp_path / "b.md", cache=tmp_path, repeat=2, fresh=fresh)
    rows = command.run_figures(asked, Silent())
    assert outcomes == []
    return rows


@pytest.mark.parametrize("error", [InvalidRun("vm1: the guest ended"), LabError("guest vm1 does not boot")])
def test_a_dead_guest_is_not_tried_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception) -> None:
    rows = figures(monkeypatch, tmp_path, [1.0, error])
    assert rows[0].status == INVALID
    assert command.exit_status(rows) == 3
    assert f"no valid run: round-2: {error}" in (tmp_path / "b.md").read_text()


def test_what_is_done_is_not_run_again_unless_it_is_of_another_commit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    figures(monkeypatch, tmp_path, [1.0, InvalidRun("died")])
    second = figures(monkeypatch, tmp_path, [0.5])  # only the invalid one again
    assert second[0].values == (1.0, 0.5)
    assert command.exit_status(second) == 1
    text = (tmp_path / "b.md").read_text()
    assert "**FALLS SHORT** (`agent`)" in text
    assert "- Commit: abc" in text
    assert "toy round-2, stella: a run did not count: steal." in text
    third = figures(monkeypatch, tmp_path, [2.0, 3.0], commit="def")
    assert third[0].status == PASS
    assert command.exit_status(third) == 0
    assert "abc" not in (tmp_path / "b.md").read_text()
    assert figures(monkeypatch, tmp_path, [4.0, 5.0], fresh=True, commit="def")[0].values == (4.0, 5.0)


def test_the_page_is_made_of_the_document_alone() -> None:
    text = page({"families": {}})
    assert text == page({"families": {}})
    for policy in COMPARED:
        assert f"`{policy}`: " in text
    for machine, words in (
        ({"cores": 2, "cores_used": 2}, "2 cores"),
        ({"cores": 16, "cores_used": 2}, "2 of 16 cores"),
    ):
        assert f"- Machine: {words}, " in page({"families": {}, "machine": machine})


def test_the_published_page_is_the_tools_own() -> None:
    """Nobody wrote before it or behind it. After a change of its words: `make figures`, or `markdown.page` once more."""
    text = (Path(__file__).parents[4] / "docs" / "benchmarks.md").read_text()
    assert text.startswith(f"# Benchmarks\n\n{INTRODUCTION}")
    assert text.endswith(how())
    assert [line for line in text.splitlines() if line.startswith("## ")][-2:] == ["## Rounds", "## How it is measured"]


def test_the_command_ends_with_one_when_a_row_falls_short(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(command, "chosen", lambda only: (make_family([0.1]),))
    words = ["figures", "--repeat", "1", "--output", str(tmp_path), "--document", str(tmp_path / "b.md")]
    assert main(words) == 1
    assert "FALLS SHORT" in capsys.readouterr().out


def test_a_store_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "figures.json").write_text("{")
    with pytest.raises(InvalidStore, match="figures"):
        Store(tmp_path / "figures.json")
