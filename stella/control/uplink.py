"""A shared uplink that is full: what each instance may send or receive, floors first, the rest by weight.

One direction, in bytes/s or packets/s. `stella.control.uplinks` applies this to each.

It is divided by the law of every shared resource that is full (`stella.control.dividing`), without some room.

What an instance below its floor wants is not known while the uplink drops its packets: TCP grows only into room that it finds. It is
kept its whole floor at first, half as much again as it sends while it uses up what it is kept, and a quarter less each tick while it
does not. Of what comes in, one above its floor that wants less is limited too, with room to grow: the senders to it would take at once
what another one lost.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from stella.control import dividing
from stella.control.dividing import Contender, Division

USABLE_RATIO = 0.95
"""Frames on the wire are longer than a link counts, and a queue that is always full only adds delay."""
_ALL_CARRIED_RATIO = 0.98
_ACTIVE_RATIO, _USED_UP_RATIO = 0.02, 0.97
_RECLAIM_RATIO, _LEND_RATIO = 1.5, 0.75
_ROOM_RATIO = 1.25


class Way(NamedTuple):
    """One direction of an uplink (``tx``: what instances send), in ``bytes`` or ``packets``."""

    uplink: str
    direction: str
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender(Contender):
    """One instance: what it sent and what passed its limit, a second, and its claim. ``limit`` is that of the last tick (None: none).

    Of what it receives: what came for it, and what passed its limit. ``kept``: what it was kept of its floor in the last tick.
    """

    kept: float | None = None

    def wants(self, capacity: float) -> float:
        """What it wants: all, while it is held; else what it sends and room to grow, below its floor more of that (see above)."""
        least = Contender.wants(self, capacity)
        if self.is_held or least >= self.floor:
            return least
        if self.kept is None:
            return self.floor if self.offered >= self.floor * _ACTIVE_RATIO else least
        if self.offered >= self.kept * _USED_UP_RATIO:
            return max(least, min(self.floor, self.offered * _RECLAIM_RATIO))
        return max(least, self.kept * _LEND_RATIO)


@dataclass(frozen=True, slots=True, kw_only=True)
class UplinkState(Division):
    """What is remembered; ``kept``: what was kept of floors."""

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
    usable, asked = capacity * USABLE_RATIO, others + sum(s.offered for s in senders)
    until = dividing.contended_until(usable, used, asked, before.contended_until_seconds, now_seconds)
    if now_seconds >= until:
        return UplinkState()
    left = dividing.left_for(usable, others)
    parts = dividing.grants(left, senders)
    limits = dividing.limits(senders, parts)
    for sender, part in zip(senders, parts, strict=True):
        if receives and sender.uuid not in limits and sender.offered >= max(sender.floor, left * _ACTIVE_RATIO):
            room, old = part.total * _ROOM_RATIO, sender.limit
            limits[sender.uuid] = old if old is not None and part.total < old <= room * _ROOM_RATIO else room
    kept = {s.uuid: min(s.floor, part.bound) for s, part in zip(senders, parts, strict=True) if s.floor > 0}
    return UplinkState(contended_until_seconds=until, limits=limits, kept=kept)


def passed_ratio(capacity: float, used: float, through: float) -> float:
    """The part of what instances sent that the uplink carried: below 1 only while it is full and drops more than a little."""
    if used < capacity * dividing.CONTENDED_RATIO or used >= through * _ALL_CARRIED_RATIO:
        return 1.0
    return used / through
