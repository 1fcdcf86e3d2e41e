"""Each load of the demonstration alone on the machine, then all together: work per core, and what is not the guests'. No rows."""

import statistics
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from stella.bench.figures.row import Facts, Row, valid
from stella.bench.figures.session import Family, Part, Session, part_seconds, scenario_file
from stella.bench.figures.threads import Threads, cores, overhead_cores
from stella.bench.scenario import Event, Scenario

NAME = "solo"
TURN_SECONDS = 8
_SETTLE_SECONDS = 2  # of a turn
_TOGETHER_SECONDS = 12


def solo_scenario(scenario: Scenario) -> tuple[Scenario, dict[str, int]]:
    """The same guests without promises, one load after the other, then all; and when each turn begins (empty name: all)."""
    names = [i.name for i in scenario.instances if any(load.kind != "idle" for load in i.loads)]
    turns = {name: n * TURN_SECONDS for n, name in enumerate(names)}
    turns[""] = len(names) * TURN_SECONDS
    events: list[Event] = []
    for name in names:
        events.append(Event(at_seconds=turns[name], what="start", instance=name))
        events.append(Event(at_seconds=turns[name] + TURN_SECONDS - 1, what="stop", instance=name))
    events += [Event(at_seconds=turns[""], what="start", instance=name) for name in names]
    alone = replace(
        scenario,
        name="solo",
        duration_seconds=turns[""] + _TOGETHER_SECONDS,
        warmup_seconds=2.0,
        instances=tuple(replace(i, slo=None) for i in scenario.instances),
        events=tuple(events),
    )
    return alone, turns


def _parts(repeat: int) -> list[Part]:
    return [Part(name="solo", seconds=part_seconds(solo_scenario(scenario_file("demonstration"))[0]))]


def _run(part: str, session: Session) -> Facts:
    scenario, turns = solo_scenario(scenario_file("demonstration"))
    threads = Threads()
    run, _ = session.run(scenario, "none", title="solo", probes=[threads])
    start = run.start_unix_seconds
    found: dict[str, Any] = {}
    for name in (n for n in turns if n):
        first, last = turns[name] + _SETTLE_SECONDS, turns[name] + TURN_SECONDS - 1
        work = {
            series.partition(".")[2]: statistics.fmean(rates[first:last])
            for series, rates in run.verdict.work_series.items()
            if series.partition(".")[0] == name
        }
        found[name] = {"cores": cores(threads.samples, name, start + first, start + last), "work": work}
    first, last = turns[""] + _SETTLE_SECONDS, scenario.duration_seconds
    return {
        "alone": found,
        "overhead_cores": overhead_cores(threads.samples, start + first, start + last),
        "cores": session.machine["cores"],
    }


def cost_of(facts: Facts, instance: str, metric: str) -> float | None:
    """Core-seconds for one unit of an instance's work when alone; None when it was not measured. Pure."""
    alone = facts["alone"].get(instance)
    rate = alone["work"].get(metric) if alone else None
    return alone["cores"] / rate if rate and alone["cores"] else None


def facts_of(needed: Mapping[str, Mapping[str, Facts]]) -> Facts | None:
    """The facts of the solo run among those of the families that were needed. Pure."""
    found = valid(needed.get(NAME, {}), "solo")
    return found[0] if found else None


def _judge(parts: Mapping[str, Facts], needed: Mapping[str, Mapping[str, Facts]]) -> list[Row]:
    return []


FAMILY = Family(name=NAME, title="each load alone (work per core)", parts=_parts, run=_run, judge=_judge)
