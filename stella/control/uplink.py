"""A shared uplink that is full: what each instance may send, floors first, the rest by weight.

The host can hold back what its own instances send, before it reaches the uplink; what comes in has passed the uplink already. All in
bytes/s, in which an uplink is full; a floor of packets counts with the size of the packets that its instance sends.

The uplink is *contended* while its instances send, or would send, nearly all it can carry. Then what it can carry, without what
others use and some room, is divided by max-min (`stella.control.share`). Each instance that wants more than its part is limited to
it, and one that wants less has no limit. So a floor that was lent is there at once when its owner wakes, and the others are held back
a tick later. While the uplink is not contended nobody is limited.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from stella.control.share import Claim, share
from stella.model.slo import Direction, Metric, Slo

USABLE_RATIO = 0.95
"""Frames on the wire are longer than a link counts, and a queue that is always full only adds delay."""
_CONTENDED_RATIO, _LEFT_RATIO = 0.9, 0.75
_LINGER_SECONDS = 2.0
_REACHED_RATIO = 0.9
_ALL_CARRIED_RATIO = 0.98
_GROWTH_RATIO, _GROWTH_PART_RATIO = 1.05, 0.005
_DEADBAND_RATIO = 0.02
_SMALLEST_PART_RATIO = 0.002


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """One instance: what it sent and what got through, in bytes/s, and its claim. ``limit`` is that of the last tick (None: none)."""

    uuid: str
    offered: float
    through: float
    floor: float = 0.0
    weight: float = 1.0
    priority: int = 0
    ceiling: float = float("inf")
    limit: float | None = None

    def wants(self, capacity: float) -> float:
        """What it wants: all, while it is held; else what it sends and room to grow."""
        if self.limit is not None and (self.offered > self.through or self.through >= self.limit * _REACHED_RATIO):
            return capacity
        return self.offered * _GROWTH_RATIO + capacity * _GROWTH_PART_RATIO


@dataclass(frozen=True, slots=True, kw_only=True)
class UplinkState:
    """What is remembered: until when (monotonic seconds) the uplink counts as contended, and each limit in bytes/s."""

    contended_until_seconds: float = float("-inf")
    limits: Mapping[str, float] = field(default_factory=dict)


def divide(
    capacity: float, used: float, senders: Sequence[Sender], before: UplinkState, now_seconds: float
) -> UplinkState:
    """What each sender that is to be limited may have. ``capacity`` and ``used``: of the uplink, in bytes/s."""
    others = max(0.0, used - sum(s.through for s in senders))
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
    return UplinkState(contended_until_seconds=until, limits=limits)


def passed_ratio(capacity: float, used: float, through: float) -> float:
    """The part of what instances sent that the uplink carried: below 1 only while it is full and drops more than a little."""
    if used < capacity * _CONTENDED_RATIO or used >= through * _ALL_CARRIED_RATIO:
        return 1.0
    return used / through


def sent_floor(slo: Slo, packet_bytes: float = 0.0) -> float:
    """The floors of what an instance sends, in bytes/s; a floor of both directions may be sent whole.

    A floor of packets is for packets of ``packet_bytes``, at least of the size that it names.
    """
    found = 0.0
    for metric in (Metric.NETWORK_BYTES, Metric.NETWORK_PACKETS):
        objective = slo.objective(metric)
        if objective is not None and objective.direction is not Direction.RX:
            unit = max(packet_bytes, objective.unit_bytes) if metric is Metric.NETWORK_PACKETS else 1.0
            found = max(found, (objective.floor or 0.0) * unit)
    return found
