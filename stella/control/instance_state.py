"""One instance in one tick: what its readings taught, how its objectives stand, and what its floors need."""

from collections.abc import Container, Mapping
from dataclasses import dataclass, replace

from stella.control import feedback as loop
from stella.control.attribution import EvaluationContext, evaluate
from stella.control.block_limits import reaches_throttle
from stella.control.cost import learn_all
from stella.control.demand import FULL_BUSY_RATIO, STARVED_RATIO, cpu_demand_cores
from stella.control.memory import InstanceMemory, Memory, Settings, fresh_costs, priced
from stella.control.placement import Stage
from stella.control.rates import InstanceRates, StageRate, carried, instance_rates, sent
from stella.control.reservation import Reservation, reserve
from stella.model.allocation import Intent, ObjectiveReport
from stella.model.attainment import Status
from stella.model.slo import Direction
from stella.model.snapshot import InstanceReading, Role, RunState, Snapshot

_KEPT_TICKS_SECONDS = 3.5
ACTIVE_CORES = 0.03
_ACTIVE_LINGER_SECONDS = 1.5
_STALE_BLOCK_SECONDS = 2.0
SETTLING_SECONDS = 2.0
"""An instance stays frozen for so long after it was last seen migrating."""
_STAGE_DEMAND_SECONDS = 2.0
"""The demand of a stage is followed at this pace: a thread that waits looks idle for a tick."""


@dataclass(frozen=True, slots=True)
class InstanceState:
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
    reading: InstanceReading,
    old: InstanceReading | None,
    before: Snapshot,
    now: Snapshot,
    known: InstanceMemory,
    memory_of_host: Memory,
) -> tuple[InstanceMemory, InstanceRates | None]:
    """What this tick taught about one instance, and its rates (block rates carried on while they are fresh)."""
    rates = instance_rates(old, reading, before.monotonic_seconds, now.monotonic_seconds) if old else None
    if rates is None:
        return replace(known, ticks=()), None
    rates = _on_uplinks(rates, reading, memory_of_host)
    horizon = now.monotonic_seconds - _KEPT_TICKS_SECONDS
    ticks = (*(t for t in known.ticks if t.end_seconds >= horizon), rates)
    block = rates.block if rates.block is not None else known.block
    age = now.monotonic_seconds - (reading.disks_monotonic_seconds or 0.0)
    if reading.disks_monotonic_seconds is None or age > _STALE_BLOCK_SECONDS:
        block = None
    if block is None:
        disks, span = {}, known.disks_span_seconds
    elif rates.block is not None:
        disks, span = dict(rates.disks), (rates.block_start_seconds, rates.block_end_seconds)
    else:
        disks, span = dict(known.disks), known.disks_span_seconds
    memory = replace(
        known,
        ticks=ticks,
        block=block,
        disks=disks,
        disks_span_seconds=span,
        reaches_throttle=reaches_throttle(reading.disks or (), disks),
        costs=known.costs if _restless(reading, known, now) else learn_all(known.costs, sent(rates)),
        active_until_seconds=_active_until(known, rates),
        baseline_latency_seconds=_baseline(known.baseline_latency_seconds, rates),
        stage_demand_cores=_stage_demand_cores(reading, known, rates),
    )
    return memory, rates if rates.block is block else replace(rates, block=block)


def _on_uplinks(rates: InstanceRates, reading: InstanceReading, memory: Memory) -> InstanceRates:
    """What its uplinks carried of what it sent, and whether they received all they can carry."""
    links = [link for link in reading.links or () if link.uplink and link.name in rates.links]
    if not links:
        return rates
    sent_bytes = sum(rates.links[link.name].tx_bytes for link in reading.links or () if link.name in rates.links)
    lost = sum(rates.links[link.name].tx_bytes * (1.0 - memory.uplink_ratios.get(link.uplink, 1.0)) for link in links)
    if any(link.uplink in memory.overrun for link in links):
        rates = replace(rates, overrun_ratio=1.0)
    return carried(rates, 1.0 - lost / sent_bytes) if lost > 0 else rates


def _restless(reading: InstanceReading, known: InstanceMemory, now: Snapshot) -> bool:
    """Whether it does not run, or has not settled after a migration."""
    return reading.state is not RunState.RUNNING or now.monotonic_seconds < known.settled_after_seconds


def _stage_of(rate: StageRate, groups: Container[Stage]) -> Stage:
    """The group (role, index) that a thread belongs to: threads that have none of their own run in the emulator's."""
    key = (rate.role if rate.role is not Role.VHOST else Role.EMULATOR, rate.index)
    return key if key in groups else (Role.EMULATOR, 0)


def _stage_demand_cores(reading: InstanceReading, known: InstanceMemory, rates: InstanceRates) -> Mapping[Stage, float]:
    """The CPU that each stage would use if it never waited, in cores, followed over `_STAGE_DEMAND_SECONDS`."""
    if rates.cpu is None:
        return known.stage_demand_cores
    wanted: dict[Stage, float] = {(g.role, g.index): 0.0 for g in reading.groups or () if g.role is not None}
    for rate in rates.cpu.stages:
        stage = _stage_of(rate, wanted)
        demand = min(1.0, rate.busy_ratio) if rate.busy_ratio >= FULL_BUSY_RATIO else rate.run_ratio
        wanted[stage] = wanted.get(stage, 0.0) + demand
    pace = min(1.0, rates.seconds / _STAGE_DEMAND_SECONDS)
    old = known.stage_demand_cores
    return {stage: old.get(stage, new) + pace * (new - old.get(stage, new)) for stage, new in wanted.items()}


def _active_until(known: InstanceMemory, rates: InstanceRates) -> float:
    if rates.cpu is None or cpu_demand_cores(rates.cpu) <= ACTIVE_CORES:
        return known.active_until_seconds
    return rates.end_seconds + _ACTIVE_LINGER_SECONDS


def _attained(reports: tuple[ObjectiveReport, ...]) -> float | None:
    """usage / floor of the worst floor that was asked for, `CONTENT_RATIO` at least where it had all it asked; None when none was."""
    ratios = [
        max(r.usage / r.value, loop.CONTENT_RATIO if r.status is Status.MET and r.demand == r.usage else 0.0)
        for r in reports
        if r.kind == "floor" and r.usage is not None and r.value > 0
        and r.status in (Status.MET, Status.VIOLATED, Status.DEGRADED)
    ]  # fmt: skip
    return min(ratios, default=None)


def starved_ratio(rates: InstanceRates | None) -> float:
    """Of its worst stage; 0 while nothing is known."""
    worst = rates.cpu.worst() if rates and rates.cpu else None
    return worst.starved_ratio if worst else 0.0


def evaluation_context(known: InstanceMemory) -> EvaluationContext:
    """What bears on the evaluation of its objectives."""
    return EvaluationContext(
        reservation_fits=known.fits,
        baseline_latency_seconds=known.baseline_latency_seconds,
        demands=known.demands,
        reaches_throttle=known.reaches_throttle,
        restrained=known.restrained,
        backend_full=known.backend_full,
    )


def instance_state(
    reading: InstanceReading,
    old: InstanceReading | None,
    intent: Intent | None,
    before: Snapshot,
    now: Snapshot,
    memory: Memory,
    settings: Settings,
) -> InstanceState:
    """Look at one instance: rates, costs, reports of its objectives, feedback and reservation, in this order.

    ``reading`` is of ``now``, ``old`` of ``before`` (None: it was not there).
    """
    slo = intent.slo if intent else None
    known = memory.instances.get(reading.uuid) or InstanceMemory(costs=fresh_costs(settings.prior, slo))
    if slo:
        costs = priced(known.costs, settings.prior, slo)
        known = known if costs is known.costs else replace(known, costs=costs)
    if reading.state is RunState.MIGRATING:
        known = replace(known, settled_after_seconds=now.monotonic_seconds + SETTLING_SECONDS)
    known, rates = _observe(reading, old, before, now, known, memory)
    reports = tuple(r for o in slo.objectives for r in evaluate(o, rates, evaluation_context(known))) if slo else ()
    asked = {r.metric: r.demand for r in reports if r.kind == "floor" and r.demand is not None}
    if asked:
        known = replace(known, demands={**known.demands, **asked})
    frozen = _restless(reading, known, now) or rates is None or rates.cpu is None
    reservation = Reservation(vcpu_cores=0.0, io_cores=0.0)
    if slo:
        reservation = reserve(slo, known.costs, vcpus=reading.vcpus, margin=settings.margin)
        if not frozen and rates is not None:
            starved = starved_ratio(rates) >= STARVED_RATIO
            state = loop.step(known.feedback, attained_ratio=_attained(reports), starved=starved, seconds=rates.seconds)
            known = replace(known, feedback=state)
    return InstanceState(reading, intent, known, rates, reports, reservation, frozen)


def used_lately(state: InstanceState) -> float:
    """CPU of an instance over the last second, in cores."""
    ticks = [t for t in state.memory.ticks if t.cpu and t.end_seconds > state.memory.ticks[-1].end_seconds - 1.0]
    seconds = sum(t.seconds for t in ticks)
    return sum(t.cpu.cores() * t.seconds for t in ticks if t.cpu) / seconds if seconds > 0 else 0.0
