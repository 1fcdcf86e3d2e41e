"""The clock that windows are labelled by: it runs with the monotonic clock, and no label is ever given twice.

A label is a Unix second. The wall clock gives the first one; from then on one label follows another, each for one second of the
monotonic clock. Where the wall clock drifts away by at most `STEP_SECONDS` (NTP slewing, a small step), windows are made up to
`SLEW_RATIO` shorter or longer until both agree. Where it has stepped:

- forwards: labels go on from the new time. The labels in between are of seconds that never were: they have no windows.
- backwards, into labels that were given already: labels go on after the last one, and are ahead of the wall clock from then on.
- backwards, into a stretch that a step forwards had left out: labels go back there. A wrong step and its correction leave two
  stretches, and the right one goes on where it was left.

See `docs/decisions/0019-windows-have-a-clock-of-their-own.md`.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

STEP_SECONDS = 0.5
SLEW_RATIO = 0.005
_KEPT_RANGES = 32

Labels = tuple[tuple[int, int], ...]
"""Ranges of labels that were given: first, and the one after the last; in order, not touching."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountClock:
    """``start`` is the label (Unix seconds) of the first window not yet closed, which began at ``begin_monotonic_seconds``.

    ``since`` is the first label of the present stretch, ``used`` are the stretches of labels given before it.
    """

    start: int
    begin_monotonic_seconds: float
    since: int
    used: Labels = ()

    def ahead_of_wall_seconds(self, wall_seconds: float, monotonic_seconds: float) -> float:
        """How far labels are ahead of the wall clock (negative: behind)."""
        return self.start + (monotonic_seconds - self.begin_monotonic_seconds) - wall_seconds


def merged(ranges: Iterable[tuple[int, int]]) -> Labels:
    """The same labels as few ranges, in order. Of too many, the two that lie closest are made one, gap included."""
    found: list[tuple[int, int]] = []
    for first, end in sorted(r for r in ranges if r[0] < r[1]):
        if found and first <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((first, end))
    while len(found) > _KEPT_RANGES:
        closest = min(range(1, len(found)), key=lambda i: found[i][0] - found[i - 1][1])
        found[closest - 1 : closest + 1] = [(found[closest - 1][0], found[closest][1])]
    return tuple(found)


def free_label(wanted: int, used: Labels) -> int:
    """The first label from ``wanted`` on that was not given. Before the first that was given, it is the one after the last."""
    if used and wanted < used[0][0]:
        return used[-1][1]
    for first, end in used:
        if first <= wanted < end:
            wanted = end
    return wanted


def begun(wall_seconds: float, monotonic_seconds: float, used: Labels = ()) -> AccountClock:
    """A clock whose first window begins at the next whole second of the wall clock, under the first free label."""
    whole = math.ceil(wall_seconds)
    start = free_label(whole, used)
    return AccountClock(
        start=start,
        begin_monotonic_seconds=monotonic_seconds + (whole - wall_seconds),
        since=start,
        used=used,
    )


def followed(clock: AccountClock, wall_seconds: float, monotonic_seconds: float) -> AccountClock:
    """The clock after a look at the wall clock: another stretch of labels when that has stepped, else the same."""
    ahead = clock.ahead_of_wall_seconds(wall_seconds, monotonic_seconds)
    if abs(ahead) <= STEP_SECONDS:
        return clock
    given = merged((*clock.used, (clock.since, clock.start)))
    wanted = clock.start - round(ahead)
    if given and wanted < given[0][0]:
        return clock
    start = free_label(wanted, given)
    if start == clock.start or (ahead > 0 and start > clock.start):
        return clock
    return replace(clock, start=start, since=start, used=given)


def window_seconds(clock: AccountClock, wall_seconds: float, monotonic_seconds: float) -> float:
    """How long the window at ``clock.start`` lasts: 1 s, less what labels are to catch up, or more."""
    ahead = clock.ahead_of_wall_seconds(wall_seconds, monotonic_seconds)
    return 1.0 + max(-SLEW_RATIO, min(SLEW_RATIO, ahead))


def advanced(clock: AccountClock, windows: int, seconds: float) -> AccountClock:
    """The clock after ``windows`` more windows that lasted ``seconds`` in all."""
    start = clock.start + windows
    begin = clock.begin_monotonic_seconds + seconds
    taken = next((end for first, end in clock.used if first <= start < end), None)
    if taken is None:
        return replace(clock, start=start, begin_monotonic_seconds=begin)
    given = merged((*clock.used, (clock.since, start)))
    start = free_label(start, given)
    return AccountClock(start=start, begin_monotonic_seconds=begin, since=start, used=given)


def labels_left(clock: AccountClock) -> int | None:
    """How many windows may follow before a label that was given; None: no bound."""
    return min((first - clock.start for first, _ in clock.used if first >= clock.start), default=None)
