"""What admission set aside follows what an instance's I/O is seen to cost: up at once, down only after minutes.

I/O is cheap for moments: threads batch while nothing competes with them, and the same packets cost half as much again when they do
(`docs/benchmarks.md`). What such a moment frees must not be guaranteed to another instance. So a reservation

- grows as soon as the learned cost asks for more and the host has it; if the host does not, the instance is degraded;
- shrinks when the learned cost has asked for less during `LOWER_FOR_SECONDS` of I/O, to the most that was asked in that time, and
  never below the conservative estimate: half of what the host's prior says (`CHEAPEST_PRIOR_RATIO`), or the learned cost if that is
  more.

An instance that does no I/O teaches nothing: for it no time passes. Differences below `DEADBAND_RATIO` are not followed.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from stella.control.cost import HISTORY_SECONDS, Prior, UnitCost, initial
from stella.control.reservation import io_floors, reserve
from stella.model.slo import Metric, Slo

LOWER_FOR_SECONDS = 300.0
DEADBAND_RATIO = 0.05
CHEAPEST_PRIOR_RATIO = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What one instance holds and needs, in cores with margin.

    ``conservative_cores`` is what it may need when its I/O is not cheap. ``learned_seconds`` is the time with I/O behind these
    figures: below `cost.HISTORY_SECONDS` they are estimates, and are not followed.
    """

    reserved_cores: float
    needed_cores: float
    conservative_cores: float
    learned_seconds: float
    priority: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Lower:
    """An instance needs less than ``reserved_cores`` since ``since_learned_seconds`` of its I/O time, at most ``highest_cores``."""

    reserved_cores: float
    since_learned_seconds: float
    highest_cores: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Readmission:
    """``reserved_cores`` for each instance whose costs are learned, also where nothing changed, and the state for the next time.

    ``degraded``: how many cores are missing to those that need more than the host has left.
    """

    reserved_cores: Mapping[str, float]
    degraded: Mapping[str, float]
    lower: Mapping[str, Lower] = field(default_factory=dict)


def need_of(
    slo: Slo, costs: Mapping[Metric, UnitCost], prior: Prior, *, vcpus: int, margin: float, reserved_cores: float
) -> Need:
    """The need of one instance by its costs as known now (`memory.remembered`)."""
    floors = io_floors(slo)
    metrics = [o.metric for o in floors] or [Metric.CPU]
    cautious = {m: _not_cheaper(cost, initial(m, cost.unit_bytes, prior)) for m, cost in costs.items()}
    return Need(
        reserved_cores=reserved_cores,
        needed_cores=reserve(slo, costs, vcpus=vcpus, margin=margin).cores,
        conservative_cores=reserve(slo, cautious, vcpus=vcpus, margin=margin).cores,
        learned_seconds=min(costs[m].seconds for m in metrics),
        priority=max((o.priority for o in slo.objectives), default=0),
    )


def _not_cheaper(cost: UnitCost, prior: UnitCost) -> UnitCost:
    return replace(
        cost,
        vcpu=max(cost.vcpu, prior.vcpu * CHEAPEST_PRIOR_RATIO),
        io=max(cost.io, prior.io * CHEAPEST_PRIOR_RATIO),
    )


def readmit(needs: Mapping[str, Need], lower: Mapping[str, Lower], *, free_cores: float) -> Readmission:
    """Decide what each instance is to hold from now on.

    ``free_cores`` is what the host may still guarantee beside all that is held (`HostCapacity.free_cores`); below 0 nothing grows.
    ``lower`` is the state that the last call returned. Those of higher priority grow first.
    """
    learned = {uuid: n for uuid, n in needs.items() if n.learned_seconds >= HISTORY_SECONDS and _sane(n)}
    reserved: dict[str, float] = {}
    waiting = {uuid: state for uuid, state in lower.items() if uuid in needs and uuid not in learned}
    for uuid, one in learned.items():
        reserved[uuid], still = _shrunk(one, lower.get(uuid))
        if still is not None:
            waiting[uuid] = still
        free_cores -= reserved[uuid] - one.reserved_cores
    degraded: dict[str, float] = {}
    for uuid, one in sorted(learned.items(), key=lambda item: (-item[1].priority, item[0])):
        if one.needed_cores <= one.reserved_cores * (1.0 + DEADBAND_RATIO):
            continue
        more = min(one.needed_cores - one.reserved_cores, max(0.0, free_cores))
        reserved[uuid] = one.reserved_cores + more
        free_cores -= more
        if one.needed_cores > reserved[uuid] * (1.0 + DEADBAND_RATIO):
            degraded[uuid] = one.needed_cores - reserved[uuid]
    return Readmission(reserved_cores=reserved, degraded=degraded, lower=waiting)


def _sane(need: Need) -> bool:
    numbers = (need.reserved_cores, need.needed_cores, need.conservative_cores, need.learned_seconds)
    return all(math.isfinite(n) and n >= 0 for n in numbers)


def _shrunk(need: Need, before: Lower | None) -> tuple[float, Lower | None]:
    """(what it holds now, what is remembered of a need that has been lower for a while)."""
    wanted = max(need.needed_cores, need.conservative_cores)
    if wanted >= need.reserved_cores * (1.0 - DEADBAND_RATIO):
        return need.reserved_cores, None
    changed = before is None or before.reserved_cores != need.reserved_cores  # its SLO, or what it was given
    if before is None or changed or before.since_learned_seconds > need.learned_seconds:
        return need.reserved_cores, Lower(
            reserved_cores=need.reserved_cores, since_learned_seconds=need.learned_seconds, highest_cores=wanted
        )
    highest = max(before.highest_cores, wanted)
    if need.learned_seconds - before.since_learned_seconds >= LOWER_FOR_SECONDS:
        return highest, None
    return need.reserved_cores, replace(before, highest_cores=highest)
