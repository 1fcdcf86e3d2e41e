"""The verdict on one run: a `Recording` and its `Scenario` to figures. Pure; it trusts nothing that the agent says.

A window is one second of wall clock. A floor's or target's window counts when the generator asked for it throughout; a ceiling's
always. An objective that an ``slo`` event sets counts from the first window that begins at or after the event.
"""

import math
from collections.abc import Sequence

from stella.bench.agreement import agreement_ratios
from stella.bench.measure import Judged, Window, amount, look, objectives_in_force
from stella.bench.recording import Recording, Series
from stella.bench.recovery import judge_event
from stella.bench.scenario import Scenario
from stella.bench.verdict import AgentWindow, BestEffort, ObjectiveVerdict, Verdict, all_met
from stella.model.attainment import WINDOW_SECONDS

WORK_SIGNALS = (
    *("network_packets.tx", "network_packets.rx", "network_bytes.tx", "network_bytes.rx"),
    *("block_bytes.read", "block_bytes.write", "block_operations.read", "block_operations.write", "cpu_events"),
)
STALL_SECONDS = 0.2
LARGEST_STEAL_RATIO = 0.05
LARGEST_DISTURBED_RATIO = 0.05
LARGEST_OTHERS_CORES, LARGEST_TAKEN_RATIO = 0.5, 0.2


def judge(
    scenario: Scenario, recording: Recording, agent: Sequence[AgentWindow] = (), *, cores: int, alone: bool = False
) -> Verdict:
    """Judge one run. ``agent``: its own windows, where there is an agent; ``cores``: of the machine.

    ``alone``: the machine is to do nothing else meanwhile, so that a run beside other work does not count.
    """
    count = max(1, round(recording.end - recording.start))
    objectives = _objectives(scenario, recording, count)
    disturbed = _disturbed(recording, count)
    agreement, cause_cpu = agreement_ratios(scenario, recording, objectives, agent)
    start, end = recording.start, recording.end
    steal = recording.steal.rate(start, end)
    taken = _taken_by_others(recording, count) if alone else 0
    faults = _machine_faults(count, disturbed, taken, steal, cores)
    met = [all_met(objectives, k, "met_95") for k in range(count)]
    return Verdict(
        windows=count,
        disturbed_windows=disturbed,
        all_met_95_ratio=sum(met) / count,
        second_half_met_95_ratio=sum(met[count // 2 :]) / (count - count // 2),
        all_met_100_ratio=sum(all_met(objectives, k, "met_100") for k in range(count)) / count,
        objectives=objectives,
        events=tuple(judge_event(scenario, recording, objectives, i, count) for i in range(len(scenario.events))),
        useful_work=_useful_work(recording),
        work=tuple(work_of(scenario, recording, i.name) for i in scenario.instances if i.loads),
        work_series=_work_series(scenario, recording, count),
        cpu_series=_cpu_series(recording, count),
        host_cpu_cores=recording.host_cpu.rate(start, end),
        instances_cpu_cores=recording.instances_cpu.rate(start, end),
        receiver_cpu_cores=recording.receiver_cpu.rate(start, end),
        steal_cores=steal,
        agent_cpu_cores=recording.agent_cpu.rate(start, end),
        libvirtd_cpu_cores_over_idle=max(0.0, recording.libvirtd_cpu.rate(start, end) - recording.libvirtd_idle_cores),
        status_agreement_ratio=agreement,
        cause_cpu_ratio=cause_cpu,
        machine_faults=faults,
        invalid=(*(f"{name}: {record.died}" for name, record in recording.instances.items() if record.died), *faults),
    )


def _objectives(scenario: Scenario, recording: Recording, count: int) -> tuple[ObjectiveVerdict, ...]:
    rows: dict[tuple[str, str, str], list[Window | None]] = {}
    first: dict[tuple[str, str, str], Judged] = {}
    for instance in scenario.instances:
        record = recording.instances.get(instance.name)
        for k in range(count):
            ends = {
                (p.objective.metric, p.kind)
                for p in objectives_in_force(scenario, instance.name, k + WINDOW_SECONDS - 1e-6)
            }
            for judged in objectives_in_force(scenario, instance.name, float(k)):
                if record is None or (judged.objective.metric, judged.kind) not in ends:
                    continue  # taken back within the window
                key = (instance.name, judged.objective.metric.value, judged.kind)
                first.setdefault(key, judged)
                t = recording.start + k
                loads = scenario.loads_at(instance.name, float(k))
                row = rows.setdefault(key, [None] * count)
                row[k] = look(
                    record.windows, record, judged, loads=loads, vcpus=instance.vcpus, start=t, end=t + WINDOW_SECONDS
                )
    return tuple(
        ObjectiveVerdict(
            instance=key[0],
            metric=key[1],
            kind=key[2],
            unit=first[key].objective.metric.unit,
            value=first[key].value,
            objective=first[key].objective,
            windows=tuple(row),
        )
        for key, row in rows.items()
    )


def _disturbed(recording: Recording, count: int) -> int:
    hit: set[int] = set()
    for moment, late in recording.stalls:
        if late > STALL_SECONDS:
            first, last = math.floor(moment - late - recording.start), math.floor(moment - recording.start)
            hit.update(k for k in range(first, last + 1) if 0 <= k < count)
    return len(hit)


def _taken_by_others(recording: Recording, count: int) -> int:
    """Windows in which processes that have no part in the run used much CPU."""
    parts = (recording.instances_cpu, recording.receiver_cpu, recording.agent_cpu, recording.libvirtd_cpu)
    known = zip(*(_rates(part, recording.start, count) for part in parts), strict=True)
    others = (
        busy - sum(found) for busy, found in zip(_rates(recording.host_cpu, recording.start, count), known, strict=True)
    )
    return sum(cores > LARGEST_OTHERS_CORES for cores in others)


def _machine_faults(count: int, disturbed: int, taken: int, steal: float, cores: int) -> tuple[str, ...]:
    reasons = []
    if steal / cores > LARGEST_STEAL_RATIO:
        lost = f"the machine lost {steal / cores:.1%} of its CPU to others (steal)"
        reasons.append(f"{lost}, more than {LARGEST_STEAL_RATIO:.0%}")
    if disturbed / count > LARGEST_DISTURBED_RATIO:
        stalled = f"the machine stalled in {disturbed} of {count} windows"
        reasons.append(f"{stalled}, more than {LARGEST_DISTURBED_RATIO:.0%}")
    if taken / count > LARGEST_TAKEN_RATIO:
        others = f"other processes used more than {LARGEST_OTHERS_CORES:g} core in {taken} of {count} windows"
        reasons.append(f"{others}, more than {LARGEST_TAKEN_RATIO:.0%}")
    return tuple(reasons)


def _useful_work(recording: Recording) -> dict[str, float]:
    def total(*names: str) -> float:
        records = recording.instances.values()
        return sum(amount(r.windows, names, recording.start, recording.end) for r in records)

    return {
        "packets": total("network_packets.tx", "network_packets.rx"),
        "block_bytes": total("block_bytes.read", "block_bytes.write"),
        "cpu_events": total("cpu_events"),
    }


_WORK = {
    "udp": ("packets", ("network_packets.tx", "network_packets.rx")),
    "disk": ("bytes", ("block_bytes.read", "block_bytes.write")),
    "cpu": ("events", ("cpu_events",)),
}


def work_of(scenario: Scenario, recording: Recording, name: str) -> BestEffort:
    """What an instance got done: the work of its first load that is not idle."""
    load = next((x for x in scenario.instance(name).loads if x.kind in _WORK), None)
    record = recording.instances.get(name)
    unit, wanted = _WORK[load.kind] if load else ("", ())
    series = record.windows if record else {}
    work = amount(series, wanted, recording.start, recording.end)
    rates = {s: series[s].rate(recording.start, recording.end) for s in WORK_SIGNALS if s in series}
    return BestEffort(instance=name, work=work, unit=unit, rates=rates)


def _cpu_series(recording: Recording, count: int) -> dict[str, tuple[float, ...]]:
    found = {name: _rates(record.cpu, recording.start, count) for name, record in recording.instances.items()}
    return {**found, "": _rates(recording.host_cpu, recording.start, count)}


def _work_series(scenario: Scenario, recording: Recording, count: int) -> dict[str, tuple[float, ...]]:
    found = {}
    for instance in scenario.instances:
        record = recording.instances.get(instance.name)
        if record is None or scenario.has_slo(instance.name):
            continue
        for load in instance.loads:
            for name in _WORK.get(load.kind, ("", ()))[1]:
                series = record.windows.get(name)
                if series is not None and series.values and series.values[-1] > series.values[0]:
                    found[f"{instance.name}.{name}"] = _rates(series, recording.start, count)
    return found


def _rates(series: Series, start: float, count: int) -> tuple[float, ...]:
    return tuple(series.rate(start + k, start + k + WINDOW_SECONDS) for k in range(count))
