"""Did the instance ask? From waiting threads and full queues to demand: what it would use if nothing held it back.

*Wait while runnable is demand that was not served.* It is evaluated per thread, the worst stage counting: under QEMU's global lock
the other threads sleep meanwhile, and a sum would hide it. A thread that also sleeps has finished what it was given: its demand
is what it used, however long it waited for it.
"""

from dataclasses import dataclass

from stella.control.rates import CpuRates, InstanceRates, StageRate
from stella.model.slo import Direction, Metric
from stella.model.snapshot import Role

FULL_BUSY_RATIO = 0.88
"""A thread with something to do for more of the time than this never caught up."""

STARVED_RATIO = 0.08
"""From this share of waiting on, a stage counts as starved rather than as its own limit."""

_QUEUE_NEVER_EMPTY = 0.7
_LOCK_STEP_BUSY = 1.05
_HARDLY_RAN_RATIO = 0.01
"""A pipeline that ran for less than this share of the time does not tell what it could do."""
_MOSTLY_WAITED_RATIO = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What an instance asked of one metric.

    ``asked`` is False when it was content with what it got. ``value`` is its demand in the metric's base unit, bounded by what
    its own vCPUs can use; with ``known`` False too little of it ran to tell its demand: ``value`` is then the least that it can be.
    ``limit`` is the stage that bounds it (None when nothing was full). ``starved_ratio`` is that of the stage that waited most.
    """

    asked: bool
    value: float
    limit: StageRate | None
    starved_ratio: float
    known: bool = True


def cpu_demand_cores(cpu: CpuRates, *roles: Role) -> float:
    """CPU that the threads (of these roles) would use if they never waited, in cores: at most one each."""
    return sum(
        min(1.0, s.busy_ratio) if s.busy_ratio >= FULL_BUSY_RATIO else s.run_ratio
        for s in cpu.stages
        if not roles or s.role in roles
    )


def _never_idle(cpu: CpuRates) -> list[StageRate]:
    return [s for s in cpu.stages if s.role is Role.VCPU and s.busy_ratio >= FULL_BUSY_RATIO]


def _pipeline(cpu: CpuRates, metric: Metric) -> list[StageRate]:
    """The stages that one packet or request passes: the busiest vCPU, then the thread of QEMU that serves it.

    Of several vCPUs that are never idle any may be the one that feeds it: the one that waited most counts.
    """
    serving = (Role.EMULATOR, Role.VHOST)
    if metric.resource == "block" and any(s.role is Role.IOTHREAD for s in cpu.stages):
        serving = (Role.IOTHREAD, Role.VHOST)
    feeding = max(_never_idle(cpu), key=lambda s: s.wait_ratio, default=cpu.fullest(Role.VCPU))
    stages = (feeding, cpu.fullest(*serving))
    return [s for s in stages if s is not None]


def of_io(metric: Metric, direction: Direction, rates: InstanceRates, usage: float) -> Demand:
    """Demand for packets, bytes or operations beside a usage in the same unit.

    It asked for more when a stage of its pipeline was never idle, when the stages in lock-step fill the time together, when its
    disk queue never ran empty, or when packets for it were dropped at the tap. What it could then get is usage over the time
    that the pipeline's fullest stage ran: the rate it would reach if no stage ever waited.
    """
    if rates.cpu is None:
        return Demand(asked=False, value=usage, limit=None, starved_ratio=0.0)
    pipeline = _pipeline(rates.cpu, metric)
    worst = max(pipeline, key=lambda s: s.wait_ratio, default=None)
    starved = worst.starved_ratio if worst else 0.0
    full = max(pipeline, key=lambda s: s.busy_ratio, default=None)
    saturated = full is not None and (
        full.busy_ratio >= FULL_BUSY_RATIO or sum(s.busy_ratio for s in pipeline) >= _LOCK_STEP_BUSY
    )
    dropped = 0.0
    if (
        metric.resource == "network"
        and rates.network
        and direction is not Direction.TX
        and rates.network.rx_packets > 0
    ):
        lost = rates.network.rx_drops / rates.network.rx_packets
        dropped = usage * lost
    if (
        metric.resource == "network"
        and rates.network
        and direction is not Direction.RX
        and rates.network.tx_packets > 0
    ):
        dropped += usage * rates.network.tx_drops / rates.network.tx_packets
    if metric.resource == "network" and direction is Direction.RX:
        return Demand(
            asked=dropped > 0, value=usage + dropped, limit=full if saturated else None, starved_ratio=starved
        )
    queued = metric.resource == "block" and rates.block is not None and rates.block.in_flight >= _QUEUE_NEVER_EMPTY
    if not (saturated or queued or dropped > 0):
        return Demand(asked=False, value=usage, limit=None, starved_ratio=starved)
    running = max((s.run_ratio for s in pipeline), default=0.0)
    if running < _HARDLY_RAN_RATIO and starved > _MOSTLY_WAITED_RATIO:
        return Demand(asked=True, value=usage + dropped, limit=full, starved_ratio=starved, known=False)
    value = max(usage / max(running, _HARDLY_RAN_RATIO), usage + dropped)
    if starved > _MOSTLY_WAITED_RATIO and len(_never_idle(rates.cpu)) > 1:
        return Demand(asked=True, value=value, limit=full, starved_ratio=starved, known=False)
    limit = max(pipeline, key=lambda s: s.run_ratio, default=None)
    return Demand(asked=True, value=value, limit=limit, starved_ratio=starved)


def of_cpu(rates: InstanceRates, usage: float) -> Demand:
    """Demand for the guest's own CPU time, in cores, bounded by its vCPUs; time in its own ceiling's throttle is demand too."""
    if rates.cpu is None:
        return Demand(asked=False, value=usage, limit=None, starved_ratio=0.0)
    value = min(float(rates.vcpus), cpu_demand_cores(rates.cpu, Role.VCPU) + rates.cpu.throttled_ratio)
    worst = rates.cpu.worst(Role.VCPU)
    return Demand(
        asked=value > usage * 1.01,
        value=max(value, usage),
        limit=rates.cpu.fullest(Role.VCPU),
        starved_ratio=worst.starved_ratio if worst else 0.0,
    )
