"""Scenarios made from a seed: loads are drawn, and floors that need 45 to 60 % of the host by what each load cost alone.

The agent's own prices and its packing have no part in it: what its admission refuses is judged all the same.
"""

import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from stella.bench.fair import Solo
from stella.bench.figures.row import Bound, Facts, Figures, windows_met
from stella.bench.figures.session import Family, Part, Session, in_turn, round_seconds, rounds
from stella.bench.generate import generate
from stella.bench.policies import COMPARED
from stella.bench.scenario import Instance, Scenario
from stella.bench.scenario_file import read_scenario
from stella.control.memory import Settings
from stella.model.slo import Metric, Slo

SEED = 20161122
COUNT = 2
CORES = 2
DURATION_SECONDS, WARMUP_SECONDS = 15, 6.0
LEAST_RATIO, MOST_RATIO = 0.45, 0.60
_FIGURES = Figures()


def drawn(number: int) -> Scenario:
    """Scenario ``number`` (from 1): its guests and loads. Pure."""
    documents: list[dict[str, Any]] = generate(
        SEED, COUNT, settings=Settings(), capacity_cores=0.9 * CORES, duration_seconds=DURATION_SECONDS
    )
    scenario = read_scenario({**documents[number - 1], "host": {"cores": CORES}})
    return replace(scenario, warmup_seconds=WARMUP_SECONDS)


def sized(scenario: Scenario, solo: Mapping[str, Solo], overhead_cores: float) -> Scenario:
    """The scenario with floors that cost a drawn part of what the host has beside its overhead, by the solo runs. Pure."""
    chance = random.Random(f"{SEED}.{scenario.name}")  # noqa: S311 (repeatable, not secret)
    guaranteed = [i for i in scenario.instances if i.slo is not None]
    total = chance.uniform(LEAST_RATIO, MOST_RATIO) * (CORES - overhead_cores)
    shares = [chance.uniform(0.5, 1.5) for _ in guaranteed]
    slos = {
        i.name: _slo(i, total * share / sum(shares), solo.get(i.name))
        for i, share in zip(guaranteed, shares, strict=True)
    }
    return replace(scenario, instances=tuple(replace(i, slo=slos.get(i.name)) for i in scenario.instances))


def _slo(instance: Instance, cores: float, alone: Solo | None) -> Slo:
    """The instance's SLO, its floor such that it costs ``cores``; no more than half of what its load does alone."""
    assert instance.slo is not None
    (objective,) = instance.slo.objectives
    if objective.metric is Metric.CPU:
        return Slo((replace(objective, floor=round(min(cores, 0.8 * instance.vcpus), 2)),))
    rate = alone.rate(objective.metric, objective.direction) if alone else 0.0
    part = min(0.5, cores / alone.cores) if alone and alone.cores > 0 else 0.0
    return Slo((replace(objective, floor=float(max(1, round(part * rate)))),))


def _parts(repeat: int) -> list[Part]:
    return [
        Part(name=part.name, seconds=round_seconds(drawn(number)))
        for number, part in enumerate(rounds(COUNT, 0.0), start=1)
    ]


def _run(part: str, session: Session) -> Facts:
    scenario = drawn(int(part.rpartition("-")[2]))
    slos: dict[str, str] = {}

    def told(scenario: Scenario, solo: Mapping[str, Solo], overhead_cores: float) -> Scenario:
        found = sized(scenario, solo, overhead_cores)
        for one in found.instances:
            for objective in one.slo.objectives if one.slo else ():
                slos[one.name] = f"{objective.metric.value} {objective.floor:.6g}"
        return found

    facts = session.round(scenario, in_turn(COMPARED, part), title=f"seeds {part}", sized=told)
    return {**facts, "slos": slos}


_FIGURES.of_each(
    COMPARED,
    "seeds.each",
    f"{COUNT} scenarios drawn from a seed, windows with all floors",
    bound=Bound(least=0.95),
    aim=Bound(least=0.97),
)(windows_met)


def _below(rounds: Mapping[str, Facts]) -> str:
    met = {part: windows_met(facts) for part, facts in rounds.items() if "invalid" not in facts}
    below = [f"{part} {ratio:.0%}" for part, ratio in met.items() if ratio < 0.95]
    return f"below: {', '.join(below)}" if below else ""


@_FIGURES.of(
    "seeds.refused",
    "SLOs of these that Stella's admission refused (they are judged all the same)",
    kind="count",
    note=_below,
)
def refused(facts: Facts) -> float:
    """SLOs that admission refused. Pure."""
    return float(len(facts["result"]["refused"]))


FAMILY = Family(name="seeds", title=f"{COUNT} scenarios from a seed", parts=_parts, run=_run, judge=_FIGURES)
