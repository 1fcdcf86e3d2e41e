"""What one instance is to get: its claim on the host's CPU, and the allocation once the host is divided."""

import math
from collections.abc import Mapping

from stella.control import block_limits
from stella.control.best_effort_throttle import OWED_SECONDS
from stella.control.cpu import CpuClaim, CpuShare, spread_ceiling
from stella.control.cpu_sets import Placement
from stella.control.demand import cpu_demand_cores
from stella.control.inner_weights import io_has_priority, io_weight, io_weight_factor, vcpu_weight_factors
from stella.control.instance_state import ACTIVE_CORES, InstanceState, starved_ratio
from stella.control.link_ceilings import allocations
from stella.control.placement import Item, Stage
from stella.control.reservation import io_floors
from stella.control.uplink import Way
from stella.control.uplinks import said
from stella.model.allocation import CpuAllocation, InstanceDecision
from stella.model.slo import Metric
from stella.model.snapshot import GroupReading, Role

_BUSY_OVER_SECONDS = 2.0
_LEAST_STAGE_CORES = 0.01
_ROOM_TO_GROW_RATIO, _ROOM_TO_GROW_CORES = 1.25, 0.05


def claim(state: InstanceState) -> CpuClaim:
    """Its claim on the host's CPU."""
    slo = state.intent.slo if state.intent else None
    weighted = slo.objective(Metric.CPU) if slo else None
    return CpuClaim(
        uuid=state.reading.uuid,
        reserved_cores=state.intent.reserved_cpu_cores if state.intent else 0.0,
        floor_cores=state.reservation.cores,
        needed_cores=state.reservation.cores * state.memory.feedback.factor,
        active=state.rates is not None and state.rates.end_seconds < state.memory.active_until_seconds,
        weight=(weighted.weight if weighted and weighted.weight else 1.0),
        priority=max((o.priority for o in slo.objectives), default=0) if slo else 0,
        demand_cores=_wanted_cores(state),
    )


def _wanted_cores(state: InstanceState) -> float:
    """The most that it will want before the next tick; not bounded while a floor is missed or its demand is not known."""
    cpu = state.rates.cpu if state.rates else None
    if cpu is None or state.frozen or state.memory.feedback.debt_seconds > 0:
        return math.inf
    lately = sum(state.memory.stage_demand_cores.values())
    return max(lately, cpu_demand_cores(cpu)) * _ROOM_TO_GROW_RATIO + _ROOM_TO_GROW_CORES


def _ceilings(state: InstanceState, throttled_cores: float | None) -> tuple[float | None, ...]:
    """The bound of each vCPU, by index, from a bound over all of them: asked for, or for the neighbours' sake; empty without one."""
    objective = state.intent.slo.objective(Metric.CPU) if state.intent else None
    asked = objective.ceiling if objective else None
    ceiling = min((c for c in (asked, throttled_cores) if c is not None), default=None)
    if ceiling is None or state.frozen or state.rates is None or state.rates.cpu is None:
        return ()
    vcpus = {s.index: s for s in state.rates.cpu.stages if s.role is Role.VCPU}
    used = [vcpus[i].run_ratio if i in vcpus else 0.0 for i in range(state.reading.vcpus)]
    throttled = [vcpus[i].throttled_ratio if i in vcpus else 0.0 for i in range(state.reading.vcpus)]
    return tuple(spread_ceiling(ceiling, used, throttled))


def _busy_ratios(state: InstanceState) -> Mapping[Stage, float]:
    """The share of time in which each stage had something to do.

    Over more than a tick, because a vCPU that waits long looks idle meanwhile.
    """
    ticks = [t for t in state.memory.ticks if t.end_seconds > state.memory.ticks[-1].end_seconds - _BUSY_OVER_SECONDS]
    busy: dict[Stage, float] = {}
    for tick in ticks:
        for stage in tick.cpu.stages if tick.cpu else ():
            key = (stage.role, stage.index)
            busy[key] = busy.get(key, 0.0) + stage.busy_ratio / len(ticks)
    return busy


def _io_weighting(state: InstanceState, busy: Mapping[Stage, float]) -> tuple[bool, float]:
    """`io_has_priority` and `io_weight_factor`. Beside a single vCPU I/O threads have no priority."""
    if state.reading.vcpus < 2:
        return False, 1.0
    vcpus = [ratio for stage, ratio in busy.items() if stage[0] is Role.VCPU]
    slo = state.intent.slo if state.intent else None
    io_priority = io_has_priority(vcpus, computes=bool(slo and slo.floor(Metric.CPU) > 0))
    return io_priority, io_weight_factor(vcpus, io_priority=io_priority)


def _vcpu_weights(
    state: InstanceState, got: CpuShare, placement: Placement, busy: Mapping[Stage, float], weight_factor: float
) -> tuple[float, ...]:
    """`vcpu_weight_factors` by index; empty where all are 1, and where stages are not confined to one CPU each."""
    homes = placement.homes.at.get(state.reading.uuid, {})
    if any(len(cpus) != 1 for cpus in placement.sets.get(state.reading.uuid, {}).values()):
        return ()
    weight = io_weight(state.reservation.io_ratio, weight_factor, vcpus=state.reading.vcpus)
    factors = vcpu_weight_factors(homes, busy, got.placed_cores, weight)
    return tuple(factors.get(index, 1.0) for index in range(state.reading.vcpus)) if factors else ()


def _batching(state: InstanceState, *, io_priority: bool) -> tuple[Role, ...]:
    """Which of its threads must not interrupt, when they wake, whoever runs (`docs/decisions/0011`)."""
    if io_priority:
        return (Role.EMULATOR,)  # never the iothread: the vCPUs that it would wait for do not sleep
    promised_io = (
        state.intent is not None and bool(io_floors(state.intent.slo)) and not state.intent.slo.floor(Metric.CPU)
    )
    return (*((Role.VCPU,) if promised_io else ()), Role.EMULATOR, Role.IOTHREAD)


def _allowed(group: GroupReading, host_cpus: tuple[int, ...]) -> tuple[int, ...]:
    """The CPUs that a group may be confined to; none where it has no cpuset. An empty cpuset is the parent's: any CPU."""
    if group.cpus is None:
        return ()
    bound = group.allowed_cpus if group.allowed_cpus is not None else group.cpus
    return bound or host_cpus


def _reserved_parts(wanted: Mapping[Stage, float], io_ratio: float) -> Mapping[Stage, float]:
    """The part of each stage in a reservation (sum 1), from what each wants: its I/O threads have theirs whatever its vCPUs want."""
    vcpus = sum(cores for stage, cores in wanted.items() if stage[0] is Role.VCPU)
    serving = sum(wanted.values()) - vcpus
    if vcpus <= 0 or serving <= 0:
        return {}
    return {
        stage: (1.0 - io_ratio) * cores / vcpus if stage[0] is Role.VCPU else io_ratio * cores / serving
        for stage, cores in wanted.items()
    }


def item(state: InstanceState, got: CpuShare, host_cpus: tuple[int, ...]) -> Item | None:
    """What this instance will use of its allocation and where it may run; None when it wants hardly anything or is frozen.

    ``host_cpus``: the numbers of the CPUs that this host may use.
    """
    cpu = state.rates.cpu if state.rates else None
    groups = {(g.role, g.index): g for g in state.reading.groups or () if g.role is not None}
    if cpu is None or state.frozen or not groups:
        return None
    demand = sum(min(1.0, s.busy_ratio) for s in cpu.stages)
    if demand < ACTIVE_CORES:
        return None
    # by demand, not by use: what a stage uses depends on where it was placed
    wanted = {stage: cores + _LEAST_STAGE_CORES for stage, cores in state.memory.stage_demand_cores.items()}
    total = sum(wanted.values())
    guaranteed = state.reservation.cores > 0
    admitted = state.intent.reserved_cpu_cores if state.intent else 0.0
    feedback = state.memory.feedback
    # a debt is paid back within a second: who moves for it moves back, and each move costs a window
    lasting = state.reservation.cores * (1.0 + feedback.gain)
    return Item(
        uuid=state.reading.uuid,
        allocation_cores=min(got.allocation_cores, demand),
        reserved_cores=min(got.reservation_cores, state.reservation.cores, admitted, demand) if guaranteed else 0.0,
        granted_cores=min(got.reservation_cores, lasting, demand) if guaranteed else 0.0,
        best_effort_cores=min(got.best_effort_cores, demand),
        guaranteed=guaranteed,
        stages={stage: cores / total for stage, cores in wanted.items()},
        reserved_parts=_reserved_parts(wanted, state.reservation.io_ratio) if guaranteed else {},
        demand_cores=state.memory.stage_demand_cores,
        allowed={stage: _allowed(groups[stage], host_cpus) if stage in groups else () for stage in wanted},
        owed=feedback.debt_seconds > OWED_SECONDS,
        strained=feedback.gain > 0,
    )


def decided(
    state: InstanceState,
    got: CpuShare,
    placement: Placement,
    throttled_cores: float | None,
    uplink_shares: Mapping[Way, float] | None = None,
    block_shares: Mapping[str, block_limits.BlockShare] | None = None,
) -> InstanceDecision:
    """The decision for one instance, with its reason. ``uplink_shares``: what it may have of full uplinks.

    ``block_shares``: what it may take of each back end that is full, or on which a latency target is missed.
    """
    cpu = state.rates.cpu if state.rates else None
    feedback = state.memory.feedback
    busy = _busy_ratios(state)
    io_priority, weight_factor = _io_weighting(state, busy)
    reason = "no SLO: shares what is left by weight"
    if throttled_cores is not None:
        reason += f", bounded to {throttled_cores:.3f} cores: it had more while a promise beside it was missed"
    if state.intent:
        parts = [f"floors need {state.reservation.cores:.3f} cores"]
        if feedback.debt_seconds > 0 or feedback.gain > 0:
            parts.append(f"debt {feedback.debt_seconds:.2f} s, gain {feedback.gain:.2f}")
        parts.append(f"granted {got.reservation_cores:.3f} of {state.intent.reserved_cpu_cores:.3f} reserved")
        reason = ", ".join(parts)
    for way, rate in (uplink_shares or {}).items():
        reason += f", {said(way, rate, state.rates)}"
    for name, share in sorted((block_shares or {}).items()):
        told = [
            f"{v:.0f} {k}/s" for k, v in (("bytes", share.bytes), ("operations", share.operations)) if v is not None
        ]
        reason += f", may take {' and '.join(told)} of the back end {name}"
    slo = state.intent.slo if state.intent else None
    return InstanceDecision(
        uuid=state.reading.uuid,
        name=state.reading.name,
        managed=state.intent is not None,
        frozen=state.frozen,
        cpu=CpuAllocation(
            reservation_cores=got.reservation_cores,
            allocation_cores=got.allocation_cores,
            io_ratio=state.reservation.io_ratio,
            io_weight_factor=weight_factor,
            vcpu_weight_factors=() if state.frozen else _vcpu_weights(state, got, placement, busy, weight_factor),
            batching=_batching(state, io_priority=io_priority) if placement.homes.at and not state.frozen else (),
            vcpu_ceilings_cores=_ceilings(state, throttled_cores),
            placement=tuple((r, i, cpus) for (r, i), cpus in placement.sets.get(state.reading.uuid, {}).items()),
        ),
        usage_cores=cpu.cores() if cpu else 0.0,
        demand_cores=cpu_demand_cores(cpu) if cpu else 0.0,
        starved_ratio=starved_ratio(state.rates),
        objectives=state.reports,
        reason=reason,
        network=allocations(slo, state.reading.links, state.rates, uplink_shares),
        block=block_limits.allocations(slo, state.reading.disks, state.memory.disks, block_shares),
    )
