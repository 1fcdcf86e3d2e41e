"""What one instance is to get: its claim on the host's CPU, and the allocation once the host is divided."""

from stella.control import placement as packing
from stella.control.cpu import CpuClaim, CpuShare, spread_ceiling
from stella.control.demand import cpu_demand_cores
from stella.control.placement import Item, Placement
from stella.control.reservation import io_floors, io_generosity, io_is_eager
from stella.control.seen import ACTIVE_CORES, Seen, starved_ratio
from stella.model.allocation import CpuAllocation, InstanceDecision
from stella.model.slo import Metric
from stella.model.snapshot import Role

_BUSY_OVER_SECONDS = 2.0


def claim(seen: Seen) -> CpuClaim:
    """Its claim on the host's CPU."""
    slo = seen.intent.slo if seen.intent else None
    weighted = slo.objective(Metric.CPU) if slo else None
    return CpuClaim(
        uuid=seen.reading.uuid,
        reserved_cores=seen.intent.reserved_cpu_cores if seen.intent else 0.0,
        floor_cores=seen.reservation.cores,
        needed_cores=seen.reservation.cores * seen.memory.feedback.factor,
        active=seen.rates is not None and seen.rates.end_seconds < seen.memory.active_until_seconds,
        weight=(weighted.weight if weighted and weighted.weight else 1.0),
        priority=max((o.priority for o in slo.objectives), default=0) if slo else 0,
    )


def _ceilings(seen: Seen, squeezed_cores: float | None) -> tuple[float | None, ...]:
    """The bound of each vCPU, by index, from a bound over all of them: asked for, or for the neighbours' sake; empty without one."""
    objective = seen.intent.slo.objective(Metric.CPU) if seen.intent else None
    asked = objective.ceiling if objective else None
    ceiling = min((c for c in (asked, squeezed_cores) if c is not None), default=None)
    if ceiling is None or seen.rates is None or seen.rates.cpu is None:
        return ()
    vcpus = {s.index: s for s in seen.rates.cpu.stages if s.role is Role.VCPU}
    used = [vcpus[i].run_ratio if i in vcpus else 0.0 for i in range(seen.reading.vcpus)]
    throttled = [vcpus[i].throttled_ratio if i in vcpus else 0.0 for i in range(seen.reading.vcpus)]
    return tuple(spread_ceiling(ceiling, used, throttled))


def _io_manner(seen: Seen) -> tuple[bool, float]:
    """`io_is_eager` and `io_generosity`. Over more than a tick, because a vCPU that waits long looks idle meanwhile."""
    ticks = [t for t in seen.memory.ticks if t.end_seconds > seen.memory.ticks[-1].end_seconds - _BUSY_OVER_SECONDS]
    busy: dict[int, float] = {}
    for stage in (stage for tick in ticks if tick.cpu for stage in tick.cpu.stages if stage.role is Role.VCPU):
        busy[stage.index] = busy.get(stage.index, 0.0) + stage.busy_ratio / len(ticks)
    slo = seen.intent.slo if seen.intent else None
    eager = io_is_eager(list(busy.values()), computes=bool(slo and slo.floor(Metric.CPU) > 0))
    return eager, io_generosity(list(busy.values()), eager=eager)


def _batching(seen: Seen, *, eager: bool) -> tuple[Role, ...]:
    """Which of its threads must not interrupt, when they wake, whoever runs (`docs/decisions/0011`)."""
    if eager:
        return (Role.EMULATOR,)  # never the iothread: the vCPUs that it would wait for do not sleep
    promised_io = seen.intent is not None and bool(io_floors(seen.intent.slo)) and not seen.intent.slo.floor(Metric.CPU)
    return (*((Role.VCPU,) if promised_io else ()), Role.EMULATOR, Role.IOTHREAD)


def item(seen: Seen, got: CpuShare) -> Item | None:
    """What this instance will use of its allocation and where it runs; None when it wants hardly anything or is frozen."""
    cpu = seen.rates.cpu if seen.rates else None
    if cpu is None or seen.frozen or not seen.reading.groups:
        return None
    demand = sum(min(1.0, s.busy_ratio) for s in cpu.stages)
    busy: dict[packing.Stage, float] = {(g.role, g.index): 0.0 for g in seen.reading.groups if g.role is not None}
    for stage in cpu.stages:
        key = (stage.role if stage.role is not Role.VHOST else Role.EMULATOR, stage.index)
        key = key if key in busy else (Role.EMULATOR, 0)
        busy[key] = busy.get(key, 0.0) + stage.run_ratio + 0.01
    if demand < ACTIVE_CORES:
        return None
    total = sum(busy.values())
    promised = seen.reservation.cores > 0
    return Item(
        uuid=seen.reading.uuid,
        cores=min(got.reservation_cores if promised else got.allocation_cores, demand),
        promised=promised,
        stages={stage: part / total for stage, part in busy.items()},
    )


def decided(seen: Seen, got: CpuShare, placement: Placement, squeezed_cores: float | None) -> InstanceDecision:
    """The decision for one instance, with its reason."""
    cpu = seen.rates.cpu if seen.rates else None
    state = seen.memory.feedback
    eager, generosity = _io_manner(seen)
    reason = "no SLO: shares what is left by weight"
    if squeezed_cores is not None:
        reason += f", bounded to {squeezed_cores:.3f} cores: it had more while a promise beside it was missed"
    if seen.intent:
        parts = [f"floors need {seen.reservation.cores:.3f} cores"]
        if state.debt_seconds > 0 or state.gain > 0:
            parts.append(f"debt {state.debt_seconds:.2f} s, gain {state.gain:.2f}")
        parts.append(f"granted {got.reservation_cores:.3f} of {seen.intent.reserved_cpu_cores:.3f} reserved")
        reason = ", ".join(parts)
    return InstanceDecision(
        uuid=seen.reading.uuid,
        name=seen.reading.name,
        managed=seen.intent is not None,
        frozen=seen.frozen,
        cpu=CpuAllocation(
            reservation_cores=got.reservation_cores,
            allocation_cores=got.allocation_cores,
            io_ratio=seen.reservation.io_ratio,
            io_generosity=generosity,
            batching=_batching(seen, eager=eager) if placement else (),
            vcpu_ceilings_cores=_ceilings(seen, squeezed_cores),
            placement=tuple((r, i, cpu) for (r, i), cpu in placement.get(seen.reading.uuid, {}).items()),
        ),
        usage_cores=cpu.cores() if cpu else 0.0,
        demand_cores=cpu_demand_cores(cpu) if cpu else 0.0,
        starved_ratio=starved_ratio(seen.rates),
        objectives=seen.reports,
        reason=reason,
    )
