"""The figures' pure parts: rows and bounds, what each family makes of its facts, the file they are kept in, the page."""

import itertools
from pathlib import Path
from typing import Any

import pytest

from stella.bench import solo
from stella.bench.fair import Solo
from stella.bench.figures import ceiling, changes, command, demonstration, honesty, killing, mixed, seeds
from stella.bench.figures.families import FAMILIES, UnknownFamily, chosen
from stella.bench.figures.knobs import Knobs, differences, read_knobs
from stella.bench.figures.markdown import INTRODUCTION, how, page
from stella.bench.figures.row import AGENT, FALLS_SHORT, INVALID, PASS, REPORTED, Bound, Facts, Row, row_of, show
from stella.bench.figures.session import Family, Part, Session, in_turn, scenario_file
from stella.bench.figures.store import InvalidStore, Store
from stella.bench.lab.model import LabError
from stella.bench.policies import COMPARED
from stella.bench.progress import Progress
from stella.bench.recording import InstanceRecording, Recording, Series
from stella.bench.results import Run
from stella.bench.run import InvalidRun
from stella.bench.scenario import Scenario
from stella.cmd.stella_bench import main
from stella.model.slo import Metric


def row(values: tuple[float | None, ...], bound: Bound, **keys: Any) -> Row:
    return Row(name="r", title="a figure", bound=bound, kind=keys.pop("kind", "ratio"), values=values, **keys)


# -- rows


@pytest.mark.parametrize(
    ("values", "bound", "status"),
    [
        ((0.97, 0.99), Bound(least=0.97), PASS),
        ((0.9699, 0.99), Bound(least=0.97), FALLS_SHORT),  # every repeat must keep it
        ((0.5,), Bound(more_than=0.5), FALLS_SHORT),
        ((0.01,), Bound(less_than=0.01), FALLS_SHORT),
        ((1.0,), Bound(least=0.97, most=1.03), PASS),
        ((1.04,), Bound(least=0.97, most=1.03), FALLS_SHORT),
        ((None, 0.1), Bound(most=2.0), FALLS_SHORT),  # what never came about keeps no bound
        ((), Bound(most=2.0), INVALID),
        ((0.3,), Bound(), REPORTED),
    ],
)
def test_status(values: tuple[float | None, ...], bound: Bound, status: str) -> None:
    assert row(values, bound).status == status


def test_a_row_with_a_missing_repeat_is_invalid_and_says_why() -> None:
    found = row((1.0,), Bound(least=0.9), missing="stella-2: steal")
    assert found.status == INVALID
    assert "stella-2: steal" in found.line()


def test_figure_is_the_median_with_the_spread() -> None:
    assert row((0.9, 0.8, 1.0), Bound()).figure == "90.0 % [80.0 % to 100 %, n=3]"
    assert row((0.9,), Bound()).figure == "90.0 %"
    assert row((None, 1.0), Bound(), kind="seconds").figure == "never in 1 of 2, else 1.00 s to 1.00 s"


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (None, "seconds", "never"),
        (0.9994, "ratio", "99.9 %"),
        (1.0, "ratio", "100 %"),
        (0.0123, "ratio", "1.23 %"),
        (0.03, "cores", "3.0 % of a core"),
        (100 * 2**20, "bytes", "100 MiB"),
        (2.0, "factor", "2.00 x"),
        (1.0, "count", "1"),
    ],
)
def test_show(value: float | None, kind: str, text: str) -> None:
    assert show(value, kind) == text


def test_a_show_never_rounds_a_shortfall_away() -> None:
    assert show(0.9996, "ratio") == "99.96 %"


def test_row_of_takes_the_rounds_of_one_policy() -> None:
    parts: dict[str, Facts] = {
        "round-1": {"policies": {"none": {"x": 5.0}, "stella": {"x": 1.0}}},
        "round-2": {"policies": {"none": {"x": 6.0}, "stella": {"invalid": "the agent does not start"}}},
    }
    assert row_of(parts, "none", lambda f: float(f["x"]), name="n", title="t").values == (5.0, 6.0)
    broken = row_of(parts, "stella", lambda f: float(f["x"]), name="n", title="t")
    assert (broken.values, broken.status) == ((1.0,), INVALID)
    assert "round-2: the agent does not start" in broken.missing
    assert (
        row_of({"round-1": {"invalid": "died"}}, "gos", lambda f: 0.0, name="n", title="t").missing == "round-1: died"
    )
    assert row_of({}, "gos", lambda f: 0.0, name="n", title="t").missing == "not run"


def test_an_aim_decides_nothing_but_is_told() -> None:
    found = row((0.9,), Bound(least=0.85), aim=Bound(least=0.97))
    assert found.status == PASS
    assert found.document()["aim"] == ">= 97.0 %"


# -- the families' judgements


def of_all(facts: Facts, **others: Facts) -> dict[str, Facts]:
    return {"round-1": {"policies": {**dict.fromkeys(COMPARED, facts), **others}}}


def rows_of(family: Family, parts: dict[str, Facts]) -> dict[str, Row]:
    rows = family.judge(parts)
    assert len({r.name for r in rows}) == len(rows)
    return {r.name: r for r in rows}


def demonstration_facts(met: float = 0.99) -> dict[str, Any]:
    return {
        "result": {
            "all_met_95_ratio": met,
            "second_half_met_95_ratio": met,
            "best_effort": [{"instance": "hog", "share_of_fair": 0.7}, {"instance": "noisy", "share_of_fair": 0.2}],
            "agent": {"cpu_cores": 0.02, "libvirtd_cpu_cores_over_idle": 0.005, "ticks": 480, "late_ticks": 0},
        },
        "agent_against_outside": [{"agent": 20_100.0, "outside": 20_000.0}, {"agent": 0.19, "outside": 0.2}],
        "root_commands": {"true": {"idle_seconds": 0.002, "loaded_seconds": 0.003, "loaded_p95_seconds": 0.02}},
        "agent_rss_bytes": 60 * 2**20,
        "knobs": {"changed": 9, "not_restored": []},
    }


def test_demonstration_rows() -> None:
    parts = of_all(demonstration_facts(), none=demonstration_facts(0.4), static=demonstration_facts(1.0))
    rows = rows_of(demonstration.FAMILY, parts)
    assert [rows[f"demonstration.{policy}"].values for policy in COMPARED] == [
        (0.4,),
        (0.99,),
        (1.0,),
        (0.99,),
        (0.99,),
    ]
    assert rows["demonstration.none"].status == rows["demonstration.stella"].status == PASS
    assert rows["demonstration.gos"].status == REPORTED
    assert rows["demonstration.against-static"].values == (pytest.approx(-0.01),)
    assert rows["demonstration.against-static"].status == REPORTED
    assert (rows["neighbours.hog.stella"].status, rows["neighbours.noisy.stella"].status) == (PASS, FALLS_SHORT)
    assert rows["agent.figures"].values == (pytest.approx(0.05),)
    assert rows["agent.figures"].status == FALLS_SHORT
    assert rows["agent.cpu"].values == (pytest.approx(0.025),)
    assert rows["root-command.true"].values == (pytest.approx(1.5),)
    assert rows["root-command.true-p95"].values == (pytest.approx(10.0),)
    assert rows["root-command.python"].status == FALLS_SHORT  # nothing was measured
    assert rows["agent.late"].status == rows["agent.restore"].status == rows["agent.rss"].status == PASS
    assert rows["agent.late"].source == AGENT
    without = rows_of(demonstration.FAMILY, of_all(demonstration_facts(), static={"invalid": "no solo runs"}))
    assert without["demonstration.static"].status == INVALID


def test_nothing_changed_proves_no_restoring() -> None:
    facts = {**demonstration_facts(), "knobs": {"changed": 0, "not_restored": []}}
    assert rows_of(demonstration.FAMILY, of_all(facts))["agent.restore"].status == FALLS_SHORT


def changes_facts(lost: int, *, late_before: float = 0.3) -> dict[str, Any]:
    events = [
        {"what": "hog start", "windows_lost": lost, "recovered_seconds": 0.4},
        {"what": "vm4 slo", "windows_lost": 0, "recovered_seconds": 0.9},
        {"what": "vm2 stop", "windows_lost": 0, "recovered_seconds": 0.0, "others_used_seconds": 0.6},
        {"what": "vm2 start", "windows_lost": 0, "recovered_seconds": None},
    ]
    return {"result": {"events": events, "all_met_95_ratio": 0.9}, "late_before_ratio": late_before}


def test_changes() -> None:
    parts = of_all(changes_facts(10), stella=changes_facts(1), gos=changes_facts(4))
    rows = rows_of(changes.FAMILY, parts)
    assert rows["changes.lost.gos"].values == (4.0,)
    assert (rows["changes.against-static"].values, rows["changes.against-static"].status) == ((0.1,), PASS)
    assert (rows["changes.against-gos"].values, rows["changes.against-gos"].status) == ((0.25,), FALLS_SHORT)
    status = {name: rows[name].status for name in ("hog.windows-lost", "stop.lent", "start.back", "late-slo.holds")}
    assert status == {"hog.windows-lost": PASS, "stop.lent": PASS, "start.back": FALLS_SHORT, "late-slo.holds": PASS}
    assert changes.lost_ratio(0, 0) == 0.0
    assert changes.lost_ratio(1, 0) == 1.0


def test_a_late_slo_proves_nothing_on_an_instance_that_was_not_starved() -> None:
    assert changes.late_seconds(changes_facts(0, late_before=1.2)) == [None]
    recording = Recording(start=100.0, end=140.0)
    recording.instances["vm4"] = InstanceRecording(
        windows={"network_packets.tx": Series([100.0, 140.0], [0.0, 80_000.0])}
    )
    run = Run.__new__(Run)
    object.__setattr__(run, "recording", recording)
    object.__setattr__(run, "start_unix_seconds", 100.0)
    assert changes.starved_before(run, ("vm4", 12.0, 8_000.0)) == pytest.approx(0.25)


def test_mixed() -> None:
    told = [(float(t), 1.0 if t < 20 else 5.0 if t < 23 else 1.05) for t in range(60)]
    assert mixed.reservation_rise(told, 20.0) == pytest.approx(0.05)
    assert mixed.reservation_rise([], 20.0) is None
    waits = {"main": 0.05, "iothread": None, "vcpu": 0.5}
    facts = {"floors_met_ratio": 0.86, "reservation": told, "event_seconds": 20.0, "wait_ratio_computing": waits}
    rows = rows_of(mixed.FAMILY, of_all(facts))
    assert (rows["mixed.floors.stella"].status, rows["mixed.floors.static"].status) == (PASS, REPORTED)
    assert rows["mixed.main-wait.none"].values == (0.05,)
    assert rows["mixed.reservation"].source == AGENT


def test_wait_is_a_part_of_the_time_that_threads_could_run() -> None:
    record = InstanceRecording(
        run={"main": Series([0.0, 10.0], [0.0, 2.0])}, wait={"main": Series([0.0, 10.0], [0.0, 1.0])}
    )
    run = Run.__new__(Run)
    object.__setattr__(run, "recording", Recording(instances={"mixed": record}))
    assert mixed.wait_ratio(run, "mixed", "main", 2.0, 8.0) == pytest.approx(1 / 3)
    assert mixed.wait_ratio(run, "mixed", "iothread", 2.0, 8.0) is None


def test_ceiling() -> None:
    rows = rows_of(ceiling.FAMILY, of_all({"one_busy_cores": 0.98, "four_busy_cores": 1.45}))
    assert (rows["ceiling.one.stella"].status, rows["ceiling.four.stella"].status) == (PASS, FALLS_SHORT)
    assert rows["ceiling.one.nova"].status == REPORTED


def word(
    instance: str, status: str | None, *, demand: bool = True, met: bool = False, cause: str | None = None
) -> dict[str, Any]:
    return {"instance": instance, "demand": demand, "met_95": met, "status": status, "cause": cause}


def test_honesty() -> None:
    said = [
        word("starved-net", "VIOLATED", cause="cpu"),
        word("starved-net", "DEGRADED", cause="host"),
        word("starved-disk", "SELF_LIMITED"),
        word("starved-disk", None),
        word("starved-disk", "MET", met=True),
        word("idle", "NO_DEMAND", demand=False),
        word("idle", "DEGRADED", demand=False),
        word("undersized", "VIOLATED"),
    ]
    facts = {"windows_said": said, "result": {"agent": {"status_agreement_ratio": 0.985}}}
    assert honesty.starved(facts) == 4
    assert honesty.cause_ratio(facts) == 0.25
    assert honesty.self_limited(facts) == 1
    assert honesty.said_missed(facts, "idle") == 1
    assert honesty.said_missed(facts, "undersized") == 1
    assert honesty.said_missed(facts, "nobody") is None
    tame: Facts = {"windows_said": [word("starved-net", "MET", met=True)]}
    assert honesty.cause_ratio(tame) is honesty.self_limited(tame) is None
    rows = rows_of(honesty.FAMILY, {"round-1": {"policies": {honesty.OBSERVE: facts}}})
    assert rows["honesty.agreement"].status == FALLS_SHORT


def test_killing() -> None:
    met = [True] * 10 + [False] * 4 + [True] * 6 + [False] * 10
    kill = {"restraints": 2, "lifted_seconds": 0.1, "released": 0, "not_restored": []}
    facts = {
        "kills": [
            {**kill, "restarted_seconds": 11.5},
            {**kill, "restraints": 0, "lifted_seconds": 0.0, "restarted_seconds": 20.0},
        ],
        "floors_met": met,
        "released": 0,
        "knobs": {"changed": 3, "not_restored": ["x"]},
    }
    assert killing.back_seconds(facts) == [2.5, None]
    assert killing.lifted_seconds(facts) == [0.1]
    rows = {name: r.status for name, r in rows_of(killing.FAMILY, of_all(facts)).items()}
    assert rows == {"kill.restraints": PASS, "kill.floors": FALLS_SHORT, "kill.release": FALLS_SHORT}
    assert killing.not_restored_count({**facts, "kills": [{**kill, "not_restored": ["y", "z"]}]}) == 3
    assert killing.not_restored_count({**facts, "kills": [{**kill, "released": 1}]}) is None


def test_a_journal_is_damaged_as_said(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    for state in killing.JOURNAL_STATES:
        journal.write_bytes(b"stella-journal")
        killing.damage(journal, state)
        assert (journal.exists(), journal.exists() and journal.read_bytes() == b"stella-journal") == {
            "intact": (True, True),
            "missing": (False, False),
        }.get(state, (True, False))


def test_kill_moments_are_repeatable_and_leave_time_to_recover() -> None:
    assert killing.moments() == killing.moments()
    scenario = killing.killing_scenario(scenario_file("demonstration"))
    times = [e.at_seconds for e in scenario.events]
    assert len(times) == killing.KILLS
    assert all(b - a > killing.DEAD_SECONDS + 5 for a, b in itertools.pairwise(times))
    assert scenario.duration_seconds - times[-1] > killing.DEAD_SECONDS + 5


# -- solo runs


def test_solo_scenario_runs_each_alone_and_then_all() -> None:
    scenario, turns = solo.solo_scenario(scenario_file("demonstration"))
    assert list(turns) == ["vm1", "vm2", "vm3", "hog", "noisy", ""]
    assert all(scenario.starts_idle(i.name) and not scenario.has_slo(i.name) for i in scenario.instances)
    assert [e.at_seconds for e in scenario.events] == sorted(e.at_seconds for e in scenario.events)


def test_a_solo_run_is_read_from_its_turn_alone() -> None:
    recording = Recording(start=100.0, end=115.0)
    for name, second in (("a", 0.0), ("b", 5.0)):
        times = [100.0, 100.0 + second, 104.0 + second, 115.0]
        record = recording.instances[name] = InstanceRecording()
        record.cpu = Series(times, [0.0, 0.0, 6.0, 6.0])
        record.run = {"vcpu": Series(times, [0.0, 0.0, 4.0, 4.0]), "main": Series(times, [0.0, 0.0, 2.0, 2.0])}
        record.windows = {
            "network_packets.tx": Series(times, [0.0, 0.0, 40.0, 40.0]),
            "cpu_events": Series(times, [0.0] * 4),
        }
    recording.host_cpu, recording.instances_cpu = (
        Series([100.0, 115.0], [0.0, 30.0]),
        Series([100.0, 115.0], [0.0, 27.0]),
    )
    turns = {"a": 0, "b": 5, "": 10}
    found = solo.read_solo(recording, turns, 5)
    assert set(found) == {"a", "b"}
    one = found["b"]
    assert (one.cores, one.vcpu_cores, one.main_cores, one.iothread_cores) == pytest.approx((1.5, 1.0, 0.5, 0.0))
    assert one.work == {"network_packets.tx": pytest.approx(10.0)}
    assert solo.overhead_cores(recording, turns) == pytest.approx(0.2)


# -- scenarios from a seed


def alone(scenario: Scenario) -> dict[str, Solo]:
    work = {"network_packets.tx": 50e3, "block_bytes.read": 500e6, "block_operations.read": 8e3, "cpu_events": 900.0}
    return {i.name: Solo(instance=i.name, cores=1.5, vcpu_cores=1.0, work=work) for i in scenario.instances}


def test_seeds_are_sized_by_what_loads_cost_alone() -> None:
    for number in (1, 2):
        scenario = seeds.drawn(number)
        assert scenario == seeds.drawn(number)
        assert scenario.cores == seeds.CORES
        known = alone(scenario)
        made = seeds.sized(scenario, known, 0.2)
        assert made == seeds.sized(scenario, known, 0.2)
        cost = 0.0
        for instance in made.instances:
            for objective in instance.slo.objectives if instance.slo else ():
                assert objective.floor
                rate = known[instance.name].rate(objective.metric, objective.direction)
                cost += objective.floor if objective.metric is Metric.CPU else 1.5 * objective.floor / rate
        assert 0.3 * 1.8 <= cost <= seeds.MOST_RATIO * 1.8 + 0.01
        assert [i.name for i in made.instances if i.slo] == [i.name for i in scenario.instances if i.slo]


def test_seeds_rows() -> None:
    def facts(met: float) -> Facts:
        return of_all({"result": {"all_met_95_ratio": met, "refused": [1]}})["round-1"]

    rows = rows_of(seeds.FAMILY, {"round-1": facts(0.96), "round-2": facts(0.9)})
    assert rows["seeds.each.stella"].status == FALLS_SHORT
    assert "round-2 90%" in rows["seeds.refused"].note
    assert rows["seeds.refused"].values == (1.0, 1.0)


# -- knobs


def test_knobs(tmp_path: Path) -> None:
    (tmp_path / "vm" / "vcpu0").mkdir(parents=True)
    (tmp_path / "vm" / "cpu.shares").write_text("1024\n")
    (tmp_path / "vm" / "vcpu0" / "cpu.cfs_quota_us").write_text("-1\n")
    before = read_knobs(tmp_path)
    assert before == {"vm/cpu.shares": "1024\n", "vm/vcpu0/cpu.cfs_quota_us": "-1\n"}
    assert differences(before, dict(before)) == []
    (tmp_path / "vm" / "cpu.shares").write_text("1024")
    assert differences(before, read_knobs(tmp_path)) == ["vm/cpu.shares: '1024' -> '1024'"]  # bit for bit
    assert differences({}, {"a": "there"}) == ["a: 'absent' -> 'there'"]


class Groups(Knobs):
    """The knobs of a guests' parent group that a test made."""

    def __init__(self, top: Path) -> None:
        super().__init__()
        self._top = top

    def _tops(self) -> dict[str, Path]:
        return {"": self._top}

    def _read(self) -> dict[str, str]:
        return read_knobs(self._top)


def test_knobs_are_put_back(tmp_path: Path) -> None:
    for path in ("vm/cpu.shares", "vm/cpu.cfs_quota_us", "cpu.shares"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text("1024\n")
    knobs = Groups(tmp_path)
    knobs.original = knobs._read()
    (tmp_path / "vm" / "cpu.shares").write_text("2\n")
    (tmp_path / "vm" / "cpu.cfs_quota_us").write_text("5000\n")
    assert len(knobs.restraints()) == 1
    assert knobs.put_back() == []
    assert (tmp_path / "vm" / "cpu.shares").read_text() == "1024\n"
    (tmp_path / "vm" / "cpu.idle").write_text("1\n")  # nothing that was there before
    assert knobs.put_back() == ["vm/cpu.idle: 'absent' -> '1'"]


# -- choosing, keeping, running again


def test_chosen() -> None:
    assert chosen("") == FAMILIES
    assert [f.name for f in chosen("seeds, ceiling")] == ["ceiling", "seeds"]
    with pytest.raises(UnknownFamily, match="nonsense"):
        chosen("seeds,nonsense")


def test_all_figures_take_at_most_forty_minutes() -> None:
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


def test_the_published_page_is_the_tools_own() -> None:
    """Nobody wrote before it or behind it. After a change of its words: `make figures`, or `markdown.page` once more."""
    text = (Path(__file__).parents[3] / "docs" / "benchmarks.md").read_text()
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
