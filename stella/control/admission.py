"""Does it fit? An SLO is accepted only if the host can hold it beside what is already promised.

"No" names the resource and, for each floor, the largest value that would fit with the others as asked.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from stella.control.cost import UnitCost
from stella.control.reservation import SERIAL_STAGE_CORES, io_floors, reserve, serial_cores
from stella.model.slo import Metric, Objective, Slo


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


def _largest(
    slo: Slo, objective: Objective, costs: Mapping[Metric, UnitCost], *, vcpus: int, margin: float, free: float
) -> float:
    """The largest floor of this objective that fits into ``free`` cores, found by bisection (the need grows with the floor)."""

    def need(floor: float) -> float:
        return reserve(_with_floor(slo, objective.metric, floor), costs, vcpus=vcpus, margin=margin).cores

    top = objective.floor or 0.0
    if objective.metric is Metric.CPU:
        top = min(top, float(vcpus))
    else:
        per_unit = costs[objective.metric].io
        top = min(top, SERIAL_STAGE_CORES / per_unit) if per_unit > 0 else top
    if need(0.0) > free:
        return 0.0
    if need(top) <= free:
        return top
    low, high = 0.0, top
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if need(middle) <= free else (low, middle)
    return low


def admit(
    slo: Slo,
    costs: Mapping[Metric, UnitCost],
    *,
    vcpus: int,
    margin: float,
    capacity_cores: float,
    reserved_by_others_cores: float,
) -> Answer:
    """Answer whether ``slo`` fits. ``capacity_cores`` is what is left for floors after the host's own needs."""
    needed = reserve(slo, costs, vcpus=vcpus, margin=margin).cores
    free = max(0.0, capacity_cores - reserved_by_others_cores)
    estimated = any(costs[o.metric].estimated for o in io_floors(slo))
    metric, message = None, ""
    for objective in io_floors(slo):
        if serial_cores(objective, costs) > SERIAL_STAGE_CORES:
            metric = objective.metric
            message = "one thread of QEMU serves it and would need more than 0.9 of a core"
    if metric is None and needed > free + 1e-9:
        floors = [o for o in slo.objectives if o.floor is not None]
        metric = floors[0].metric if floors else None
        message = f"needs {needed:.2f} cores of CPU for its floors, {free:.2f} are free on this host"
    if metric is None:
        return Answer(accepted=True, reserved_cpu_cores=needed, estimated=estimated)
    largest = tuple(
        (o.metric, _largest(slo, o, costs, vcpus=vcpus, margin=margin, free=free))
        for o in slo.objectives
        if o.floor is not None
    )
    return Answer(
        accepted=False, reserved_cpu_cores=0.0, estimated=estimated, metric=metric, message=message, largest=largest
    )
