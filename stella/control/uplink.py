"""A shared uplink that is full: what each instance may send, floors first, the rest by weight.

The host can hold back what its own instances send, before it reaches the uplink; what comes in has passed the uplink already. All in
bytes/s, in which an uplink is full; a floor of packets counts with the size of the packets that its instance sends.

It is divided by the law of every shared resource that is full (`stella.control.dividing`), without some room.
"""

from collections.abc import Sequence

from stella.control import dividing
from stella.control.dividing import Contender as Sender
from stella.control.dividing import Division as UplinkState
from stella.model.slo import Direction, Metric, Slo

__all__ = ["USABLE_RATIO", "Sender", "UplinkState", "divide", "passed_ratio", "sent_floor"]

USABLE_RATIO = 0.95
"""Frames on the wire are longer than a link counts, and a queue that is always full only adds delay."""
_ALL_CARRIED_RATIO = 0.98


def divide(
    capacity: float, used: float, senders: Sequence[Sender], before: UplinkState, now_seconds: float
) -> UplinkState:
    """What each sender that is to be limited may have. ``capacity`` and ``used``: of the uplink, in bytes/s."""
    return dividing.divide(capacity * USABLE_RATIO, used, senders, before, now_seconds)


def passed_ratio(capacity: float, used: float, through: float) -> float:
    """The part of what instances sent that the uplink carried: below 1 only while it is full and drops more than a little."""
    if used < capacity * dividing.CONTENDED_RATIO or used >= through * _ALL_CARRIED_RATIO:
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
