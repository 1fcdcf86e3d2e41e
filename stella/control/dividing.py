"""A shared resource that is full: what each instance may take of it, floors first, the rest by weight.

The resource has one capacity (a rate, in any unit) and is *contended* while its instances take, or ask for, nearly all of it. Then
what is usable, without what others take, is divided by max-min (`stella.control.share`). Each instance that wants more than its part
is limited to it, and one that wants less has no limit. So a floor that was lent is there at once when its owner wakes, and the others
are held back a tick later. While the resource is not contended nobody is limited.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from stella.control.share import Claim, share

CONTENDED_RATIO = 0.9
_LEFT_RATIO = 0.75
_LINGER_SECONDS = 2.0
_REACHED_RATIO = 0.9
_GROWTH_RATIO, _GROWTH_PART_RATIO = 1.05, 0.005
_DEADBAND_RATIO = 0.02
_SMALLEST_PART_RATIO = 0.002


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """One instance: what it asked for and what got through, as rates, and its claim. ``limit``: that of the last tick (None: none).

    ``asks``: what it wants, where that is known; else it is told from what it asked for, and whether its limit held it.
    """

    uuid: str
    offered: float
    through: float
    floor: float = 0.0
    weight: float = 1.0
    priority: int = 0
    ceiling: float = float("inf")
    limit: float | None = None
    asks: float | None = None

    @property
    def is_held(self) -> bool:
        """Whether its limit holds it back."""
        return self.limit is not None and (self.offered > self.through or self.through >= self.limit * _REACHED_RATIO)

    def wants(self, capacity: float) -> float:
        """What it wants: all, while it is held; else what it asks for and room to grow."""
        if self.asks is not None:
            return self.asks
        return capacity if self.is_held else self.offered * _GROWTH_RATIO + capacity * _GROWTH_PART_RATIO


@dataclass(frozen=True, slots=True, kw_only=True)
class Division:
    """What is remembered: until when (monotonic seconds) the resource counts as contended, and each limit."""

    contended_until_seconds: float = float("-inf")
    limits: Mapping[str, float] = field(default_factory=dict)


def divide(
    usable: float, used: float, contenders: Sequence[Contender], before: Division, now_seconds: float
) -> Division:
    """What each contender that is to be limited may have of ``usable``. ``used``: what the resource carried, of anybody."""
    others = max(0.0, used - sum(c.through for c in contenders))
    asked = others + sum(c.offered for c in contenders)
    until = contended_until(usable, used, asked, before.contended_until_seconds, now_seconds)
    if now_seconds >= until:
        return Division()
    return Division(contended_until_seconds=until, limits=limits_within(left_for(usable, others), contenders))


def contended_until(usable: float, used: float, asked: float, before_seconds: float, now_seconds: float) -> float:
    """Until when the resource counts as contended: while nearly all of it is used, or was lately and is still asked for."""
    full = asked >= usable * _LEFT_RATIO if now_seconds < before_seconds else used >= usable * CONTENDED_RATIO
    return now_seconds + _LINGER_SECONDS if full else before_seconds


def left_for(usable: float, others: float) -> float:
    """What is left for instances beside ``others``; never nothing."""
    return max(usable - others, usable * _SMALLEST_PART_RATIO)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What a contender wants, at most its ceiling, and what it is granted."""

    bound: float
    total: float


def grants(capacity: float, contenders: Sequence[Contender]) -> list[Part]:
    """The part of each in ``capacity``: floors first, the rest by weight."""
    smallest = capacity * _SMALLEST_PART_RATIO
    claims = [
        Claim(
            floor=max(c.floor, smallest),
            demand=c.wants(capacity),
            ceiling=c.ceiling,
            weight=c.weight,
            priority=c.priority,
        )
        for c in contenders
    ]
    granted = share(capacity, claims)
    return [Part(bound=claim.bound, total=grant.total) for claim, grant in zip(claims, granted, strict=True)]


def limits_within(capacity: float, contenders: Sequence[Contender]) -> dict[str, float]:
    """The limit of each contender that wants more than its part of ``capacity``."""
    return limits(contenders, grants(capacity, contenders))


def limits(contenders: Sequence[Contender], parts: Sequence[Part]) -> dict[str, float]:
    """The limit of each contender that wants more than its part; one that still serves is left as it is."""
    found = {}
    for one, part in zip(contenders, parts, strict=True):
        if part.bound > part.total * (1 + 1e-9):
            old = one.limit
            keeps = old is not None and (1.0 - _DEADBAND_RATIO) * part.total <= old <= part.total
            found[one.uuid] = old if keeps and old is not None else max(1.0, part.total)
    return found
