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
_TALLY_FIELDS = ("met", "missed", "no_demand", "self_limited", "unknown")
_SLOT = dict(zip(Status, (0, 2, 3, 1, 1, 4, 4), strict=True))  # index into _TALLY_FIELDS, in the order of Status
_KIND_ORDER = {"floor": 0, "target": 1, "ceiling": 2, "weight": 3}


@dataclass(frozen=True, slots=True)
class Window:
    """One second: what became of each objective of each instance. ``start_seconds`` is Unix time."""

    start_seconds: int
    instances: tuple[tuple[str, tuple[ObjectiveReport, ...]], ...]


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
    """A short run of steps: five counts and a sum of usage for each."""

    __slots__ = ("counts", "known", "usage")

    def __init__(self, steps: int) -> None:
        self.counts = array("H", bytes(10 * steps))
        self.known = array("H", bytes(2 * steps))
        self.usage = array("d", bytes(8 * steps))


Row = tuple[list[int], int, float]  # five counts, windows with known usage, sum of usage


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
            place = slot * 5 + offset
            chunk.counts[place] = min(65535, count + (0 if replace else chunk.counts[place]))
        chunk.known[slot] = min(65535, known + (0 if replace else chunk.known[slot]))
        chunk.usage[slot] = usage + (0.0 if replace else chunk.usage[slot])

    def count(self, start: int, place: int, usage: float | None) -> None:
        """One more window, in the count at ``place`` (which never passes 65 535)."""
        index, slot = divmod(start // self.step, self.steps)
        chunk = self.chunks.get(index)
        if chunk is None:
            chunk = self.chunks[index] = _Chunk(self.steps)
        place += slot * 5
        chunk.counts[place] = min(65535, chunk.counts[place] + 1)
        if usage is not None:
            chunk.known[slot] = min(65535, chunk.known[slot] + 1)
            chunk.usage[slot] += usage

    def row(self, start: int) -> Row | None:
        index, slot = divmod(start // self.step, self.steps)
        chunk = self.chunks.get(index)
        if chunk is None:
            return None
        counts = list(chunk.counts[slot * 5 : slot * 5 + 5])
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

    def count(self, start: int, report: ObjectiveReport, *, up_to: int = HOUR) -> None:
        """Count one window, at the resolutions up to ``up_to`` seconds."""
        place = _SLOT[report.status]
        for step, level in self.levels.items():
            if step <= up_to:
                level.count(start, place, report.usage)

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


def print_window(start: int, instances: Sequence[tuple[str, Sequence[ObjectiveReport]]]) -> str:
    shown = {
        uuid: [
            [r.metric, r.kind, _number(r.value), _number(r.usage), _number(r.demand), r.status, r.cause]
            for r in reports
        ]
        for uuid, reports in instances
    }
    return json.dumps({"t": start, "w": shown}, separators=(",", ":"))


def parse_window(line: Mapping[str, Any]) -> Window:
    """Raises ValueError, TypeError, KeyError or AttributeError for what is no window."""
    return Window(
        int(line["t"]),
        tuple(
            (
                str(uuid),
                tuple(
                    ObjectiveReport(
                        metric=Metric(metric),
                        kind=str(kind),
                        value=float(value),
                        usage=None if usage is None else float(usage),
                        demand=None if demand is None else float(demand),
                        status=Status(status),
                        cause=None if cause is None else Cause(cause),
                    )
                    for metric, kind, value, usage, demand, status, cause in reports
                ),
            )
            for uuid, reports in line["w"].items()
        ),
    )


GARBAGE = (ValueError, TypeError, KeyError, AttributeError, OverflowError)
"""What `parse_window` and its like raise for lines that are not theirs."""


def tally(rows: Iterable[Row]) -> Tally:
    """All rows together."""
    sums = [0] * 5
    for counts, _, _ in rows:
        for index, count in enumerate(counts):
            sums[index] += count
    return Tally(**dict(zip(_TALLY_FIELDS, sums, strict=True)))
