"""Where the uplink or the disk back end is full, and not the CPU: floors beside floods and hogs, weights, ceilings."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from stella.bench.figures.row import Bound, Facts, Figures, Row, windows_met
from stella.bench.figures.session import Family, Part, Session, round_seconds, scenario_file
from stella.bench.lab.network import HEADER_BYTES
from stella.bench.results import Run
from stella.bench.scenario import Scenario

NAME = "contention"
POLICIES = ("none", "nova", "stella")
FLOORS = {
    "uplink": "100 Mbit/s of an uplink of 200 Mbit/s beside two floods",
    "small-packets": "10 000 packets/s of an uplink of 20 Mbit/s beside two floods of small packets",
    "backend": "250 MB/s of a back end of 400 MB/s beside two hogs",
    "backend-operations": "4 000 operations/s of a back end of 400 MB/s beside two hogs with large requests",
}
WEIGHTS, CEILINGS = "weights", "io-ceilings"
_OTHER = {WEIGHTS: ("stella",), CEILINGS: ("none", "stella")}
_FREE = "free"


def _policies(name: str) -> Sequence[str]:
    return POLICIES if name in FLOORS else _OTHER[name]


def _parts(repeat: int) -> list[Part]:
    found = []
    for name in (*FLOORS, *_OTHER):
        seconds = round_seconds(scenario_file(f"figures/{name}"), policies=len(_policies(name)), with_solo=False)
        found.append(Part(name=name, seconds=seconds))
    return found


def delivered(scenario: Scenario, run: Run) -> dict[str, float]:
    """What each instance got through, as bytes/s of whole frames or of its disk: seen at its peer or by its generator. Pure."""
    first, last = run.start_unix_seconds, run.start_unix_seconds + scenario.duration_seconds
    found = {}
    for instance in scenario.instances:
        windows = run.recording.instances[instance.name].windows
        (load,) = instance.loads
        signals = ("network_packets.tx",) if load.kind == "udp" else ("block_bytes.read", "block_bytes.write")
        unit_bytes = load.packet_bytes + HEADER_BYTES if load.kind == "udp" else 1
        found[instance.name] = unit_bytes * sum(windows[s].rate(first, last) for s in signals if s in windows)
    return found


def capacity(scenario: Scenario) -> float:
    """Of the uplink or back end that is shared, in bytes/s; infinite without one. Pure."""
    limits = [u.rate_bytes_per_second for u in scenario.uplinks] + [b.rate_bytes_per_second for b in scenario.backends]
    return min((limit for limit in limits if limit is not None), default=math.inf)


def _run(part: str, session: Session) -> Facts:
    scenario = scenario_file(f"figures/{part}")

    def closer(run: Run) -> Mapping[str, Any]:
        return {"delivered": delivered(scenario, run)}

    return session.round(scenario, list(_policies(part)), title=f"{NAME} {part}", with_solo=False, closer=closer)


def ceiling_errors(scenario: Scenario, got: Mapping[str, float]) -> dict[str, float]:
    """By instance with a ceiling: how far the mean lies from it, in parts of it. Pure."""
    found = {}
    for instance in scenario.instances:
        objective = instance.slo.objectives[0] if instance.slo else None
        if objective is None or objective.ceiling is None:
            continue
        (load,) = instance.loads
        frame = load.packet_bytes + HEADER_BYTES if load.kind == "udp" else load.block_bytes
        mean = got[instance.name] / (1 if objective.metric.name.endswith("BYTES") else frame)
        found[instance.name] = mean / objective.ceiling - 1.0
    return found


def weight_errors(scenario: Scenario, got: Mapping[str, float]) -> list[float]:
    """How far the part of each instance lies from what its weight says, in parts of that. Pure."""
    weights = {i.name: i.slo.objectives[0].weight or 1.0 for i in scenario.instances if i.slo}
    total, all_weights = sum(got.values()), sum(weights.values())
    return [got[name] / total / (weight / all_weights) - 1.0 for name, weight in weights.items()]


def _judge(parts: Mapping[str, Facts]) -> list[Row]:
    rows: list[Row] = []
    for name, title in FLOORS.items():
        rows += _floor_figures(name, title)(_only(parts, name))
    rows += _WEIGHTS(_only(parts, WEIGHTS))
    return [*rows, *_ceiling_figures()(_only(parts, CEILINGS))]


def _only(parts: Mapping[str, Facts], name: str) -> Mapping[str, Facts]:
    return {part: facts for part, facts in parts.items() if part == name}


def _floor_figures(name: str, title: str) -> Figures:
    figures, most = Figures(), capacity(scenario_file(f"figures/{name}"))

    def used(facts: Facts) -> float:
        return float(sum(facts["delivered"].values())) / most

    met = figures.of_each(POLICIES, f"{NAME}.{name}", title, bound=Bound(least=0.95), aim=Bound(least=0.99))
    met(windows_met)
    words = f"{NAME}.{name}.used", f"{title}: what of it all is used"
    figures.of_each(POLICIES, *words, bound=Bound(least=0.85), aim=Bound(least=0.95))(used)
    return figures


_WEIGHTS = Figures()


@_WEIGHTS.of(
    f"{NAME}.{WEIGHTS}",
    "weights 1 : 2 : 4 on a full uplink, largest error of a part",
    Bound(most=0.15),
    aim=Bound(most=0.05),
)
def _largest_weight_error(facts: Facts) -> float:
    return max(abs(error) for error in weight_errors(scenario_file(f"figures/{WEIGHTS}"), facts["delivered"]))


def _ceiling_figures() -> Figures:
    figures, scenario = Figures(), scenario_file(f"figures/{CEILINGS}")
    for instance in scenario.instances:
        if instance.slo is None:
            continue

        def error(facts: Facts, name: str = instance.name) -> float:
            return abs(ceiling_errors(scenario, facts["delivered"])[name])

        metric = instance.slo.objectives[0].metric.value
        title = f"ceiling of {metric} with load above it: how far the mean lies from it"
        figures.of(f"{NAME}.ceiling.{metric}", title, Bound(most=0.05), aim=Bound(most=0.02))(error)

    title = "a neighbour without a ceiling: what it sends of what it asks for"

    @figures.of(f"{NAME}.ceiling.neighbour", title, Bound(least=0.95))
    def _sent(facts: Facts) -> float:
        return float(facts["delivered"][_FREE]) / _asked(scenario)

    return figures


def _asked(scenario: Scenario) -> float:
    (load,) = scenario.instance(_FREE).loads
    return (load.rate or 0.0) * (load.packet_bytes + HEADER_BYTES)


FAMILY = Family(
    name=NAME, title="a full uplink, a full back end, weights and ceilings", parts=_parts, run=_run, judge=_judge
)
