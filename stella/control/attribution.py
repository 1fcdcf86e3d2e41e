"""One objective, evaluated over a tick or a window: its status, and the cause where it was missed.

The cause is the largest part of the shortfall: what CPU wait took, what block latency above the unloaded baseline took, what was
dropped or queued on the network. What is left over is the instance's own limit. CPU wait is subtracted first, since a
request that waits for a CPU looks slow on the back end as well.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from stella.control import demand as asking
from stella.control.rates import InstanceRates, mean_unit_bytes, usage
from stella.model.allocation import ObjectiveReport
from stella.model.attainment import TOLERANCE_RATIO, Cause, Status
from stella.model.slo import Direction, Metric, Objective
from stella.model.snapshot import Role

_MOSTLY_OVERRUN_RATIO = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationContext:
    """What else bears on the evaluation.

    ``reservation_fits`` is False when the host could not grant the whole reservation. ``baseline_latency_seconds`` is the
    lowest mean latency lately seen on its disks (None: unknown). ``demands``: what it asked for when it last ran at all, by metric.
    ``reaches_throttle``: QEMU's limit holds its disks, which looks like latency; ``restrained``: that limit is for the sake of others.
    ``backend_full``: a back end that it shares carries all it can.
    """

    reservation_fits: bool = True
    baseline_latency_seconds: float | None = None
    demands: Mapping[Metric, float] = field(default_factory=dict)
    reaches_throttle: bool = False
    restrained: bool = False
    backend_full: bool = False


def _unknown(objective: Objective, kind: str, value: float) -> ObjectiveReport:
    return ObjectiveReport(
        metric=objective.metric,
        kind=kind,
        value=value,
        usage=None,
        demand=None,
        status=Status.UNKNOWN,
        cause=Cause.SENSOR,
    )


def _missed(
    objective: Objective, floor: float, got: float, wanted: asking.Demand, rates: InstanceRates, here: EvaluationContext
) -> tuple[Status, Cause | None]:
    """The status of a floor that was not reached, and its cause."""
    if not wanted.asked:
        if _may_be_lost_before_the_host(objective, rates):
            return Status.UNKNOWN, Cause.SENSOR
        return Status.NO_DEMAND, None
    limit = wanted.limit
    if objective.metric is Metric.CPU and floor > rates.vcpus and wanted.value >= rates.vcpus * TOLERANCE_RATIO:
        return Status.SELF_LIMITED, None
    serving_full = limit is not None and limit.role is not Role.VCPU and limit.run_ratio >= asking.FULL_BUSY_RATIO
    if wanted.value < floor * TOLERANCE_RATIO:
        if serving_full:
            return Status.VIOLATED, Cause.HOST
        saturated_itself = limit is not None and limit.busy_ratio >= asking.FULL_BUSY_RATIO
        return (Status.SELF_LIMITED if saturated_itself else Status.NO_DEMAND), None
    shortfalls = _shortfalls(objective, got, wanted, rates, here)
    cause = max(shortfalls, key=lambda c: shortfalls[c])
    if shortfalls[cause] <= 0:
        return (Status.VIOLATED, Cause.HOST) if serving_full else (Status.SELF_LIMITED, None)
    if cause is Cause.CPU and not here.reservation_fits:
        return Status.DEGRADED, Cause.CAPACITY
    return Status.VIOLATED, cause


def _may_be_lost_before_the_host(objective: Objective, rates: InstanceRates) -> bool:
    """Whether what it receives may have been dropped where this host cannot see it: its uplink received all it can carry."""
    receives = objective.metric.resource == "network" and objective.direction is not Direction.TX
    return receives and rates.overrun_ratio >= _MOSTLY_OVERRUN_RATIO


def _shortfalls(
    objective: Objective, got: float, wanted: asking.Demand, rates: InstanceRates, here: EvaluationContext
) -> dict[Cause, float]:
    """How much of the metric each cause took, in its base unit."""
    found = {Cause.CPU: 0.0}
    if wanted.starved_ratio >= asking.STARVED_RATIO:
        found[Cause.CPU] = got * wanted.starved_ratio / max(1e-9, 1.0 - wanted.starved_ratio) + 1e-9
    if objective.metric.resource == "block" and (here.backend_full or here.restrained):
        found[Cause.BLOCK] = wanted.value - got - found[Cause.CPU]
    elif objective.metric.resource == "block" and here.reaches_throttle:
        found[Cause.BLOCK] = 0.0  # its own ceiling, or an operator's: no back end is to blame
    elif objective.metric.resource == "block" and rates.block and here.baseline_latency_seconds:
        latency = rates.block.mean_latency_seconds(objective.direction)
        worst = rates.cpu.worst(Role.IOTHREAD, Role.EMULATOR) if rates.cpu else None
        if latency:
            # what its own threads waited for a CPU looks like latency: the vCPU that must take the interrupt as well
            unloaded = latency * (1.0 - max(wanted.starved_ratio, worst.starved_ratio if worst else 0.0)) ** 2
            found[Cause.BLOCK] = got * max(0.0, unloaded / here.baseline_latency_seconds - 2.0)
    if objective.metric.resource == "network" and rates.network:
        found[Cause.NETWORK] = wanted.value - got if rates.network.tx_drops > 0 else 0.0
        if rates.network.rx_drops > 0 and wanted.starved_ratio < asking.STARVED_RATIO:
            found[Cause.NETWORK] = rates.network.rx_drops
    return found


def evaluate(objective: Objective, rates: InstanceRates | None, here: EvaluationContext) -> tuple[ObjectiveReport, ...]:
    """The reports of one objective: one for each of floor, ceiling and target that it has (a bare weight promises nothing)."""
    kinds = [(k, v) for k in ("floor", "ceiling", "target") if (v := getattr(objective, k)) is not None]
    if rates is None:
        return tuple(_unknown(objective, kind, value) for kind, value in kinds)
    got = usage(objective.metric, objective.direction, rates, objective.unit_bytes)
    reports = []
    for kind, stated in kinds:
        if kind == "target":
            reports.append(_evaluate_latency(objective, stated, got, rates, here))
            continue
        if got is None or rates.cpu is None:
            reports.append(_unknown(objective, kind, stated))
            continue
        wanted = (
            asking.of_cpu(rates, got)
            if objective.metric is Metric.CPU
            else asking.of_io(objective.metric, objective.direction, rates, got)
        )
        if not wanted.known:
            wanted = replace(wanted, value=max(wanted.value, here.demands.get(objective.metric, 0.0)))
        value, cause = stated, None
        if kind == "ceiling":
            status = Status.MET if got <= value / TOLERANCE_RATIO else Status.VIOLATED
            cause = None if status is Status.MET else Cause.HOST
        else:
            value = objective.effective_floor(mean_unit_bytes(objective.metric, objective.direction, rates)) or stated
            status = Status.MET
            if got < value * TOLERANCE_RATIO:
                status, cause = _missed(objective, value, got, wanted, rates, here)
        reports.append(
            ObjectiveReport(
                metric=objective.metric,
                kind=kind,
                value=value,
                usage=got,
                demand=wanted.value,
                status=status,
                cause=cause,
            )
        )
    return tuple(reports)


def _evaluate_latency(
    objective: Objective, target: float, got: float | None, rates: InstanceRates, here: EvaluationContext
) -> ObjectiveReport:
    """A latency target: the mean over the interval; no operations, no demand."""
    if rates.block is None:
        return _unknown(objective, "target", target)
    status, cause = Status.NO_DEMAND, None
    if got is not None:
        status = Status.MET
        if got * TOLERANCE_RATIO > target:
            worst = rates.cpu.worst() if rates.cpu else None
            status, cause = Status.VIOLATED, Cause.BLOCK
            if worst and worst.starved_ratio >= 0.5:
                cause = Cause.CPU
            elif here.reaches_throttle and not here.restrained:
                status, cause = Status.SELF_LIMITED, None  # it asked for more than its ceiling
    return ObjectiveReport(
        metric=objective.metric, kind="target", value=target, usage=got, demand=got, status=status, cause=cause
    )
