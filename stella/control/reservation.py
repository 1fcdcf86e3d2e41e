"""The CPU that an instance's floors need: the feed-forward.

    R = margin x ( max(cpu floor, sum of floor x c_vcpu) + sum of floor x c_io )

A CPU floor is the guest's own CPU time, in which its drivers run too, as on a real machine; QEMU's work for its I/O comes on top.
The entitlement is therefore right *before* a neighbour arrives, and there is nothing to converge.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stella.control.cost import UnitCost
from stella.model.slo import Metric, Objective, Slo

SERIAL_STAGE_CORES = 0.9
"""A thread of QEMU cannot use more than one core; above this a floor cannot be guaranteed."""

IO_WEIGHT_FACTOR = 32.0
_BUSY_RATIO = 0.5


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


def _needs(objectives: Sequence[Objective], costs: Mapping[Metric, UnitCost]) -> tuple[float, float]:
    """(vcpu, io) cores of one resource's floors: the dearer of its floors, since the same packets or requests carry them."""
    vcpu = [(o.floor or 0.0) * costs[o.metric].vcpu for o in objectives]
    io = [(o.floor or 0.0) * costs[o.metric].io for o in objectives]
    return max(vcpu, default=0.0), max(io, default=0.0)


def reserve(slo: Slo, costs: Mapping[Metric, UnitCost], *, vcpus: int, margin: float) -> Reservation:
    """What the floors of ``slo`` need. ``costs`` must hold every metric of `io_floors`; ``margin`` is 1 or more."""
    floors = io_floors(slo)
    network = _needs([o for o in floors if o.metric.resource == "network"], costs)
    block = _needs([o for o in floors if o.metric.resource == "block"], costs)
    guest = min(float(vcpus), max(slo.floor(Metric.CPU), network[0] + block[0]))
    # its timers cost QEMU something even where it does no I/O; where it does, they are in the cost of that
    timers = slo.floor(Metric.CPU) * costs[Metric.CPU].io if not floors else 0.0
    return Reservation(vcpu_cores=guest * margin, io_cores=(network[1] + block[1] + timers) * margin)


def io_has_priority(vcpu_busy_ratios: Sequence[float], *, computes: bool) -> bool:
    """Whether an instance's I/O threads must run at once.

    ``vcpu_busy_ratios``: the share of time in which each vCPU had something to do; ``computes``: it is guaranteed CPU as well.
    Against the vCPU that feeds it, an I/O thread must not have priority: one that runs at once for every packet or request does not
    batch (`docs/decisions/0011`). Against further vCPUs that always compute it must be: they never sleep, and would keep it
    waiting for whole slices.
    """
    busy = sum(1 for busy in vcpu_busy_ratios if busy >= _BUSY_RATIO)
    return busy > (1 if computes else 2)


def io_weight_factor(vcpu_busy_ratios: Sequence[float], *, io_priority: bool) -> float:
    """The weight of an instance's I/O threads in units of what their part of its CPU needs beside all its vCPUs; busy ones count."""
    if not vcpu_busy_ratios:
        return 1.0
    beside = max(1.0, sum(min(1.0, busy) for busy in vcpu_busy_ratios)) / len(vcpu_busy_ratios)
    return beside * (IO_WEIGHT_FACTOR if io_priority else 1.0)


def serial_cores(objective: Objective, costs: Mapping[Metric, UnitCost]) -> float:
    """CPU that this floor needs of one thread of QEMU, in cores."""
    return (objective.floor or 0.0) * costs[objective.metric].io
