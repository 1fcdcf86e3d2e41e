"""The arrays behind the account of windows: one objective's counts at three resolutions, and the text of a window."""

import json
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stella.model.allocation import ObjectiveReport
from stella.model.attainment import Cause, Status, Tally
from stella.model.slo import Metric

MINUTE, HOUR, DAY = 60, 3600, 86400
RETENTION_SECONDS = {1: 15 * MINUTE, MINUTE: 2 * DAY, HOUR: 90 * DAY}
_CHUNK_STEPS = {1: 60, MINUTE: 60, HOUR: 24}
COUNTED = (
    Status.MET,
    Status.VIOLATED,
    Status.DEGRADED,
    Status.NO_DEMAND,
    Status.SELF_LIMITED,
    Status.UNKNOWN,
)
"""The statuses that a row counts, in its order. PENDING windows are in no row."""

_SLOT = {status: place for place, status in enumerate(COUNTED)}
_CAUSE_SLOT = {cause: len(COUNTED) + place for place, cause in enumerate(Cause)}
_WIDTH = len(COUNTED) + len(Cause)
_WIDTH_OF_OLD_ROWS = 7
_KIND_ORDER = {"floor": 0, "target": 1, "ceiling": 2, "weight": 3}


@dataclass(frozen=True, slots=True)
class Window:
    """One second, or ``seconds`` of them: what became of each objective of each instance. ``start_seconds`` is Unix time."""

    start_seconds: int
    instances: tuple[tuple[str, tuple[ObjectiveReport, ...]], ...]
    seconds: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One step of a series. ``mean_usage`` is None where usage was not known."""

    start_seconds: int
    mean_usage: float | None
    tally: Tally


def primary_reports(reports: Iterable[ObjectiveReport]) -> dict[Metric, ObjectiveReport]:
    """One report for each metric: that of its floor or target, else of its ceiling, else of its weight."""
    chosen: dict[Metric, ObjectiveReport] = {}
    for report in sorted(reports, key=lambda r: _KIND_ORDER.get(r.kind, 9)):
        chosen.setdefault(report.metric, report)
    return chosen


class _Chunk:
    """A short run of steps: the counts and a sum of usage for each."""

    __slots__ = ("counts", "known", "usage")

    def __init__(self, steps: int) -> None:
        self.counts = array("H", bytes(2 * _WIDTH * steps))
        self.known = array("H", bytes(2 * steps))
        self.usage = array("d", bytes(8 * steps))


Row = tuple[list[int], int, float]
"""Windows by status (`COUNTED`) and then by cause (`Cause`), windows with known usage, sum of usage."""


def windows_of(row: Row) -> int:
    """How many windows a row counts."""
    return sum(row[0][: len(COUNTED)])


def print_row(row: Row) -> list[float]:
    """One row for a file."""
    counts, known, usage = row
    return [*counts, known, float(f"{usage:.9g}")]


def parse_row(entries: Sequence[Any]) -> Row:
    """One row of a file. Those of earlier versions counted VIOLATED and DEGRADED as one, here VIOLATED, and no causes."""
    if len(entries) == _WIDTH_OF_OLD_ROWS:
        met, missed, *others = (int(count) for count in entries[:5])
        return [met, missed, 0, *others, *(0 for _ in Cause)], int(entries[5]), float(entries[6])
    return [int(count) for count in entries[:_WIDTH]], int(entries[_WIDTH]), float(entries[_WIDTH + 1])


class Level:
    """The steps of one objective at one resolution, in chunks that exist only where there is something."""

    __slots__ = ("chunks", "step", "steps")

    def __init__(self, step: int) -> None:
        self.step = step
        self.steps = _CHUNK_STEPS[step]
        self.chunks: dict[int, _Chunk] = {}

    def add(self, start: int, row: Row, *, replace: bool = False) -> None:
        index, slot = divmod(start // self.step, self.steps)
        chunk = self.chunks.get(index)
        if chunk is None:
            chunk = self.chunks[index] = _Chunk(self.steps)
        counts, known, usage = row
        for offset, count in enumerate(counts):
            place = slot * _WIDTH + offset
            chunk.counts[place] = min(65535, count + (0 if replace else chunk.counts[place]))
        chunk.known[slot] = min(65535, known + (0 if replace else chunk.known[slot]))
        chunk.usage[slot] = usage + (0.0 if replace else chunk.usage[slot])

    def count(self, start: int, report: ObjectiveReport, windows: int = 1) -> None:
        """``windows`` more in the step of ``start`` (a count never passes 65 535)."""
        index, slot = divmod(start // self.step, self.steps)
        chunk = self.chunks.get(index)
        if chunk is None:
            chunk = self.chunks[index] = _Chunk(self.steps)
        place = slot * _WIDTH + _SLOT[report.status]
        chunk.counts[place] = min(65535, chunk.counts[place] + windows)
        if report.cause is not None:
            place = slot * _WIDTH + _CAUSE_SLOT[report.cause]
            chunk.counts[place] = min(65535, chunk.counts[place] + windows)
        if report.usage is not None:
            chunk.known[slot] = min(65535, chunk.known[slot] + windows)
            chunk.usage[slot] += report.usage * windows

    def count_run(self, start: int, report: ObjectiveReport, seconds: int = 1) -> None:
        """``seconds`` windows from ``start`` on, those within this level's retention. PENDING is not counted.

        Of more than one, usage is not known.
        """
        if report.status not in _SLOT:
            return
        moment = max(start, start + seconds - RETENTION_SECONDS[self.step])
        while moment < start + seconds:
            begin = moment // self.step * self.step
            whole = (start + seconds - begin) // self.step if moment == begin else 0
            if whole > 1:
                moment += self._fill_run(begin, report, whole) * self.step
                continue
            end = min(begin + self.step, start + seconds)
            self.count(begin, report, end - moment)
            moment = end

    def _fill_run(self, start: int, report: ObjectiveReport, steps: int) -> int:
        """Up to ``steps`` whole steps from ``start`` on, in which there is nothing else; returns how many lie in one chunk."""
        index, slot = divmod(start // self.step, self.steps)
        chunk = self.chunks.get(index)
        if chunk is None:
            chunk = self.chunks[index] = _Chunk(self.steps)
        steps = min(steps, self.steps - slot)
        filled = array("H", [self.step]) * steps
        places = [_SLOT[report.status], *([] if report.cause is None else [_CAUSE_SLOT[report.cause]])]
        for place in places:
            chunk.counts[slot * _WIDTH + place : (slot + steps) * _WIDTH : _WIDTH] = filled
        return steps

    def fill(self, start: int, row: Row) -> bool:
        """Take ``row`` for the step at ``start`` if it counts more windows than what is there; whether it did."""
        known = self.row(start)
        if known is not None and windows_of(known) >= windows_of(row):
            return False
        self.add(start, row, replace=True)
        return True

    def row(self, start: int) -> Row | None:
        index, slot = divmod(start // self.step, self.steps)
        chunk = self.chunks.get(index)
        if chunk is None:
            return None
        counts = list(chunk.counts[slot * _WIDTH : (slot + 1) * _WIDTH])
        return (counts, chunk.known[slot], chunk.usage[slot]) if any(counts) else None

    def rows(self, since: int, until: int) -> list[tuple[int, Row]]:
        span = self.step * self.steps
        found = []
        for index in sorted(i for i in self.chunks if i * span < until and (i + 1) * span > since):
            for start in range(index * span, (index + 1) * span, self.step):
                if since <= start < until and (row := self.row(start)) is not None:
                    found.append((start, row))
        return found

    def forget_before(self, moment: int) -> None:
        span = self.step * self.steps
        for index in [i for i in self.chunks if (i + 1) * span <= moment]:
            del self.chunks[index]


class Account:
    """One objective at all three resolutions."""

    __slots__ = ("levels",)

    def __init__(self) -> None:
        self.levels = {step: Level(step) for step in RETENTION_SECONDS}

    def count(self, start: int, report: ObjectiveReport, *, seconds: int = 1) -> None:
        """Count ``seconds`` windows from ``start`` on.

        Of a long run only those within each resolution's retention are counted.
        """
        for level in self.levels.values():
            level.count_run(start, report, seconds)

    def rows(self, step: int, since: int, until: int, newest: int) -> list[tuple[int, Row]]:
        """The coarsest rows, ``step`` at most, that make up ``since`` to ``until``.

        Where finer rows are no more kept (``newest`` is the last window), ``since`` is moved to the start of a coarse one.
        """
        if since >= until:
            return []
        if step == 1:
            return self.levels[1].rows(since, until)
        finer = MINUTE if step == HOUR else 1
        kept = since > newest - RETENTION_SECONDS[finer]
        begin = -(-since // step) * step if kept else since // step * step
        end = until // step * step
        if begin >= end:
            return self.rows(finer, since, until, newest)
        return (
            self.rows(finer, since, begin, newest)
            + self.levels[step].rows(begin, end)
            + self.rows(finer, end, until, newest)
        )


def _number(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.7g}")


def print_window(
    start: int,
    instances: Sequence[tuple[str, Sequence[ObjectiveReport]]],
    *,
    seconds: int = 1,
    end_monotonic_seconds: float = 0.0,
    boot: str = "",
) -> str:
    """One line for a file; ``boot`` names the boot whose monotonic clock ``end_monotonic_seconds`` is of."""
    shown = {
        uuid: [
            [r.metric, r.kind, _number(r.value), _number(r.usage), _number(r.demand), r.status, r.cause]
            + ([r.offender] if r.offender is not None else [])
            for r in reports
        ]
        for uuid, reports in instances
    }
    line: dict[str, object] = {"t": start, "w": shown}
    if seconds > 1:
        line["n"] = seconds
    if boot:
        line |= {"m": round(end_monotonic_seconds, 3), "b": boot}
    return json.dumps(line, separators=(",", ":"))


def _parse_report(entries: Sequence[Any]) -> ObjectiveReport:
    metric, kind, value, usage, demand, status, cause, *offender = entries
    return ObjectiveReport(
        metric=Metric(metric),
        kind=str(kind),
        value=float(value),
        usage=None if usage is None else float(usage),
        demand=None if demand is None else float(demand),
        status=Status(status),
        cause=None if cause is None else Cause(cause),
        offender=str(offender[0]) if offender else None,
    )


def parse_window(line: Mapping[str, Any]) -> Window:
    """Raises ValueError, TypeError, KeyError or AttributeError for what is no window."""
    return Window(
        int(line["t"]),
        tuple((str(uuid), tuple(_parse_report(report) for report in reports)) for uuid, reports in line["w"].items()),
        max(1, int(line.get("n", 1))),
    )


GARBAGE = (ValueError, TypeError, KeyError, AttributeError, OverflowError)
"""What `parse_window` and its like raise for lines that are not theirs."""


def tally(rows: Iterable[Row]) -> Tally:
    """All rows together."""
    sums = [0] * len(COUNTED)
    for counts, _, _ in rows:
        for index in range(len(COUNTED)):
            sums[index] += counts[index]
    met, violated, degraded, no_demand, self_limited, unknown = sums
    return Tally(met=met, missed=violated + degraded, no_demand=no_demand, self_limited=self_limited, unknown=unknown)
