"""Limits of disks, each in one throttle: the ceiling that was asked for, the share of a back end, and what others than Stella allow.

QEMU limits bytes and operations of a disk, or of a group of disks together; of all traffic (``total``), or of reads and writes apart.
An instance's disks are one group, so that one limit serves them all. Several groups (*units*) are needed where disks lie on
different back ends, or where libvirt, Nova or an operator limit one of them already; a limit for all of them is spread by what each
uses, by the law of network ceilings (`stella.control.link_ceilings.spread`). What others set is never exceeded: for each kind the
tighter limit counts. QEMU takes no ``total`` beside a limit of reads or of writes: then the total is spread over both.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stella.control.link_ceilings import Part, spread
from stella.control.rates import BlockRates
from stella.model.allocation import DiskAllocation
from stella.model.slo import Metric, Slo
from stella.model.snapshot import NO_THROTTLE, DiskReading, Throttle

OPERATION_BYTES = 16_384.0
"""Capacities and shares of back ends count operations of this size."""
_KINDS = {Metric.BLOCK_BYTES: "bytes", Metric.BLOCK_OPERATIONS: "iops"}
_SIZE = "size_iops_sec"
_REACHED_RATIO = 0.9
_WAYS = {"both": "total", "read": "read", "write": "write"}


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockShare:
    """What an instance may take of one back end: bytes/s, and operations/s of `OPERATION_BYTES`; None: not limited."""

    bytes: float | None = None
    operations: float | None = None


@dataclass(frozen=True, slots=True)
class _Unit:
    """Disks that share one throttle."""

    name: str
    backend: str
    disks: tuple[DiskReading, ...]
    before: Throttle
    now: Throttle

    def used(self, way: str, kind: str, unit_bytes: float, rates: Mapping[str, BlockRates]) -> float:
        return sum(used(rates[d.name], way, kind, unit_bytes) for d in self.disks if d.name in rates)


def used(rates: BlockRates, way: str, kind: str, unit_bytes: float) -> float:
    """Bytes/s, or operations/s of ``unit_bytes`` (see `stella.control.rates.usage`), of ``total``, ``read`` or ``write``."""
    ways = ("read", "write") if way == "total" else (way,)
    sent = sum(float(getattr(rates, f"{one}_bytes")) for one in ways)
    operations = sum(float(getattr(rates, f"{one}_operations")) for one in ways)
    return sent if kind == "bytes" else max(operations, sent / unit_bytes)


def operation_bytes(slo: Slo | None) -> float:
    """The size of an operation in an instance's limits."""
    objective = slo.objective(Metric.BLOCK_OPERATIONS) if slo else None
    return objective.unit_bytes if objective and objective.unit_bytes else OPERATION_BYTES


def limitable(disk: DiskReading) -> bool:
    """Whether a throttle of this disk is known and acts."""
    return disk.throttle is not None and disk.allowed_throttle is not None and not disk.unlimited_because


def reaches_throttle(disks: Sequence[DiskReading], rates: Mapping[str, BlockRates]) -> bool:
    """Whether QEMU's limit holds one of these disks: what its requests wait for then is no back end."""
    throttles = {d.throttle for d in disks if d.throttle}
    for one in throttles:
        together = [rates[d.name] for d in disks if d.throttle == one and d.name in rates]
        size = float(one.limit(_SIZE) or math.inf)
        for way in _WAYS.values():
            for kind in _KINDS.values():
                limit = one.limit(f"{way}_{kind}_sec")
                if limit and sum(used(r, way, kind, size) for r in together) >= limit * _REACHED_RATIO:
                    return True
    return False


def allocations(
    slo: Slo | None,
    disks: Sequence[DiskReading] | None,
    rates: Mapping[str, BlockRates],
    shares: Mapping[str, BlockShare] | None = None,
) -> tuple[DiskAllocation, ...]:
    """Each disk that is to be limited. ``shares``: of each back end that is restrained, by its name."""
    units, size = _units(disks or ()), operation_bytes(slo)
    asked: dict[str, dict[str, float]] = {unit.name: {} for unit in units}
    for metric, kind in _KINDS.items():
        objective = slo.objective(metric) if slo else None
        if objective is not None and objective.ceiling is not None:
            _add(asked, objective.ceiling, _WAYS[objective.direction.value], kind, units, rates, size)
    limits = {name: dict(caps) for name, caps in asked.items()}
    for backend, share in (shares or {}).items():
        on_it = [unit for unit in units if unit.backend == backend]
        if share.bytes is not None:
            _add(limits, share.bytes, "total", "bytes", on_it, rates, size)
        if share.operations is not None:
            # a larger unit counts large operations less often: what is left over for small ones is less than the share
            _add(limits, share.operations * min(1.0, OPERATION_BYTES / size), "total", "iops", on_it, rates, size)
    return tuple(
        DiskAllocation(
            disk=disk.name,
            unit=unit.name,
            limit=_throttle(unit, limits[unit.name], size, rates),
            ceiling=_throttle(unit, asked[unit.name], size, rates),
        )
        for unit in units
        if limits[unit.name]
        for disk in unit.disks
    )


def _units(disks: Sequence[DiskReading]) -> list[_Unit]:
    found: dict[tuple[str, str], list[DiskReading]] = {}
    for disk in disks:
        if limitable(disk):
            before = disk.allowed_throttle or NO_THROTTLE
            own = "" if before == NO_THROTTLE else f"group {before.group}" if before.group else f"disk {disk.name}"
            found.setdefault((disk.backend, own), []).append(disk)
    return [
        _Unit(
            name=each[0].name,
            backend=backend,
            disks=tuple(each),
            before=each[0].allowed_throttle or NO_THROTTLE,
            now=each[0].throttle or NO_THROTTLE,
        )
        for (backend, _), each in found.items()
    ]


def _add(
    caps: dict[str, dict[str, float]],
    total: float,
    way: str,
    kind: str,
    units: Sequence[_Unit],
    rates: Mapping[str, BlockRates],
    size: float,
) -> None:
    """Bound each unit to its part of ``total``; what bounds it already stays where it is tighter."""
    name = f"{way}_{kind}_sec"
    parts = [Part(used=u.used(way, kind, size, rates), dropped=0.0, limit=_held(u.now, name)) for u in units]
    for unit, limit in zip(units, spread(total, parts) if parts else (), strict=True):
        caps[unit.name][name] = min(limit, caps[unit.name].get(name, math.inf))


def _held(throttle: Throttle, name: str) -> float | None:
    limit = throttle.limit(name)
    return None if limit is None else float(limit)


def _throttle(unit: _Unit, caps: Mapping[str, float], size: float, rates: Mapping[str, BlockRates]) -> Throttle:
    """What these caps and what was there before come to, without a group."""
    limits = dict(unit.before.limits)
    for kind in ("bytes", "iops"):
        names = {way: f"{way}_{kind}_sec" for way in ("total", "read", "write")}
        if not any(name in caps for name in names.values()):
            continue
        bounds = {w: min(caps.get(n, math.inf), _held(unit.before, n) or math.inf) for w, n in names.items()}
        limits = {name: value for name, value in limits.items() if f"_{kind}_sec" not in name or name == _SIZE}
        if bounds["total"] < math.inf and min(bounds["read"], bounds["write"]) < math.inf:
            ways = [
                Part(used=unit.used(w, kind, size, rates), dropped=0.0, limit=_held(unit.now, names[w]))
                for w in ("read", "write")
            ]
            read, write = spread(bounds["total"], ways)
            left = max(0.0, read - bounds["read"]) + max(0.0, write - bounds["write"])
            bounds = {"read": min(bounds["read"], read + left), "write": min(bounds["write"], write + left)}
        limits |= {names[way]: max(1, int(bound + 1e-6)) for way, bound in bounds.items() if bound < math.inf}
        if kind == "iops":
            limits[_SIZE] = int(min(size, limits.get(_SIZE, size)))
    return Throttle(limits=tuple(sorted(limits.items())))
