"""Neighbours that get more than they are entitled to while a promise beside them is missed: bounded to their entitlement.

Weights are the first means and mostly the only one. They fail where a neighbour that never sleeps shares a CPU with a guaranteed
instance that does: the kernel looks at who should run every 4 ms (at 250 Hz), so it keeps the CPU for that long whenever the other
has slept for a moment: it got about 0.4 of a CPU for a fiftieth of the weight (`docs/decisions/0012`). Such a one gets a quota
of what it is entitled to while it presses against it. What its CPUs leave idle is added: the instance it was bounded for may sleep.
The quota goes when the host has idle time again, and the guard lifts it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

OWED_SECONDS = 0.1
"""From this debt on, a promise counts as missed."""
_OVERSERVED_RATIO, _OVERSERVED_CORES = 1.3, 0.03
_ROOM_RATIO = 1.1
_PRESSING_RATIO = 0.6
_STILL_LENT_RATIO = 0.9
"""What its CPUs left idle is lent to it and called back at this pace, so that what it then uses is not called back at once."""
HARDLY_IDLE_CORES = 0.1
"""What a CPU leaves idle up to this is the host's own work, or nothing that could be used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """One instance that is best-effort: what it is entitled to and what it used lately, in cores.

    ``owed_beside``: a promise is missed on a CPU that it runs on. ``idle_cores``: what nobody used on its CPUs.
    """

    uuid: str
    allocation_cores: float
    used_cores: float
    owed_beside: bool
    idle_cores: float = 0.0


def throttled(neighbours: Sequence[Neighbour], before: Mapping[str, float]) -> Mapping[str, float]:
    """The bound of each neighbour that is to have one, in cores; ``before``: those that had one."""
    found = {}
    for one in neighbours:
        bound = one.allocation_cores * _ROOM_RATIO
        over = one.used_cores > one.allocation_cores * _OVERSERVED_RATIO + _OVERSERVED_CORES
        pressing = one.uuid in before and one.used_cores > min(bound, before[one.uuid]) * _PRESSING_RATIO
        if pressing or (one.owed_beside and over):
            lent = max(0.0, before.get(one.uuid, 0.0) - bound) * _STILL_LENT_RATIO + one.idle_cores
            found[one.uuid] = bound + (0.0 if one.owed_beside and not one.idle_cores else lent)
    return found
