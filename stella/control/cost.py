"""What I/O costs in CPU: learned per instance, from a prior until there is history.

The CPU of a guest that does I/O is split three ways: its vCPUs (drivers and its own computing), QEMU's main loop (network, and
disks without an iothread), and its iothreads (disks). Model, with x the I/O rates and y the CPU in cores:

    y_vcpu = own + c_vcpu . x        (``own``: what the guest computes for itself)
    y_io   =       c_io   . x        (the main loop and the iothreads work for I/O alone)

``c_io`` is the ratio of the sums over the last seconds. For ``c_vcpu`` the same ratio is an upper bound, exact while the guest does
nothing else, so its *lower envelope* is taken: it follows a ratio that falls and rises only slowly, and own computing, which only
ever makes I/O look dearer, moves it little. What the envelope is then wrong by is the feedback's work. Ticks with almost no I/O are
ignored: their ratio is noise. (A regression of y on x with an intercept was tried and is wrong just where it matters: an instance
that is short of CPU has y fixed by its share while x jitters, which flattens the slope to half; `docs/decisions/0008`.)
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from stella.control.rates import CpuRates, InstanceRates, usage
from stella.model.slo import Direction, Metric
from stella.model.snapshot import Role

HALF_LIFE_SECONDS = 4.0
HISTORY_SECONDS = 5.0
_ALMOST_NO_IO = {
    Metric.NETWORK_PACKETS: 500.0,
    Metric.NETWORK_BYTES: 100e3,
    Metric.BLOCK_BYTES: 2e6,
    Metric.BLOCK_OPERATIONS: 50.0,
    Metric.CPU: 0.02,
}
"""Below these rates a tick teaches nothing."""

_ENVELOPE_RISE_PER_SECOND = 0.005


@dataclass(frozen=True, slots=True, kw_only=True)
class Prior:
    """CPU seconds per packet, per operation and per byte, in the guest (``vcpu``) and in QEMU (``io``), before there is history.

    A guest that only computes makes QEMU work too, for its timers: ``io_per_vcpu_second``.
    """

    vcpu_per_packet: float = 12e-6
    io_per_packet: float = 11e-6
    vcpu_per_operation: float = 50e-6
    io_per_operation: float = 40e-6
    vcpu_per_byte: float = 0.25e-9
    io_per_byte: float = 0.3e-9
    io_per_vcpu_second: float = 0.06

    def unit_costs(self, metric: Metric, unit_bytes: float) -> tuple[float, float]:
        """(vcpu, io) CPU seconds per unit of ``metric``, for packets or requests of ``unit_bytes``."""
        size = max(unit_bytes, 1.0)
        match metric:
            case Metric.CPU:
                return 1.0, self.io_per_vcpu_second
            case Metric.NETWORK_PACKETS:
                return self.vcpu_per_packet, self.io_per_packet
            case Metric.NETWORK_BYTES:  # a byte rate is carried by full frames: bulk senders fill them
                frame = max(size, 1448.0)
                return self.vcpu_per_packet / frame, self.io_per_packet / frame
            case Metric.BLOCK_BYTES:
                return (
                    self.vcpu_per_operation / size + self.vcpu_per_byte,
                    self.io_per_operation / size + self.io_per_byte,
                )
            case Metric.BLOCK_OPERATIONS:
                return (
                    self.vcpu_per_operation + size * self.vcpu_per_byte,
                    self.io_per_operation + size * self.io_per_byte,
                )
        return 0.0, 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitCost:
    """CPU seconds per unit of one metric, in the guest (``vcpu``) and in QEMU (``io``), and the sums they were learned from.

    ``seconds`` is the time with I/O behind it. The sums are forgotten: of x in units and of CPU in core-seconds.
    """

    metric: Metric
    unit_bytes: float
    vcpu: float
    io: float
    seconds: float = 0.0
    sum_x: float = 0.0
    sum_vcpu: float = 0.0
    sum_io: float = 0.0

    @property
    def estimated(self) -> bool:
        """Whether this still rests on the host's prior."""
        return self.seconds < HISTORY_SECONDS


def initial(metric: Metric, unit_bytes: float, prior: Prior) -> UnitCost:
    """The cost before any history, for packets or requests of ``unit_bytes``."""
    vcpu, io = prior.unit_costs(metric, unit_bytes)
    return UnitCost(metric=metric, unit_bytes=unit_bytes, vcpu=vcpu, io=io)


def io_cores(cpu: CpuRates, metric: Metric, share: float) -> float:
    """CPU of QEMU's threads that is charged to this metric, in cores.

    Iothreads serve disks alone. The main loop serves both, and keeps the timers that either needs: ``share`` of it is charged.
    """
    iothreads = cpu.cores(Role.IOTHREAD) if metric.resource == "block" else 0.0
    return iothreads + cpu.cores(Role.EMULATOR, Role.VHOST) * share


def rate(cost: UnitCost, rates: InstanceRates) -> float | None:
    """The I/O rate that this cost is per unit of, both directions together; None when it is not known."""
    return usage(cost.metric, Direction.BOTH, rates, cost.unit_bytes)


def learn(cost: UnitCost, rates: InstanceRates, *, vcpu_share: float = 1.0, io_share: float = 1.0) -> UnitCost:
    """The cost after one more tick.

    ``vcpu_share`` and ``io_share`` (0 to 1) are the parts of the CPU seen that are charged to this metric when an instance does
    network and block I/O at once; the rest is charged to the other, in proportion to what each costs as known now.
    """
    x = rate(cost, rates)
    if rates.cpu is None or x is None or x < _ALMOST_NO_IO[cost.metric]:
        return cost
    dt = min(rates.seconds, 2.0)
    y_vcpu = rates.cpu.vcpu_cores * vcpu_share
    y_io = io_cores(rates.cpu, cost.metric, io_share)
    keep = 0.5 ** (dt / HALF_LIFE_SECONDS)
    sum_x = cost.sum_x * keep + x * dt
    sum_vcpu = cost.sum_vcpu * keep + y_vcpu * dt
    sum_io = cost.sum_io * keep + y_io * dt
    ratio = sum_vcpu / sum_x
    risen = cost.vcpu * (1.0 + _ENVELOPE_RISE_PER_SECOND * dt)
    return replace(
        cost,
        vcpu=ratio if cost.seconds < 1.0 else min(ratio, risen),  # the first second replaces the prior
        io=sum_io / sum_x,
        seconds=cost.seconds + dt,
        sum_x=sum_x,
        sum_vcpu=sum_vcpu,
        sum_io=sum_io,
    )


def learn_all(costs: Mapping[Metric, UnitCost], rates: InstanceRates) -> Mapping[Metric, UnitCost]:
    """Every cost of an instance after one more tick, the CPU seen being divided between network and block I/O."""
    if rates.cpu is None:
        return costs
    predicted: dict[str, tuple[float, float]] = {}
    for resource, metric in (("network", Metric.NETWORK_PACKETS), ("block", Metric.BLOCK_BYTES)):
        x = rate(costs[metric], rates) or 0.0
        predicted[resource] = (x * costs[metric].vcpu, x * costs[metric].io)
    vcpu = sum(p[0] for p in predicted.values())
    io = sum(p[1] for p in predicted.values())
    learned: dict[Metric, UnitCost] = {}
    doing_io = any((rate(c, rates) or 0.0) >= _ALMOST_NO_IO[m] for m, c in costs.items() if m is not Metric.CPU)
    for metric, cost in costs.items():
        if metric is Metric.CPU:
            learned[metric] = cost if doing_io else learn(cost, rates)
            continue
        mine = predicted[metric.resource]
        learned[metric] = learn(
            cost,
            rates,
            vcpu_share=mine[0] / vcpu if vcpu > 0 else 1.0,
            io_share=mine[1] / io if io > 0 else 1.0,
        )
    return learned
