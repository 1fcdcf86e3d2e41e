"""What would have to move so that an SLO fits on its host: the smallest effort, as an answer to an operator. Nothing is moved.

The effort is the reserved CPU of what moves. Instances of lower priority move first, and none of a higher one than the SLO that asks.
Sets of at most `LARGEST_SET` are tried in the order of their effort, and only a bounded number of them: packing is dear.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from stella.control.capacity import EPSILON_CORES

LARGEST_SET = 3
_ALONE = 8
_TOGETHER = 14
_TRIES = 8
_PLACED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Movable:
    """An instance that may move: its reservation in cores, and the priority of its SLO (0 to 100)."""

    uuid: str
    cores: float
    priority: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """``uuid`` to ``host``."""

    uuid: str
    host: str


def relief(
    movables: Sequence[Movable],
    *,
    short_cores: float,
    priority: int,
    makes_room: Callable[[frozenset[str]], bool],
    places: Callable[[Sequence[str]], Sequence[str] | None],
) -> tuple[Move, ...]:
    """The moves of the least effort that make room; none where none was found.

    ``short_cores``: what the host lacks in all (0 or less where only single CPUs are too full). ``priority``: of the SLO that asks.
    ``makes_room`` tells whether it fits once these uuids are gone; ``places`` the host that takes each of them, or None.
    """
    allowed = [one for one in movables if one.priority <= priority and one.cores > EPSILON_CORES]
    placed = 0
    for tried, found in enumerate(_sets(allowed, short_cores)):
        if tried >= _TRIES or placed >= _PLACED:
            break
        if not makes_room(frozenset(one.uuid for one in found)):
            continue
        placed += 1
        uuids = [one.uuid for one in sorted(found, key=lambda one: (-one.cores, one.uuid))]
        hosts = places(uuids)
        if hosts is not None:
            return tuple(Move(uuid=uuid, host=host) for uuid, host in zip(uuids, hosts, strict=True))
    return ()


def _sets(movables: Sequence[Movable], short_cores: float) -> Iterator[tuple[Movable, ...]]:
    """Sets that free enough in all, the lowest priority and then the least effort first."""
    alone = sorted((o for o in movables if o.cores >= short_cores - EPSILON_CORES), key=_effort)[:_ALONE]
    small = [o for o in movables if o.cores < short_cores - EPSILON_CORES]
    together = sorted(small, key=lambda o: (o.priority, -o.cores, o.uuid))[:_TOGETHER] or alone
    found: list[tuple[Movable, ...]] = [(one,) for one in alone]
    for size in range(2, LARGEST_SET + 1):
        found += [s for s in combinations(together, size) if sum(o.cores for o in s) >= short_cores - EPSILON_CORES]
    key = {s: (max(o.priority for o in s), sum(o.cores for o in s), len(s), tuple(o.uuid for o in s)) for s in found}
    yield from sorted(found, key=key.__getitem__)


def _effort(one: Movable) -> tuple[int, float, str]:
    return one.priority, one.cores, one.uuid
