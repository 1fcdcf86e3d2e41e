"""Which CPU each part of an instance runs on while the host is full, so that weights mean what they say.

A weight divides one CPU's queue exactly. Over several CPUs it holds only if the kernel spreads the groups so that each queue
carries its part, and with threads that sleep and wake thousands of times a second it does not: measured on two cores, two
instances entitled to 0.63 and 0.53 shared one CPU with half of the hog while a third, entitled to 0.33, had the other one alone
(0.9). Placed by entitlement the same weights gave 0.64, 0.62 and 0.34 (`docs/decisions/0007`).

This is bin packing: worst-fit decreasing (each piece to the emptiest CPU, the largest first), guaranteed instances before best
effort. An instance stays whole, since its stages hand work to one another (a disk guest whose vCPU and iothread were on two
CPUs paid twice the CPU for a byte), unless it has several vCPUs and much to do: more than one CPU can if it has a guarantee,
more than half a core if not. An old placement is kept while it is about as good. Nothing is placed while the host has idle
time, or when nobody who is guaranteed anything runs: then every thread may run anywhere.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from stella.model.snapshot import Role

Stage = tuple[Role, int]
Placement = Mapping[str, Mapping[Stage, int]]
"""For each instance (by uuid) the CPU of each of its stages."""

FULL_RATIO = 0.88
"""From this share of busy time on, a host counts as full; below `IDLE_RATIO` no longer."""
IDLE_RATIO = 0.72
_WHOLE_UP_TO_CORES = {True: 1.0, False: 0.5}
"""Up to so much an instance with several vCPUs stays on one CPU: one that has a guarantee, or one that is not.

A group spread over CPUs has its weight divided too, and a queue in which very light groups run beside heavy sleepers is not fair
on EEVDF kernels (`docs/decisions/0009`).
"""
_KEPT_IF_WITHIN_CORES = 0.06


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One instance that wants CPU now: ``stages`` holds each stage's part of it (sum 1).

    ``cores``: of what it wants, its reservation if it has a guarantee, else its allocation.
    """

    uuid: str
    cores: float
    guaranteed: bool
    stages: Mapping[Stage, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Piece:
    uuid: str
    cores: float
    stages: tuple[Stage, ...]


def full(was_full: bool, busy_ratio: float) -> bool:
    """Whether the host is full, with hysteresis. ``busy_ratio``: busy time over all cores, 0 to 1."""
    return busy_ratio >= (IDLE_RATIO if was_full else FULL_RATIO)


def _pieces(item: Item) -> list[_Piece]:
    """The instance whole, when it has one vCPU or little to do; else a piece for each vCPU.

    The stages that serve its I/O go with the first vCPU when the instance is best-effort, and as one piece when it is.
    """
    vcpus = [s for s in item.stages if s[0] is Role.VCPU]
    serving = tuple(s for s in item.stages if s[0] is not Role.VCPU)
    if len(vcpus) < 2 or item.cores <= _WHOLE_UP_TO_CORES[item.guaranteed]:
        return [_Piece(item.uuid, min(item.cores, 1.0), tuple(item.stages))]
    pieces = [_Piece(item.uuid, item.cores * item.stages[s], (s,)) for s in vcpus]
    cores = item.cores * sum(item.stages[s] for s in serving)
    if not serving:
        return pieces
    if item.guaranteed:
        return [*pieces, _Piece(item.uuid, cores, serving)]
    first = pieces[0]
    return [_Piece(item.uuid, first.cores + cores, first.stages + serving), *pieces[1:]]


def _pack(cpus: Sequence[int], items: Sequence[Item]) -> tuple[dict[str, dict[Stage, int]], dict[int, float]]:
    load = dict.fromkeys(cpus, 0.0)
    placed: dict[str, dict[Stage, int]] = {}
    for guaranteed in (True, False):
        pieces = [piece for item in items if item.guaranteed is guaranteed for piece in _pieces(item)]
        for piece in sorted(pieces, key=lambda p: (-p.cores, p.uuid, p.stages)):
            cpu = min(cpus, key=lambda c: (round(load[c], 6), c))
            load[cpu] += piece.cores
            placed.setdefault(piece.uuid, {}).update(dict.fromkeys(piece.stages, cpu))
    return placed, load


def _fullest_of(placement: Placement, cpus: Sequence[int], items: Sequence[Item]) -> float | None:
    """The load of the fullest CPU under an older placement; None when that does not cover what there is."""
    load = dict.fromkeys(cpus, 0.0)
    for item in items:
        held = placement.get(item.uuid)
        if held is None or set(held) != set(item.stages):
            return None
        cores = min(item.cores, 1.0) if len(_pieces(item)) == 1 else item.cores
        for stage, part in item.stages.items():
            if held[stage] not in load:
                return None
            load[held[stage]] += cores * part
    return max(load.values())


def fullest_cores(cpus: int, needs: Sequence[tuple[float, int]]) -> float:
    """What the fullest of ``cpus`` carries when promises are placed, each (cores, number of vCPUs)."""
    items = []
    for number, (cores, vcpus) in enumerate(needs):
        stages: dict[Stage, float] = {(Role.VCPU, n): 1.0 / vcpus for n in range(vcpus)}
        items.append(Item(uuid=f"{number:06d}", cores=cores, guaranteed=True, stages=stages))
    _, load = _pack(range(cpus), items)
    return max(load.values())


def place(cpus: Sequence[int], items: Sequence[Item], previous: Placement) -> Placement:
    """The CPU of each stage of each item; the previous placement while it is about as even. ``cpus`` are numbers of CPUs.

    Empty with fewer than two CPUs, or when no item is guaranteed anything.
    """
    if len(cpus) < 2 or not any(item.guaranteed for item in items):
        return {}
    placed, load = _pack(cpus, items)
    old = _fullest_of(previous, cpus, items)
    if old is not None and old <= max(load.values()) + _KEPT_IF_WITHIN_CORES:
        placed = {item.uuid: dict(previous[item.uuid]) for item in items}
    # one that sleeps stays where it was: it is not seen to want anything before it runs again
    return {**{uuid: stages for uuid, stages in previous.items() if uuid not in placed}, **placed}
