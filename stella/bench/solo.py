"""Each load of a scenario alone on the machine, then all together: what work costs, and what is not the guests'."""

from collections.abc import Mapping
from dataclasses import replace

from stella.bench.fair import Solo
from stella.bench.judge import WORK_SIGNALS
from stella.bench.recording import InstanceRecording, Recording
from stella.bench.scenario import Event, Scenario

TURN_SECONDS = 5
TOGETHER_SECONDS = 5
_PAUSE_SECONDS = 1  # at the end of a turn
_SETTLE_SECONDS = 1
WARMUP_SECONDS = 2.0


def solo_scenario(scenario: Scenario, turn_seconds: int = TURN_SECONDS) -> tuple[Scenario, dict[str, int]]:
    """The same guests without SLOs, one load after the other, then all; and when each turn begins (empty name: all)."""
    names = [i.name for i in scenario.instances if any(load.kind != "idle" for load in i.loads)]
    turns = {name: n * turn_seconds for n, name in enumerate(names)}
    together = len(names) * turn_seconds
    events: list[Event] = []
    for name in names:
        events.append(Event(at_seconds=turns[name], what="start", instance=name))
        events.append(Event(at_seconds=turns[name] + turn_seconds - _PAUSE_SECONDS, what="stop", instance=name))
    events += [Event(at_seconds=together, what="start", instance=name) for name in names]
    alone = replace(
        scenario,
        name="solo",
        duration_seconds=together + TOGETHER_SECONDS,
        warmup_seconds=WARMUP_SECONDS,
        instances=tuple(replace(i, slo=None) for i in scenario.instances),
        events=tuple(events),
    )
    return alone, {**turns, "": together}


def read_solo(recording: Recording, turns: Mapping[str, int], turn_seconds: int = TURN_SECONDS) -> dict[str, Solo]:
    """What each load cost alone. ``turns``: of `solo_scenario`."""
    found = {}
    for name, second in turns.items():
        if name:
            start = recording.start + second + _SETTLE_SECONDS
            end = recording.start + second + turn_seconds - _PAUSE_SECONDS
            found[name] = _solo(name, recording.instances[name], start, end)
    return found


def _solo(name: str, record: InstanceRecording, start: float, end: float) -> Solo:
    def role(which: str) -> float:
        return record.run[which].rate(start, end) if which in record.run else 0.0

    rates = {signal: record.windows[signal].rate(start, end) for signal in WORK_SIGNALS if signal in record.windows}
    return Solo(
        instance=name,
        cores=record.cpu.rate(start, end),
        vcpu_cores=role("vcpu"),
        main_cores=role("main"),
        iothread_cores=role("iothread"),
        work={signal: rate for signal, rate in rates.items() if rate > 0},
    )


def overhead_cores(recording: Recording, turns: Mapping[str, int]) -> float:
    """What was not the guests' while all loads ran together."""
    start, end = recording.start + turns[""] + _SETTLE_SECONDS, recording.end
    return max(0.0, recording.host_cpu.rate(start, end) - recording.instances_cpu.rate(start, end))
