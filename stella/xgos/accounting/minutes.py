"""Seconds gathered into minute rows, one for each objective and minute."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from stella.model.allocation import ObjectiveReport
from stella.model.attainment import Cause, Status
from stella.model.report import MINUTE_SECONDS, MinuteRow, Spread, StatusCounts
from stella.model.slo import Metric
from stella.xgos.accounting.history_levels import primary_reports

Reports = Sequence[tuple[str, Sequence[ObjectiveReport]]]
_Key = tuple[str, Metric]
_KEPT_MINUTES = 3
"""As many minutes are kept, those that are over too, in case a clock that was wrong comes back to one of them."""

_KEPT_UNTIL_MERGED = 30


@dataclass(slots=True)
class _Sum:
    known: int = 0
    total: float = 0.0
    least: float = 0.0
    most: float = 0.0

    def add(self, value: float | None, seconds: int) -> None:
        if value is not None:
            self.merge(_Sum(seconds, value * seconds, value, value))

    def merge(self, other: "_Sum") -> None:
        if not other.known:
            return
        self.least = min(self.least, other.least) if self.known else other.least
        self.most = max(self.most, other.most) if self.known else other.most
        self.known += other.known
        self.total += other.total

    @property
    def mean(self) -> float | None:
        return self.total / self.known if self.known else None


@dataclass(slots=True)
class _Minute:
    """One objective in a minute that is under way."""

    counts: dict[Status, int] = field(default_factory=dict)
    causes: dict[Cause, int] = field(default_factory=dict)
    usage: _Sum = field(default_factory=_Sum)
    demand: _Sum = field(default_factory=_Sum)

    def add(self, report: ObjectiveReport, seconds: int) -> None:
        self.counts[report.status] = self.counts.get(report.status, 0) + seconds
        if report.cause is not None:
            self.causes[report.cause] = self.causes.get(report.cause, 0) + seconds
        self.usage.add(report.usage, seconds)
        self.demand.add(report.demand, seconds)

    def merge(self, other: "_Minute") -> None:
        for status, count in other.counts.items():
            self.counts[status] = self.counts.get(status, 0) + count
        for cause, count in other.causes.items():
            self.causes[cause] = self.causes.get(cause, 0) + count
        self.usage.merge(other.usage)
        self.demand.merge(other.demand)

    def row(self, key: _Key, start: int, span_seconds: int = MINUTE_SECONDS) -> MinuteRow:
        usage = self.usage
        return MinuteRow(
            uuid=key[0],
            metric=key[1],
            start=start,
            counts=StatusCounts(**{status.value.lower(): count for status, count in self.counts.items()}),
            causes=dict(self.causes),
            usage=Spread(mean=usage.total / usage.known, min=usage.least, max=usage.most) if usage.known else None,
            demand_mean=self.demand.mean,
            span_seconds=span_seconds,
        )


class Minutes:
    """The minute under way, and the last ones before it. Not locked."""

    def __init__(self) -> None:
        self._minutes: dict[int, dict[_Key, _Minute]] = {}
        self._current: int | None = None
        self._kept = _KEPT_UNTIL_MERGED

    def record(self, start: int, instances: Reports, seconds: int = 1) -> list[MinuteRow]:
        """Take in ``seconds`` windows from ``start`` on; returns the rows of the minutes that are over.

        More than one window are a gap: its whole minutes come as one row for each objective.
        """
        end = start + seconds
        head_end = min(end, start // MINUTE_SECONDS * MINUTE_SECONDS + MINUTE_SECONDS)
        rows = self._add(start, head_end - start, instances)
        tail = end // MINUTE_SECONDS * MINUTE_SECONDS
        if head_end < tail:
            for key, report in _primary(instances):
                gap = _Minute()
                gap.add(report, tail - head_end)
                rows.append(gap.row(key, head_end, tail - head_end))
        if max(tail, head_end) < end:
            rows += self._add(tail, end - tail, instances)
        return rows

    def _add(self, start: int, seconds: int, instances: Reports) -> list[MinuteRow]:
        minute = start // MINUTE_SECONDS * MINUTE_SECONDS
        rows: list[MinuteRow] = []
        if minute != self._current:
            rows = self.closed(self._current) if self._current is not None else []
            self._current = minute
            entries = self._minutes.pop(minute, {})
            self._minutes[minute] = entries  # the last one now
            while len(self._minutes) > self._kept:
                del self._minutes[next(iter(self._minutes))]
        entries = self._minutes[minute]
        for key, report in _primary(instances):
            entries.setdefault(key, _Minute()).add(report, seconds)
        return rows

    def closed(self, minute: int) -> list[MinuteRow]:
        """The rows of one minute as it stands."""
        return [entry.row(key, minute) for key, entry in self._minutes.get(minute, {}).items()]

    def merge(self, other: "Minutes") -> list[MinuteRow]:
        """Take in what another has of its minutes under way; returns the rows of those that are over here."""
        self._kept = _KEPT_MINUTES
        rows: list[MinuteRow] = []
        for minute, entries in other._minutes.items():
            if minute in self._minutes:
                own = self._minutes[minute]
                for key, entry in entries.items():
                    own.setdefault(key, _Minute()).merge(entry)
                if minute != self._current:
                    rows += self.closed(minute)
            elif minute == other._current and self._current is None:
                self._minutes[minute] = entries
                self._current = minute
            elif minute == other._current:
                rows += other.closed(minute)
        return rows


def _primary(instances: Reports) -> Iterable[tuple[_Key, ObjectiveReport]]:
    for uuid, reports in instances:
        for metric, report in primary_reports(reports).items():
            yield (uuid, metric), report
