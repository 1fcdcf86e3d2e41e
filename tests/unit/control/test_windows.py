"""Windows cut by the clock from ticks that do not know of it."""

import pytest

from stella.control.rates import CpuRates, InstanceRates, StageRate
from stella.control.windows import carried_back, due, over
from stella.model.snapshot import Role


def tick(start: float, end: float, run: float, wait: float) -> InstanceRates:
    """A tick of one vCPU; ``run`` and ``wait`` are the seconds booked in it."""
    length = end - start
    stage = StageRate(
        role=Role.VCPU,
        index=0,
        run_ratio=run / length,
        wait_ratio=min(1.0, wait / length),
        overhang_ratio=max(0.0, (run + wait) / length - 1.0),
    )
    return InstanceRates(
        start_seconds=start, end_seconds=end, vcpus=1, cpu=CpuRates(stages=(stage,)), network=None, block=None
    )


def test_a_wait_counts_when_it_was_waited_not_when_it_was_booked() -> None:
    ticks = [
        tick(0.0, 0.25, 0.1, 0.1),
        tick(0.25, 0.5, 0.0, 0.0),
        tick(0.5, 0.75, 0.0, 0.0),
        tick(0.75, 1.0, 0.05, 0.6),
    ]
    waits = [t.cpu.stages[0].wait_ratio * t.seconds for t in carried_back(ticks) if t.cpu]
    assert waits == pytest.approx([0.1, 0.15, 0.25, 0.25], abs=0.06)
    assert sum(waits) == pytest.approx(0.7, abs=0.06)


def test_a_window_is_the_mean_of_the_ticks_that_overlap_it() -> None:
    ticks = [tick(0.0, 0.5, 0.5, 0.0), tick(0.5, 1.5, 0.0, 0.0)]
    rates = over(ticks, 0.0, 1.0)
    assert rates is not None and rates.cpu is not None
    assert rates.cpu.vcpu_cores == pytest.approx(0.5)


def test_a_window_that_was_hardly_seen_is_unknown() -> None:
    assert over([tick(0.0, 0.5, 0.1, 0.0)], 0.0, 1.0) is None


def test_windows_are_judged_once_each_and_gaps_are_passed_over() -> None:
    assert due(None, 100.3) == (99.0, None) or due(None, 100.3)[1] is None
    upcoming, start = due(100.0, 101.7)
    assert start == 100 and upcoming == 101.0
    assert due(upcoming, 101.8) == (101.0, None)
    assert due(101.0, 150.9) == (150.0, 149)
