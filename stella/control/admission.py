"""Does it fit? An SLO is accepted only if the host can hold it beside what is already guaranteed.

"No" names the resource and, for each floor, the largest value that would fit with the others as asked. It must fit twice: into
what the host can give in all, and, since an instance runs whole on one CPU while the host is full (`placement`), onto a CPU.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from stella.control.cost import UnitCost
from stella.control.placement import fullest_cores
from stella.control.reservation import SERIAL_STAGE_CORES, io_floors, reserve, serial_cores
from stella.model.slo import Metric, Objective, Slo

_EPSILON = 1e-9
_Fits = Callable[[Slo], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Accepted with ``reserved_cpu_cores`` set aside, or refused: then ``metric`` and ``message`` say why.

    ``largest`` holds for each floor the largest value that would fit, the others as asked (0: none would).
    ``estimated``: the CPU cost comes from the host's priors, not from this instance's history.
    """

    accepted: bool
    reserved_cpu_cores: float
    estimated: bool
    metric: Metric | None = None
    message: str = ""
    largest: tuple[tuple[Metric, float], ...] = ()


def _with_floor(slo: Slo, metric: Metric, floor: float | None) -> Slo:
    return Slo(tuple(replace(o, floor=floor) if o.metric is metric else o for o in slo.objectives))


@dataclass(frozen=True, slots=True, kw_only=True)
class HostCapacity:
    """What a host has to promise: ``capacity_cores`` on all of its ``cpus``, ``one_cpu_cores`` on any of them.

    ``held``: what is guaranteed to others already, (cores with margin, number of vCPUs) each.
    """

    capacity_cores: float
    cpus: int
    one_cpu_cores: float
    held: Sequence[tuple[float, int]] = ()

    @property
    def free_cores(self) -> float:
        """What is not guaranteed yet."""
        return max(0.0, self.capacity_cores - sum(cores for cores, _ in self.held))

    def fits_one_cpu(self, cores: float, vcpus: int, *, margin: float) -> bool:
        """Whether a CPU carries it besides what is held there: without the margin, which is for when costs rise.

        Where costs did rise and the CPUs are overfull already, what does not make it worse is let in.
        """
        before = fullest_cores(self.cpus, self.held)
        after = fullest_cores(self.cpus, [*self.held, (cores, vcpus)])
        return after <= max(before, self.one_cpu_cores * margin) + _EPSILON


def _largest(slo: Slo, objective: Objective, costs: Mapping[Metric, UnitCost], *, vcpus: int, fits: _Fits) -> float:
    """The largest floor of this objective that fits, found by bisection (the need grows with the floor)."""

    def fitting(floor: float) -> bool:
        return fits(_with_floor(slo, objective.metric, floor))

    top = objective.floor or 0.0
    if objective.metric is Metric.CPU:
        top = min(top, float(vcpus))
    else:
        per_unit = costs[objective.metric].io
        top = min(top, SERIAL_STAGE_CORES / per_unit) if per_unit > 0 else top
    if not fitting(0.0):
        return 0.0
    if fitting(top):
        return top
    low, high = 0.0, top
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if fitting(middle) else (low, middle)
    return low


def admit(slo: Slo, costs: Mapping[Metric, UnitCost], *, vcpus: int, margin: float, room: HostCapacity) -> Answer:
    """Answer whether ``slo`` fits into ``room``, which is what is left for floors after the host's own needs."""

    def need(asked: Slo) -> float:
        return reserve(asked, costs, vcpus=vcpus, margin=margin).cores

    def fits(asked: Slo) -> bool:
        cores = need(asked)
        return cores <= room.free_cores + _EPSILON and room.fits_one_cpu(cores, vcpus, margin=margin)

    needed = need(slo)
    estimated = any(costs[o.metric].estimated for o in io_floors(slo))
    metric, message = None, ""
    for objective in io_floors(slo):
        if serial_cores(objective, costs) > SERIAL_STAGE_CORES:
            metric = objective.metric
            message = "one thread of QEMU serves it and would need more than 0.9 of a core"
    if metric is None and not fits(slo):
        floors = [o for o in slo.objectives if o.floor is not None]
        metric = floors[0].metric if floors else None
        message = f"needs {needed:.2f} cores of CPU for its floors, {room.free_cores:.2f} are free on this host"
        if needed <= room.free_cores:
            message += ", but on no CPU so much at once"
    if metric is None:
        return Answer(accepted=True, reserved_cpu_cores=needed, estimated=estimated)
    largest = tuple(
        (o.metric, _largest(slo, o, costs, vcpus=vcpus, fits=fits)) for o in slo.objectives if o.floor is not None
    )
    return Answer(
        accepted=False, reserved_cpu_cores=0.0, estimated=estimated, metric=metric, message=message, largest=largest
    )
