"""What the control law remembers from tick to tick, and what an operator has set."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from stella.control.account_clock import AccountClock
from stella.control.block_backends import BackendState
from stella.control.cost import Prior, UnitCost, at_size, initial
from stella.control.cpu_sets import Placement
from stella.control.feedback import Feedback
from stella.control.placement import Stage
from stella.control.rates import BlockRates, InstanceRates
from stella.control.uplink import UplinkState, Way
from stella.model.slo import Metric, Slo
from stella.model.snapshot import Snapshot

_REQUEST_BYTES = {
    Metric.CPU: 0.0,
    Metric.NETWORK_PACKETS: 64.0,
    Metric.NETWORK_BYTES: 1448.0,
    Metric.BLOCK_BYTES: 65536.0,
    Metric.BLOCK_OPERATIONS: 16384.0,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What an operator has set. ``capacity_cores`` 0 means all cores; ``margin`` is 1 or more.

    The host's own work takes what was measured, at least ``host_reserved_cores``; exactly that if not ``overhead_is_measured``.
    """

    capacity_cores: float = 0.0
    host_reserved_cores: float = 0.1
    overhead_is_measured: bool = True
    margin: float = 1.1
    prior: Prior = field(default_factory=Prior)


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceMemory:
    """What is remembered of one instance from tick to tick.

    It counts as active until ``active_until_seconds`` (monotonic): the kernel stores a thread's waiting when it ends, so one that
    is starved altogether looks idle for a while, and must not lose its share for it. ``demands`` is what it asked of each metric
    with a floor when it last ran at all, in the metric's base unit. ``stage_demand_cores`` is the CPU that each stage would use if
    it never waited, lately. After a migration it is frozen until ``settled_after_seconds`` (monotonic). ``disks`` has the
    last rates of each disk, measured over ``disks_span_seconds``. ``reaches_throttle``: QEMU's limit holds one of them;
    ``restrained``: a share of a back end does. ``backend_full``: one that it lies on is.
    """

    costs: Mapping[Metric, UnitCost]
    feedback: Feedback = field(default_factory=Feedback)
    block: BlockRates | None = None
    baseline_latency_seconds: float | None = None
    ticks: tuple[InstanceRates, ...] = ()
    demands: Mapping[Metric, float] = field(default_factory=dict)
    fits: bool = True
    active_until_seconds: float = 0.0
    stage_demand_cores: Mapping[Stage, float] = field(default_factory=dict)
    settled_after_seconds: float = 0.0
    disks: Mapping[str, BlockRates] = field(default_factory=dict)
    disks_span_seconds: tuple[float, float] = (0.0, 0.0)
    reaches_throttle: bool = False
    restrained: bool = False
    backend_full: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What is remembered from tick to tick.

    ``clock`` tells the first window not yet closed. ``accepted``: for each intent its generation and the monotonic second at which
    that was first decided upon. ``throttled``: the bound of each neighbour that has one, in cores. ``uplink_ratios``: by
    uplink, the part of what instances sent in the last tick that it carried. ``overrun``: the uplinks that received all they can.
    """

    previous: Snapshot | None = None
    instances: Mapping[str, InstanceMemory] = field(default_factory=dict)
    overhead_cores: float | None = None
    parent_factor: float = 1.0
    full: bool = False
    placement: Placement = field(default_factory=Placement)
    throttled: Mapping[str, float] = field(default_factory=dict)
    clock: AccountClock | None = None
    accepted: Mapping[str, tuple[int, float]] = field(default_factory=dict)
    uplinks: Mapping[Way, UplinkState] = field(default_factory=dict)
    uplink_ratios: Mapping[str, float] = field(default_factory=dict)
    overrun: frozenset[str] = frozenset()
    backends: Mapping[str, BackendState] = field(default_factory=dict)


def fresh_costs(prior: Prior, slo: Slo | None = None) -> dict[Metric, UnitCost]:
    """What everything costs before there is any history."""
    return {metric: initial(metric, size, prior) for metric, size in _sizes(slo).items()}


def _sizes(slo: Slo | None) -> dict[Metric, float]:
    """The packets or requests that each metric is priced for: the smallest that its floor promises."""
    named = {o.metric: o.unit_bytes for o in slo.objectives if o.unit_bytes > 0} if slo else {}
    return {metric: named.get(metric, size) for metric, size in _REQUEST_BYTES.items()}


def priced(costs: Mapping[Metric, UnitCost], prior: Prior, slo: Slo | None) -> Mapping[Metric, UnitCost]:
    """The same costs for the sizes that ``slo`` guarantees (the usual ones where it names none).

    A cost that still rests on the prior is taken from it again; a learned one is expressed for the other size (`cost.at_size`). One
    that is missing, or holds what is no cost, begins again with the prior.
    """
    again: dict[Metric, UnitCost] = {}
    for metric, size in _sizes(slo).items():
        known = costs.get(metric)
        if known is None or not known.usable:
            again[metric] = initial(metric, size, prior)
        elif known.unit_bytes != size:
            again[metric] = initial(metric, size, prior) if known.estimated else at_size(known, size)
    return {**costs, **again} if again else costs


def remembered(memory: Memory, uuid: str, prior: Prior, slo: Slo | None = None) -> Mapping[Metric, UnitCost]:
    """The CPU costs of an instance as known now: learned, or from the prior."""
    known = memory.instances.get(uuid)
    return priced(known.costs, prior, slo) if known else fresh_costs(prior, slo)


def capacity_for_floors(memory: Memory, cores: int, settings: Settings) -> float:
    """CPU that instances can have on this host, in cores: capacity without what the host's own work takes or is reserved for it.

    Admission guarantees all of it but `cpu.SMALLEST_REST_RATIO`.
    """
    capacity = min(float(cores), settings.capacity_cores or float(cores))
    return max(0.0, capacity - _taken_by_the_host(memory, settings))


def capacity_of_one_cpu(memory: Memory, cores: int, settings: Settings) -> float:
    """The part of one CPU that instances can have, 0 to 1: what the host takes is taken evenly."""
    return max(0.0, 1.0 - _taken_by_the_host(memory, settings) / max(cores, 1))


def _taken_by_the_host(memory: Memory, settings: Settings) -> float:
    measured = memory.overhead_cores if settings.overhead_is_measured else None
    return max(measured or 0.0, settings.host_reserved_cores)
