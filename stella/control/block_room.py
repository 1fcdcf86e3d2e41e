"""Admission to the shared back ends: block floors of all instances on one fit what it carries."""

from collections.abc import Mapping
from dataclasses import dataclass

from stella.control.block_backends import capacities, floors
from stella.model import units
from stella.model.slo import Metric, Slo
from stella.model.snapshot import DiskReading, Snapshot

_UNITS = {"bytes": "bytes/s", "operations": "operations/s"}
_METRICS = {"bytes": Metric.BLOCK_BYTES, "operations": Metric.BLOCK_OPERATIONS}


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockLack:
    """Why floors do not fit: the metric of the floor, the ``largest`` value of it that would fit, and a sentence."""

    metric: Metric
    largest: float
    message: str


def block_room(uuid: str, slo: Slo, others: Mapping[str, Slo], snapshot: Snapshot) -> BlockLack | None:
    """Why the block floors of ``slo`` do not fit beside those of ``others`` (by uuid); None where they do.

    An instance counts whole on each back end where it has a disk: on which of them it will ask, nobody can tell. So does one that is
    not seen now, on all of them.
    """
    need = floors(slo)
    mine = snapshot.instance(uuid)
    if not any(need.values()) or mine is None:
        return None
    disks = mine.disks or ()
    limited = _beyond_throttle(slo, disks[0]) if len(disks) == 1 else None
    if limited is not None:
        return limited
    tightest: tuple[float, str, str, float] | None = (
        None  # the part of the need that fits, where, of what, and how much is free
    )
    for backend in snapshot.host.block_backends:
        if backend.name not in _on(snapshot, uuid):
            continue
        for kind, capacity in capacities(backend).items():
            held = sum(
                floors(other)[kind]
                for u, other in others.items()
                if u != uuid and (snapshot.instance(u) is None or backend.name in _on(snapshot, u))
            )
            free = max(0.0, capacity - held)
            if need[kind] > free and (tightest is None or free / need[kind] < tightest[0]):
                tightest = (free / need[kind], backend.name, kind, free)
    if tightest is None:
        return None
    part, name, kind, free = tightest
    metric = _METRICS[kind] if slo.floor(_METRICS[kind]) else next(m for m in _METRICS.values() if slo.floor(m))
    message = (
        f"the floors need {units.show(need[kind], _UNITS[kind])} of the back end {name} and it has "
        f"{units.show(free, _UNITS[kind])} left to guarantee"
    )
    return BlockLack(metric=metric, largest=slo.floor(metric) * part, message=message)


def _on(snapshot: Snapshot, uuid: str) -> set[str]:
    reading = snapshot.instance(uuid)
    return {disk.backend for disk in reading.disks or () if disk.backend} if reading else set()


def _beyond_throttle(slo: Slo, disk: DiskReading) -> BlockLack | None:
    """A floor above what others than Stella limit its only disk to."""
    floor, limits = slo.floor(Metric.BLOCK_BYTES), disk.allowed_throttle
    limit = limits.limit("total_bytes_sec") if limits else None
    if limit is None or floor <= limit:
        return None
    message = f"its disk {disk.name} is limited to {units.show(limit, 'bytes/s')} by its flavor or an operator"
    return BlockLack(metric=Metric.BLOCK_BYTES, largest=float(limit), message=message)
