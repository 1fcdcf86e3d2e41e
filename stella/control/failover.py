"""Places kept on other hosts for instances that are to survive the loss of any one host.

Only one host is lost at a time, so places that are kept for instances of different hosts share their room: a host keeps what the worst
single loss would bring to it, and not the sum over all. The same idea protects paths in networks as shared backup capacity.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Generic, TypeVar

from stella.control.capacity import EPSILON_CORES

H = TypeVar("H")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What is kept for one instance: ``cores``, of them ``io_ratio`` for its I/O threads, should the host ``lost`` be lost."""

    instance: int
    lost: int
    cores: float
    io_ratio: float = 0.0
    vcpus: int = 1


def worst_loss(places: Iterable[Place]) -> tuple[Place, ...]:
    """What a host has to keep for all of these: at least what the loss of any one host would bring, piece by piece.

    The largest piece is the largest of any loss, the second the second largest, and so on; so what fits beside these fits beside the
    places of each loss by itself.
    """
    by_loss: dict[int, list[Place]] = {}
    for place in places:
        by_loss.setdefault(place.lost, []).append(place)
    ranked = [sorted(found, key=lambda one: (-one.cores, one.instance)) for _, found in sorted(by_loss.items())]
    kept = []
    for rank in zip_longest(*ranked):
        found = [one for one in rank if one is not None]
        largest = max(found, key=lambda one: (one.cores, one.instance))
        kept.append(
            Place(
                instance=largest.instance,
                lost=largest.lost,
                cores=largest.cores,
                io_ratio=largest.io_ratio,
                vcpus=min(one.vcpus for one in found),
            )
        )
    return tuple(kept)


def cores_kept(places: Iterable[Place]) -> float:
    """The CPU that a host keeps for all of these, in cores."""
    return sum(one.cores for one in worst_loss(places))


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeper(Generic[H]):
    """A host that could keep a place: what it has neither set aside nor kept, and the places that it keeps already."""

    host: H
    free_cores: float
    places: Sequence[Place]


def keepers_in_order(place: Place, keepers: Iterable[Keeper[H]]) -> list[Keeper[H]]:
    """Those that have room for the place, the one first that would have to keep the least more; of these the one with most free."""
    found = []
    for keeper in keepers:
        others = [one for one in keeper.places if one.instance != place.instance]
        more = cores_kept([*others, place]) - cores_kept(keeper.places)
        if more <= keeper.free_cores + EPSILON_CORES:
            found.append((round(more, 9), -keeper.free_cores, keeper))
    return [keeper for _, _, keeper in sorted(found, key=lambda one: one[:2])]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """An instance that is to survive the loss of its host ``lost``, and what its SLO takes."""

    instance: int
    lost: int
    cores: float
    io_ratio: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is wrong with the places that are kept: instances whose place is to be let go, and those that need one, or another one."""

    drop: tuple[int, ...]
    find: tuple[int, ...]


def plan(wanted: Collection[Wanted], places: Mapping[int, tuple[int, Place]], usable: Collection[int]) -> Plan:
    """What is to be done. ``places``: by instance, the host that keeps it and the place; ``usable``: the hosts that can keep one."""
    known = {one.instance for one in wanted}
    find = []
    for one in sorted(wanted, key=lambda one: (-one.cores, one.instance)):
        kept = places.get(one.instance)
        if kept is None or kept[0] not in usable or kept[0] == one.lost or not _is_enough(kept[1], one):
            find.append(one.instance)
    return Plan(drop=tuple(sorted(set(places) - known)), find=tuple(find))


def _is_enough(place: Place, one: Wanted) -> bool:
    return abs(place.cores - one.cores) <= EPSILON_CORES and abs(place.io_ratio - one.io_ratio) <= EPSILON_CORES
