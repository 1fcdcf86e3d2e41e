"""Does it fit? An SLO is accepted only if the host can hold it beside what is already guaranteed.

A floor is refused, in this order, when the instance has no device for it, when the instance itself cannot reach it (its vCPUs, its CPU
ceiling, a thread of QEMU that serves it), and when the host cannot hold it: in all, or on its CPUs (`capacity`).

A refusal tells for each floor whose reduction would help the largest value that would be accepted, the others as asked. The need grows
with each floor, so that value is found by bisection over arithmetic; all CPUs are packed anew only to see whether more would fit then.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from stella.control.capacity import EPSILON_CORES, CpuSet, HostCapacity, fits_emptiest, pieces
from stella.control.cost import UnitCost
from stella.control.reservation import SERIAL_STAGE_CORES, Prices, Reservation, floors_of, io_floors, prices
from stella.model.slo import Metric, Slo
from stella.model.snapshot import InstanceReading, Role

_STEPS = 30
_DOUBLINGS = 20
_PACKED_PIECES = 3000
"""So many pieces are packed at most for one refusal's ``largest``, some milliseconds: on a host with few pieces it is exact."""
_SMALLEST_HELPFUL_RATIO = 1e-3
_SMALLEST_HELPFUL = {
    Metric.CPU: 1e-3,
    Metric.NETWORK_PACKETS: 1.0,
    Metric.NETWORK_BYTES: 1e3,
    Metric.BLOCK_BYTES: 1e3,
    Metric.BLOCK_OPERATIONS: 1.0,
}
"""In base units. What is below this, and below the part `_SMALLEST_HELPFUL_RATIO` of what was asked for, is as good as nothing."""
_HALVINGS = 60
"""So often what was asked for is halved until it fits: from the largest quantity that the API takes to below one unit."""
_LARGEST_GUEST_PER_QEMU = 3.0

_Floors = dict[Metric, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceShape:
    """What an instance is: its vCPUs and iothreads, and how many links and disks it has (None: not known, taken for enough).

    ``allowed_cpus`` are the numbers of the CPUs that it may use; None: all of the host's.
    """

    vcpus: int
    iothreads: int = 0
    links: int | None = None
    disks: int | None = None
    allowed_cpus: CpuSet = None


def shape_of(reading: InstanceReading) -> InstanceShape:
    """What an instance is, as it was sensed. Where its vCPUs may use different CPUs, it may use all of these."""
    allowed = [g.allowed_cpus for g in reading.groups or () if g.role is Role.VCPU]
    known = [cpus for cpus in allowed if cpus is not None]
    return InstanceShape(
        vcpus=reading.vcpus,
        iothreads=reading.iothreads,
        links=None if reading.links is None else len(reading.links),
        disks=None if reading.disks is None else len(reading.disks),
        allowed_cpus=tuple(sorted({c for cpus in set(known) for c in cpus}))
        if known and len(known) == len(allowed)
        else None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Accepted with ``reserved_cpu_cores`` set aside, or refused: then ``field``, ``metric`` and ``message`` say why.

    ``field`` is a key of the SLO, such as ``cpu.ceiling``. ``largest`` holds, for each floor whose reduction would help, the largest
    value that would be accepted with the others as asked (to four digits); of an accepted SLO, where that was asked for, each floor's
    largest value. ``estimated``: the CPU cost comes from the host's priors,
    not from this instance's history.
    """

    accepted: bool
    reserved_cpu_cores: float
    estimated: bool
    field: str = ""
    metric: Metric | None = None
    message: str = ""
    largest: tuple[tuple[Metric, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    """One SLO with its prices, for one instance on one host: everything that does not change with the value of a floor."""

    slo: Slo
    prices: Prices
    shape: InstanceShape
    margin: float
    capacity: HostCapacity
    held_before_cores: float
    emptiest: tuple[float, ...]
    ceiling_cores: float

    def reservation(self, floors: _Floors) -> Reservation:
        return self.prices.reservation(floors, vcpus=self.shape.vcpus, margin=self.margin)

    def serial_cores(self, floors: _Floors) -> tuple[float, float]:
        """What the main loop and an iothread have to do, in cores. One iothread serves a disk, so a second one does not help."""
        network, block = self.prices.network_cores(floors), self.prices.block_cores(floors)
        return (network, block) if self.shape.iothreads > 0 else (network + block, 0.0)

    def guest_cores(self, floors: _Floors) -> float:
        """What the floors surely need of the guest's CPU, in cores.

        The learned cost of I/O in a guest that always computes holds its computing too (`cost`): what is more than a few times QEMU's
        part is that.
        """
        io = self.prices.network_cores(floors) + self.prices.block_cores(floors)
        return max(floors.get(Metric.CPU, 0.0), min(self.prices.guest_cores(floors), io * _LARGEST_GUEST_PER_QEMU))

    def dearest(self, floors: _Floors) -> Metric | None:
        """The floor that needs most CPU by itself; None: there is none."""
        return max(floors, key=lambda metric: self.alone_cores(metric, floors[metric]), default=None)

    def alone_cores(self, metric: Metric, floor: float) -> float:
        """What one floor needs of CPU, in the guest and in QEMU, be it more than the instance can use."""
        if metric is Metric.CPU:
            return floor
        return floor * (self.prices.vcpu[metric] + self.prices.io[metric])

    def within_instance(self, floors: _Floors) -> bool:
        """Whether the instance itself can reach these floors."""
        guest = self.guest_cores(floors)
        if guest > min(self.shape.vcpus, self.ceiling_cores) + EPSILON_CORES:
            return False
        return max(self.serial_cores(floors)) <= SERIAL_STAGE_CORES + EPSILON_CORES

    def within_total(self, cores: float) -> bool:
        """Whether the host has so much left. One that asks for no more than it holds is not refused where the host is overfull."""
        return cores <= max(self.capacity.free_cores, self.held_before_cores) + EPSILON_CORES

    def beside(self, floors: _Floors) -> bool:
        """Whether the host holds these floors without packing anew what others hold."""
        need = self.reservation(floors)
        if not self.within_total(need.cores):
            return False
        if need.cores <= self.held_before_cores + EPSILON_CORES:
            return True
        parts = pieces(need, self.shape.vcpus, self.shape.allowed_cpus)
        return fits_emptiest(self.emptiest, parts, self.capacity.limit_cores(self.margin))

    def packed(self, floors: _Floors) -> bool:
        """Whether the host holds these floors when everything is packed anew."""
        need = self.reservation(floors)
        if not self.within_total(need.cores):
            return False
        return self.capacity.fits_packed(pieces(need, self.shape.vcpus, self.shape.allowed_cpus), self.margin)

    def accepts(self, floors: _Floors) -> bool:
        return self.within_instance(floors) and (self.beside(floors) or self.packed(floors))


def admit(
    slo: Slo,
    costs: Mapping[Metric, UnitCost],
    *,
    shape: InstanceShape,
    margin: float,
    capacity: HostCapacity,
    held_before_cores: float = 0.0,
    with_largest: bool = True,
    with_room: bool = False,
) -> Answer:
    """Answer whether ``slo`` fits an instance of ``shape`` on a host with ``capacity``, which does not hold the instance itself.

    ``held_before_cores``: what the instance holds by its present SLO. One that needs no more is not refused for want of capacity.
    Without ``with_largest`` a refusal comes without the search for what would fit; with ``with_room`` an acceptance tells how much
    more would.
    """
    floors = floors_of(slo)
    estimated = any(costs[o.metric].estimated for o in io_floors(slo))
    device = _missing_device(floors, shape)
    if device is not None:
        metric, message = device
        return _refused(f"{metric.value}.floor", metric, message, estimated=estimated)
    request = _request(slo, costs, shape, margin, capacity, held_before_cores)
    if request.accepts(floors):
        return Answer(
            accepted=True,
            reserved_cpu_cores=request.reservation(floors).cores,
            estimated=estimated,
            largest=tuple(_room(request, floors).items()) if with_room else (),
        )
    largest = _largest(request, floors) if with_largest else {}
    field, of, message = _reason(request, floors, largest)
    return _refused(field, of, message, estimated=estimated, largest=tuple(largest.items()))


def fits(
    slo: Slo, costs: Mapping[Metric, UnitCost], *, shape: InstanceShape, margin: float, capacity: HostCapacity
) -> bool:
    """Whether `admit` would accept it, without the search for what else would fit."""
    floors = floors_of(slo)
    return _missing_device(floors, shape) is None and _request(slo, costs, shape, margin, capacity, 0.0).accepts(floors)


def _request(
    slo: Slo,
    costs: Mapping[Metric, UnitCost],
    shape: InstanceShape,
    margin: float,
    capacity: HostCapacity,
    held_before_cores: float,
) -> _Request:
    cpu = slo.objective(Metric.CPU)
    return _Request(
        slo=slo,
        prices=prices(slo, costs),
        shape=shape,
        margin=margin,
        capacity=capacity,
        held_before_cores=held_before_cores,
        emptiest=tuple(capacity.emptiest(shape.vcpus + 3 + shape.vcpus // 8, shape.allowed_cpus)),
        ceiling_cores=cpu.ceiling if cpu and cpu.ceiling is not None else math.inf,
    )


def _refused(
    field: str,
    metric: Metric | None,
    message: str,
    *,
    estimated: bool,
    largest: tuple[tuple[Metric, float], ...] = (),
) -> Answer:
    return Answer(
        accepted=False,
        reserved_cpu_cores=0.0,
        estimated=estimated,
        field=field,
        metric=metric,
        message=message,
        largest=largest,
    )


def _missing_device(floors: _Floors, shape: InstanceShape) -> tuple[Metric, str] | None:
    for metric in floors:
        if metric.resource == "network" and shape.links == 0:
            return metric, "the instance has no network interface"
        if metric.resource == "block" and shape.disks == 0:
            return metric, "the instance has no disk"
    return None


def _largest(request: _Request, floors: _Floors) -> dict[Metric, float]:
    """For each floor whose reduction would help, the largest value that would be accepted."""

    def arithmetic(asked: _Floors) -> bool:
        return request.within_instance(asked) and request.beside(asked)

    def in_all(asked: _Floors) -> bool:
        return request.within_instance(asked) and request.within_total(request.reservation(asked).cores)

    budget = _PACKED_PIECES // max(1, len(floors))
    found: dict[Metric, float] = {}
    for metric, asked in floors.items():
        value = _largest_below(floors, metric, asked, arithmetic)
        bound = _largest_below(floors, metric, asked, in_all)
        if bound > value * (1.0 + _SMALLEST_HELPFUL_RATIO):
            steps = min(_STEPS, budget // (request.capacity.held_pieces + request.shape.vcpus + 1))
            value = _bisected(floors, metric, value, bound, request.accepts, steps)
        value = _rounded_down(value)
        # packing is not quite monotone: a slightly smaller piece may go elsewhere, so what is offered is tried
        if value >= min(asked * _SMALLEST_HELPFUL_RATIO, _SMALLEST_HELPFUL.get(metric, 0.0)) and request.accepts(
            {**floors, metric: value}
        ):
            found[metric] = value
    return found


def _room(request: _Request, floors: _Floors) -> dict[Metric, float]:
    """For each floor the largest value that is accepted beside what others hold, the others as asked; at least what is asked."""

    def accepts(asked: _Floors) -> bool:
        return request.within_instance(asked) and request.beside(asked)

    found: dict[Metric, float] = {}
    for metric, asked in floors.items():
        high = asked
        for _ in range(_DOUBLINGS):
            high *= 2
            if not accepts({**floors, metric: high}):
                break
        value = _bisected(floors, metric, asked, high, accepts, _STEPS)
        found[metric] = max(asked, _rounded_down(value))
    return found


def _largest_below(floors: _Floors, metric: Metric, asked: float, fits: Callable[[_Floors], bool]) -> float:
    """The largest value of one floor up to ``asked`` that fits, the others as asked, however far below ``asked`` it is; 0: none."""
    if fits(floors):
        return asked
    if not fits({**floors, metric: 0.0}):
        return 0.0
    high = asked
    for _ in range(_HALVINGS):
        if fits({**floors, metric: high / 2}):
            return _bisected(floors, metric, high / 2, high, fits, _STEPS)
        high /= 2
    return 0.0


def _bisected(
    floors: _Floors, metric: Metric, low: float, high: float, fits: Callable[[_Floors], bool], steps: int
) -> float:
    """The largest value of one floor between ``low`` and ``high`` that fits, the others as asked; ``low`` when none is found."""
    asked = dict(floors)
    for step in range(steps):
        asked[metric] = high if step == 0 else (low + high) / 2
        if fits(asked):
            if step == 0:
                return high
            low = asked[metric]
        else:
            high = asked[metric]
    return low


def _rounded_down(value: float) -> float:
    """To four digits, as it is printed for a person, who may ask for it."""
    if value <= 0:
        return 0.0
    rounded = float(f"{value:.4g}")
    return rounded if rounded <= value else float(f"{rounded - 10.0 ** (math.floor(math.log10(value)) - 3):.4g}")


def _reason(request: _Request, floors: _Floors, largest: Mapping[Metric, float]) -> tuple[str, Metric | None, str]:
    """(field, metric, message) of a refusal."""
    shape, guest = request.shape, request.guest_cores(floors)
    helping = request.dearest({metric: floors[metric] for metric in largest or floors})
    cpu = floors.get(Metric.CPU, 0.0)
    if cpu > shape.vcpus + EPSILON_CORES:
        vcpus = "1 vCPU" if shape.vcpus == 1 else f"{shape.vcpus} vCPUs"
        return "cpu.floor", Metric.CPU, f"the instance has {vcpus} and cannot use more cores than that"
    if guest > request.ceiling_cores + EPSILON_CORES:
        text = f"the ceiling is below the {_cores(guest)} of guest CPU that the floors need"
        return "cpu.ceiling", Metric.CPU, text
    if guest > shape.vcpus + EPSILON_CORES:
        text = f"the guest would need {_cores(guest)} of CPU for it and has {shape.vcpus} vCPUs"
        return _field(helping), helping, text
    main_loop, iothread = request.serial_cores(floors)
    if max(main_loop, iothread) > SERIAL_STAGE_CORES + EPSILON_CORES:
        return _serial_reason(request, floors, main_loop, iothread)
    need = request.reservation(floors).cores
    free = max(0.0, request.capacity.free_cores)
    if not request.within_total(need):
        text = f"the floors need {_cores(need)} of CPU and this host has {_cores(free)} left to guarantee"
        return _field(helping), helping, text
    where = "no CPU of this host" if shape.allowed_cpus is None else "none of the CPUs that the instance may use"
    what = f"{_cores(need)} of CPU" if shape.vcpus <= 1 else "the CPU of each vCPU and of the I/O threads"
    text = f"the floors need {what} on one CPU and {where} has so much left"
    return _field(helping), helping, text


def _serial_reason(request: _Request, floors: _Floors, main_loop: float, iothread: float) -> tuple[str, Metric, str]:
    """The dearest floor on the thread that has too much to do."""
    on_main = main_loop > SERIAL_STAGE_CORES + EPSILON_CORES
    thread, cores = ("main loop", main_loop) if on_main else ("iothread", iothread)
    resources = {"network", "block"} if request.shape.iothreads == 0 else {"network" if on_main else "block"}
    mine = [m for m in request.prices.io if m.resource in resources]
    metric = max(mine, key=lambda m: floors[m] * request.prices.io[m])
    both = " and ".join(r for r in ("network", "block") if any(m.resource == r for m in mine))
    text = (
        f"QEMU's {thread}, one thread, serves the {both} floors and would need {_cores(cores)};"
        f" at most {SERIAL_STAGE_CORES:g} can be guaranteed"
    )
    return _field(metric), metric, text


def _field(metric: Metric | None) -> str:
    return f"{metric.value}.floor" if metric else "slo"


def _cores(value: float) -> str:
    return f"{value:.2f} cores"
