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

**Size.** What is learned is the cost of one unit in packets or requests of ``unit_bytes``, whatever sizes were seen. A request costs
``a`` for itself and ``b`` for each of its bytes; only one size is seen at a time, so the two are not learned apart: their ratio
``k = a / b`` (bytes) is the prior's. ``n`` requests a second with ``B`` bytes a second then cost ``b (k n + B)``, and the rate of
bytes in requests of size ``u`` that costs the same is

    x = (k n + B) / (k / u + 1)        for operations of size u:  x = (k n + B) / (k + u)

This is linear in ``n`` and ``B``, so it holds for mixed sizes, and where all requests have the size ``u`` it is ``B`` (or ``n``)
itself. A learned cost is expressed for another size by the ratio of the two denominators (`at_size`). Bytes in requests larger than
``u`` are cheaper than priced; in smaller ones the floor shrinks in proportion (`Objective.effective_floor`), and with it never costs
more than priced. Packets are counted as they are: what a packet costs hardly depends on its size. Bytes on the network are priced in
full frames.

**Direction.** A floor on one direction counts its own packets only, but TCP's acknowledgements, or a server's answers, come with them.
`both_per_unit` is how much of both directions came with each unit of the one (`docs/decisions/0015`).
"""

import math
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
_FRAME_BYTES = 1448.0
_FRAME_IN_BYTES = 65536.0
"""A packet's own work in units of what one byte more costs: a copy of 64 KiB takes about as long as a packet's way through QEMU."""

_ACKNOWLEDGED_BYTES_RATIO = 1.5
"""A byte rate in one direction is taken for TCP until traffic is seen: one acknowledgement for every second segment (RFC 1122)."""

_LARGEST_BOTH_PER_UNIT = {"network": 3.0, "block": 2.0}
"""Of traffic that goes the other way, only so much counts: TCP seen from the side that acknowledges; a read for every write."""


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
                frame = max(size, _FRAME_BYTES)
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


_REQUEST_IN_BYTES = (50e-6 + 40e-6) / (0.25e-9 + 0.3e-9)
"""A request's own work in units of what one of its bytes costs (164 kB): the ratio of the fields of `Prior`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitCost:
    """CPU seconds per unit of one metric, in the guest (``vcpu``) and in QEMU (``io``), and the sums they were learned from.

    The cost is that of packets or requests of ``unit_bytes``. ``seconds`` is the time with I/O behind it. The sums are forgotten: of x
    in units (of it ``sum_forward`` was sent or read; None: not known) and of CPU in core-seconds.
    """

    metric: Metric
    unit_bytes: float
    vcpu: float
    io: float
    seconds: float = 0.0
    sum_x: float = 0.0
    sum_vcpu: float = 0.0
    sum_io: float = 0.0
    sum_forward: float | None = None

    @property
    def usable(self) -> bool:
        """Whether every number is finite and none is negative: a damaged file may hold anything."""
        first = (self.unit_bytes, self.vcpu, self.io, self.seconds)
        numbers = (*first, self.sum_x, self.sum_vcpu, self.sum_io, self.sum_forward or 0.0)
        return min(numbers) >= 0 and math.isfinite(sum(numbers))

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


def _denominator(metric: Metric, unit_bytes: float) -> float:
    """What a unit in requests of ``unit_bytes`` costs, in units of a byte's own cost; 1 for what does not depend on size."""
    size = max(unit_bytes, 1.0)
    match metric:
        case Metric.BLOCK_BYTES:
            return _REQUEST_IN_BYTES / size + 1.0
        case Metric.BLOCK_OPERATIONS:
            return _REQUEST_IN_BYTES + size
        case Metric.NETWORK_BYTES:
            return _FRAME_IN_BYTES / max(size, _FRAME_BYTES) + 1.0
    return 1.0


def rate(cost: UnitCost, rates: InstanceRates, direction: Direction = Direction.BOTH) -> float | None:
    """The rate, in units of this cost, that costs as much CPU as the I/O seen in ``direction``; None when that is not known."""
    match cost.metric:
        case Metric.BLOCK_BYTES | Metric.BLOCK_OPERATIONS:
            count = usage(Metric.BLOCK_OPERATIONS, direction, rates)
            sent, own = usage(Metric.BLOCK_BYTES, direction, rates), _REQUEST_IN_BYTES
        case Metric.NETWORK_BYTES:
            count = usage(Metric.NETWORK_PACKETS, direction, rates)
            sent, own = usage(Metric.NETWORK_BYTES, direction, rates), _FRAME_IN_BYTES
        case _:
            return usage(cost.metric, direction, rates, cost.unit_bytes)
    if count is None or sent is None:
        return None
    return (own * count + sent) / _denominator(cost.metric, cost.unit_bytes)


def _teaching_rate(cost: UnitCost, rates: InstanceRates) -> float | None:
    """`rate` of both directions; None when there was hardly any I/O, as it was counted or by what it cost."""
    x, least = rate(cost, rates), _ALMOST_NO_IO[cost.metric]
    if x is None or not x >= least:
        return None
    if cost.metric in (Metric.CPU, Metric.NETWORK_PACKETS):
        return x  # is what was counted
    counted = usage(cost.metric, Direction.BOTH, rates, cost.unit_bytes)
    return x if counted is not None and counted >= least else None


def at_size(cost: UnitCost, unit_bytes: float) -> UnitCost:
    """The same cost, and what it was learned from, for packets or requests of another size."""
    if unit_bytes == cost.unit_bytes:
        return cost
    ratio = _denominator(cost.metric, unit_bytes) / _denominator(cost.metric, cost.unit_bytes)
    return replace(
        cost,
        unit_bytes=unit_bytes,
        vcpu=cost.vcpu * ratio,
        io=cost.io * ratio,
        sum_x=cost.sum_x / ratio,
        sum_forward=None if cost.sum_forward is None else cost.sum_forward / ratio,
    )


def both_per_unit(cost: UnitCost, direction: Direction) -> float:
    """Units of both directions that come with one unit of ``direction``, 1 or more.

    Learned from the traffic of the last seconds. Before there is any: 1 for packets and disks, whose floors may be one-way, and TCP's
    acknowledgements for bytes on the network.
    """
    if direction is Direction.BOTH or cost.metric is Metric.CPU:
        return 1.0
    if cost.estimated or cost.sum_forward is None or cost.sum_x <= 0:
        return _ACKNOWLEDGED_BYTES_RATIO if cost.metric is Metric.NETWORK_BYTES else 1.0
    forward = direction in (Direction.TX, Direction.READ)
    mine = cost.sum_forward if forward else cost.sum_x - cost.sum_forward
    largest = _LARGEST_BOTH_PER_UNIT[cost.metric.resource]
    return max(1.0, cost.sum_x / mine) if mine * largest > cost.sum_x else largest


def unit_price(cost: UnitCost, direction: Direction, unit_bytes: float) -> tuple[float, float]:
    """(vcpu, io) CPU seconds per unit of a floor on ``direction`` in packets or requests of ``unit_bytes`` (0: those of the cost)."""
    sized = at_size(cost, unit_bytes) if unit_bytes > 0 else cost
    both = both_per_unit(cost, direction)
    return sized.vcpu * both, sized.io * both


def learn(cost: UnitCost, rates: InstanceRates, *, vcpu_share: float = 1.0, io_share: float = 1.0) -> UnitCost:
    """The cost after one more tick; unchanged by a tick with hardly any I/O, or with a number that is negative or not finite.

    ``vcpu_share`` and ``io_share`` (0 to 1) are the parts of the CPU seen that are charged to this metric when an instance does
    network and block I/O at once; the rest is charged to the other, in proportion to what each costs as known now.
    """
    x = _teaching_rate(cost, rates)
    return cost if x is None else _learned(cost, rates, x, vcpu_share, io_share)


def _learned(cost: UnitCost, rates: InstanceRates, x: float, vcpu_share: float, io_share: float) -> UnitCost:
    if rates.cpu is None:
        return cost
    if cost.sum_forward is None:  # written by a release that did not know sizes and directions: learned anew
        cost = replace(cost, seconds=0.0, sum_x=0.0, sum_vcpu=0.0, sum_io=0.0, sum_forward=0.0)
    forward = rate(cost, rates, Direction.READ if cost.metric.resource == "block" else Direction.TX) or 0.0
    dt = min(rates.seconds, 2.0)
    y_vcpu = rates.cpu.vcpu_cores * vcpu_share
    y_io = io_cores(rates.cpu, cost.metric, io_share)
    if not (dt > 0 and all(math.isfinite(n) and n >= 0 for n in (dt, x, forward, y_vcpu, y_io))):
        return cost
    keep = 0.5 ** (dt / HALF_LIFE_SECONDS)
    sum_x = cost.sum_x * keep + x * dt
    if sum_x <= 0:
        return cost
    sum_vcpu = cost.sum_vcpu * keep + y_vcpu * dt
    sum_io = cost.sum_io * keep + y_io * dt
    ratio = sum_vcpu / sum_x
    risen = cost.vcpu * (1.0 + _ENVELOPE_RISE_PER_SECOND * dt)
    learned = replace(
        cost,
        vcpu=ratio if cost.seconds < 1.0 else min(ratio, risen),  # the first second replaces the prior
        io=sum_io / sum_x,
        seconds=cost.seconds + dt,
        sum_x=sum_x,
        sum_vcpu=sum_vcpu,
        sum_io=sum_io,
        sum_forward=(cost.sum_forward or 0.0) * keep + forward * dt,
    )
    return learned if learned.usable else cost


def learn_all(costs: Mapping[Metric, UnitCost], rates: InstanceRates) -> Mapping[Metric, UnitCost]:
    """Every cost of an instance after one more tick, the CPU seen being divided between network and block I/O."""
    if rates.cpu is None:
        return costs
    taught = {metric: _teaching_rate(cost, rates) for metric, cost in costs.items()}
    predicted: dict[str, tuple[float, float]] = {}
    for resource, metric in (("network", Metric.NETWORK_PACKETS), ("block", Metric.BLOCK_BYTES)):
        x = taught[metric] or 0.0
        predicted[resource] = (x * costs[metric].vcpu, x * costs[metric].io)
    vcpu = sum(p[0] for p in predicted.values())
    io = sum(p[1] for p in predicted.values())
    learned: dict[Metric, UnitCost] = {}
    doing_io = any(x is not None for metric, x in taught.items() if metric is not Metric.CPU)
    for metric, cost in costs.items():
        if metric is Metric.CPU:
            learned[metric] = cost if doing_io else learn(cost, rates)
            continue
        mine, seen = predicted[metric.resource], taught[metric]
        shares = (mine[0] / vcpu if vcpu > 0 else 1.0, mine[1] / io if io > 0 else 1.0)
        learned[metric] = cost if seen is None else _learned(cost, rates, seen, *shares)
    return learned
