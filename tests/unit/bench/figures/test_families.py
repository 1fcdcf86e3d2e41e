"""What each family of figures makes of its facts."""

import itertools
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stella.bench.fair import Solo
from stella.bench.figures import ceiling, changes, demonstration, honesty, killing, mixed, offender, seeds
from stella.bench.figures.knobs import Knobs
from stella.bench.figures.row import AGENT, FALLS_SHORT, INVALID, PASS, REPORTED, Facts, Row
from stella.bench.figures.session import Family, scenario_file
from stella.bench.policies import COMPARED
from stella.bench.recording import InstanceRecording, Recording, Series
from stella.bench.results import Run
from stella.bench.scenario import Scenario
from stella.model.slo import Metric


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
    assert without["demonstration.against-static"].missing == "round-1: no solo runs"


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
    without = rows_of(changes.FAMILY, of_all(changes_facts(1), static={"invalid": "no solo runs"}))
    assert without["changes.against-static"].status == INVALID
    assert rows_of(changes.FAMILY, {})["changes.against-gos"].missing == "not run"
    assert changes.lost_ratio(0, 0) == 0.0
    assert changes.lost_ratio(1, 0) == 1.0


def test_a_late_slo_proves_nothing_on_an_instance_that_was_not_starved() -> None:
    assert "it got 1.2 times its floor" in changes.late_seconds(changes_facts(0, late_before=1.2))
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
    assert len(honesty.starved_windows(facts)) == 4
    assert honesty.cause_ratio(facts) == 0.25
    assert honesty.self_limited(facts) == 1
    assert honesty.said_missed(facts, "idle") == 1
    assert honesty.said_missed(facts, "undersized") == 1
    assert honesty.said_missed(facts, "nobody") is None
    tame: Facts = {"windows_said": [word("starved-net", "MET", met=True)]}
    assert honesty.cause_ratio(tame) is honesty.self_limited(tame) is None
    rows = rows_of(honesty.FAMILY, {"round-1": {"policies": {honesty.OBSERVE: facts}}})
    assert rows["honesty.agreement"].status == FALLS_SHORT


def test_offender() -> None:
    hog, other, none = ({"offender": name} for name in ("hog", "reads", None))
    said = [word("starved-net", "VIOLATED", cause="cpu") | hog] * 18 + [word("starved-disk", None) | none]
    said += [
        word("starved-disk", "VIOLATED") | other,
        word("starved-net", "MET", met=True) | none,
        word("hog", None) | other,
    ]
    used = {"hog": 1.2, "receives": 0.1, "reads": 0.2, "writes": 0.02}
    shares = {"receives": 0.7, "reads": 0.9}
    facts: Facts = {"windows_said": said, "used_cores": used, "shares_of_entitlement": shares}
    assert offender.named_ratio(facts, ("hog",)) == 0.9
    assert offender.named_ratio({"windows_said": [word("hog", None) | hog]}, ("hog",)) is None
    rows = rows_of(offender.FAMILY, {"round-1": {"policies": {honesty.OBSERVE: facts}}})
    assert (rows["offender.hog"].status, rows["offender.neighbours"].values) == (FALLS_SHORT, (0.05,))
    assert rows["offender.busy"].status == FALLS_SHORT, "one of them hardly did anything"
    assert rows["offender.entitled"].values == (0.7, 0.9, None) and rows["offender.entitled"].source == AGENT
    parts = {"round-1": {"policies": {honesty.OBSERVE: {**facts, "windows_said": said[:18]}}}}
    assert rows_of(offender.FAMILY, parts)["offender.hog"].status == PASS
    scenario = scenario_file("figures/offender")
    assert {*honesty.STARVED} == {i.name for i in scenario.instances if i.slo is not None}
    assert {offender.HOG, *offender.NEIGHBOURS} == {i.name for i in scenario.instances if i.slo is None}


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
    for failed in (1, None):  # None: it did not end in time
        assert killing.not_restored_count({**facts, "kills": [{**kill, "released": failed}]}) is None


def test_a_release_that_hangs_is_killed_and_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Hanging:
        killed = False

        def wait(self, timeout: float | None = None) -> int:
            if not self.killed:
                raise subprocess.TimeoutExpired("xgos", timeout or 0.0)
            return -9

        def kill(self) -> None:
            self.killed = True

    process = Hanging()
    policy = killing.KillingPolicy(tmp_path, Knobs())
    monkeypatch.setattr(policy, "_lab", SimpleNamespace(spawn=lambda _: process))
    assert policy._run_release() is None
    assert process.killed


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
