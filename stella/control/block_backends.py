"""A shared back end: what each instance may take of it, for floors, weights and latency targets.

The operator states what a back end carries, in bytes/s, in operations/s, or both. While it is full, each of these is divided by the
law of every shared resource that is full (`stella.control.dividing`): floors first, the rest by weight. A disk's queue does not tell
how much more its guest would want. So an instance whose queue never runs empty counts as wanting its floor, and half as much again as
it has; one that its limit holds counts as wanting all there is.

Latency targets hold back the instances without a target (`stella.control.block_latency`). An instance with a target is never held back
for the weights of others, only for their floors: a limit of its own would be latency again.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from stella.control.block_latency import FREE, Allowance, follow
from stella.control.block_limits import OPERATION_BYTES, BlockShare, used
from stella.control.dividing import Contender, Division, divide, limits_within
from stella.control.rates import BlockRates
from stella.model.slo import Metric, Slo
from stella.model.snapshot import BlockBackend

USABLE_RATIO = 0.95
_REACHED_RATIO = 0.9
_QUEUE_NEVER_EMPTY = 0.7
_MORE_RATIO, _MORE_PART_RATIO = 1.5, 0.02
_GROWTH_RATIO, _GROWTH_PART_RATIO = 1.05, 0.005
_TARGET_GROWTH_RATIO = 1.25
_KINDS = ("bytes", "operations")
_KEPT_SECONDS = 2.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Taker:
    """One instance on one back end: what it takes there, how many of its operations are under way, and its claim.

    ``floors`` and ``ceilings`` are by kind (``bytes``, ``operations``), as far as there are any. ``limit`` held while ``taken`` was
    measured. ``latency_ratio`` is latency / target; None without a request, or while its own limit makes the latency.
    """

    uuid: str
    taken: Mapping[str, float]
    in_flight: float = 0.0
    floors: Mapping[str, float] = field(default_factory=dict)
    ceilings: Mapping[str, float] = field(default_factory=dict)
    weight: float = 1.0
    priority: int = 0
    has_target: bool = False
    latency_ratio: float | None = None
    limit: BlockShare = field(default_factory=BlockShare)

    def is_held(self, kind: str) -> bool:
        """Whether its limit keeps it from more."""
        limit = getattr(self.limit, kind)
        return limit is not None and self.taken[kind] >= limit * _REACHED_RATIO

    @property
    def is_queued(self) -> bool:
        """Whether its queue never runs empty: it may want more than it has."""
        return not self.has_target and self.in_flight >= _QUEUE_NEVER_EMPTY

    def contender(self, kind: str, usable: float, *, eager: bool = False) -> Contender:
        """Its claim on one of the capacities. With a target it comes after all floors, and before the weights.

        ``eager``: what its queue holds counts as wanting all there is.
        """
        taken, floor = self.taken[kind], self.floors.get(kind, 0.0)
        if self.is_held(kind) or (eager and self.is_queued):
            asks = math.inf
        elif self.has_target:
            asks = max(taken * _TARGET_GROWTH_RATIO + usable * _MORE_PART_RATIO, floor)
        elif self.is_queued:
            asks = max(taken * _MORE_RATIO + usable * _MORE_PART_RATIO, floor * _GROWTH_RATIO)
        else:
            asks = taken * _GROWTH_RATIO + usable * _GROWTH_PART_RATIO
        before_weights = self.has_target and floor == 0.0
        return Contender(
            uuid=self.uuid,
            offered=taken,
            through=taken,
            floor=min(asks, usable) if before_weights else floor,
            weight=self.weight,
            priority=-1 if before_weights else self.priority,
            ceiling=self.ceilings.get(kind, math.inf),
            limit=getattr(self.limit, kind),
            asks=asks,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendState:
    """What is remembered of a back end: a division by kind of capacity, the allowance, and which share each instance has.

    ``recent`` has the shares decided lately and when (monotonic seconds), the last one at the end.
    """

    divisions: Mapping[str, Division] = field(default_factory=dict)
    allowance: Allowance = FREE
    shares: Mapping[str, BlockShare] = field(default_factory=dict)
    recent: tuple[tuple[float, Mapping[str, BlockShare]], ...] = ()

    def contended(self, now_seconds: float) -> bool:
        """Whether one of its capacities is full."""
        return any(now_seconds < one.contended_until_seconds for one in self.divisions.values())

    def limit_in(self, uuid: str, start_seconds: float, end_seconds: float) -> BlockShare:
        """The tightest share that an instance had within an interval."""
        ends = [*(at for at, _ in self.recent[1:]), math.inf]
        held = [
            shares.get(uuid, BlockShare())
            for (begin, shares), end in zip(self.recent, ends, strict=False)
            if begin < end_seconds and end > start_seconds
        ]
        found = {k: [v for s in held if (v := getattr(s, k)) is not None] for k in _KINDS}
        return BlockShare(**{kind: min(values) for kind, values in found.items() if values})


def capacities(backend: BlockBackend) -> dict[str, float]:
    """What may be used of a back end, by kind; what is not stated is not divided."""
    stated = {"bytes": backend.capacity_bytes_per_second, "operations": backend.capacity_operations_per_second}
    return {kind: capacity * USABLE_RATIO for kind, capacity in stated.items() if capacity > 0}


def taken(rates: Sequence[BlockRates]) -> dict[str, float]:
    """What these disks take together, by kind of capacity."""
    return {
        "bytes": sum(used(one, "total", "bytes", OPERATION_BYTES) for one in rates),
        "operations": sum(used(one, "total", "iops", OPERATION_BYTES) for one in rates),
    }


def floors(slo: Slo) -> dict[str, float]:
    """What the block floors of an instance may take of a back end, by kind: each counts in both, with the requests that it names."""
    found = dict.fromkeys(_KINDS, 0.0)
    bytes_, operations = slo.objective(Metric.BLOCK_BYTES), slo.objective(Metric.BLOCK_OPERATIONS)
    if bytes_ is not None and bytes_.floor:
        found = {
            "bytes": bytes_.floor,
            "operations": bytes_.floor / min(bytes_.unit_bytes or OPERATION_BYTES, OPERATION_BYTES),
        }
    if operations is not None and operations.floor:
        size = operations.unit_bytes or OPERATION_BYTES
        found["bytes"] = max(found["bytes"], operations.floor * size)
        found["operations"] = max(found["operations"], operations.floor * max(1.0, size / OPERATION_BYTES))
    return found


def step(backend: BlockBackend, takers: Sequence[Taker], before: BackendState, now_seconds: float) -> BackendState:
    """The shares of one back end for the next tick."""
    usable = capacities(backend)
    claimed = any(t.weight != 1.0 or any(t.floors.values()) for t in takers)
    divisions: dict[str, Division] = {}
    limits: dict[str, dict[str, float]] = {kind: {} for kind in _KINDS}
    for kind, capacity in usable.items() if claimed else ():
        carried = sum(t.taken[kind] for t in takers)
        contenders = [t.contender(kind, capacity) for t in takers]
        found = divide(capacity, carried, contenders, before.divisions.get(kind, Division()), now_seconds)
        divisions[kind] = found
        if now_seconds < found.contended_until_seconds:
            limits[kind] = _bounded(found.limits, takers, kind, capacity)
    others = [t for t in takers if not t.has_target]
    allowance = FREE
    if len(others) < len(takers):
        allowance = follow(
            before.allowance,
            worst_ratio=max((t.latency_ratio for t in takers if t.latency_ratio is not None), default=None),
            others_ratio=max(sum(t.taken[kind] for t in others) / capacity for kind, capacity in usable.items()),
            now_seconds=now_seconds,
        )
    if allowance.ratio is not None:
        for kind, capacity in usable.items():
            budget = max(allowance.ratio * capacity, sum(t.floors.get(kind, 0.0) for t in others))
            found_limits = limits_within(budget, [t.contender(kind, budget) for t in others])
            for uuid, limit in _bounded(found_limits, others, kind, budget).items():
                limits[kind][uuid] = min(limit, limits[kind].get(uuid, limit))
    shares = {
        t.uuid: BlockShare(**{kind: limits[kind][t.uuid] for kind in _KINDS if t.uuid in limits[kind]})
        for t in takers
        if any(t.uuid in limits[kind] for kind in _KINDS)
    }
    recent = before.recent
    if not recent or shares != before.shares:
        kept = [n for n, (at, _) in enumerate(recent) if at < now_seconds - _KEPT_SECONDS]
        recent = (*recent[kept[-1] if kept else 0 :], (now_seconds, shares))
    return BackendState(divisions=divisions, allowance=allowance, shares=shares, recent=recent)


def _bounded(limits: Mapping[str, float], takers: Sequence[Taker], kind: str, capacity: float) -> dict[str, float]:
    """The limits, and bounds for those that have none but may want more: the part of each if all of these wanted all there is.

    Without a bound one would take what its neighbours' limits leave, and more, before the next reading tells.
    """
    eager = limits_within(capacity, [t.contender(kind, capacity, eager=True) for t in takers])
    queued = {t.uuid for t in takers if t.is_queued}
    return {**{uuid: limit for uuid, limit in eager.items() if uuid in queued}, **limits}
