"""CPU of a host, divided: what each instance is entitled to when all want more than there is.

    allocation = reservation (bounded by admission) + what feedback asks beyond it (from unreserved capacity)
                 + a weighted share of the rest for all that want more

Weights made from allocations are work-conserving, so an entitlement that is not used is lent by the kernel and is back at once.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from stella.control.share import Claim, share

SMALLEST_REST_RATIO = 0.04
"""Of the capacity, always shared by weight: floors must not starve best-effort neighbours to death."""

_SMALLEST_WEIGHT = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuClaim:
    """One instance's claim on the host, in cores.

    ``reserved_cores`` is what admission set aside; ``floor_cores`` what its floors cost by the model, ``needed_cores`` that with
    what feedback asks beyond it.
    ``active``: it wants CPU now, at most ``demand_cores``. ``weight`` divides the rest.
    """

    uuid: str
    reserved_cores: float
    floor_cores: float
    needed_cores: float
    active: bool
    weight: float = 1.0
    priority: int = 0
    demand_cores: float = math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuShare:
    """What it gets: ``reservation_cores`` for its floors, ``allocation_cores`` in all.

    ``best_effort_cores`` would be all that it gets without floors. ``placed_cores``: what it gets of each CPU that carries it.
    ``fits`` when what admission set aside was granted.
    """

    reservation_cores: float
    allocation_cores: float
    fits: bool
    best_effort_cores: float = 0.0
    placed_cores: Mapping[int, float] = field(default_factory=dict)


def divide(capacity_cores: float, claims: Sequence[CpuClaim]) -> Mapping[str, CpuShare]:
    """Divide a host's CPU.

    An idle instance is given the entitlement that it would have if it were active; this lowers no other share. Neither does what an
    active one is granted for its floors beyond its demand: others have it by their own weights, not in proportion to their floors.
    """
    capacity = max(capacity_cores, 0.01)
    for_floors = capacity * (1.0 - SMALLEST_REST_RATIO)
    active = [c for c in claims if c.active]
    within = share(
        for_floors,
        [
            Claim(
                floor=min(c.reserved_cores, c.needed_cores),
                demand=min(c.reserved_cores, c.needed_cores),
                priority=c.priority,
            )
            for c in active
        ],
    )
    spare = max(0.0, for_floors - sum(g.total for g in within))
    wanting = [max(0.0, c.needed_cores - c.reserved_cores) for c in active]
    beyond = share(spare, [Claim(floor=w, demand=w, priority=c.priority) for w, c in zip(wanting, active, strict=True)])
    granted = {c.uuid: w.total + b.total for c, w, b in zip(active, within, beyond, strict=True)}
    taken = sum(min(granted[c.uuid], c.demand_cores) for c in active)
    rest = max(capacity - taken, capacity * SMALLEST_REST_RATIO)
    weights = sum(c.weight for c in active)
    shares = {}
    for claim in claims:
        own = granted.get(claim.uuid, min(claim.reserved_cores, claim.needed_cores))
        others = max(weights if claim.active else weights + claim.weight, _SMALLEST_WEIGHT)
        shares[claim.uuid] = CpuShare(
            reservation_cores=own,
            allocation_cores=own + rest * claim.weight / others,
            fits=own >= min(claim.floor_cores, claim.reserved_cores) - 1e-9,
            best_effort_cores=(rest + (own if claim.active else 0.0)) * claim.weight / others,
        )
    return shares


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalClaim:
    """The part of one instance that runs on one CPU: what of its reservation (cores) and of its weight falls there, 0 or more.

    ``taken_cores``: what of the reservation is wanted now.
    """

    uuid: str
    cpu: int
    reserved_cores: float
    weight: float
    taken_cores: float = math.inf


def divide_each(one_cpu_cores: float, claims: Sequence[LocalClaim]) -> Mapping[str, Mapping[int, float]]:
    """What each placed instance gets of each CPU that carries it, in cores: floors first there too, its rest by weight.

    Weights act within one CPU's queue. Where two reservations fill a CPU while another has room to spare, shares of the whole
    host's rest would dilute the dearer of the two. ``one_cpu_cores``: what instances can have of one CPU.
    """
    granted: dict[str, dict[int, float]] = {}
    on: dict[int, list[LocalClaim]] = {}
    for claim in claims:
        on.setdefault(claim.cpu, []).append(claim)
    for cpu, here in sorted(on.items()):
        left = one_cpu_cores - sum(min(claim.reserved_cores, claim.taken_cores) for claim in here)
        rest = max(left, one_cpu_cores * SMALLEST_REST_RATIO)
        weights = sum(claim.weight for claim in here)
        for claim in here:
            part = (
                claim.weight / weights if weights > 0 else 0.0
            )  # a stage that did not run has no part of its instance
            of_instance = granted.setdefault(claim.uuid, {})
            of_instance[cpu] = of_instance.get(cpu, 0.0) + claim.reserved_cores + rest * part
    return granted


def spread_ceiling(
    ceiling_cores: float, used_cores: Sequence[float], throttled_ratios: Sequence[float]
) -> tuple[float, ...]:
    """Spread a ceiling over vCPUs as one bound for each, in cores: their sum never exceeds it, none exceeds one core.

    By demand (max-min): a vCPU that was throttled wants a whole core, another what it used and some room to grow; what is
    then left is spread evenly, so that one that wakes up can show its demand.
    """
    count = len(used_cores)
    if count == 0:
        return ()
    claims = [
        Claim(demand=1.0 if throttled > 0.01 else min(1.0, used * 1.25 + 0.02))
        for used, throttled in zip(used_cores, throttled_ratios, strict=True)
    ]
    granted = [g.total for g in share(ceiling_cores, claims)]
    left = ceiling_cores - sum(granted)
    extra = share(max(0.0, left), [Claim(demand=max(0.0, 1.0 - g)) for g in granted])
    return tuple(g + e.total for g, e in zip(granted, extra, strict=True))
