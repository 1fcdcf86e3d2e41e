"""Cases for the control law: who lives on a host and what happens to them, all from a seed.

A case wants more CPU than there is, offers floors to about half of its instances, and goes through the phases that hosts go through:
loads wake and idle, a hog arrives, a floor is raised, a load pauses and comes back, and what its bytes or packets cost doubles.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from stella.model.slo import Direction, Metric, Objective, Slo
from stella.sim import chance
from stella.sim.instance import InstanceSpec
from stella.sim.loads import Load, LoadKind, Wave, block, compute, network

WARM_UP_SECONDS = 10.0
"""So long nothing counts: costs are learned and readmitted (every 5 s); the demonstration warms up as long."""
_FEW_CPUS = 4
_MANY_CPUS = 64
_FEWEST_INSTANCES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What happens ``at_seconds`` after the start: an instance arrives, an SLO is asked for, or a load becomes another one.

    Exactly one of ``arrives``, ``slo`` and ``load`` is given. ``what`` says it in words.
    """

    at_seconds: float
    what: str
    uuid: str
    arrives: InstanceSpec | None = None
    slo: Slo | None = None
    load: tuple[int, Load] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A host of ``cores`` CPUs for ``seconds``. ``events`` are in the order of their time.

    ``tick_seconds`` is the time between two ticks of the agent, and the step of the model. ``overruns``: threads that never sleep
    keep a part of a CPU from those that batch, whatever their weights (`stella.sim.scheduler`).
    """

    seed: int
    cores: int
    seconds: float
    tick_seconds: float
    instances: tuple[InstanceSpec, ...]
    events: tuple[Event, ...] = field(default=())
    overruns: bool = False

    def without_slo(self, uuid: str) -> "Case":
        """The same case in which one instance is never asked anything for."""
        events = tuple(e for e in self.events if e.slo is None or e.uuid != uuid)
        return replace(self, events=events)


class _Draw:
    """Draws from one seed, in order."""

    def __init__(self, seed: int) -> None:
        self._seed, self._number = seed, 0

    def between(self, low: float, high: float) -> float:
        self._number += 1
        return low + (high - low) * chance.unit(self._seed, self._number)

    def whole(self, low: int, high: int) -> int:
        return int(self.between(low, high + 1))

    def happens(self, probability: float) -> bool:
        return self.between(0.0, 1.0) < probability


def length_of(cores: int) -> tuple[float, float]:
    """(seconds, tick) of a case: large hosts are looked at for less long, and with longer ticks, for the sake of time."""
    if cores <= _FEW_CPUS:
        return 50.0, 0.25
    return (40.0, 0.5) if cores < _MANY_CPUS else (25.0, 1.0)


def case(seed: int, cores: int) -> Case:
    """The case of a seed on a host of ``cores`` CPUs."""
    draw = _Draw(chance.derived(seed, "case", cores))
    seconds, tick = length_of(cores)
    waves = draw.happens(0.6)  # in the other cases no load idles by itself, so that a calm host is seen as well
    pressure = draw.between(1.2, 2.5 if cores < _MANY_CPUS else 1.8)
    instances: list[InstanceSpec] = []
    wanted = 0.0
    while wanted < pressure * cores or len(instances) < _FEWEST_INSTANCES:
        found, cores_wanted = _instance(draw, len(instances), cores, waves=waves)
        instances.append(found)
        wanted += cores_wanted
    events = [*_floors(draw, instances), *_phases(draw, instances, cores, seconds)]
    return Case(
        seed=seed,
        cores=cores,
        seconds=seconds,
        tick_seconds=tick,
        instances=tuple(instances),
        events=tuple(sorted(events, key=lambda event: event.at_seconds)),
    )


def _wave(draw: _Draw, *, waves: bool) -> Wave:
    """Half of the loads never idle."""
    if not waves or draw.happens(0.5):
        return Wave()
    return Wave(period_seconds=draw.between(4.0, 30.0), awake_ratio=draw.between(0.4, 0.9), low=draw.between(0.0, 0.3))


def _dearer(load: Load, ratio: float) -> Load:
    return replace(load, vcpu_seconds=load.vcpu_seconds * ratio, io_seconds=load.io_seconds * ratio)


def _network(draw: _Draw, *, waves: bool) -> Load:
    load = network(draw.between(12_000, 45_000), wave=_wave(draw, waves=waves), packet_bytes=draw.between(64, 1400))
    return replace(_dearer(load, draw.between(0.7, 1.4)), jitter_ratio=draw.between(0.05, 0.3))


def _block(draw: _Draw, *, waves: bool) -> Load:
    load = block(draw.between(60e6, 300e6), wave=_wave(draw, waves=waves), request_bytes=65536.0 * draw.whole(1, 4))
    return replace(_dearer(load, draw.between(0.7, 1.4)), jitter_ratio=draw.between(0.05, 0.3))


def _instance(draw: _Draw, number: int, cores: int, *, waves: bool) -> tuple[InstanceSpec, float]:
    """One instance and the CPU that it wants while its loads are awake, in cores."""
    kind = draw.between(0.0, 1.0)
    most = 4 if cores <= _FEW_CPUS else 8 if cores < _MANY_CPUS else 16
    loads: tuple[Load, ...]
    if kind < 0.25:
        name, vcpus, loads = "net", draw.whole(1, 2), (_network(draw, waves=waves),)
    elif kind < 0.5:
        name, vcpus, loads = "disk", draw.whole(1, 2), (_block(draw, waves=waves),)
    elif kind < 0.6:
        name, vcpus = "mixed", 2
        loads = (_network(draw, waves=waves), replace(compute(2, busy_ratio=draw.between(0.3, 1.0)), vcpus=(1,)))
    elif kind < 0.8:
        name, vcpus = "cpu", draw.whole(1, most)
        loads = (compute(vcpus, busy_ratio=draw.between(0.2, 1.0), wave=_wave(draw, waves=waves)),)
    else:
        name, vcpus = "hog", draw.whole(1, most)
        loads = (compute(vcpus),)
    named = f"{name}{number}"
    spec = InstanceSpec(uuid=named, name=named, vcpus=vcpus, iothreads=int(draw.happens(0.7)), loads=loads)
    return spec, sum(load.peak * (load.vcpu_seconds + load.io_seconds) * len(load.vcpus) for load in loads)


def _objective(load: Load, part: float) -> Objective:
    """A floor at ``part`` of what a load asks for."""
    match load.kind:
        case LoadKind.NETWORK:
            return Objective(metric=Metric.NETWORK_PACKETS, floor=load.peak * part, unit_bytes=64.0)
        case LoadKind.BLOCK:
            return Objective(metric=Metric.BLOCK_BYTES, floor=load.peak * part, unit_bytes=65536.0)
    return Objective(metric=Metric.CPU, floor=min(load.peak * len(load.vcpus) * part, 4.0))


def slo_of(spec: InstanceSpec, part: float) -> Slo:
    """Floors at ``part`` of what the loads of an instance ask for."""
    found = [_objective(load, part) for load in spec.loads]
    return Slo(tuple(sorted(found, key=lambda o: list(Metric).index(o.metric))))


def _floors(draw: _Draw, instances: Sequence[InstanceSpec]) -> Iterator[Event]:
    """What is asked for at the start, of one instance at least. Admission refuses what does not fit."""
    sure = draw.whole(0, len(instances) - 1)
    for n, spec in enumerate(instances):
        if draw.happens(0.5) or n == sure:
            slo = slo_of(spec, draw.between(0.2, 0.7))
            yield Event(at_seconds=1.0, what=f"{spec.name} asks for {_told(slo)}", uuid=spec.uuid, slo=slo)


def _told(slo: Slo) -> str:
    return ", ".join(f"{o.floor:.4g} {o.metric.unit}" for o in slo.objectives if o.floor is not None)


def _phases(draw: _Draw, instances: Sequence[InstanceSpec], cores: int, seconds: float) -> Iterator[Event]:
    """What happens after the warm-up, to some of them."""
    span = seconds - WARM_UP_SECONDS

    def at(part: float) -> float:
        return WARM_UP_SECONDS + part * span

    for n in range(1 + cores // 32):
        hog = InstanceSpec(uuid=f"late{n}", name=f"late{n}", vcpus=4, iothreads=0, loads=(compute(4),))
        yield Event(at_seconds=at(0.15), what=f"{hog.name}, a hog of 4 vCPUs, arrives", uuid=hog.uuid, arrives=hog)
    for n, spec in enumerate(instances):
        if n and not draw.happens(0.2):
            continue
        load, phase = spec.loads[0], draw.whole(0, 2)
        if phase == 0:
            slo = slo_of(spec, draw.between(0.5, 0.8))
            yield Event(at_seconds=at(0.3), what=f"{spec.name} now asks for {_told(slo)}", uuid=spec.uuid, slo=slo)
        elif phase == 1:
            idle = replace(load, peak=0.0)
            yield Event(at_seconds=at(0.4), what=f"{spec.name} pauses", uuid=spec.uuid, load=(0, idle))
            yield Event(at_seconds=at(0.55), what=f"{spec.name} comes back", uuid=spec.uuid, load=(0, load))
        elif load.kind is not LoadKind.CPU:
            what = f"what {spec.name} moves costs twice as much from now on"
            yield Event(at_seconds=at(0.7), what=what, uuid=spec.uuid, load=(0, _dearer(load, 2.0)))


def demonstration(seconds: float = 70.0) -> Case:
    """The demonstration of `scenarios/demonstration.yaml`: three floors on two CPUs, a hog, and a neighbour that wants all I/O."""
    vm1 = InstanceSpec(
        uuid="vm1", name="vm1", loads=(replace(network(60_000, packet_bytes=64, tx_ratio=1.0), jitter_ratio=0.3),)
    )
    vm2 = InstanceSpec(uuid="vm2", name="vm2", loads=(replace(block(1e9, read_ratio=1.0), jitter_ratio=0.3),))
    vm3 = InstanceSpec(uuid="vm3", name="vm3", loads=(compute(1),))
    hog = InstanceSpec(uuid="hog", name="hog", vcpus=4, loads=(compute(4),))
    noisy = InstanceSpec(
        uuid="noisy", name="noisy", loads=(block(300e6, request_bytes=16384, read_ratio=1.0), network(60_000))
    )
    slos = {
        "vm1": Objective(metric=Metric.NETWORK_PACKETS, direction=Direction.TX, floor=20_000.0, unit_bytes=64.0),
        "vm2": Objective(metric=Metric.BLOCK_BYTES, floor=300e6, unit_bytes=65536.0),
        "vm3": Objective(metric=Metric.CPU, floor=0.2),
    }
    events = tuple(
        Event(at_seconds=1.0, what=f"{uuid} asks for {_told(Slo((one,)))}", uuid=uuid, slo=Slo((one,)))
        for uuid, one in slos.items()
    )
    return Case(
        seed=0,
        cores=2,
        seconds=seconds,
        tick_seconds=0.25,
        instances=(vm1, vm2, vm3, hog, noisy),
        events=events,
        overruns=True,
    )
