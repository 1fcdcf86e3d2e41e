"""Weighted max-min sharing with floors and ceilings, over cores, packets, bytes or operations.

Floors first: where they do not all fit, higher priorities are served whole and the first priority that does not fit is scaled
down evenly. Then the rest by weight, bounded by demand and ceiling, until it is used up or no claim wants more (progressive
filling: Bertsekas and Gallager, Data Networks, 2nd ed., §6.5.2).
"""

from collections.abc import Sequence
from dataclasses import dataclass

_NOTHING = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What one instance may have of a resource: all in the resource's base unit, ``weight`` above 0."""

    floor: float = 0.0
    demand: float = float("inf")
    ceiling: float = float("inf")
    weight: float = 1.0
    priority: int = 0

    @property
    def bound(self) -> float:
        """The most it can use."""
        return max(0.0, min(self.demand, self.ceiling))


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What it gets: ``floor`` is the part of its floor that fits, ``total`` that and its share of the rest."""

    floor: float
    total: float


def grant_floors(capacity: float, claims: Sequence[Claim]) -> list[float]:
    """The part of each floor that fits into ``capacity``, higher priorities first, equals scaled alike."""
    granted = [0.0] * len(claims)
    left = max(0.0, capacity)
    for priority in sorted({c.priority for c in claims}, reverse=True):
        ranks = [i for i, c in enumerate(claims) if c.priority == priority]
        wanted = sum(min(claims[i].floor, claims[i].bound) for i in ranks)
        scale = 1.0 if wanted <= left else left / wanted
        for i in ranks:
            granted[i] = min(claims[i].floor, claims[i].bound) * scale
        left = max(0.0, left - wanted * scale)
    return granted


def share(capacity: float, claims: Sequence[Claim]) -> list[Grant]:
    """Divide ``capacity`` among ``claims``. The totals never exceed it, nor any claim's demand or ceiling."""
    floors = grant_floors(capacity, claims)
    totals = list(floors)
    left = max(0.0, capacity - sum(floors))
    hungry = [i for i, c in enumerate(claims) if c.bound - totals[i] > _NOTHING]
    while hungry and left > _NOTHING:
        level = left / sum(claims[i].weight for i in hungry)
        full = [i for i in hungry if claims[i].bound - totals[i] <= level * claims[i].weight]
        for i in full or hungry:
            more = min(claims[i].bound - totals[i], level * claims[i].weight)
            totals[i] += more
            left -= more
        if not full:
            break
        hungry = [i for i in hungry if i not in set(full)]
    return [Grant(floor=f, total=t) for f, t in zip(floors, totals, strict=True)]
