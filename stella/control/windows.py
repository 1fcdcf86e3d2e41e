"""One-second windows: what was seen in the ticks that overlap one, and what became of each objective in it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from stella.control.account_clock import AccountClock, advanced, followed, labels_left, window_seconds
from stella.control.offender import Offender, Taker, find
from stella.control.rates import BlockRates, CpuRates, InstanceRates, NetworkRates, StageRate
from stella.model.allocation import ObjectiveReport
from stella.model.attainment import Cause
from stella.model.snapshot import Role

Rates = TypeVar("Rates", NetworkRates, BlockRates)

GRACE_SECONDS = 0.65
"""A window is evaluated this long after its end, so that readings that come late (block statistics) are in."""

LARGEST_WINDOWS_A_TICK = 60
"""As many windows are closed one by one in a tick; of more, those of which nothing can have been seen are closed as one."""

LONGEST_TICK_SECONDS = 3.0
"""The mean over a longer tick tells nothing of the single windows in it: the agent was stopped."""

_SINGLE_AFTER_GAP = 8
_SMALLEST_COVERAGE_RATIO = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceWindow:
    """What became of one instance's objectives in one window. ``offender`` is who took its CPU, where one did."""

    uuid: str
    objectives: tuple[ObjectiveReport, ...]
    offender: Offender | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """One closed window, or ``seconds`` of them in a row of which nothing was seen: then every status is UNKNOWN or PENDING.

    ``start_unix_seconds`` is its label (`stella.control.account_clock`); ``end_monotonic_seconds`` is when it ended.
    """

    start_unix_seconds: int
    instances: tuple[InstanceWindow, ...]
    seconds: int = 1
    end_monotonic_seconds: float = 0.0


def _weights(spans: Sequence[tuple[float, float]], start: float, end: float) -> list[float] | None:
    """The share of [start, end] that each span covers, made to sum to 1; None when too little is covered."""
    overlaps = [max(0.0, min(end, b) - max(start, a)) for a, b in spans]
    covered = sum(overlaps)
    if covered < _SMALLEST_COVERAGE_RATIO * (end - start):
        return None
    return [o / covered for o in overlaps]


def _mean(make: Callable[..., Rates], names: Sequence[str], rates: Sequence[Rates], weights: Sequence[float]) -> Rates:
    counted = [(rate, weight) for rate, weight in zip(rates, weights, strict=True) if weight > 0]
    return make(**{n: sum(getattr(rate, n) * weight for rate, weight in counted) for n in names})


def _mean_cpu(rates: Sequence[CpuRates], weights: Sequence[float]) -> CpuRates:
    sums: dict[tuple[Role, int], tuple[float, float, float]] = {}
    for cpu, weight in ((cpu, weight) for cpu, weight in zip(rates, weights, strict=True) if weight > 0):
        for stage in cpu.stages:
            run, wait, throttled = sums.get((stage.role, stage.index), (0.0, 0.0, 0.0))
            sums[stage.role, stage.index] = (
                run + stage.run_ratio * weight,
                wait + stage.wait_ratio * weight,
                throttled + stage.throttled_ratio * weight,
            )
    return CpuRates(
        stages=tuple(
            StageRate(role=role, index=index, run_ratio=run, wait_ratio=wait, throttled_ratio=throttled)
            for (role, index), (run, wait, throttled) in sums.items()
        )
    )


def carried_back(ticks: Sequence[InstanceRates]) -> list[InstanceRates]:
    """The same ticks, in order of time, with each wait in the ticks in which it was waited, not in the one in which it was booked."""
    owed: dict[tuple[Role, int], float] = {}
    done = []
    for tick in reversed(ticks):
        if tick.cpu is None:
            done.append(tick)
            continue
        stages, changed = [], False
        for stage in tick.cpu.stages:
            key = (stage.role, stage.index)
            debt = owed.get(key, 0.0)
            paid = min(max(0.0, 1.0 - stage.busy_ratio) * tick.seconds, debt) if debt else 0.0
            if debt or stage.overhang_ratio:
                owed[key] = debt - paid + stage.overhang_ratio * tick.seconds
            more = paid / tick.seconds if tick.seconds > 0 else 0.0
            changed = changed or more > 0
            stages.append(replace(stage, wait_ratio=stage.wait_ratio + more) if more else stage)
        done.append(replace(tick, cpu=CpuRates(stages=tuple(stages))) if changed else tick)
    return done[::-1]


def over(ticks: Sequence[InstanceRates], start_seconds: float, end_seconds: float) -> InstanceRates | None:
    """The mean rates over an interval of the monotonic clock, from the ticks that overlap it.

    A part that is not known for at least four fifths of the interval is None; the whole is None when its CPU is.
    """
    ticks = [t for t in carried_back(ticks) if t.seconds <= LONGEST_TICK_SECONDS]
    cpu_ticks = [t for t in ticks if t.cpu is not None]
    weights = _weights([(t.start_seconds, t.end_seconds) for t in cpu_ticks], start_seconds, end_seconds)
    if weights is None:
        return None
    cpu = _mean_cpu([t.cpu for t in cpu_ticks if t.cpu is not None], weights)
    network, block, overrun = None, None, 0.0
    with_network = [t for t in ticks if t.network is not None]
    weights = _weights([(t.start_seconds, t.end_seconds) for t in with_network], start_seconds, end_seconds)
    if weights is not None:
        rates = [t.network for t in with_network if t.network is not None]
        network = _mean(NetworkRates, NetworkRates.__slots__, rates, weights)
        overrun = sum(t.overrun_ratio * w for t, w in zip(with_network, weights, strict=True))
    with_block = [t for t in ticks if t.block is not None]
    spans = [(t.block_start_seconds, t.block_end_seconds) for t in with_block]
    weights = _weights(spans, start_seconds, end_seconds)
    if weights is not None:
        block = _mean(BlockRates, BlockRates.__slots__, [t.block for t in with_block if t.block is not None], weights)
    return replace(
        ticks[-1],
        start_seconds=start_seconds,
        end_seconds=end_seconds,
        cpu=cpu,
        network=network,
        block=block,
        overrun_ratio=overrun,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """``windows`` windows in a row from the label ``start`` on; on the monotonic clock they begin and end at these seconds.

    More than one only where nothing can have been seen.
    """

    start: int
    windows: int
    begin_monotonic_seconds: float
    end_monotonic_seconds: float


def due(clock: AccountClock, wall_seconds: float, monotonic_seconds: float) -> tuple[tuple[Span, ...], AccountClock]:
    """The windows that are to be closed now, oldest first, and the clock after them. None is left out, none comes twice.

    After a long gap the windows that no tick overlaps come as one span (as more, where labels have to jump within it).
    """
    clock = followed(clock, wall_seconds, monotonic_seconds)
    spans: list[Span] = []
    latest = monotonic_seconds - GRACE_SECONDS
    while True:
        length = window_seconds(clock, wall_seconds, monotonic_seconds)
        waiting = int((latest - clock.begin_monotonic_seconds) // length)
        if waiting < 1:
            return tuple(spans), clock
        count = 1
        if waiting > LARGEST_WINDOWS_A_TICK:
            count = max(1, min(waiting - _SINGLE_AFTER_GAP, labels_left(clock) or waiting))
        spans.append(
            Span(
                start=clock.start,
                windows=count,
                begin_monotonic_seconds=clock.begin_monotonic_seconds,
                end_monotonic_seconds=clock.begin_monotonic_seconds + count * length,
            )
        )
        clock = advanced(clock, count, count * length)


def short_of_cpu(window: InstanceWindow) -> tuple[ObjectiveReport, ...]:
    """The objectives that were missed for want of CPU."""
    return tuple(r for r in window.objectives if r.status.missed and r.cause in (Cause.CPU, Cause.CAPACITY))


def blamed(window: InstanceWindow, takers: Sequence[Taker]) -> InstanceWindow:
    """The same window with the offender, where an objective was missed for want of CPU."""
    short = short_of_cpu(window)
    worst = find(window.uuid, takers) if short else None
    if worst is None:
        return window
    reports = tuple(replace(r, offender=worst.uuid) if r in short else r for r in window.objectives)
    return replace(window, objectives=reports, offender=worst)
