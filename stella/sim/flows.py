"""How much of each flow gets through the threads that serve it, given how the CPUs are divided.

A flow passes its stages in turn: a vCPU fills a queue that a thread of QEMU empties. The slowest stage sets the pace; it is busy or
waits all the time, and the others sleep while they wait for it. Who is the slowest depends on the division of the CPUs, and that
on what each stage asks for, so both are found together in a few passes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from stella.sim.scheduler import Task, balance, divide

_GROWTH = (1.15, 1.0, None)
"""What a stage that is not the slowest asks for in the next pass, in units of what the slowest lets through; None: no other pass."""
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
    for number, growth in enumerate(_GROWTH):
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
            if growth is not None and len(stages) > 1 and rates[n] < demands[n] * (1 - _EXACTLY):
                unsettled = True
                slowest = through.index(rates[n])
                asks[n] = [
                    demands[n] if k == slowest else min(demands[n], rates[n] * growth) for k in range(len(stages))
                ]
        if not unsettled:
            break
    return Passage(rates=rates, asked=asked, got=got, used=used)
