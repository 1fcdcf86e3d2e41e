"""The figures' pure parts: rows and bounds, what each family makes of its facts, the file they are kept in, the page."""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from stella.bench.figures import ceiling, changes, command, demonstration, honesty, killing, mixed, seeds, solo
from stella.bench.figures.families import FAMILIES, UnknownFamily, chosen
from stella.bench.figures.knobs import differences, read_knobs
from stella.bench.figures.markdown import page
from stella.bench.figures.row import FALLS_SHORT, INVALID, PASS, REPORTED, Bound, Facts, Row, row_of, show
from stella.bench.figures.session import Family, Part, Session, scenario_file
from stella.bench.figures.store import InvalidStore, Store
from stella.bench.figures.threads import Sample, between, cores, overhead_cores, parse_schedstat, role_of, wait_ratio
from stella.bench.progress import Progress
from stella.bench.run import InvalidRun
from stella.bench.scenario_file import read_scenario


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


def test_row_of_takes_only_the_parts_with_its_prefix() -> None:
    parts: dict[str, Facts] = {"stella-1": {"x": 1.0}, "stella-observe": {"invalid": "died"}, "none-1": {"x": 5.0}}
    found = row_of(parts, "none", lambda f: float(f["x"]), name="n", title="t")
    assert found.values == (5.0,)
    broken = row_of(parts, "stella", lambda f: float(f["x"]), name="n", title="t")
    assert broken.status == INVALID
    assert "stella-observe: died" in broken.missing
    assert row_of({}, "gos", lambda f: 0.0, name="n", title="t").missing == "not run"


# -- threads


def samples() -> list[Sample]:
    def at(t: float) -> Sample:
        roles = {"main": (0.2 * t, 0.1 * t), "iothread": (0.0, 0.0), "vcpu": (1.0 * t, 0.0), "other": (0.0, 0.0)}
        return Sample(moment=t, busy_seconds=1.5 * t, spent={"vm": roles})

    return [at(float(t)) for t in range(11)]


def test_threads() -> None:
    some = samples()
    assert wait_ratio(some, "vm", "main", 2, 8) == pytest.approx(1 / 3)
    assert wait_ratio(some, "vm", "iothread", 2, 8) is None
    assert cores(some, "vm", 0, 10) == pytest.approx(1.2)
    assert cores(some, "vm", 0, 10, ("vcpu",)) == pytest.approx(1.0)
    assert cores(some, "gone", 0, 10) is None
    assert overhead_cores(some, 0, 10) == pytest.approx(0.3)
    assert between(some, 3.5, 4.5) is None
    assert overhead_cores(some, 3.5, 4.5) is None


@pytest.mark.parametrize(
    ("comm", "tid", "role"),
    [
        ("CPU 0/TCG\n", 11, "vcpu"),
        ("IO iothread1\n", 12, "iothread"),
        ("qemu-system-x86\n", 10, "main"),
        ("worker\n", 13, "other"),
    ],
)
def test_roles(comm: str, tid: int, role: str) -> None:
    assert role_of(comm, tid=tid, pid=10) == role


def test_schedstat() -> None:
    assert parse_schedstat("2000000000 500000000 7\n") == (2.0, 0.5)
    with pytest.raises(ValueError, match="unpack"):
        parse_schedstat("")


# -- the families' judgements


ALONE: dict[str, Any] = {
    "cores": 2,
    "overhead_cores": 0.2,
    "alone": {
        "vm1": {"cores": 1.5, "work": {"network_packets.tx": 60_000.0}},
        "vm2": {"cores": 1.6, "work": {"block_bytes.read": 800e6}},
        "vm3": {"cores": 1.0, "work": {"cpu_events": 500.0}},
        "hog": {"cores": 1.9, "work": {"cpu_events": 950.0}},
        "noisy": {"cores": 1.0, "work": {"block_bytes.read": 100e6, "network_packets.tx": 10_000.0}},
    },
}


def floor(instance: str, metric: str, value: float, mean: float) -> dict[str, Any]:
    return {"instance": instance, "metric": metric, "kind": "floor", "value": value, "mean": mean}


def demonstration_facts() -> dict[str, Any]:
    return {
        "result": {
            "all_met_95_ratio": 0.99,
            "host_cpu_cores": 2.0,
            "instances_cpu_cores": 1.8,
            "objectives": [
                floor("vm1", "network_packets", 20_000.0, 21_000.0),
                floor("vm2", "block_bytes", 300e6, 310e6),
                floor("vm3", "cpu", 0.2, 0.2),
            ],
            "best_effort": [{"instance": "hog"}, {"instance": "noisy"}],
            "agent": {"cpu_cores": 0.02, "libvirtd_cpu_cores_over_idle": 0.005, "ticks": 480, "late_ticks": 0},
        },
        "work_per_second": {"hog.cpu_events": 50.0, "noisy.block_bytes.read": 5e6, "noisy.network_packets.tx": 1_500.0},
        "agent_against_outside": [{"agent": 20_100.0, "outside": 20_000.0}, {"agent": 0.19, "outside": 0.2}],
        "root_commands": {"true": {"idle_seconds": 0.002, "loaded_seconds": 0.003}},
        "agent_rss_bytes": 60 * 2**20,
        "knobs": {"changed": 9, "not_restored": []},
    }


def test_neighbours_get_their_share_of_the_rest() -> None:
    # 2 - 0.2 overhead - (0.5 + 0.6 + 0.2) floors = 0.5 cores for five who want more: 0.1 each
    found = demonstration.neighbours_ratio(demonstration_facts(), ALONE)
    assert found["hog"] == pytest.approx((50 / 950) / (0.1 / 1.9))
    assert found["noisy"] == pytest.approx(((0.05 + 0.15) / 2) / (0.1 / 1.0))


def test_a_floor_that_was_missed_costs_what_it_got() -> None:
    facts = demonstration_facts()
    facts["result"]["objectives"][1]["mean"] = 100e6  # 0.2 instead of 0.6 cores: 0.18 each
    found = demonstration.neighbours_ratio(facts, ALONE)
    assert found["hog"] == pytest.approx((50 / 950) / (0.18 / 1.9))


def test_sysbench_counts_for_no_more_than_its_cpu_time_allows() -> None:
    facts = {**demonstration_facts(), "threads": {"hog": {"cores": 0.05}}}
    assert demonstration.neighbours_ratio(facts, ALONE)["hog"] == pytest.approx(0.05 / 0.1)


def test_demonstration_rows() -> None:
    facts = demonstration_facts()
    none = {**facts, "result": {**facts["result"], "all_met_95_ratio": 0.4}}
    parts = {"stella-1": facts, "none-1": none, "static-1": none, "gos-1": none}
    rows = {r.name: r for r in demonstration.FAMILY.judge(parts, {"solo": {"solo": ALONE}})}
    assert rows["demonstration.none"].values == (0.6,)
    assert rows["demonstration.none"].status == rows["demonstration.stella"].status == PASS
    assert rows["demonstration.gos"].status == REPORTED
    assert rows["agent.figures"].values == (pytest.approx(0.05),)
    assert rows["agent.figures"].status == FALLS_SHORT
    assert rows["agent.cpu"].values == (pytest.approx(0.025),)
    assert rows["root-command.true"].values == (pytest.approx(1.5),)
    assert rows["root-command.python"].status == FALLS_SHORT  # nothing was measured
    assert rows["agent.late"].status == rows["agent.restore"].status == rows["agent.rss"].status == PASS
    without = {r.name: r for r in demonstration.FAMILY.judge(parts, {})}
    assert without["neighbours.hog"].status == INVALID


def test_nothing_changed_proves_no_restoring() -> None:
    facts = {**demonstration_facts(), "knobs": {"changed": 0, "not_restored": []}}
    rows = {r.name: r for r in demonstration.FAMILY.judge({"stella-1": facts}, {})}
    assert rows["agent.restore"].status == FALLS_SHORT


def test_changes() -> None:
    events = [
        {"what": "hog start", "windows_lost": 1, "recovered_seconds": 0.4},
        {"what": "vm2 stop", "windows_lost": 0, "recovered_seconds": 0.0, "others_used_seconds": 0.6},
        {"what": "vm2 start", "windows_lost": 2, "recovered_seconds": None},
        {"what": "vm1 slo", "windows_lost": 1, "recovered_seconds": 0.9},
    ]
    facts = {"result": {"events": events}}
    assert changes.windows_lost(facts) == [1]
    assert changes.lent_seconds(facts) == [0.6]
    assert changes.back_seconds(facts) == [None]
    assert changes.slo_seconds(facts) == [0.9]
    rows = {r.name: r.status for r in changes.CHANGES.judge({"stella-1": facts}, {})}
    assert rows == {"hog.windows-lost": PASS, "stop.lent": PASS, "start.back": FALLS_SHORT}


def test_mixed_reservation_rise() -> None:
    told = [(float(t), 1.0 if t < 20 else 5.0 if t < 23 else 1.05) for t in range(60)]
    assert mixed.reservation_rise(told, 20.0) == pytest.approx(0.05)
    assert mixed.reservation_rise([], 20.0) is None
    facts = {
        "floors_met_ratio": 1.0,
        "reservation": told,
        "event_seconds": 20.0,
        "wait_ratio_computing": {"main": 0.05, "iothread": None, "vcpu": 0.5},
    }
    rows = {r.name: r for r in mixed.FAMILY.judge({"stella-1": facts, "defaults": facts}, {})}
    assert rows["mixed.main-wait"].status == PASS
    assert rows["mixed.iothread-wait"].status == FALLS_SHORT
    assert rows["mixed.main-wait-defaults"].status == REPORTED


def test_ceiling() -> None:
    parts = {"stella-1": {"one_busy_cores": 0.98, "four_busy_cores": 1.45}}
    rows = {r.name: r.status for r in ceiling.FAMILY.judge(parts, {})}
    assert rows == {"ceiling.one": PASS, "ceiling.four": FALLS_SHORT}


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
        word("undersized", "VIOLATED"),
    ]
    facts = {"windows_said": said, "result": {"agent": {"status_agreement_ratio": 0.985}}}
    assert honesty.starved(facts) == 4
    assert honesty.cause_ratio(facts) == 0.25
    assert honesty.self_limited(facts) == 1
    assert honesty.said_missed(facts, "idle") == 0
    assert honesty.said_missed(facts, "undersized") == 1
    assert honesty.said_missed(facts, "nobody") is None
    tame: Facts = {"windows_said": [word("starved-net", "MET", met=True)]}
    assert honesty.cause_ratio(tame) is honesty.self_limited(tame) is None


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
    rows = {r.name: r.status for r in killing.FAMILY.judge({"stella-1": facts}, {})}
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


def test_solo_scenario_runs_each_alone_and_then_all() -> None:
    scenario, turns = solo.solo_scenario(scenario_file("demonstration"))
    assert list(turns) == ["vm1", "vm2", "vm3", "hog", "noisy", ""]
    assert all(scenario.starts_idle(i.name) and not scenario.has_slo(i.name) for i in scenario.instances)
    assert [e.at_seconds for e in scenario.events] == sorted(e.at_seconds for e in scenario.events)


def test_seeds() -> None:
    made = seeds.documents(ALONE)
    assert len(made) == seeds.COUNT
    assert made == seeds.documents(ALONE)
    assert all(read_scenario(document).duration_seconds == 30 for document in made)
    parts = {f"seed-{n:02d}": {"result": {"all_met_95_ratio": 0.96, "refused": []}} for n in range(1, 21)}
    rows = {r.name: r for r in seeds.FAMILY.judge(parts, {})}
    assert rows["seeds.each"].status == PASS
    assert rows["seeds.mean"].status == FALLS_SHORT
    del parts["seed-07"]
    assert {r.status for r in seeds.FAMILY.judge(parts, {})} == {INVALID}


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


# -- choosing, keeping, running again


def test_chosen() -> None:
    assert chosen("") == FAMILIES
    assert [f.name for f in chosen("seeds, ceiling")] == ["solo", "ceiling", "seeds"]
    with pytest.raises(UnknownFamily, match="nonsense"):
        chosen("seeds,nonsense")


def test_listing_ends_with_the_whole_time() -> None:
    assert 60.0 <= float(command.listing("", 3).splitlines()[-1].split()[1]) <= 90.0


class Silent(Progress):
    def note(self, text: str) -> None:
        pass


def make_family(outcomes: list[object]) -> Family:
    def run(part: str, session: Session) -> Facts:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return {"x": outcome}

    return Family(
        name="toy",
        title="toy",
        parts=lambda repeat: [Part(name=f"a-{n}", seconds=60.0) for n in range(1, repeat + 1)],
        run=run,
        judge=lambda parts, _: [row_of(parts, "a", lambda f: f["x"], name="toy.a", title="toy", bound=Bound(least=1))],
    )


def figures(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, outcomes: list[object], *, fresh: bool = False
) -> list[Row]:
    monkeypatch.setattr(command, "chosen", lambda only: (make_family(outcomes),))
    asked = command.Asked(output=tmp_path, document=tmp_path / "b.md", cache=tmp_path, repeat=2, fresh=fresh)
    return command.run_figures(asked, Silent())


def test_what_is_done_is_not_run_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    steal = InvalidRun("steal")
    first = figures(monkeypatch, tmp_path, [1.0, steal, steal, steal])
    assert first[0].status == INVALID
    kept = json.loads((tmp_path / "figures.json").read_text())
    kept["analysis"] = {"toy.a": "it was a toy"}
    (tmp_path / "figures.json").write_text(json.dumps(kept))
    assert "it was a toy" in page(kept, source="x")
    second = figures(monkeypatch, tmp_path, [steal, 0.5])  # only the invalid one again, and its own repeat
    assert second[0].values == (1.0, 0.5)
    text = (tmp_path / "b.md").read_text()
    assert "**FALLS SHORT**" in text
    assert "it was a toy" in text
    assert "a run did not count and was repeated: steal" in text
    third = figures(monkeypatch, tmp_path, [2.0, 3.0], fresh=True)
    assert third[0].status == PASS
    assert json.loads((tmp_path / "figures.json").read_text())["analysis"] == {"toy.a": "it was a toy"}


def test_a_store_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "figures.json").write_text("{")
    with pytest.raises(InvalidStore, match="figures"):
        Store(tmp_path / "figures.json")
