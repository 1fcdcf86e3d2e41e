"""Windows cut by the clock from ticks that do not know of it."""

import pytest

from stella.control.account_clock import begun, free_label, merged
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


def test_a_tick_that_took_long_tells_nothing_of_the_windows_in_it() -> None:
    assert over([tick(0.0, 30.0, 10.0, 0.0)], 10.0, 11.0) is None


def test_each_window_is_due_once() -> None:
    clock = begun(100.3, 10.3)
    assert (clock.start, clock.begin_monotonic_seconds) == (101, pytest.approx(11.0))
    spans, clock = due(clock, 101.7, 11.7)
    assert spans == ()
    spans, clock = due(clock, 102.7, 12.7)
    assert [s.start for s in spans] == [101] and clock.start == 102
    assert due(clock, 102.8, 12.8) == ((), clock)


@pytest.mark.parametrize("apart", [1.25, 1.9, 2.5])
def test_late_ticks_close_several_windows(apart: float) -> None:
    clock = begun(100.0, 0.0)
    labels = []
    for number in range(40):
        spans, clock = due(clock, 100.0 + number * apart, number * apart)
        labels += [s.start for s in spans if s.windows == 1]
    assert labels == list(range(100, 100 + len(labels))) and len(labels) >= 39 * apart - 2


def test_a_long_outage_is_one_span() -> None:
    clock = begun(100.0, 0.0)
    spans, clock = due(clock, 86_500.0, 86_400.0)
    assert spans[0].start == 100 and spans[0].windows > 86_000 and len(spans) < 20
    assert sum(s.windows for s in spans) == clock.start - 100
    assert abs(clock.start - 86_499) <= 1


STEPS = [3600.0, -3600.0, 90 * 86400.0, -90 * 86400.0]


@pytest.mark.parametrize("step", STEPS)
def test_a_clock_step_loses_and_doubles_no_label(step: float) -> None:
    clock = begun(1e9, 0.0)
    labels: list[int] = []
    for number in range(1200):
        now = number * 0.25
        offset = step if 400 <= number < 800 else 0.0  # 100 s right, 100 s wrong, 100 s right
        spans, clock = due(clock, 1e9 + now + offset, now)
        labels += [s.start + i for s in spans for i in range(s.windows)]
    assert len(labels) == len(set(labels)) and abs(len(labels) - 299) <= 1
    ahead = labels[-1] - (1e9 + 298)
    assert abs(ahead) <= 3 if step > 0 else ahead >= -3
    assert min(labels) == 1e9


def test_small_steps_and_slewing_are_followed_slowly() -> None:
    clock = begun(1e9, 0.0)
    labels: list[int] = []
    for number in range(4000):
        now = number * 0.25
        wall = 1e9 + now * 1.0004 + (0.3 if number > 400 else 0.0)  # 400 ppm and a step of 0.3 s
        spans, clock = due(clock, wall, now)
        labels += [s.start for s in spans]
        assert abs(clock.ahead_of_wall_seconds(wall, now)) < 0.5
    assert labels == list(range(10**9, 10**9 + len(labels)))
    assert abs(clock.ahead_of_wall_seconds(wall, now)) < 0.01


def test_a_free_label_is_never_one_that_was_given() -> None:
    used = merged([(10, 20), (15, 30), (50, 60)])
    assert used == ((10, 30), (50, 60))
    assert [free_label(at, used) for at in (5, 10, 29, 30, 49, 55, 60)] == [60, 30, 30, 30, 49, 60, 60]
    assert len(merged((n * 10, n * 10 + 5) for n in range(100))) == 32
