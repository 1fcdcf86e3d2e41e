"""What an event cost: windows lost, and the time until all objectives were met again. Pure."""

import math
from collections.abc import Sequence

from stella.bench.measure import look, objectives_in_force
from stella.bench.recording import Recording
from stella.bench.scenario import Event, Scenario
from stella.bench.verdict import EventVerdict, ObjectiveVerdict, all_met
from stella.model.attainment import TOLERANCE_RATIO, WINDOW_SECONDS

RECOVERY_STEP_SECONDS = 0.1
_LOAD_START_SECONDS = 5.0  # how long a started load may take until it asks for anything
_LENT_SETTLED_SECONDS = (2.0, 5.0)  # when others' use after a stop is taken as settled


def judge_event(
    scenario: Scenario, recording: Recording, objectives: Sequence[ObjectiveVerdict], index: int, count: int
) -> EventVerdict:
    """What event number ``index`` of the scenario cost; it is charged up to the next event. ``count``: windows of the run."""
    event = scenario.events[index]
    later = [e.at_seconds for e in scenario.events[index + 1 :] if e.at_seconds > event.at_seconds]
    until = min(later, default=float(count))
    first, last = math.floor(event.at_seconds), min(count, math.ceil(until))
    met = [all_met(objectives, k, "met_95") for k in range(first, last)]
    return EventVerdict(
        at_seconds=event.at_seconds,
        what=event.label,
        windows_lost=met.count(False),
        recovered_seconds=_recovered(scenario, recording, event, until),
        others_used_seconds=_others_used(recording, event, until) if event.what == "stop" else None,
    )


def _recovered(scenario: Scenario, recording: Recording, event: Event, until: float) -> float | None:
    begin = event.at_seconds
    if event.what == "start" and event.instance in recording.instances:
        asked = [a.start - recording.start for a in recording.instances[event.instance].asked if a.rate > 0]
        begin = min((t for t in asked if begin <= t <= begin + _LOAD_START_SECONDS), default=begin)
    step = 0
    while (moment := begin + step * RECOVERY_STEP_SECONDS) + WINDOW_SECONDS <= until + 1e-9:
        if _holds(scenario, recording, moment):
            return round(step * RECOVERY_STEP_SECONDS, 3)
        step += 1
    return None


def _holds(scenario: Scenario, recording: Recording, moment: float) -> bool:
    """Whether every objective in force at ``moment`` is met over the second that follows, by the finer counters if there are any."""
    start = recording.start + moment
    for instance in scenario.instances:
        record = recording.instances.get(instance.name)
        if record is None:
            continue
        series = {**record.windows, **record.bins}
        for judged in objectives_in_force(scenario, instance.name, moment):
            loads = scenario.loads_at(instance.name, moment)
            window = look(
                series, record, judged, loads=loads, vcpus=instance.vcpus, start=start, end=start + WINDOW_SECONDS
            )
            if (window.demand or judged.kind == "ceiling") and not window.met_95:
                return False
    return True


def _others_used(recording: Recording, event: Event, until: float) -> float | None:
    others = [
        {**r.windows, **r.bins}["cpu"]
        for name, r in recording.instances.items()
        if name != event.instance and ("cpu" in r.windows or "cpu" in r.bins)
    ]

    def rate(start: float, end: float) -> float:
        return sum(s.rate(recording.start + start, recording.start + end) for s in others)

    begin, settled_end = event.at_seconds, event.at_seconds + _LENT_SETTLED_SECONDS[1]
    if not others or settled_end > until:
        return None
    settled = rate(begin + _LENT_SETTLED_SECONDS[0], settled_end)
    for step in range(round(_LENT_SETTLED_SECONDS[1] / RECOVERY_STEP_SECONDS)):
        moment = begin + step * RECOVERY_STEP_SECONDS
        if rate(moment, moment + 0.5) >= TOLERANCE_RATIO * settled:
            return round(step * RECOVERY_STEP_SECONDS, 3)
    return None
