"""A shared uplink that is full: what each instance may send or receive, floors first, the rest by weight.

One direction, in bytes/s or packets/s. `stella.control.uplinks` applies this to each.

The uplink is *contended* while its instances send, or would send, nearly all it can carry. Then what it can carry, without what
others use and some room, is divided by max-min (`stella.control.share`). Each instance that wants more than its part is limited to
it, and one that wants less has no limit. So a floor that was lent is there at once when its owner wakes, and the others are held back
a tick later. While the uplink is not contended nobody is limited.

What an instance below its floor wants is not known while the uplink drops its packets: TCP grows only into room that it finds. It is
kept its whole floor at first, half as much again as it sends while it uses up what it is kept, and a quarter less each tick while it
does not. Of what comes in, one above its floor that wants less is limited too, with room to grow: the senders to it would take at once
what another one lost.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from stella.control.share import Claim, share

USABLE_RATIO = 0.95
"""Frames on the wire are longer than a link counts, and a queue that is always full only adds delay."""
_CONTENDED_RATIO, _LEFT_RATIO = 0.9, 0.75
_LINGER_SECONDS = 2.0
_REACHED_RATIO = 0.9
_ALL_CARRIED_RATIO = 0.98
_GROWTH_RATIO, _GROWTH_PART_RATIO = 1.05, 0.005
_ACTIVE_RATIO, _USED_UP_RATIO = 0.02, 0.97
_RECLAIM_RATIO, _LEND_RATIO = 1.5, 0.75
_ROOM_RATIO = 1.25
_DEADBAND_RATIO = 0.02
_SMALLEST_PART_RATIO = 0.002


class Way(NamedTuple):
    """One direction of an uplink (``tx``: what instances send), in ``bytes`` or ``packets``."""

    uplink: str
    direction: str
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """One instance: what it sent and what passed its limit, a second, and its claim. ``limit`` is that of the last tick (None: none).

    Of what it receives: what came for it, and what passed its limit. ``kept``: what it was kept of its floor in the last tick.
    """

    uuid: str
    offered: float
    through: float
    floor: float = 0.0
    weight: float = 1.0
    priority: int = 0
    ceiling: float = float("inf")
    limit: float | None = None
    kept: float | None = None

    def wants(self, capacity: float) -> float:
        """What it wants: all, while it is held; else what it sends and room to grow, below its floor more of that (see above)."""
        if self.limit is not None and (self.offered > self.through or self.through >= self.limit * _REACHED_RATIO):
            return capacity
        least = self.offered * _GROWTH_RATIO + capacity * _GROWTH_PART_RATIO
        if least >= self.floor:
            return least
        if self.kept is None:
            return self.floor if self.offered >= self.floor * _ACTIVE_RATIO else least
        if self.offered >= self.kept * _USED_UP_RATIO:
            return max(least, min(self.floor, self.offered * _RECLAIM_RATIO))
        return max(least, self.kept * _LEND_RATIO)


@dataclass(frozen=True, slots=True, kw_only=True)
class UplinkState:
    """What is remembered: until when (monotonic seconds) the uplink counts as contended, each limit, and what floors were kept."""

    contended_until_seconds: float = float("-inf")
    limits: Mapping[str, float] = field(default_factory=dict)
    kept: Mapping[str, float] = field(default_factory=dict)


def divide(
    capacity: float,
    used: float,
    senders: Sequence[Sender],
    before: UplinkState,
    now_seconds: float,
    *,
    receives: bool = False,
) -> UplinkState:
    """What each sender that is to be limited may have. ``capacity`` and ``used``: of the uplink.

    ``receives``: of what comes in. It has passed the uplink before a limit drops it.
    """
    others = max(0.0, used - sum(s.offered if receives else s.through for s in senders))
    usable = capacity * USABLE_RATIO
    asked = others + sum(s.offered for s in senders)
    until = before.contended_until_seconds
    full = asked >= usable * _LEFT_RATIO if now_seconds < until else used >= usable * _CONTENDED_RATIO
    until = now_seconds + _LINGER_SECONDS if full else until
    if now_seconds >= until:
        return UplinkState()
    usable = max(usable - others, usable * _SMALLEST_PART_RATIO)
    smallest = usable * _SMALLEST_PART_RATIO
    claims = [
        Claim(
            floor=max(s.floor, smallest),
            demand=s.wants(usable),
            ceiling=s.ceiling,
            weight=s.weight,
            priority=s.priority,
        )
        for s in senders
    ]
    limits = {}
    for sender, claim, grant in zip(senders, claims, share(usable, claims), strict=True):
        if claim.bound > grant.total * (1 + 1e-9):
            old = sender.limit
            keeps = old is not None and (1.0 - _DEADBAND_RATIO) * grant.total <= old <= grant.total
            limits[sender.uuid] = old if keeps and old is not None else max(1.0, grant.total)
        elif receives and sender.offered >= max(sender.floor, usable * _ACTIVE_RATIO):
            room, old = grant.total * _ROOM_RATIO, sender.limit
            limits[sender.uuid] = old if old is not None and grant.total < old <= room * _ROOM_RATIO else room
    kept = {s.uuid: min(s.floor, c.demand) for s, c in zip(senders, claims, strict=True) if s.floor > 0}
    return UplinkState(contended_until_seconds=until, limits=limits, kept=kept)


def passed_ratio(capacity: float, used: float, through: float) -> float:
    """The part of what instances sent that the uplink carried: below 1 only while it is full and drops more than a little."""
    if used < capacity * _CONTENDED_RATIO or used >= through * _ALL_CARRIED_RATIO:
        return 1.0
    return used / through
