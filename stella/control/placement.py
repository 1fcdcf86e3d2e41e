"""The home CPU of each stage of an instance while the host is full, so that weights mean what they say.

A weight divides one CPU's queue exactly. Over several CPUs it holds only if the kernel spreads the groups so that each queue
carries its part, and with threads that sleep and wake thousands of times a second it does not (`docs/decisions/0007`).

This is bin packing: worst-fit decreasing (each piece to the emptiest CPU that the stage may use, the largest first). Guaranteed
instances come first, and their reservations must be carried; then best-effort ones, by their allocations. The same rule says for
both who stays whole on one CPU (`_stays_whole`), so that an SLO never takes CPUs away (`docs/decisions/0013`). Homes are kept while
they are about as good as new ones; with many CPUs a few single moves are tried before all are placed anew. Nothing is placed while
the host has idle time, or when no instance is guaranteed anything. `cpu_sets` adds the CPUs that others leave idle.
"""

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from stella.model.snapshot import Role

Stage = tuple[Role, int]
FULL_RATIO = 0.88
"""From this share of busy time on, a host counts as full; below `IDLE_RATIO` no longer."""
IDLE_RATIO = 0.72
FEW_CPUS = 4
"""Up to so many CPUs, each stage has one home. On more, the stages of an instance that is spread share one set of CPUs: the part of
a weight that a queue misses is then small, and a vCPU that waits beside an idle CPU costs more."""
_WHOLE_UP_TO_CORES = 0.5
"""Up to this allocation an instance stays on one CPU, however many of its vCPUs are busy (`docs/decisions/0009`)."""
_SERIAL_UP_TO_CORES = 1.0
"""The same for an instance with at most one busy vCPU: its stages hand work to one another."""
_WHOLE_HYSTERESIS_CORES = 0.1
_BUSY_CORES = 0.1
_ROOM_CORES = 1.0
"""Reservations that one CPU carries. They hold a margin, so the host's own part of a CPU is not taken off."""
_FEWEST_MOVES, _MOVES_PER_CPU = 4, 0.25
"""On a host with more than `FEW_CPUS`, so many single moves are tried before all instances are placed anew."""
_SMALLEST_GAIN_CORES = 0.01
_KEPT_IF_WITHIN_CORES = 0.06
_KEPT_IF_WITHIN_CORES_PER_CPU = 0.03


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One instance that wants CPU now.

    ``reserved_cores`` is what admission set aside for it, ``granted_cores`` that and the gain of its feedback (what it owes for a
    moment is left out), ``allocation_cores`` all that it has, with its share of the rest, and ``best_effort_cores`` what its
    allocation would be without an SLO; each at most what it wants.
    ``stages`` holds each stage's part of it (sum 1), ``reserved_parts`` that of the reservation where it is another, and
    ``demand_cores`` what each would use if it never waited.
    ``allowed``: the CPUs that a stage may use; any when it is not named, none (it cannot be placed) when empty.
    ``owed``: a floor of it is missed; ``strained``: one was missed lately.
    """

    uuid: str
    allocation_cores: float
    reserved_cores: float = 0.0
    granted_cores: float = 0.0
    best_effort_cores: float = 0.0
    guaranteed: bool = False
    stages: Mapping[Stage, float] = field(default_factory=dict)
    reserved_parts: Mapping[Stage, float] = field(default_factory=dict)
    demand_cores: Mapping[Stage, float] = field(default_factory=dict)
    allowed: Mapping[Stage, tuple[int, ...]] = field(default_factory=dict)
    owed: bool = False
    strained: bool = False

    def reserved_part(self, stage: Stage) -> float:
        """The part of its reservation that a stage needs, 0 to 1."""
        return (self.reserved_parts or self.stages).get(stage, 0.0)

    @property
    def lasting_cores(self) -> float:
        """Its allocation without what feedback adds, which comes and goes."""
        added = max(0.0, self.granted_cores - self.reserved_cores)
        return max(self.best_effort_cores, self.allocation_cores - added)


@dataclass(frozen=True, slots=True, kw_only=True)
class Homes:
    """``at``: for each instance (by uuid) the home CPU of each of its stages. ``spread``: those that were taken apart."""

    at: Mapping[str, Mapping[Stage, int]] = field(default_factory=dict)
    spread: frozenset[str] = frozenset()

    def was_whole(self, uuid: str) -> bool | None:
        """Whether an instance was placed in one piece; None when it had no homes."""
        return uuid not in self.spread if uuid in self.at else None


@dataclass(frozen=True, slots=True)
class _Piece:
    """Stages that go to one CPU: what they reserve, and the load they count for, in cores."""

    item: Item
    stages: tuple[Stage, ...]
    reserved_cores: float
    load_cores: float
    allowed: tuple[int, ...]


def full(was_full: bool, busy_ratio: float) -> bool:
    """Whether the host is full, with hysteresis. ``busy_ratio``: busy time over all cores, 0 to 1."""
    return busy_ratio >= (IDLE_RATIO if was_full else FULL_RATIO)


def _vcpus(item: Item) -> list[Stage]:
    return [stage for stage in item.stages if stage[0] is Role.VCPU]


def _stays_whole(item: Item, was_whole: bool | None, cpus: int) -> bool:
    """Whether an instance belongs on one CPU. ``was_whole``: whether it was there; None when it had no homes."""
    slack = 0.0 if was_whole is None else _WHOLE_HYSTERESIS_CORES * (1 if was_whole else -1)
    vcpus = _vcpus(item)
    if not vcpus:
        return True
    if len(vcpus) < 2:
        return cpus <= FEW_CPUS or item.lasting_cores <= _SERIAL_UP_TO_CORES + slack
    if item.lasting_cores <= _WHOLE_UP_TO_CORES + slack:
        return True
    busy = sum(1 for stage in vcpus if item.demand_cores.get(stage, 1.0) >= _BUSY_CORES)
    return busy < 2 and item.lasting_cores <= _SERIAL_UP_TO_CORES + slack


def _load_cores(item: Item, *, whole: bool) -> tuple[float, float]:
    """What an instance reserves, and the load it counts for.

    A guaranteed one that is whole counts for its reservation and what feedback adds, but never for less than it would without
    an SLO: what is packed around it would otherwise leave it less.
    """
    if whole:
        least = max(item.reserved_cores, item.granted_cores, item.best_effort_cores)
        load = least if item.guaranteed else item.allocation_cores
        return min(item.reserved_cores, 1.0), min(load, 1.0)
    return item.reserved_cores, max(item.reserved_cores, item.allocation_cores)


class _Host:
    """CPUs while they are filled. Loads only grow, so the emptiest is found with heaps that are put right when they are read."""

    def __init__(self, cpus: Sequence[int], *, by_reserved: bool = False) -> None:
        self._by_reserved = by_reserved
        self.cpus = tuple(sorted(cpus))
        self.reserved = dict.fromkeys(self.cpus, 0.0)
        self.load = dict.fromkeys(self.cpus, 0.0)
        self.homes: dict[str, dict[Stage, int]] = {}
        self.spread: set[str] = set()
        self._within: dict[tuple[int, ...], tuple[int, ...]] = {}
        self._heaps: dict[tuple[bool, tuple[int, ...]], list[tuple[float, float, int]]] = {}

    def allowed(self, item: Item, stage: Stage) -> tuple[int, ...]:
        """The CPUs of this host that a stage may use."""
        named = item.allowed.get(stage)
        if named is None:
            return self.cpus
        if named not in self._within:
            self._within[named] = tuple(sorted(c for c in set(named) if c in self.load))
        return self._within[named]

    def emptiest(self, allowed: tuple[int, ...], *, by_reserved: bool) -> int:
        """The CPU with the least reserved or the least load, of ``allowed`` (not empty)."""
        heap = self._heaps.setdefault((by_reserved, allowed), [])
        if not heap:
            heap += [self._rank(cpu, by_reserved=by_reserved) for cpu in allowed]
            heapq.heapify(heap)
        while True:
            now = self._rank(heap[0][2], by_reserved=by_reserved)
            if heap[0] == now:
                return now[2]
            heapq.heapreplace(heap, now)

    def _rank(self, cpu: int, *, by_reserved: bool) -> tuple[float, float, int]:
        load = round(self.load[cpu], 6)
        return (round(self.reserved[cpu], 6) if by_reserved else load), load, cpu

    def pieces(self, item: Item, *, whole: bool) -> list[_Piece]:
        """The instance in one piece, or one for each vCPU and one for its I/O; what shares no CPU is taken apart further.

        The I/O of a best-effort instance goes with its first vCPU on a host with few CPUs.
        """
        stages = tuple(sorted(item.stages))
        vcpus = [(s,) for s in stages if s[0] is Role.VCPU]
        serving = tuple(s for s in stages if s[0] is not Role.VCPU)
        if whole or not vcpus:
            parts = [stages]
        elif item.guaranteed or not serving or len(self.cpus) > FEW_CPUS:
            parts = [*vcpus, serving] if serving else list(vcpus)
        else:
            parts = [(*vcpus[0], *serving), *vcpus[1:]]
        reserved, load = _load_cores(item, whole=whole)
        found = []
        for part in parts:
            for group, allowed in self._together(item, part):
                own = reserved * sum(item.reserved_part(s) for s in group)
                rest = (load - reserved) * sum(item.stages[s] for s in group)
                found.append(_Piece(item, group, own, own + rest, allowed))
        return found

    def _together(self, item: Item, stages: tuple[Stage, ...]) -> list[tuple[tuple[Stage, ...], tuple[int, ...]]]:
        """The stages with the CPUs that all of them may use, each alone where there is none; without those that have no CPU."""
        sets = {s: found for s in stages if (found := self.allowed(item, s))}
        if not sets:
            return []
        first, *others = dict.fromkeys(sets.values())
        common = tuple(c for c in first if all(c in other for other in others)) if others else first
        return [(tuple(sets), common)] if common else [((s,), found) for s, found in sets.items()]

    def keep(self, item: Item, homes: Mapping[Stage, int], *, whole: bool) -> None:
        """Leave an instance where it is."""
        reserved, load = _load_cores(item, whole=whole)
        self.homes[item.uuid] = dict(homes)
        if not whole:
            self.spread.add(item.uuid)
        for stage, cpu in homes.items():
            own = reserved * item.reserved_part(stage)
            self.reserved[cpu] += own
            self.load[cpu] += own + (load - reserved) * item.stages[stage]

    def pack(self, items: Iterable[tuple[Item, bool]]) -> None:
        """Give homes to items, each with whether it is to stay whole. A whole one with several vCPUs is taken apart where its
        reservation fits no CPU."""
        waiting: list[tuple[tuple[bool, float, str, tuple[Stage, ...]], bool, _Piece]] = []

        def push(item: Item, *, whole: bool) -> None:
            if not whole:
                self.spread.add(item.uuid)
            for p in self.pieces(item, whole=whole):
                size = p.reserved_cores if self._by_reserved and item.guaranteed else p.load_cores
                rank = (not item.guaranteed, -round(size, 6), item.uuid, p.stages)
                heapq.heappush(waiting, (rank, whole, p))

        for item, whole in items:
            push(item, whole=whole)
        while waiting:
            _, whole, piece = heapq.heappop(waiting)
            cpu = self.emptiest(piece.allowed, by_reserved=self._by_reserved and piece.item.guaranteed)
            if piece.reserved_cores > 0 and not self._fits(piece, cpu):
                cpu = self.emptiest(piece.allowed, by_reserved=True)
            fits = self._fits(piece, cpu)
            if whole and not fits and piece.reserved_cores > 0 and self._divisible(piece):
                push(piece.item, whole=False)
                continue
            self.homes.setdefault(piece.item.uuid, {}).update(dict.fromkeys(piece.stages, cpu))
            self.reserved[cpu] += piece.reserved_cores
            self.load[cpu] += piece.load_cores

    def ease(self, items: Mapping[str, Item]) -> bool:
        """Move what one instance has on the fullest CPU to where it evens loads most; whether there was such a move.

        After it `pack` must not be used any more: loads no longer only grow.
        """
        overfull = self.overfull_cores > _KEPT_IF_WITHIN_CORES
        level = self.reserved if overfull else self.load
        fullest = max(self.cpus, key=lambda cpu: (round(level[cpu], 6), -cpu))
        best: tuple[float, str, int] | None = None
        for uuid, homes in sorted(self.homes.items()):
            if not (stages := [stage for stage, cpu in homes.items() if cpu == fullest]):
                continue
            usable = set(self.cpus).intersection(*(self.allowed(items[uuid], stage) for stage in stages)) - {fullest}
            if not usable:
                continue
            reserved, load = self._parts(items[uuid], stages)
            to = min(usable, key=lambda cpu: (round(level[cpu], 6), cpu))
            own = reserved if overfull else load
            gain = level[fullest] - max(level[fullest] - own, level[to] + own)
            if self.reserved[to] + reserved > _ROOM_CORES or gain < _SMALLEST_GAIN_CORES:
                continue
            if best is None or gain > best[0]:
                best = gain, uuid, to
        if best is None:
            return False
        _, uuid, to = best
        stages = [stage for stage, cpu in self.homes[uuid].items() if cpu == fullest]
        reserved, load = self._parts(items[uuid], stages)
        self.homes[uuid].update(dict.fromkeys(stages, to))
        for cpu, sign in ((fullest, -1.0), (to, 1.0)):
            self.reserved[cpu] += sign * reserved
            self.load[cpu] += sign * load
        return True

    def _parts(self, item: Item, stages: Sequence[Stage]) -> tuple[float, float]:
        """What some stages of an instance that has homes reserve, and the load they count for."""
        reserved, load = _load_cores(item, whole=item.uuid not in self.spread)
        own = reserved * sum(item.reserved_part(stage) for stage in stages)
        return own, own + (load - reserved) * sum(item.stages[stage] for stage in stages)

    def _fits(self, piece: _Piece, cpu: int) -> bool:
        return self.reserved[cpu] + piece.reserved_cores <= _ROOM_CORES

    def _divisible(self, piece: _Piece) -> bool:
        """Whether a piece is all of an instance with several vCPUs."""
        all_stages = sum(1 for stage in piece.item.stages if self.allowed(piece.item, stage))
        return len(_vcpus(piece.item)) > 1 and len(piece.stages) == all_stages

    def about_as_good_as(self, other: "_Host") -> bool:
        """Whether these homes are about as even: the fullest CPU, what lies above the mean, and reservations that do not fit."""
        within = _KEPT_IF_WITHIN_CORES_PER_CPU * len(self.cpus)
        return (
            max(self.load.values()) <= max(other.load.values()) + _KEPT_IF_WITHIN_CORES
            and _above(self.load, sum(self.load.values()) / len(self.cpus))
            <= _above(other.load, sum(other.load.values()) / len(self.cpus)) + within
            and self.overfull_cores <= other.overfull_cores + _KEPT_IF_WITHIN_CORES
        )

    @property
    def overfull_cores(self) -> float:
        """Reservations that their CPUs cannot carry."""
        return _above(self.reserved, _ROOM_CORES)


def _above(loads: Mapping[int, float], level: float) -> float:
    return sum(load - level for load in loads.values() if load > level)


def _kept(host: _Host, items: Sequence[Item], whole: Mapping[str, bool], previous: Homes) -> None:
    """Leave at home who may stay, and pack the others around them."""
    moving = []
    for item in items:
        held = previous.at.get(item.uuid)
        placeable = {s: found for s in item.stages if (found := host.allowed(item, s))}
        if held is None or held.keys() != placeable.keys() or any(c not in placeable[s] for s, c in held.items()):
            moving.append(item)
        elif whole[item.uuid] is previous.was_whole(item.uuid):
            host.keep(item, held, whole=whole[item.uuid])
        elif item.guaranteed and whole[item.uuid]:
            # it was taken apart because it fitted no CPU: whole again once one has room for it
            least = min(host.reserved[c] for usable in set(placeable.values()) for c in usable)
            if least + item.reserved_cores <= _ROOM_CORES - _KEPT_IF_WITHIN_CORES:
                moving.append(item)
            else:
                host.keep(item, held, whole=False)
        else:
            moving.append(item)
    host.pack((item, whole[item.uuid]) for item in moving)


def _eased(host: _Host, items: Sequence[Item], other: _Host) -> bool:
    """Whether a few single moves made these homes about as good as the other ones, among which nearly all would move."""
    if len(host.cpus) <= FEW_CPUS:
        return False
    known = {item.uuid: item for item in items}
    for _ in range(_FEWEST_MOVES + int(_MOVES_PER_CPU * len(host.cpus))):
        if not host.ease(known):
            return False
        if host.about_as_good_as(other):
            return True
    return False


def _packed(cpus: Sequence[int], items: Sequence[Item], whole: Mapping[str, bool]) -> _Host:
    """Homes for all, evenly by load. Where reservations do not fit so: evenly by reservation, and then with guaranteed instances
    taken apart, which is what admission counts on."""
    apart = {i.uuid: whole[i.uuid] and (not i.guaranteed or len(_vcpus(i)) < 2) for i in items}
    found = []
    for by_reserved, shape in ((False, whole), (True, whole), (True, apart)):
        host = _Host(cpus, by_reserved=by_reserved)
        host.pack((item, shape[item.uuid]) for item in items)
        found.append(host)
        if host.overfull_cores <= 0:
            break
    return min(found, key=lambda host: host.overfull_cores)


def homes(cpus: Sequence[int], items: Sequence[Item], previous: Homes, *, improve: bool = True) -> Homes:
    """The home CPU of each stage that can be placed; the previous ones while they are about as good.

    ``improve``: whether to look for a better placement of all; without, only those move that must.
    ``cpus`` are numbers of CPUs, in any order and with gaps. Empty with fewer than two CPUs, or when no item is guaranteed anything.
    """
    if len(cpus) < 2 or not any(item.guaranteed for item in items):
        return Homes()
    whole = {i.uuid: _stays_whole(i, previous.was_whole(i.uuid), len(cpus)) for i in items}
    if not previous.at:
        best = _packed(cpus, items, whole)
    else:
        best = _Host(cpus)
        # those that were taken apart for want of room last: whether a CPU has room depends on all others
        order = sorted(items, key=lambda i: (whole[i.uuid] and previous.was_whole(i.uuid) is False, i.uuid))
        _kept(best, order, whole, previous)
        if improve and not best.about_as_good_as(anew := _packed(cpus, items, whole)) and not _eased(best, items, anew):
            best = anew
    return Homes(at=best.homes, spread=frozenset(best.spread & best.homes.keys()))
