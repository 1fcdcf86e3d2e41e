"""What happens in a simulated cloud, from a seed alone: who arrives and when it leaves, what it asks for, which hosts die.

Nothing here depends on what is decided, so that two runs of one seed, with relief and without, meet the same day.
"""

import math
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

from stella.model.slo import Metric, Objective, Slo
from stella.sim import chance
from stella.sim.loads import LoadKind, block, network

NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "cloud.sim.stella")
PROJECTS_PER_HOST = 0.2
GOLD, SILVER = "gold", "silver"
PRIORITIES = {GOLD: 20, SILVER: 10}
_SHORT_PART, _SHORT_HOURS, _LONG_HOURS = 0.1, 4.0, 72.0
_HOUR = 3600.0
REQUEST_BYTES = 65536.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A cloud of ``hosts`` equal hosts of ``cores`` CPUs with about ``instances_per_host`` instances each, looked at for ``hours``.

    ``device_bytes``: what the disks of a host can do in a second. ``deaths_per_day``: how often a host dies, on average.
    """

    hosts: int
    hours: float
    seed: int
    cores: int = 16
    instances_per_host: int = 16
    device_bytes: float = 2e9
    deaths_per_day: float = 0.005

    @property
    def seconds(self) -> float:
        """How long it is looked at."""
        return self.hours * _HOUR


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """One instance: its load, its SLO, and when it comes and goes (seconds after the start).

    ``peak``, ``vcpu_seconds`` and ``io_seconds`` are those of `stella.sim.loads.Load`, as is the wave; ``depth`` and ``peak_hour`` are
    of the daily pattern. ``noise``: what it adds to the CPU cost of others' I/O on its host while it is awake (caches, memory).
    """

    number: int
    uuid: str
    name: str
    project: str
    seed: int
    kind: LoadKind
    vcpus: int
    peak: float
    vcpu_seconds: float
    io_seconds: float
    period_seconds: float
    awake_ratio: float
    low: float
    depth: float
    peak_hour: float
    arrives_at: float
    departs_at: float
    slo: Slo | None = None
    sla: str = ""
    noise: float = 0.0

    @property
    def floor(self) -> float:
        """Its floor, in units of ``peak`` (of CPU: of all its vCPUs together); 0: it has none."""
        return sum(objective.floor or 0.0 for objective in self.slo.objectives) if self.slo else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """A host dies, and comes back when it was repaired."""

    host: int
    at: float
    repaired_at: float


class Draw:
    """Draws from one seed, in order."""

    def __init__(self, seed: int, *names: object) -> None:
        self._seed, self._number = chance.derived(seed, *names), 0

    def unit(self) -> float:
        """From 0 to below 1."""
        self._number += 1
        return chance.unit(self._seed, self._number)

    def between(self, low: float, high: float) -> float:
        """Evenly between the two."""
        return low + (high - low) * self.unit()

    def whole(self, low: int, high: int) -> int:
        """One of these, both included."""
        return int(self.between(low, high + 1))

    def exponential(self, mean: float) -> float:
        """A time until what happens at random happens."""
        return -mean * math.log(1.0 - self.unit())


def initial(shape: Shape) -> Iterator[Tenant]:
    """Those that run already, each with what is left of its time."""
    for number in range(shape.hosts * shape.instances_per_host):
        draw = Draw(shape.seed, "tenant", number)
        # of those alive at one time few are short-lived: these come often, and stay briefly
        short = draw.unit() < _SHORT_PART
        yield _tenant(shape, number, draw, arrives_at=0.0, lives=_lives(draw, short=short))


def arrivals(shape: Shape) -> Iterator[Tenant]:
    """Those that come later, by time: as many as leave, so that the cloud stays as full."""
    alive = shape.hosts * shape.instances_per_host
    short = alive * _SHORT_PART / (_SHORT_HOURS * _HOUR)
    long = alive * (1.0 - _SHORT_PART) / (_LONG_HOURS * _HOUR)
    clock, at, number = Draw(shape.seed, "arrivals"), 0.0, alive
    while True:
        at += clock.exponential(1.0 / (short + long))
        if at >= shape.seconds:
            return
        draw = Draw(shape.seed, "tenant", number)
        lives = _lives(draw, short=draw.unit() < short / (short + long))
        yield _tenant(shape, number, draw, arrives_at=at, lives=lives)
        number += 1


def _lives(draw: Draw, *, short: bool) -> float:
    return draw.exponential((_SHORT_HOURS if short else _LONG_HOURS) * _HOUR)


def _tenant(shape: Shape, number: int, draw: Draw, *, arrives_at: float, lives: float) -> Tenant:
    which = draw.unit()
    name, kind, vcpus, peak = _load(which, draw)
    cost = _cost(kind, draw)
    noisy, hog = name == "noisy", name == "copy"
    has_slo = name in ("web", "db", "compute") and draw.unit() < 0.9
    floor = peak * (vcpus if kind is LoadKind.CPU else 1) * draw.between(0.5, 0.85)
    slo = _slo(kind, floor) if has_slo else None
    return Tenant(
        number=number,
        uuid=str(uuid.uuid5(NAMESPACE, f"{shape.seed}/{number}")),
        name=f"{name}-{number}",
        project=f"project-{draw.whole(1, max(1, round(shape.hosts * PROJECTS_PER_HOST)))}",
        seed=chance.derived(shape.seed, "load", number),
        kind=kind,
        vcpus=vcpus,
        peak=peak,
        vcpu_seconds=cost[0],
        io_seconds=cost[1],
        # who is noisy is so for a while, a few times a day; others pause now and then
        period_seconds=draw.between(4.0, 10.0) * _HOUR if noisy or hog else draw.between(900.0, 5400.0),
        awake_ratio=draw.between(0.1, 0.3) if noisy or hog else draw.between(0.7, 0.95),
        low=0.05 if noisy or hog else draw.between(0.1, 0.5),
        depth=0.0 if name in ("batch", "noisy", "copy") else draw.between(0.2, 0.7),
        peak_hour=draw.between(10.0, 17.0),
        arrives_at=arrives_at,
        departs_at=arrives_at + lives,
        slo=slo,
        sla="" if slo is None else GOLD if draw.unit() < 0.3 else SILVER,
        noise=draw.between(0.15, 0.5) if noisy else 0.0,
    )


def _load(which: float, draw: Draw) -> tuple[str, LoadKind, int, float]:
    """(name, kind, vCPUs, peak); the peak of CPU is in cores of each vCPU."""
    if which < 0.30:
        return "web", LoadKind.NETWORK, 2, draw.between(25_000, 65_000)
    if which < 0.50:
        return "db", LoadKind.BLOCK, 2, draw.between(150e6, 450e6)
    if which < 0.72:
        return "compute", LoadKind.CPU, draw.whole(3, 6), draw.between(0.6, 1.0)
    if which < 0.88:
        return "batch", LoadKind.CPU, draw.whole(1, 4), 1.0
    if which < 0.95:
        return "noisy", LoadKind.CPU, 4, 1.0
    return "copy", LoadKind.BLOCK, 2, draw.between(0.6e9, 1.2e9)


def _cost(kind: LoadKind, draw: Draw) -> tuple[float, float]:
    """(vcpu, io) CPU seconds per unit: those of the laboratory, dearer or cheaper by the instance."""
    ratio = draw.between(0.75, 1.2)
    if kind is LoadKind.CPU:
        return 1.0, 0.0
    load = network(1.0) if kind is LoadKind.NETWORK else block(1.0, request_bytes=REQUEST_BYTES)
    return load.vcpu_seconds * ratio, load.io_seconds * ratio


def _slo(kind: LoadKind, floor: float) -> Slo:
    match kind:
        case LoadKind.NETWORK:
            one = Objective(metric=Metric.NETWORK_PACKETS, floor=floor, unit_bytes=64.0)
        case LoadKind.BLOCK:
            one = Objective(metric=Metric.BLOCK_BYTES, floor=floor, unit_bytes=REQUEST_BYTES)
        case LoadKind.CPU:
            one = Objective(metric=Metric.CPU, floor=floor)
    return Slo((one,))


def deaths(shape: Shape) -> list[Death]:
    """By time; a host that is dead does not die again."""
    found = []
    for host in range(shape.hosts):
        draw, at = Draw(shape.seed, "death", host), 0.0
        while shape.deaths_per_day > 0:
            at += draw.exponential(24.0 * _HOUR / shape.deaths_per_day)
            if at >= shape.seconds:
                break
            repaired_at = at + draw.between(1.0, 6.0) * _HOUR
            found.append(Death(host=host, at=at, repaired_at=repaired_at))
            at = repaired_at
    return sorted(found, key=lambda death: (death.at, death.host))
