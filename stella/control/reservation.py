"""The CPU that an instance's floors need: the feed-forward.

    R = margin x ( max(cpu floor, sum of floor x c_vcpu) + sum of floor x c_io )

A CPU floor is the guest's own CPU time, in which its drivers run too, as on a real machine; QEMU's work for its I/O comes on top.
The entitlement is therefore right *before* a neighbour arrives, and there is nothing to converge. The costs are those of the direction
and of the packet or request size that each floor names (`cost.unit_price`).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from stella.control.cost import UnitCost, unit_price
from stella.model.slo import Metric, Objective, Slo

SERIAL_STAGE_CORES = 0.9
"""A thread of QEMU cannot use more than one core; above this a floor cannot be guaranteed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """CPU for the floors of one instance, in cores, margin included: ``vcpu_cores`` for the guest, ``io_cores`` for QEMU's threads."""

    vcpu_cores: float
    io_cores: float

    @property
    def cores(self) -> float:
        """Both together."""
        return self.vcpu_cores + self.io_cores

    @property
    def io_ratio(self) -> float:
        """The part of it that QEMU's I/O threads need."""
        return self.io_cores / self.cores if self.cores > 0 else 0.0


def io_floors(slo: Slo) -> tuple[Objective, ...]:
    """The objectives with a floor that costs I/O work."""
    return tuple(o for o in slo.objectives if o.floor is not None and o.metric is not Metric.CPU)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """CPU seconds per unit of each floor of one SLO: ``vcpu`` in the guest, ``io`` in QEMU; ``timers`` per core of a CPU floor."""

    vcpu: Mapping[Metric, float]
    io: Mapping[Metric, float]
    timers: float

    def guest_cores(self, floors: Mapping[Metric, float]) -> float:
        """CPU of the guest that these floors need, in cores."""
        io = self._of(_NETWORK, self.vcpu, floors) + self._of(_BLOCK, self.vcpu, floors)
        return max(floors.get(Metric.CPU, 0.0), io)

    def network_cores(self, floors: Mapping[Metric, float]) -> float:
        """CPU of QEMU for the network floors, in cores."""
        return self._of(_NETWORK, self.io, floors)

    def block_cores(self, floors: Mapping[Metric, float]) -> float:
        """CPU of QEMU for the block floors, in cores."""
        return self._of(_BLOCK, self.io, floors)

    def reservation(self, floors: Mapping[Metric, float], *, vcpus: int, margin: float) -> Reservation:
        """What ``floors`` (metric to floor in its base unit) need. A ``margin`` below 1, or none at all, counts as 1."""
        guest = min(float(vcpus), self.guest_cores(floors))
        io = self.network_cores(floors) + self.block_cores(floors)
        if not self.io:
            # its timers cost QEMU something even where it does no I/O; where it does, they are in the cost of that
            io = floors.get(Metric.CPU, 0.0) * self.timers
        larger = max(1.0, margin)
        return Reservation(vcpu_cores=guest * larger, io_cores=io * larger)

    @staticmethod
    def _of(metrics: Iterable[Metric], prices: Mapping[Metric, float], floors: Mapping[Metric, float]) -> float:
        """The dearest floor of one resource, since the same packets or requests carry them all."""
        return max((floors[m] * prices[m] for m in metrics if m in prices), default=0.0)


_NETWORK = tuple(m for m in Metric if m.resource == "network")
_BLOCK = tuple(m for m in Metric if m.resource == "block")


def prices(slo: Slo, costs: Mapping[Metric, UnitCost]) -> Prices:
    """What each floor of ``slo`` costs per unit. ``costs`` must hold every metric of `io_floors`."""
    found = {o.metric: unit_price(costs[o.metric], o.direction, o.unit_bytes) for o in io_floors(slo)}
    timers = costs[Metric.CPU].io if slo.floor(Metric.CPU) else 0.0
    return Prices(vcpu={m: p[0] for m, p in found.items()}, io={m: p[1] for m, p in found.items()}, timers=timers)


def floors_of(slo: Slo) -> dict[Metric, float]:
    """The floors of ``slo`` by metric, in base units."""
    return {o.metric: o.floor for o in slo.objectives if o.floor is not None}


def reserve(slo: Slo, costs: Mapping[Metric, UnitCost], *, vcpus: int, margin: float) -> Reservation:
    """What the floors of ``slo`` need. ``costs`` must hold every metric of `io_floors`; ``margin`` is 1 or more."""
    return prices(slo, costs).reservation(floors_of(slo), vcpus=vcpus, margin=margin)
