"""Violations: episodes in which an objective was missed, with start, end, cause and worst value.

An episode opens with the first missed window (VIOLATED or DEGRADED) and closes after `CLOSING_WINDOWS` windows in a row that
were not missed; it ends with its last missed window. A window whose status is UNKNOWN or PENDING neither counts as missed nor
brings the close nearer. An objective that is no longer reported (withdrawn, or its instance is gone) closes in the same number
of windows.
The cause is the one most of the missed windows named.
"""

import json
import logging
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from stella.model import wire
from stella.model.allocation import ObjectiveReport
from stella.model.attainment import Cause, Status
from stella.model.slo import Metric
from stella.xgos.accounting.history_levels import primary_reports
from stella.xgos.line_log import LineWriter, read_lines

_LOG = logging.getLogger(__name__)

CLOSING_WINDOWS = 5
_UPDATE_WINDOWS = 60  # an open episode's line is written again this often
LARGEST_FILE_BYTES = 8 * 1024 * 1024
_KEPT_EPISODES = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One episode. Times are Unix seconds; ``end_seconds`` is None while it lasts. ``worst`` is the usage furthest from ``value``.

    ``missed_windows`` counts the windows that were missed; ``causes`` how many of them named each cause.
    """

    uuid: str
    name: str
    metric: Metric
    kind: str
    value: float
    start_seconds: int
    last_missed_seconds: int
    end_seconds: int | None = None
    missed_windows: int = 1
    good_windows: int = 0
    worst: float | None = None
    status: Status = Status.VIOLATED
    causes: Mapping[Cause, int] = field(default_factory=dict)

    @property
    def cause(self) -> Cause | None:
        """The cause that most of the missed windows named."""
        return max(self.causes, key=lambda cause: self.causes[cause]) if self.causes else None


_Key = tuple[str, Metric]
Open = Mapping[_Key, Violation]


def _worse(kind: str, worst: float | None, usage: float | None) -> float | None:
    if worst is None or usage is None:
        return usage if worst is None else worst
    return max(worst, usage) if kind in ("target", "ceiling") else min(worst, usage)


def _missed(episode: Violation | None, uuid: str, name: str, report: ObjectiveReport, start: int) -> Violation:
    cause = {report.cause: 1} if report.cause else {}
    if episode is None:
        return Violation(
            uuid=uuid,
            name=name,
            metric=report.metric,
            kind=report.kind,
            value=report.value,
            start_seconds=start,
            last_missed_seconds=start,
            worst=report.usage,
            status=report.status,
            causes=cause,
        )
    return replace(
        episode,
        value=report.value,
        last_missed_seconds=start,
        missed_windows=episode.missed_windows + 1,
        good_windows=0,
        worst=_worse(episode.kind, episode.worst, report.usage),
        status=Status.VIOLATED if Status.VIOLATED in (episode.status, report.status) else report.status,
        causes={
            **episode.causes,
            **{c: episode.causes.get(c, 0) + 1 for c in cause},
        },
    )


def fold(
    open_episodes: Open,
    start: int,
    instances: Sequence[tuple[str, str, Sequence[ObjectiveReport]]],
) -> tuple[dict[_Key, Violation], list[Violation]]:
    """The open episodes after the window that began at ``start`` (Unix seconds), and those that it closed.

    ``instances`` are (uuid, name, reports). Pure.
    """
    still: dict[_Key, Violation] = {}
    closed: list[Violation] = []
    seen: dict[_Key, tuple[str, ObjectiveReport]] = {
        (uuid, metric): (name, report)
        for uuid, name, reports in instances
        for metric, report in primary_reports(reports).items()
    }
    for key, (name, report) in seen.items():
        if report.status.missed:
            still[key] = _missed(open_episodes.get(key), key[0], name, report, start)
    for key, episode in open_episodes.items():
        if key in still:
            continue
        if key in seen and seen[key][1].status in (Status.UNKNOWN, Status.PENDING):
            still[key] = episode
        elif episode.good_windows + 1 < CLOSING_WINDOWS:
            still[key] = replace(episode, good_windows=episode.good_windows + 1)
        else:
            closed.append(replace(episode, good_windows=CLOSING_WINDOWS, end_seconds=episode.last_missed_seconds + 1))
    return still, closed


class ViolationLog:
    """The episodes of this host, kept on disk as JSON lines. `record` is for the loop; the rest may be asked from any thread."""

    def __init__(self, path: Path, writer: LineWriter) -> None:
        self._path = path
        self._writer = writer
        self._lock = threading.Lock()
        self._open: dict[_Key, Violation] = {}
        self._closed: deque[Violation] = deque(maxlen=_KEPT_EPISODES)
        self._bytes = 0
        self._opened: dict[_Key, int] = {}
        self._load()

    def _load(self) -> None:
        found: dict[tuple[str, Metric, int], Violation] = {}
        for path in (self._path.with_name(self._path.name + ".1"), self._path):
            for line in read_lines(path):
                try:
                    episode = wire.decode(Violation, line)
                except wire.InvalidWire:
                    continue
                found[episode.uuid, episode.metric, episode.start_seconds] = episode
        try:
            self._bytes = self._path.stat().st_size
        except OSError:
            self._bytes = 0
        for episode in sorted(found.values(), key=lambda e: e.start_seconds):
            if episode.end_seconds is not None:
                self._closed.append(episode)
                continue
            older = self._open.get((episode.uuid, episode.metric))
            if older is not None:
                self._closed.append(replace(older, end_seconds=older.last_missed_seconds + 1))
            self._open[episode.uuid, episode.metric] = episode

    def record(self, window_start_unix: float, instances: Sequence[tuple[str, str, Sequence[ObjectiveReport]]]) -> None:
        """Take in one window: (uuid, name, reports) of each instance. One line is logged for each episode that opens or closes."""
        start = int(window_start_unix)
        with self._lock:
            before = self._open
            self._open, closed = fold(before, start, instances)
            self._closed.extend(closed)
            for key in self._open.keys() - before.keys():
                self._opened[key] = self._opened.get(key, 0) + 1
            changed = [
                episode
                for key, episode in self._open.items()
                if key not in before
                or (
                    episode is not before[key]
                    and episode.missed_windows % _UPDATE_WINDOWS == 0
                    and not episode.good_windows
                )
            ]
            if self._bytes > LARGEST_FILE_BYTES:
                self._rotate()
            for episode in (*changed, *closed):
                self._write(episode)
        for episode in (*(e for e in changed if e.missed_windows == 1), *closed):
            _LOG.warning("violation %s", describe(episode))

    def _write(self, episode: Violation) -> None:
        line = wire.dumps(episode)
        self._bytes += len(line) + 1
        self._writer.append(self._path, line)

    def _rotate(self) -> None:
        self._writer.rotate(self._path, self._path.with_name(self._path.name + ".1"))
        self._bytes = 0
        for episode in self._open.values():
            self._write(episode)

    def open_count(self) -> int:
        """Episodes that last."""
        with self._lock:
            return len(self._open)

    def opened_counts(self) -> dict[tuple[str, Metric], int]:
        """For each uuid and metric the episodes that began since this process started."""
        with self._lock:
            return dict(self._opened)

    def forget(self, uuid: str) -> None:
        """The instance is gone from this host: drop its counts since the start (its episodes stay)."""
        with self._lock:
            for key in [key for key in self._opened if key[0] == uuid]:
                del self._opened[key]

    def list(self, *, only_open: bool = False, uuid: str | None = None, since: float = 0.0) -> list[Violation]:
        """Episodes in the order they began; ``since`` (Unix seconds) leaves out those that ended before."""
        with self._lock:
            episodes = [*(() if only_open else self._closed), *self._open.values()]
        return sorted(
            (
                e
                for e in episodes
                if (uuid is None or e.uuid == uuid) and (e.end_seconds is None or e.end_seconds >= since)
            ),
            key=lambda e: (e.start_seconds, e.uuid, e.metric),
        )


def describe(episode: Violation) -> str:
    """One line for a log."""
    return json.dumps(
        {
            "instance": episode.uuid,
            "metric": episode.metric,
            "state": "open" if episode.end_seconds is None else "closed",
            "cause": episode.cause,
            "value": episode.value,
            "worst": episode.worst,
            "missed_windows": episode.missed_windows,
        }
    )
