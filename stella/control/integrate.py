"""One tick: (snapshot, intents, memory) -> (decision, memory). Pure: time comes with the snapshot, and nothing is read or written.

The order is the control law's: rates -> cost -> judgement -> feedback -> reservation -> division of the host -> allocations.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from stella.control import feedback as loop
from stella.control import placement as packing
from stella.control import squeeze, windows
from stella.control.attribution import Circumstances, judge
from stella.control.cost import learn_all
from stella.control.cpu import CpuClaim, CpuShare, LocalClaim, divide, divide_each, spread_ceiling
from stella.control.demand import STARVED_RATIO, cpu_demand_cores
from stella.control.memory import (
    InstanceMemory,
    Memory,
    Settings,
    capacity_for_floors,
    capacity_of_one_cpu,
    fresh_costs,
    priced,
)
from stella.control.placement import Item, Placement
from stella.control.rates import InstanceRates, host_usage, instance_rates
from stella.control.reservation import Reservation, io_floors, io_generosity, io_is_eager, reserve
from stella.model.allocation import CpuAllocation, Decision, HostUsage, InstanceDecision, Intent, ObjectiveReport
from stella.model.attainment import WINDOW_SECONDS, Status
from stella.model.slo import Direction, Metric
from stella.model.snapshot import InstanceReading, Role, RunState, Snapshot

_KEPT_TICKS_SECONDS = 3.5
_ACTIVE_CORES = 0.03
_ACTIVE_LINGER_SECONDS = 1.5
_BUSY_OVER_SECONDS = 2.0
_OVERHEAD_PACE_PER_SECOND = 0.2
_LARGEST_PARENT_FACTOR = 16.0
_STALE_BLOCK_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class _Seen:
    """One instance in this tick, on its way through the law."""

    reading: InstanceReading
    intent: Intent | None
    memory: InstanceMemory
    rates: InstanceRates | None
    reports: tuple[ObjectiveReport, ...]
    reservation: Reservation
    frozen: bool


def _baseline(known: float | None, rates: InstanceRates) -> float | None:
    """The unloaded latency: the lowest lately seen, CPU wait taken off, let rise by 2 % a second so that it is forgotten."""
    latency = rates.block.mean_latency_seconds(Direction.BOTH) if rates.block else None
    if latency is None:
        return known
    worst = rates.cpu.worst(Role.IOTHREAD, Role.EMULATOR) if rates.cpu else None
    clean = latency * (1.0 - (worst.starved_ratio if worst else 0.0))
    return clean if known is None else min(clean, known * (1.0 + 0.02 * rates.seconds))


def _observe(
    reading: InstanceReading, before: Snapshot, now: Snapshot, known: InstanceMemory
) -> tuple[InstanceMemory, InstanceRates | None]:
    """What this tick taught about one instance, and its rates (block rates carried on while they are fresh)."""
    old = before.instance(reading.uuid)
    rates = instance_rates(old, reading, before.monotonic_seconds, now.monotonic_seconds) if old else None
    if rates is None:
        return replace(known, ticks=()), None
    horizon = now.monotonic_seconds - _KEPT_TICKS_SECONDS
    ticks = (*(t for t in known.ticks if t.end_seconds >= horizon), rates)
    block = rates.block if rates.block is not None else known.block
    age = now.monotonic_seconds - (reading.disks_monotonic_seconds or 0.0)
    if reading.disks_monotonic_seconds is None or age > _STALE_BLOCK_SECONDS:
        block = None
    memory = replace(
        known,
        ticks=ticks,
        block=block,
        costs=learn_all(known.costs, rates) if reading.state is RunState.RUNNING else known.costs,
        active_until_seconds=_active_until(known, rates),
        baseline_latency_seconds=_baseline(known.baseline_latency_seconds, rates),
    )
    return memory, replace(rates, block=block)


def _active_until(known: InstanceMemory, rates: InstanceRates) -> float:
    if rates.cpu is None or cpu_demand_cores(rates.cpu) <= _ACTIVE_CORES:
        return known.active_until_seconds
    return rates.end_seconds + _ACTIVE_LINGER_SECONDS


def _attained(reports: tuple[ObjectiveReport, ...]) -> float | None:
    """usage / floor of the worst floor that was asked for; None when none was."""
    ratios = [
        r.usage / r.value
        for r in reports
        if r.kind == "floor" and r.usage is not None and r.value > 0
        and r.status in (Status.MET, Status.VIOLATED, Status.DEGRADED)
    ]  # fmt: skip
    return min(ratios, default=None)


def _starved_ratio(rates: InstanceRates | None) -> float:
    worst = rates.cpu.worst() if rates and rates.cpu else None
    return worst.starved_ratio if worst else 0.0


def _circumstances(known: InstanceMemory) -> Circumstances:
    return Circumstances(
        reservation_fits=known.fits,
        baseline_latency_seconds=known.baseline_latency_seconds,
        demands=known.demands,
    )


def _see(
    reading: InstanceReading, intent: Intent | None, before: Snapshot, now: Snapshot, memory: Memory, settings: Settings
) -> _Seen:
    slo = intent.slo if intent else None
    known = memory.instances.get(reading.uuid) or InstanceMemory(costs=fresh_costs(settings.prior, slo))
    if slo:
        known = replace(known, costs=priced(known.costs, settings.prior, slo))
    known, rates = _observe(reading, before, now, known)
    reports = tuple(r for o in slo.objectives for r in judge(o, rates, _circumstances(known))) if slo else ()
    asked = {r.metric: r.demand for r in reports if r.kind == "floor" and r.demand is not None}
    known = replace(known, demands={**known.demands, **asked})
    frozen = reading.state is not RunState.RUNNING or rates is None or rates.cpu is None
    reservation = Reservation(vcpu_cores=0.0, io_cores=0.0)
    if slo:
        reservation = reserve(slo, known.costs, vcpus=reading.vcpus, margin=settings.margin)
        if not frozen and rates is not None:
            starved = _starved_ratio(rates) >= STARVED_RATIO
            state = loop.step(known.feedback, attained_ratio=_attained(reports), starved=starved, seconds=rates.seconds)
            known = replace(known, feedback=state)
    return _Seen(reading, intent, known, rates, reports, reservation, frozen)


def _claim(seen: _Seen) -> CpuClaim:
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


def _ceilings(seen: _Seen, squeezed_cores: float | None) -> tuple[float | None, ...]:
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


def _io_manner(seen: _Seen) -> tuple[bool, float]:
    """`io_is_eager` and `io_generosity`. Over more than a tick, because a vCPU that waits long looks idle meanwhile."""
    ticks = [t for t in seen.memory.ticks if t.end_seconds > seen.memory.ticks[-1].end_seconds - _BUSY_OVER_SECONDS]
    busy: dict[int, float] = {}
    for stage in (stage for tick in ticks if tick.cpu for stage in tick.cpu.stages if stage.role is Role.VCPU):
        busy[stage.index] = busy.get(stage.index, 0.0) + stage.busy_ratio / len(ticks)
    slo = seen.intent.slo if seen.intent else None
    eager = io_is_eager(list(busy.values()), computes=bool(slo and slo.floor(Metric.CPU) > 0))
    return eager, io_generosity(list(busy.values()), eager=eager)


def _batching(seen: _Seen, *, eager: bool) -> tuple[Role, ...]:
    """Which of its threads must not interrupt, when they wake, whoever runs (`docs/decisions/0011`)."""
    if eager:
        return (Role.EMULATOR,)  # never the iothread: the vCPUs that it would wait for do not sleep
    promised_io = seen.intent is not None and bool(io_floors(seen.intent.slo)) and not seen.intent.slo.floor(Metric.CPU)
    return (*((Role.VCPU,) if promised_io else ()), Role.EMULATOR, Role.IOTHREAD)


def _item(seen: _Seen, got: CpuShare) -> Item | None:
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
    if demand < _ACTIVE_CORES:
        return None
    total = sum(busy.values())
    promised = seen.reservation.cores > 0
    return Item(
        uuid=seen.reading.uuid,
        cores=min(got.reservation_cores if promised else got.allocation_cores, demand),
        promised=promised,
        stages={stage: part / total for stage, part in busy.items()},
    )


def _placed(
    seen: list[_Seen], shares: Mapping[str, CpuShare], now: Snapshot, host: HostUsage, memory: Memory
) -> tuple[bool, Placement, list[Item]]:
    """Whether the host is full, the placement while it is, and of what."""
    is_full = packing.full(memory.full, host.busy_cores / max(host.cores, 1.0)) and now.host.cpuset_mount != ""
    if not is_full:
        return False, {}, []
    items = [item for s in seen if (item := _item(s, shares[s.reading.uuid]))]
    here = {s.reading.uuid for s in seen}
    previous = {uuid: stages for uuid, stages in memory.placement.items() if uuid in here}
    return True, packing.place(now.host.cpus, items, previous), items


def _where_placed(
    shares: Mapping[str, CpuShare],
    claims: Sequence[CpuClaim],
    placement: Placement,
    items: Sequence[Item],
    one_cpu: float,
) -> Mapping[str, CpuShare]:
    """The shares once it is known who runs where; those of the instances that are not placed stay."""
    weights = {claim.uuid: claim.weight for claim in claims}
    local = [
        LocalClaim(
            uuid=item.uuid,
            cpu=placement[item.uuid][stage],
            reserved_cores=shares[item.uuid].reservation_cores * part,
            weight=weights[item.uuid] * part,
        )
        for item in items
        if item.uuid in placement
        for stage, part in item.stages.items()
    ]
    granted = divide_each(one_cpu, local)
    return {u: replace(s, allocation_cores=granted.get(u, s.allocation_cores)) for u, s in shares.items()}


def _used_lately(seen: _Seen) -> float:
    """CPU of an instance over the last second, in cores."""
    ticks = [t for t in seen.memory.ticks if t.cpu and t.end_seconds > seen.memory.ticks[-1].end_seconds - 1.0]
    seconds = sum(t.seconds for t in ticks)
    return sum(t.cpu.cores() * t.seconds for t in ticks if t.cpu) / seconds if seconds > 0 else 0.0


def _squeezed(
    seen: list[_Seen], shares: Mapping[str, CpuShare], placement: Placement, before: Mapping[str, float]
) -> Mapping[str, float]:
    """Who of those that are promised nothing is bounded, and to how many cores."""
    cpus = {uuid: set(stages.values()) for uuid, stages in placement.items()}
    owed = [cpus.get(s.reading.uuid, set()) for s in seen if s.memory.feedback.debt_seconds > squeeze.OWED_SECONDS]
    neighbours = [
        squeeze.Neighbour(
            uuid=s.reading.uuid,
            allocation_cores=shares[s.reading.uuid].allocation_cores,
            used_cores=_used_lately(s),
            owed_beside=any(cpus[s.reading.uuid] & there for there in owed),
        )
        for s in seen
        if s.intent is None and not s.frozen and s.reading.uuid in cpus
    ]
    return squeeze.squeezed(neighbours, before)


def _decided(seen: _Seen, got: CpuShare, placement: Placement, squeezed_cores: float | None) -> InstanceDecision:
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
        starved_ratio=_starved_ratio(seen.rates),
        objectives=seen.reports,
        reason=reason,
    )


def _parent_factor(factor: float, seen: list[_Seen], host: HostUsage, settings: Settings) -> float:
    """The weight of all instances against the host's own work: raised while a floor lacks CPU that the host's work takes."""
    owed = max((s.memory.feedback.debt_seconds for s in seen), default=0.0)
    if owed > 0.1 and host.overhead_cores > settings.host_reserved_cores + 0.1 * host.cores:
        return min(_LARGEST_PARENT_FACTOR, factor * 1.5)
    return max(1.0, factor * 0.99)


def _close_window(
    seen: list[_Seen], now: Snapshot, next_window_unix: float | None
) -> tuple[windows.Window | None, float | None]:
    upcoming, start = windows.due(next_window_unix, now.wall_seconds)
    if start is None:
        return None, upcoming
    begin = now.monotonic_seconds - (now.wall_seconds - start)
    closed = []
    for one in seen:
        if one.intent is None:
            continue
        rates = windows.over(one.memory.ticks, begin, begin + WINDOW_SECONDS) if one.memory.ticks else None
        reports = tuple(r for o in one.intent.slo.objectives for r in judge(o, rates, _circumstances(one.memory)))
        closed.append(windows.InstanceWindow(uuid=one.reading.uuid, objectives=reports))
    return windows.Window(start_unix_seconds=start, instances=tuple(closed)), upcoming


def decide(
    now: Snapshot, intents: Mapping[str, Intent], memory: Memory, settings: Settings
) -> tuple[Decision, windows.Window | None, Memory]:
    """Decide one tick. Returns the decision, the window that closed (if one did), and what to remember."""
    before = memory.previous or now
    seen = [_see(r, intents.get(r.uuid), before, now, memory, settings) for r in now.instances]
    used = sum(s.rates.cpu.cores() for s in seen if s.rates and s.rates.cpu)
    host = host_usage(before, now, used)
    # the first tick sees the agent's own start: begin with what is reserved for the host, and approach what is measured
    overhead = settings.host_reserved_cores if memory.overhead_cores is None else memory.overhead_cores
    elapsed = now.monotonic_seconds - before.monotonic_seconds
    if elapsed > 0 and all(s.rates for s in seen):
        pace = min(1.0, _OVERHEAD_PACE_PER_SECOND * elapsed)
        overhead += pace * (host.overhead_cores - overhead)
    measured = replace(memory, overhead_cores=overhead)
    claims = [_claim(s) for s in seen]
    shares = divide(capacity_for_floors(measured, now.host.cores, settings), claims)
    seen = [_with_fit(s, fits=shares[s.reading.uuid].fits) for s in seen]
    window, upcoming = _close_window(seen, now, memory.next_window_unix)
    is_full, placement, placed = _placed(seen, shares, now, host, memory)
    one_cpu = capacity_of_one_cpu(measured, now.host.cores, settings)
    shares = _where_placed(shares, claims, placement, placed, one_cpu)
    bounds = _squeezed(seen, shares, placement, memory.squeezed)
    factor = _parent_factor(memory.parent_factor, seen, host, settings)
    decision = Decision(
        monotonic_seconds=now.monotonic_seconds,
        wall_seconds=now.wall_seconds,
        host=host,
        instances=tuple(_decided(s, shares[s.reading.uuid], placement, bounds.get(s.reading.uuid)) for s in seen),
        parent_weight_factor=factor,
    )
    return (
        decision,
        window,
        Memory(
            previous=now,
            # one that is promised something and not seen now (stopped, libvirt away) keeps what was learned of it
            instances={u: m for u, m in memory.instances.items() if u in intents}
            | {s.reading.uuid: s.memory for s in seen},
            overhead_cores=overhead,
            parent_factor=factor,
            full=is_full,
            placement=placement,
            squeezed=bounds,
            next_window_unix=upcoming,
        ),
    )


def _with_fit(seen: _Seen, *, fits: bool) -> _Seen:
    """The same instance with what this tick's division taught."""
    return replace(seen, memory=replace(seen.memory, fits=fits))
