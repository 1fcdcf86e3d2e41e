"""One tick: (snapshot, intents, memory) -> (decision, memory). Pure: time comes with the snapshot, and nothing is read or written.

The order is the control law's: rates -> cost -> evaluation -> feedback -> reservation -> division of the host -> allocations.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from stella.control import best_effort_throttle, cpu_sets, offender, uplinks, windows
from stella.control import placement as packing
from stella.control.account_clock import AccountClock, begun
from stella.control.attribution import EvaluationContext, evaluate
from stella.control.block_backends import BackendState
from stella.control.block_claims import divide_backends, shares_of
from stella.control.cpu import CpuClaim, CpuShare, LocalClaim, divide, divide_each
from stella.control.cpu_sets import Placement
from stella.control.instance import claim, decided, item
from stella.control.instance_state import InstanceState, evaluation_context, instance_state, used_lately
from stella.control.memory import Memory, Settings, capacity_for_floors, capacity_of_one_cpu
from stella.control.placement import Item
from stella.control.rates import InstanceRates, host_usage
from stella.model.allocation import Decision, HostUsage, Intent
from stella.model.attainment import Status
from stella.model.intent import IntentState
from stella.model.snapshot import Snapshot

_OVERHEAD_PACE_PER_SECOND = 0.2
_LARGEST_PARENT_FACTOR = 16.0


def _placed(
    states: list[InstanceState], shares: Mapping[str, CpuShare], now: Snapshot, host: HostUsage, memory: Memory
) -> tuple[bool, Placement, list[Item]]:
    """Whether the host is full, the placement while it is, and of what."""
    is_full = packing.full(memory.full, host.busy_cores / max(host.cores, 1.0)) and now.host.cpuset_mount != ""
    if not is_full:
        return False, Placement(closed_until=memory.placement.closed_until), []
    items = [found for s in states if (found := item(s, shares[s.reading.uuid], now.host.cpus))]
    here = {s.reading.uuid for s in states if not s.frozen}
    previous = memory.placement.without(memory.placement.sets.keys() - here)
    return True, cpu_sets.place(now.host.cpus, items, previous, now.monotonic_seconds), items


def _where_placed(
    shares: Mapping[str, CpuShare],
    claims: Sequence[CpuClaim],
    placement: Placement,
    items: Sequence[Item],
    one_cpu: float,
) -> Mapping[str, CpuShare]:
    """The shares once it is known who runs where; what is not placed keeps its part of the division of the host."""
    weights = {one.uuid: one.weight for one in claims}
    wanted = {one.uuid: one.demand_cores for one in claims}
    local = [
        LocalClaim(
            uuid=one.uuid,
            cpu=cpu,
            reserved_cores=shares[one.uuid].reservation_cores * one.reserved_part(stage),
            weight=weights[one.uuid] * one.stages[stage],
            taken_cores=min(shares[one.uuid].reservation_cores, wanted[one.uuid]) * one.reserved_part(stage),
        )
        for one in items
        for stage, cpu in placement.homes.at.get(one.uuid, {}).items()
    ]
    placed = divide_each(one_cpu, local)
    granted = {uuid: sum(each.values()) for uuid, each in placed.items()}
    for one in items:
        homes = placement.homes.at.get(one.uuid, {})
        elsewhere = sum(part for stage, part in one.stages.items() if stage not in homes)
        if homes and elsewhere > 0:
            granted[one.uuid] += shares[one.uuid].allocation_cores * elsewhere
    return {
        u: replace(s, allocation_cores=granted.get(u, s.allocation_cores), placed_cores=placed.get(u, {}))
        for u, s in shares.items()
    }


def _throttled_neighbours(
    states: list[InstanceState], shares: Mapping[str, CpuShare], placement: Placement, before: Mapping[str, float]
) -> Mapping[str, float]:
    """Which best-effort instances are bounded, and to how many cores."""
    cpus = {uuid: placement.cpus(uuid) for uuid in placement.sets}
    owed = [
        cpus.get(s.reading.uuid, frozenset())
        for s in states
        if not s.frozen and s.memory.feedback.debt_seconds > best_effort_throttle.OWED_SECONDS
    ]
    idle = _idle_cores(states, placement)
    neighbours = [
        best_effort_throttle.Neighbour(
            uuid=s.reading.uuid,
            allocation_cores=shares[s.reading.uuid].allocation_cores,
            used_cores=used_lately(s),
            owed_beside=any(cpus[s.reading.uuid] & there for there in owed),
            idle_cores=sum(idle.get(cpu, 0.0) for cpu in cpus[s.reading.uuid]),
        )
        for s in states
        if s.intent is None and not s.frozen and s.reading.uuid in cpus
    ]
    return best_effort_throttle.throttled(neighbours, before)


def _idle_cores(states: list[InstanceState], placement: Placement) -> Mapping[int, float]:
    """What the instances that are placed left idle of each CPU that they ran on in the last tick, in cores.

    Those on several CPUs count evenly.
    """
    idle: dict[int, float] = defaultdict(lambda: 1.0 - best_effort_throttle.HARDLY_IDLE_CORES)
    for state in states:
        sets = placement.sets.get(state.reading.uuid, {})
        for stage in state.rates.cpu.stages if state.rates and state.rates.cpu else ():
            cpus = sets.get((stage.role, stage.index), ())
            for cpu in cpus:
                idle[cpu] -= stage.run_ratio / len(cpus)
    return {cpu: max(0.0, cores) for cpu, cores in idle.items()}


def _parent_factor(factor: float, states: list[InstanceState], host: HostUsage, settings: Settings) -> float:
    """The weight of all instances against the host's own work: raised while a floor lacks CPU that the host's work takes."""
    owed = max((s.memory.feedback.debt_seconds for s in states if not s.frozen), default=0.0)
    if (
        owed > best_effort_throttle.OWED_SECONDS
        and host.overhead_cores > settings.host_reserved_cores + 0.1 * host.cores
    ):
        return min(_LARGEST_PARENT_FACTOR, factor * 1.5)
    return max(1.0, factor * 0.99)


def _close_window(
    states: list[InstanceState],
    unseen: Sequence[Intent],
    now: Snapshot,
    memory: Memory,
    decision: Decision,
    lasting: Callable[[], Mapping[str, CpuShare]],
    settings: Settings,
) -> tuple[tuple[windows.Window, ...], AccountClock]:
    """All windows that are due, and the clock after them. ``memory`` tells when each intent was accepted.

    ``lasting``: makes the division of the host without feedback, for those who look for an offender.
    """
    clock = memory.clock or begun(now.wall_seconds, now.monotonic_seconds)
    spans, clock = windows.due(clock, now.wall_seconds, now.monotonic_seconds)
    closed = []
    for span in spans:
        found = [
            _evaluated(s.intent, _rates(s, span), evaluation_context(s.memory), memory, span)
            for s in states
            if s.intent is not None
        ]
        found += [_evaluated(intent, None, EvaluationContext(), memory, span) for intent in unseen]
        if any(windows.short_of_cpu(one) for one in found):
            rates = {s.reading.uuid: _rates(s, span) for s in states}
            takers = offender.takers(
                decision,
                rates,
                cpus={s.reading.uuid: offender.cpus_of(s.reading) for s in states},
                lasting_cores={uuid: one.allocation_cores for uuid, one in lasting().items()},
                host_reserved_cores=settings.host_reserved_cores,
            )
            found = [windows.blamed(one, takers) for one in found]
        closed.append(
            windows.Window(
                start_unix_seconds=span.start,
                instances=tuple(found),
                seconds=span.windows,
                end_monotonic_seconds=span.end_monotonic_seconds,
            )
        )
    return tuple(closed), clock


def _rates(state: InstanceState, span: windows.Span) -> InstanceRates | None:
    """What one instance did in one window; None when too little was seen."""
    if not state.memory.ticks or span.windows > 1:
        return None
    return windows.over(state.memory.ticks, span.begin_monotonic_seconds, span.end_monotonic_seconds)


def _unseen(intents: Mapping[str, Intent], now: Snapshot) -> list[Intent]:
    """The intents of which nothing can be known, since the hypervisor does not tell what runs here."""
    if all(sensor.ok for sensor in now.sensors if sensor.name == "hypervisor"):
        return []
    known = {i.uuid for i in now.instances} | set(now.shut_off or ())
    return [i for uuid, i in intents.items() if uuid not in known and i.state is not IntentState.PENDING]


def _evaluated(
    intent: Intent, rates: InstanceRates | None, here: EvaluationContext, memory: Memory, span: windows.Span
) -> windows.InstanceWindow:
    """One instance in one window: PENDING when the window began before its SLO was accepted."""
    reports = tuple(r for o in intent.slo.objectives for r in evaluate(o, rates, here))
    _, accepted = memory.accepted.get(intent.uuid, (0, math.inf))
    if span.begin_monotonic_seconds < accepted:
        reports = tuple(replace(r, status=Status.PENDING, cause=None) for r in reports)
    return windows.InstanceWindow(uuid=intent.uuid, objectives=reports)


def _accepted(intents: Mapping[str, Intent], now: Snapshot, memory: Memory) -> Mapping[str, tuple[int, float]]:
    """When each generation was first decided upon. What the first tick finds was accepted by the agent before this one."""
    at = -math.inf if memory.previous is None else now.monotonic_seconds
    before = memory.accepted
    return {
        uuid: known if (known := before.get(uuid)) and known[0] == intent.generation else (intent.generation, at)
        for uuid, intent in intents.items()
    }


def decide(
    now: Snapshot, intents: Mapping[str, Intent], memory: Memory, settings: Settings
) -> tuple[Decision, tuple[windows.Window, ...], Memory]:
    """Decide one tick. Returns the decision, the windows that closed, oldest first, and what to remember."""
    before = memory.previous or now
    earlier = {r.uuid: r for r in before.instances}
    traffic = uplinks.traffic(before, now)
    memory = replace(
        memory,
        uplink_ratios=uplinks.carried_ratios(now.host, traffic),
        overrun=uplinks.overrun(now.host, traffic),
    )
    states = [
        instance_state(r, earlier.get(r.uuid), intents.get(r.uuid), before, now, memory, settings)
        for r in now.instances
    ]
    used = sum(s.rates.cpu.cores() for s in states if s.rates and s.rates.cpu)
    host = host_usage(before, now, used)
    # the first tick sees the agent's own start: begin with what is reserved for the host, and approach what is measured
    overhead = settings.host_reserved_cores if memory.overhead_cores is None else memory.overhead_cores
    elapsed = now.monotonic_seconds - before.monotonic_seconds
    if elapsed > 0 and all(s.rates for s in states):
        pace = min(1.0, _OVERHEAD_PACE_PER_SECOND * elapsed)
        overhead += pace * (host.overhead_cores - overhead)
    measured = replace(memory, overhead_cores=overhead)
    claims = [claim(s) for s in states]
    capacity = capacity_for_floors(measured, now.host.cores, settings)
    shares = divide(capacity, claims)
    states = [_with_fit(s, fits=shares[s.reading.uuid].fits and not _degraded(s)) for s in states]
    is_full, placement, placed = _placed(states, shares, now, host, memory)
    one_cpu = capacity_of_one_cpu(measured, now.host.cores, settings)
    shares = _where_placed(shares, claims, placement, placed, one_cpu)
    bounds = _throttled_neighbours(states, shares, placement, memory.throttled)
    shared = uplinks.divided(states, now, traffic, memory.uplinks)
    backends = divide_backends(states, now.host, memory.backends, now.monotonic_seconds)
    states = [_with_backends(s, backends, now.monotonic_seconds) for s in states]
    factor = _parent_factor(memory.parent_factor, states, host, settings)
    decision = Decision(
        monotonic_seconds=now.monotonic_seconds,
        wall_seconds=now.wall_seconds,
        host=host,
        instances=tuple(
            decided(
                s,
                shares[s.reading.uuid],
                placement,
                bounds.get(s.reading.uuid),
                uplinks.shares_of(s.reading.uuid, shared),
                shares_of(s.reading.uuid, backends),
            )
            for s in states
        ),
        parent_weight_factor=factor,
    )
    accepted = _accepted(intents, now, memory)
    unseen = _unseen(intents, now)
    closed, clock = _close_window(
        states,
        unseen,
        now,
        replace(memory, accepted=accepted),
        decision,
        lambda: divide(capacity, [replace(one, needed_cores=one.floor_cores) for one in claims]),
        settings,
    )
    return (
        decision,
        closed,
        Memory(
            previous=now,
            # one that has a guarantee and is not sensed now (stopped, libvirt away) keeps what was learned of it
            instances={u: m for u, m in memory.instances.items() if u in intents}
            | {s.reading.uuid: s.memory for s in states},
            overhead_cores=overhead,
            parent_factor=factor,
            full=is_full,
            placement=placement,
            throttled=bounds,
            clock=clock,
            accepted=accepted,
            uplinks=shared,
            backends=backends,
        ),
    )


def _degraded(state: InstanceState) -> bool:
    """Whether admission could not set aside what its floors need."""
    return state.intent is not None and state.intent.state is IntentState.DEGRADED


def _with_fit(state: InstanceState, *, fits: bool) -> InstanceState:
    """The same instance with what this tick's division taught."""
    return state if state.memory.fits == fits else replace(state, memory=replace(state.memory, fits=fits))


def _with_backends(state: InstanceState, backends: Mapping[str, BackendState], now_seconds: float) -> InstanceState:
    """The same instance with what this tick's division of back ends taught."""
    mine = [backends[name] for name in {d.backend for d in state.reading.disks or ()} & backends.keys()]
    full = any(one.contended(now_seconds) for one in mine)
    restrained = any(state.reading.uuid in one.shares for one in mine)
    if (full, restrained) == (state.memory.backend_full, state.memory.restrained):
        return state
    return replace(state, memory=replace(state.memory, backend_full=full, restrained=restrained))
