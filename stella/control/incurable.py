"""Which violations their host cannot cure: those that last although its agent has had time to do all that it can.

An agent shares the CPU anew four times a second, and its feedback ends within seconds. What is missed for longer is missed for want of
something that this host does not have. Not every such violation ends on another host:

- cause `host`: a thread of QEMU is full, and would be full elsewhere
- cause `sensor`, or none: nobody knows what is missing
"""

from collections.abc import Iterable

from stella.control.relief_view import Limits, Miss
from stella.model.attainment import Cause

ENDS_ELSEWHERE = frozenset({Cause.CPU, Cause.NETWORK, Cause.BLOCK, Cause.CAPACITY})


def incurable(misses: Iterable[Miss], limits: Limits) -> tuple[Miss, ...]:
    """Those that last, were missed for long enough and could end on another host."""
    return tuple(
        miss
        for miss in misses
        if miss.lasts and miss.cause in ENDS_ELSEWHERE and miss.missed_seconds >= limits.incurable_seconds
    )


def missed_per_hour(misses: Iterable[Miss], limits: Limits) -> float:
    """Violated seconds an hour, if it goes on as in the last ``window_seconds``; each objective counts by itself."""
    return sum(min(miss.missed_seconds, limits.window_seconds) for miss in misses) * 3600.0 / limits.window_seconds


def short_cores(floor: float, *, usage: float, demand: float | None, cost: float) -> float:
    """The CPU that would end a miss, in cores: what is lacking of the floor, or of the demand below it, times its CPU cost.

    All but ``cost`` are in the metric's base unit; ``cost`` is in CPU seconds of one unit (1 for the metric `cpu`).
    """
    wanted = floor if demand is None else min(floor, demand)
    return max(0.0, wanted - usage) * cost
