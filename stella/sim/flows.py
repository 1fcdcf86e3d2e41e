"""How much of each flow gets through the threads that serve it, given how the CPUs are divided.

A flow passes its stages in turn: a vCPU fills a queue that a thread of QEMU empties. The slowest stage sets the pace; it is busy or
waits all the time, and the others sleep while they wait for it. Who is the slowest depends on the division of the CPUs, and that
on what each stage asks for. Where stages share a CPU, the slowest gets the less the more the others ask for, so the pace at which
all agree lies between what they asked for and what the slowest then let through; halving that gap a few times finds it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from stella.sim.scheduler import Task, balance, divide

_MOST_PASSES = 6
_SETTLED_RATIO = 0.01
_EXACTLY = 1e-9

Stages = Sequence[tuple[int, float]]
"""Of one flow: the number of each task in turn, and its CPU seconds for each unit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """``rates``: units/s of each flow. Of each task: ``asked`` cores (unbounded) and ``got`` cores; ``used`` cores of each CPU."""

    rates: list[float]
    asked: list[float]
    got: list[float]
    used: list[float]


def settle(
    room: Sequence[float],
    weights: Sequence[float],
    tasks: Sequence[Task],
    flows: Sequence[Stages],
    demands: Sequence[float],
) -> Passage:
    """What gets through. ``room``: cores of each CPU; ``weights``: of each instance; ``demands``: units/s of each flow."""
    asks = [[demand] * len(stages) for demand, stages in zip(demands, flows, strict=True)]
    rates = list(demands)
    asked: list[float] = []
    got: list[float] = []
    used: list[float] = []
    for number in range(_MOST_PASSES):
        asked = [0.0] * len(tasks)
        for stages, ask in zip(flows, asks, strict=True):
            for (t, cost), rate in zip(stages, ask, strict=True):
                asked[t] += rate * cost
        wants = [min(a, task.bound_cores) for a, task in zip(asked, tasks, strict=True)]
        if not number:
            balance(tasks, wants, len(room))
        got, used = divide(room, weights, tasks, wants)
        parts = [g / a if a > g + _EXACTLY else 1.0 for g, a in zip(got, asked, strict=True)]
        unsettled = False
        for n, stages in enumerate(flows):
            through = [rate * parts[t] for (t, _), rate in zip(stages, asks[n], strict=True)]
            rates[n] = min(through)
            if len(stages) > 1 and rates[n] < demands[n] * (1 - _EXACTLY):
                asks[n], moved = _next(stages, asks[n], parts, demands[n])
                unsettled = unsettled or moved
        if not unsettled:
            break
    return Passage(rates=rates, asked=asked, got=got, used=used)


def _next(stages: Stages, ask: Sequence[float], parts: Sequence[float], demand: float) -> tuple[list[float], bool]:
    """What each stage of a flow that is held up asks for in the next pass, and whether that is another amount than now."""
    slowest = min(range(len(stages)), key=lambda k: parts[stages[k][0]])
    pace = demand * parts[stages[slowest][0]]  # what it would let through if it alone asked for all
    found = [demand if k == slowest else (min(a, demand) + pace) / 2 for k, a in enumerate(ask)]
    moved = any(abs(new - old) > _SETTLED_RATIO * demand for new, old in zip(found, ask, strict=True))
    return found, moved
