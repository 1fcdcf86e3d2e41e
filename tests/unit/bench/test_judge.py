"""The judge on recordings made by hand: what counts, what is met, what an event costs, when a run is invalid."""

import math
from collections.abc import Callable

import pytest

from stella.bench.agreement import agrees
from stella.bench.judge import judge
from stella.bench.measure import Window
from stella.bench.recording import Asked, InstanceRecording, Recording, Series
from stella.bench.scenario import Scenario
from stella.bench.scenario_file import parse_scenario
from stella.bench.verdict import AgentWindow, Verdict, spread
from stella.model.attainment import Cause, Status

START = 1000.0
BASE = """
name: t
duration: {seconds}s
instances:
  - name: vm1
    workload: {{kind: udp}}
    slo: {{network_packets: {{floor: 100pps, direction: tx}}}}
  - name: hog
    vcpus: 4
    workload: {{kind: cpu}}
"""


def scenario(seconds: int = 20, more: str = "") -> Scenario:
    return parse_scenario(BASE.format(seconds=seconds) + more)


def counted(rate: Callable[[float], float], seconds: float, step: float = 0.1) -> Series:
    """A cumulative series whose rate at each moment after the start is ``rate(seconds)``; a second of margin on either side."""
    series, value = Series(), 0.0
    for k in range(round((seconds + 2) / step) + 1):
        t = k * step - 1
        series.add(START + t, value)
        value += rate(t + step / 2) * step
    return series


def record(seconds: int = 20, packets: Callable[[float], float] = lambda _: 100.0) -> Recording:
    vm1 = InstanceRecording(
        windows={"network_packets.tx": counted(packets, seconds)},
        bins={"network_packets.tx": counted(packets, seconds)},
        asked=[Asked(START - 5, "network_packets.tx", math.inf), Asked(START - 5, "network_bytes.tx", math.inf)],
    )
    hog = InstanceRecording(
        windows={"cpu_events": counted(lambda _: 50.0, seconds), "cpu": counted(lambda _: 1.5, seconds)},
        asked=[Asked(START - 5, "cpu", 4.0)],
    )
    return Recording(start=START, end=START + seconds, instances={"vm1": vm1, "hog": hog})


def floor_row(verdict: Verdict) -> tuple[float | None, float | None]:
    return verdict.objectives[0].ratio("met_95"), verdict.objectives[0].ratio("met_100")


def test_a_floor_is_met_from_95_percent_on() -> None:
    verdict = judge(scenario(), record(packets=lambda t: 96.0 if t < 10 else 101.0), cores=2)
    assert floor_row(verdict) == (1.0, 0.5)
    assert (verdict.all_met_95_ratio, verdict.all_met_100_ratio) == (1.0, 0.5)
    assert verdict.windows == 20
    assert verdict.useful_work["packets"] == pytest.approx(1970, abs=10)
    assert not verdict.invalid


def test_a_window_counts_only_when_the_floor_was_asked_for_all_through_it() -> None:
    recording = record(packets=lambda t: 50.0 if t >= 10.5 else 100.0)
    asked = recording.instances["vm1"].asked
    asked.append(Asked(START + 10.5, "network_packets.tx", 50.0))
    verdict = judge(scenario(), recording, cores=2)
    windows = verdict.objectives[0].windows
    assert [w is not None and w.demand for w in windows] == [True] * 10 + [False] * 10
    assert floor_row(verdict) == (1.0, 1.0)
    assert verdict.all_met_95_ratio == 1.0
    asked[-1] = Asked(START + 10.5, "network_packets.tx", 100.0)  # exactly the floor: it counts
    assert judge(scenario(), recording, cores=2).objectives[0].ratio("met_95") == 0.5


def test_what_was_got_never_makes_demand() -> None:
    recording = record(packets=lambda _: 500.0)
    recording.instances["vm1"].asked = [Asked(START - 5, "network_packets.tx", 0.0)]
    assert judge(scenario(), recording, cores=2).objectives[0].ratio("met_95") is None


def test_an_slo_event_changes_what_counts() -> None:
    more = """
events:
  - {at: 5s, instance: vm1, slo: {network_packets: {floor: 200pps, direction: tx}}}
  - {at: 15.5s, instance: vm1, slo: null}
"""
    verdict = judge(scenario(more=more), record(), cores=2)
    row = verdict.objectives[0]
    assert [w.value for w in row.windows if w] == [100.0] * 5 + [200.0] * 10
    assert [w.met_95 for w in row.windows if w] == [True] * 5 + [False] * 10
    assert verdict.all_met_95_ratio == 0.5
    assert verdict.events[0].windows_lost == 10  # it never held before the next event
    assert verdict.events[0].recovered_seconds is None
    assert verdict.events[1].windows_lost == 0


def test_recovery_is_timed_finer_than_a_window() -> None:
    more = "events: [{at: 10s, instance: hog, start: true}]\n"
    verdict = judge(scenario(more=more), record(packets=lambda t: 0.0 if 10 <= t < 10.3 else 100.0), cores=2)
    event = verdict.events[0]
    assert event.what == "hog start"
    assert event.windows_lost == 1
    assert event.recovered_seconds == pytest.approx(0.3, abs=0.06)


def test_recovery_of_a_started_load_is_timed_from_its_asking() -> None:
    more = "events: [{at: 5s, instance: vm1, stop: true}, {at: 10s, instance: vm1, start: true}]\n"
    recording = record(packets=lambda t: 0.0 if 5 <= t < 11.2 else 100.0)
    recording.instances["vm1"].asked += [
        Asked(START + 5, "network_packets.tx", 0.0),
        Asked(START + 10.4, "network_packets.tx", math.inf),
    ]
    verdict = judge(scenario(more=more), recording, cores=2)
    assert verdict.events[1].recovered_seconds == pytest.approx(0.8, abs=0.11)
    assert verdict.events[1].windows_lost == 1
    assert verdict.events[0].others_used_seconds == 0.0


OTHERS = """
name: t
duration: 10s
instances:
  - name: vm
    vcpus: 4
    disk: {{backend: local}}
    workload: [{{kind: disk, block: {block}}}, {{kind: cpu}}]
    slo: {slo}
"""


def block_record(rate_bytes: float, block: float, latency: float = 0.001, cpu: float = 1.0) -> Recording:
    series = {
        "block_bytes.read": counted(lambda _: rate_bytes, 10),
        "block_operations.read": counted(lambda _: rate_bytes / block, 10),
        "block_seconds.read": counted(lambda _: rate_bytes / block * latency, 10),
        "cpu": counted(lambda _: cpu, 10),
    }
    asked = [Asked(START - 1, name, math.inf) for name in ("block_bytes.read", "block_operations.read")]
    vm = InstanceRecording(windows=series, asked=[*asked, Asked(START - 1, "cpu", 4.0)])
    return Recording(start=START, end=START + 10, instances={"vm": vm})


def test_small_requests_scale_a_floor_in_bytes() -> None:
    s = parse_scenario(OTHERS.format(block="16KiB", slo="{block_bytes: {floor: 400MB/s}}"))
    window = judge(s, block_record(100e6, 16384), cores=2).objectives[0].windows[3]
    assert window is not None
    assert window.value == pytest.approx(100e6)
    assert window.met_95
    large = judge(s, block_record(100e6, 131072), cores=2).objectives[0].windows[3]
    assert large is not None
    assert (large.value, large.met_95) == (400e6, False)


@pytest.mark.parametrize(("block", "operations"), [(4096, 1000.0), (16384, 1000.0), (40960, 2500.0)])
def test_operations_are_normalised_by_size(block: int, operations: float) -> None:
    s = parse_scenario(OTHERS.format(block="16KiB", slo="{block_operations: {floor: 1000iops}}"))
    window = judge(s, block_record(1000.0 * block, block), cores=2).objectives[0].windows[3]
    assert window is not None
    assert window.usage == pytest.approx(operations)


@pytest.mark.parametrize(("milliseconds", "met"), [(4.9, (True, True)), (5.1, (True, False)), (5.3, (False, False))])
def test_a_latency_target(milliseconds: float, met: tuple[bool, bool]) -> None:
    s = parse_scenario(OTHERS.format(block="16KiB", slo="{block_latency: {target: 5ms}}"))
    window = judge(s, block_record(16384e3, 16384, milliseconds / 1e3), cores=2).objectives[0].windows[3]
    assert window is not None
    assert (window.met_95, window.met_100) == met


def test_nothing_completed_is_a_missed_latency() -> None:
    s = parse_scenario(OTHERS.format(block="16KiB", slo="{block_latency: {target: 5ms}}"))
    verdict = judge(s, block_record(0.0, 16384), cores=2)
    assert verdict.objectives[0].ratio("met_95") == 0.0
    assert spread(verdict.objectives[0].usages) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(("cores", "met"), [(1.4, (True, True)), (1.55, (True, False)), (1.6, (False, False))])
def test_a_ceiling(cores: float, met: tuple[bool, bool]) -> None:
    s = parse_scenario(OTHERS.format(block="16KiB", slo="{cpu: {ceiling: 1.5cores}}"))
    row = judge(s, block_record(1e6, 16384, cpu=cores), cores=2).objectives[0]
    assert (row.kind, row.ratio("met_95"), row.ratio("met_100")) == ("ceiling", float(met[0]), float(met[1]))


def test_invalid_runs_say_why() -> None:
    recording = record()
    recording.instances["hog"].died = "the guest ended"
    recording.steal = counted(lambda _: 0.2, 20)
    recording.stalls = [(START + 3.1, 0.25), (START + 8.9, 0.19), (START - 0.9, 0.5)]
    verdict = judge(scenario(), recording, cores=2)
    assert verdict.disturbed_windows == 2
    assert [reason.split(":")[0].split(" ")[0] for reason in verdict.invalid] == ["hog", "the", "the"]
    recording.stalls = recording.stalls[1:2]
    recording.steal = counted(lambda _: 0.05, 20)
    recording.instances["hog"].died = ""
    assert not judge(scenario(), recording, cores=2).invalid


def test_a_run_beside_other_work_does_not_count_where_the_machine_is_to_be_alone() -> None:
    recording = record()
    recording.instances_cpu = counted(lambda _: 1.2, 20)
    recording.host_cpu = counted(lambda t: 1.9 if t >= 14 else 1.3, 20)
    (reason,) = judge(scenario(), recording, cores=2, alone=True).machine_faults
    assert reason == "other processes used more than 0.5 core in 6 of 20 windows, more than 20%"
    assert not judge(scenario(), recording, cores=2).machine_faults
    recording.agent_cpu = counted(lambda t: 0.6 if t >= 14 else 0.0, 20)
    assert not judge(scenario(), recording, cores=2, alone=True).machine_faults, "the agent has its part in it"


def test_only_the_machine_is_blamed_for_a_fault_of_the_machine() -> None:
    recording = record()
    recording.steal = counted(lambda _: 0.2, 20)
    verdict = judge(scenario(), recording, cores=2)
    assert verdict.invalid == verdict.machine_faults != ()
    recording.instances["hog"].died = "the guest ended"
    verdict = judge(scenario(), recording, cores=2)
    assert verdict.invalid != verdict.machine_faults


def test_every_window_missed_until_the_next_event_is_lost() -> None:
    more = "events: [{at: 5s, instance: hog, start: true}]\n"
    packets = {5: 0.0, 12: 0.0, 19: 0.0}  # three good windows in between do not end the count
    verdict = judge(scenario(more=more), record(packets=lambda t: packets.get(int(t), 100.0)), cores=2)
    assert verdict.events[0].windows_lost == 3


def test_a_window_of_which_the_agent_says_nothing_does_not_agree() -> None:
    agent = [said(k, Status.MET) for k in range(1, 20) if k != 7]  # none yet of the first: the SLO was only just set
    assert judge(scenario(), record(), agent, cores=2).status_agreement_ratio == pytest.approx(18 / 19)
    assert judge(scenario(), record(), [], cores=2).status_agreement_ratio is None


def said(k: int, status: Status, cause: Cause | None = None) -> AgentWindow:
    return AgentWindow(
        start=int(START) + k,
        instance="vm1",
        metric="network_packets",
        usage=100.0,
        demand=None,
        value=100.0,
        status=status,
        cause=cause,
    )


def test_the_agents_word_is_compared_window_by_window() -> None:
    recording = record(packets=lambda t: 50.0 if t >= 10 else 100.0)
    agent = [said(k, Status.MET) for k in range(12)]
    agent += [said(k, Status.VIOLATED, Cause.CPU) for k in range(12, 19)] + [said(19, Status.PENDING)]
    verdict = judge(scenario(), recording, agent, cores=2)
    assert verdict.status_agreement_ratio == pytest.approx(17 / 19)
    assert verdict.cause_cpu_ratio == 1.0


@pytest.mark.parametrize(
    ("demand", "met", "undersized", "right"),
    [
        (True, True, False, {Status.MET}),
        (True, False, False, {Status.VIOLATED, Status.DEGRADED}),
        (True, False, True, {Status.VIOLATED, Status.DEGRADED, Status.SELF_LIMITED}),
        (False, False, False, {Status.NO_DEMAND, Status.SELF_LIMITED}),
        (False, True, False, {Status.NO_DEMAND, Status.SELF_LIMITED, Status.MET}),
    ],
)
def test_the_rule_of_agreement(demand: bool, met: bool, undersized: bool, right: set[Status]) -> None:
    window = Window(value=1.0, usage=1.0, demand=demand, met_95=met, met_100=met)
    found = {s for s in Status if agrees(window, s, kind="floor", undersized=undersized)}
    assert found == right
