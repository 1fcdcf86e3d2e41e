"""The law of the original GoS (Korea University, about 2016), as a pure function: feedback alone, no model of cost.

Every 3 s each I/O VM's performance p is compared with its SLO s. Inside the dead band 0.99 s to 1.01 s nothing moves. Outside, the CPU
u that is held back from the CPU VMs for its sake takes a *secant step*: with the last two points (u0, p0), (u1, p1) the line through
them meets s at

    u2 = u1 + (s - p1) * (u1 - u0) / (p1 - p0).

Where the line has no use (first step, no change, or a slope that says that more CPU gives less performance) a fixed step is made
in the right direction. One step is bounded. What is left to the CPU VMs together is divided among them by the CPU they could use;
a CPU VM with an SLO is never pressed below it. The original ran on whole CPUs of two VMs; the bounds that it had at compile time
are left out.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

PERIOD_SECONDS = 3.0
DEAD_BAND = (0.99, 1.01)
FIRST_STEP_CORES = 0.1
LARGEST_STEP_CORES = 0.4
LEAST_QUOTA_CORES = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One VM in the last period. ``attainment_ratio``: the worst of performance / SLO over its I/O floors; None for a CPU VM.

    ``cpu_floor_cores``: its CPU SLO, 0 without; ``vcpus``: what it could use.
    """

    name: str
    vcpus: int
    attainment_ratio: float | None = None
    cpu_floor_cores: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """What was held back for a VM (cores) and what it attained then (ratio)."""

    held_cores: float
    attainment_ratio: float


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The last point of each I/O VM, and what is held back for each now, in cores."""

    last: Mapping[str, Point] = field(default_factory=dict)
    held_cores: Mapping[str, float] = field(default_factory=dict)


def secant_step(now: Point, before: Point | None) -> float:
    """How many cores more (or fewer) to hold back for one VM; 0 inside the dead band."""
    if DEAD_BAND[0] <= now.attainment_ratio <= DEAD_BAND[1]:
        return 0.0
    gap = 1.0 - now.attainment_ratio
    rise = now.attainment_ratio - before.attainment_ratio if before else 0.0
    run = now.held_cores - before.held_cores if before else 0.0
    fixed = FIRST_STEP_CORES if gap > 0 else -FIRST_STEP_CORES
    step = gap * run / rise if rise and run / rise > 0 else fixed
    return max(-LARGEST_STEP_CORES, min(LARGEST_STEP_CORES, step))


def decide(state: State, readings: tuple[Reading, ...], *, cores: int) -> tuple[State, dict[str, float | None]]:
    """The next state, and the CPU quota of each VM in cores (None: no quota)."""
    last, held = {}, {}
    for reading in readings:
        if reading.attainment_ratio is None:
            continue
        now = Point(held_cores=state.held_cores.get(reading.name, 0.0), attainment_ratio=reading.attainment_ratio)
        last[reading.name] = now
        wanted = now.held_cores + secant_step(now, state.last.get(reading.name))
        held[reading.name] = max(0.0, min(float(cores), wanted))
    cpu_vms = [r for r in readings if r.attainment_ratio is None]
    left = max(0.0, cores - sum(held.values()))
    floors = sum(r.cpu_floor_cores for r in cpu_vms)
    rest = max(0.0, left - floors)
    usable = sum(r.vcpus for r in cpu_vms)
    quotas: dict[str, float | None] = {r.name: None for r in readings}
    if sum(held.values()) > 0:
        for r in cpu_vms:
            quotas[r.name] = max(LEAST_QUOTA_CORES, r.cpu_floor_cores + rest * r.vcpus / usable)
    return State(last=last, held_cores=held), quotas
