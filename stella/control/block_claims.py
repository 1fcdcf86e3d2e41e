"""The shared back ends of a host in one tick: who takes what of each, and the shares that follow (`stella.control.block_backends`)."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from stella.control.block_backends import BackendState, Taker, floors, step, taken
from stella.control.block_limits import BlockShare, limitable, operation_bytes
from stella.control.instance_state import InstanceState
from stella.control.rates import BlockRates
from stella.model.slo import Direction, Metric, Objective, Slo
from stella.model.snapshot import HostReading, Role

_CPU_STARVED_RATIO = 0.5
_CEILINGS = {Metric.BLOCK_BYTES: "bytes", Metric.BLOCK_OPERATIONS: "operations"}


def divide_backends(
    states: Sequence[InstanceState], host: HostReading, before: Mapping[str, BackendState], now_seconds: float
) -> Mapping[str, BackendState]:
    """The state of each back end; one whose instances have no claim on it restrains nobody."""
    if host.throttles_lack or not host.block_backends:
        return {}
    found: dict[str, list[Taker]] = defaultdict(list)
    for state in states:
        for name in {d.backend for d in state.reading.disks or () if d.backend}:
            one = _taker(state, name, before.get(name, BackendState()))
            if one is not None:
                found[name].append(one)
    return {
        backend.name: step(backend, found[backend.name], before.get(backend.name, BackendState()), now_seconds)
        for backend in host.block_backends
        if found[backend.name]
    }


def shares_of(uuid: str, backends: Mapping[str, BackendState]) -> dict[str, BlockShare]:
    """The share that one instance is limited to, of each back end that limits it."""
    return {name: state.shares[uuid] for name, state in backends.items() if uuid in state.shares}


def _taker(state: InstanceState, backend: str, before: BackendState) -> Taker | None:
    """One instance on one back end; None while what it takes is not known, or cannot be limited."""
    known, slo = state.memory, state.intent.slo if state.intent else None
    disks = [d for d in state.reading.disks or () if d.backend == backend and limitable(d)]
    rates = [known.disks[d.name] for d in disks if d.name in known.disks]
    if state.frozen or not rates:
        return None
    objectives = [o for o in slo.objectives if o.metric.resource == "block"] if slo else []
    target = slo.objective(Metric.BLOCK_LATENCY) if slo else None
    return Taker(
        uuid=state.reading.uuid,
        taken=taken(rates),
        in_flight=sum(one.in_flight for one in rates),
        floors={kind: floor for kind, floor in floors(slo).items() if floor > 0} if slo else {},
        ceilings=_ceilings(slo) if slo else {},
        weight=max((o.weight for o in objectives if o.weight is not None), default=1.0),
        priority=max((o.priority for o in objectives), default=0),
        has_target=target is not None and target.target is not None,
        latency_ratio=_latency_ratio(state, rates, target) if target else None,
        limit=before.limit_in(state.reading.uuid, *known.disks_span_seconds),
    )


def _ceilings(slo: Slo) -> dict[str, float]:
    """The ceilings over both directions, in the units of a back end's capacities."""
    found = {}
    for metric, kind in _CEILINGS.items():
        objective = slo.objective(metric)
        if objective is not None and objective.ceiling is not None and objective.direction is Direction.BOTH:
            size = operation_bytes(slo) if kind == "operations" else 0.0
            found[kind] = objective.ceiling * max(1.0, size / operation_bytes(None))
    return found


def _latency_ratio(state: InstanceState, rates: Sequence[BlockRates], target: Objective) -> float | None:
    """Mean time of an operation, without what QEMU waited for a CPU, to the target; None where it tells nothing of the back end."""
    direction = target.direction
    reads, writes = direction is not Direction.WRITE, direction is not Direction.READ
    operations = sum(reads * one.read_operations + writes * one.write_operations for one in rates)
    cpu = state.rates.cpu if state.rates else None
    worst = cpu.worst() if cpu else None
    if (
        not target.target
        or operations <= 0
        or state.memory.reaches_throttle
        or (worst and worst.starved_ratio >= _CPU_STARVED_RATIO)
    ):
        return None
    serving = cpu.worst(Role.IOTHREAD, Role.EMULATOR) if cpu else None
    seconds = sum(reads * one.read_seconds + writes * one.write_seconds for one in rates)
    return seconds / operations * (1.0 - (serving.starved_ratio if serving else 0.0)) / target.target
