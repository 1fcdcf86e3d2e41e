"""Violations: episodes in which an objective was missed, with start, end, cause, offender and worst value.

An episode is a violation from its second missed window (VIOLATED or DEGRADED) on; one missed second alone is none. It closes
after `CLOSING_WINDOWS` windows in a row that were not missed, or when more than as many went by of which some were not seen
(UNKNOWN or PENDING: the agent was away, a sensor was lost); it ends with its last missed window. An objective that is no longer
reported (withdrawn, or its instance is gone) closes in the same number of windows.
Cause and offender are what the largest part of its missed windows named.
"""

import json
import logging
import threading
import uuid as uuids
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from stella.control.offender import Offender
from stella.model import wire
from stella.model.allocation import ObjectiveReport
from stella.model.attainment import Cause, Status
from stella.model.slo import Metric
from stella.xgos.accounting.history_levels import primary_reports
from stella.xgos.line_log import LineWriter, read_lines

_LOG = logging.getLogger(__name__)

CLOSING_WINDOWS = 5
SMALLEST_MISSED_WINDOWS = 2
_UPDATE_WINDOWS = 3  # an open episode's line is written again this often
_NAMESPACE = uuids.UUID("5f0b3f0e-6f0a-4c39-9a39-0c1f9f1c7d11")
LARGEST_FILE_BYTES = 8 * 1024 * 1024
_KEPT_EPISODES = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One episode. Times are Unix seconds; ``end_seconds`` is None while it lasts. ``worst`` is the usage furthest from ``value``.

    ``missed_windows`` counts the windows that were missed; ``causes`` and ``offenders`` how many of them named each cause and
    each offender (an instance's uuid, or ``host``). ``good_windows`` and ``unseen_windows`` went by since the last one missed.
    ``id`` stays the same for as long as the episode is known. ``evidence`` is the offender's CPU in the last window it was named.
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
    id: str = ""
    unseen_windows: int = 0
    offenders: Mapping[str, int] = field(default_factory=dict)
    evidence: Offender | None = None

    @property
    def offender(self) -> str | None:
        """Who the largest part of the missed windows named; None when that is nobody."""
        if not self.offenders:
            return None
        most = max(self.offenders, key=lambda uuid: self.offenders[uuid])
        nobody = self.missed_windows - sum(self.offenders.values())
        return most if self.offenders[most] >= nobody else None

    @property
    def is_violation(self) -> bool:
        """Whether it was missed for long enough."""
        return self.missed_windows >= SMALLEST_MISSED_WINDOWS

    @property
    def cause(self) -> Cause | None:
        """The cause that most of the missed windows named."""
        return max(self.causes, key=lambda cause: self.causes[cause]) if self.causes else None


_Key = tuple[str, Metric]
Named = TypeVar("Named", Cause, str)
Instances = Sequence[tuple[str, str, Sequence[ObjectiveReport]]]
"""The uuid, name and objectives of each instance."""

Open = Mapping[_Key, Violation]


def _worse(kind: str, worst: float | None, usage: float | None) -> float | None:
    if worst is None or usage is None:
        return usage if worst is None else worst
    return max(worst, usage) if kind in ("target", "ceiling") else min(worst, usage)


def violation_id(uuid: str, metric: Metric, start_seconds: int, epoch: str) -> str:
    """The id of the episode of an objective that began at ``start_seconds``, as the agent of ``epoch`` accounts it."""
    return str(uuids.uuid5(_NAMESPACE, f"{uuid}/{metric.value}/{start_seconds}/{epoch}"))


def _missed(episode: Violation | None, name: str, report: ObjectiveReport, window: "MissedWindow") -> Violation:
    if episode is None:
        episode = Violation(
            uuid=window.uuid,
            name=name,
            metric=report.metric,
            kind=report.kind,
            value=report.value,
            start_seconds=window.start_seconds,
            last_missed_seconds=window.start_seconds,
            missed_windows=0,
            status=report.status,
            id=violation_id(window.uuid, report.metric, window.start_seconds, window.epoch),
        )
    after = replace(
        episode,
        value=report.value,
        last_missed_seconds=window.start_seconds,
        missed_windows=episode.missed_windows + 1,
        good_windows=0,
        unseen_windows=0,
        worst=_worse(episode.kind, episode.worst, report.usage),
        status=Status.VIOLATED if Status.VIOLATED in (episode.status, report.status) else report.status,
        causes=_counted(episode.causes, report.cause),
        offenders=_counted(episode.offenders, report.offender),
    )
    if window.offender is not None and window.offender.uuid == after.offender:
        after = replace(after, evidence=window.offender)
    return after


@dataclass(frozen=True, slots=True, kw_only=True)
class MissedWindow:
    """Which window of which instance was missed, and who took its CPU."""

    uuid: str
    start_seconds: int
    epoch: str
    offender: Offender | None


def _counted(counts: Mapping[Named, int], named: Named | None) -> Mapping[Named, int]:
    return counts if named is None else {**counts, named: counts.get(named, 0) + 1}


def _passed(episode: Violation, *, good: int = 0, unseen: int = 0) -> Violation:
    """The episode after windows that were not missed: closed (it has an end) when they were enough."""
    after = replace(
        episode,
        good_windows=min(CLOSING_WINDOWS, episode.good_windows + good),
        unseen_windows=episode.unseen_windows + unseen,
    )
    gap = after.good_windows + after.unseen_windows
    if after.good_windows < CLOSING_WINDOWS and gap <= CLOSING_WINDOWS:
        return after
    return replace(after, end_seconds=episode.last_missed_seconds + 1)


def fold(
    open_episodes: Open,
    start: int,
    instances: Instances,
    *,
    seconds: int = 1,
    epoch: str = "",
    evidence: Mapping[str, Offender] | None = None,
) -> tuple[dict[_Key, Violation], list[Violation]]:
    """The open episodes after the window that began at ``start`` (Unix seconds), and those that it closed.

    ``instances`` are (uuid, name, reports), ``evidence`` the offender by uuid. ``seconds`` more than one: that many windows of
    which nothing was seen. Pure.
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
            window = MissedWindow(uuid=key[0], start_seconds=start, epoch=epoch, offender=(evidence or {}).get(key[0]))
            still[key] = _missed(open_episodes.get(key), name, report, window)
    for key, episode in open_episodes.items():
        if key in still:
            continue
        unseen = key in seen and seen[key][1].status in (Status.UNKNOWN, Status.PENDING)
        after = _passed(episode, unseen=seconds) if unseen else _passed(episode, good=seconds)
        if after.end_seconds is None:
            still[key] = after
        else:
            closed.append(after)
    return still, closed


class ViolationLog:
    """The episodes of this host, kept on disk as JSON lines. `record` is for the loop; the rest may be asked from any thread."""

    def __init__(self, path: Path, writer: LineWriter, *, epoch: str = "") -> None:
        """``epoch`` makes the ids of its violations differ from those of an agent that lost its state."""
        self._path = path
        self._writer = writer
        self._epoch = epoch
        self._recorded = False
        self._offender_seconds: dict[str, int] = {}
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
                if not episode.id:
                    named = violation_id(episode.uuid, episode.metric, episode.start_seconds, self._epoch)
                    episode = replace(episode, id=named)
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

    def record(
        self,
        window_start_unix: float,
        instances: Instances,
        *,
        seconds: int = 1,
        evidence: Mapping[str, Offender] | None = None,
    ) -> list[Violation]:
        """Take in one window: (uuid, name, reports) of each instance; ``seconds`` of them when nothing was seen.

        Returns the violations that it opened, closed or (now and then) went on. One line is logged for each that opens or closes.
        """
        start = int(window_start_unix)
        with self._lock:
            lapsed = self._lapsed(start)
            before = self._open
            self._open, closed = fold(before, start, instances, seconds=seconds, epoch=self._epoch, evidence=evidence)
            closed = [e for e in (*lapsed, *closed) if e.is_violation]
            self._closed.extend(closed)
            opened, going_on = self._changed(before)
            for episode in opened:
                key = (episode.uuid, episode.metric)
                self._opened[key] = self._opened.get(key, 0) + 1
            for named in {r.offender for _, _, reports in instances for r in reports if r.offender is not None}:
                self._offender_seconds[named] = self._offender_seconds.get(named, 0) + 1
            if self._bytes > LARGEST_FILE_BYTES:
                self._rotate()
            for episode in (*opened, *going_on, *closed):
                self._write(episode)
        for episode in (*opened, *closed):
            _LOG.warning("violation %s", describe(episode))
        return [*opened, *going_on, *closed]

    def _changed(self, before: Mapping[_Key, Violation]) -> tuple[list[Violation], list[Violation]]:
        """The violations that the last window opened, and those whose line is to be written again."""
        opened, going_on = [], []
        for key, episode in self._open.items():
            if episode is before.get(key) or not episode.is_violation:
                continue
            just_missed = not episode.good_windows and not episode.unseen_windows
            if just_missed and episode.missed_windows == SMALLEST_MISSED_WINDOWS:
                opened.append(episode)
            elif just_missed and episode.missed_windows % _UPDATE_WINDOWS == 0:
                going_on.append(episode)
        return opened, going_on

    def _lapsed(self, start: int) -> list[Violation]:
        """With the first window: what the last process left open, if more than `CLOSING_WINDOWS` seconds have no window."""
        if self._recorded:
            return []
        self._recorded = True
        lapsed = [e for e in self._open.values() if not 0 < start - e.last_missed_seconds <= CLOSING_WINDOWS + 1]
        for episode in lapsed:
            del self._open[episode.uuid, episode.metric]
        return [replace(e, end_seconds=e.last_missed_seconds + 1) for e in lapsed]

    def _write(self, episode: Violation) -> None:
        line = wire.dumps(episode)
        self._bytes += len(line) + 1
        self._writer.append(self._path, line)

    def _rotate(self) -> None:
        self._writer.rotate(self._path, self._path.with_name(self._path.name + ".1"))
        self._bytes = 0
        for episode in self._open.values():
            if episode.is_violation:
                self._write(episode)

    def open_count(self) -> int:
        """Violations that last."""
        with self._lock:
            return sum(1 for episode in self._open.values() if episode.is_violation)

    def offender_seconds(self) -> dict[str, int]:
        """For each offender (an instance's uuid, or ``host``) the seconds since this process started in which it was one."""
        with self._lock:
            return dict(self._offender_seconds)

    def opened_counts(self) -> dict[tuple[str, Metric], int]:
        """For each uuid and metric the episodes that began since this process started."""
        with self._lock:
            return dict(self._opened)

    def forget(self, uuid: str) -> None:
        """The instance is gone from this host: drop its counts since the start (its episodes stay)."""
        with self._lock:
            self._offender_seconds.pop(uuid, None)
            for key in [key for key in self._opened if key[0] == uuid]:
                del self._opened[key]

    def list(self, *, only_open: bool = False, uuid: str | None = None, since: float = 0.0) -> list[Violation]:
        """Episodes in the order they began; ``since`` (Unix seconds) leaves out those that ended before."""
        with self._lock:
            episodes = [*(() if only_open else self._closed), *(e for e in self._open.values() if e.is_violation)]
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
            "id": episode.id,
            "cause": episode.cause,
            "offender": episode.offender,
            "offender_used_cores": round(episode.evidence.used_cores, 3) if episode.evidence else None,
            "offender_entitled_cores": round(episode.evidence.entitled_cores, 3) if episode.evidence else None,
            "value": episode.value,
            "worst": episode.worst,
            "missed_windows": episode.missed_windows,
        }
    )
