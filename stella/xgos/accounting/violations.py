"""The violations of this host, kept on disk as JSON lines (`stella.xgos.accounting.violation_episodes` tells what one is)."""

import logging
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from stella.control.offender import Offender
from stella.model import wire
from stella.model.slo import Metric
from stella.xgos.accounting.violation_episodes import (
    CLOSING_WINDOWS,
    SMALLEST_MISSED_WINDOWS,
    Instances,
    Key,
    Violation,
    describe,
    fold,
    violation_id,
)
from stella.xgos.line_log import Lines, read_lines

_LOG = logging.getLogger(__name__)

_UPDATE_WINDOWS = 3  # an open episode's line is written again this often
LARGEST_FILE_BYTES = 8 * 1024 * 1024
_KEPT_EPISODES = 2000

__all__ = ["CLOSING_WINDOWS", "Violation", "ViolationLog", "describe", "fold"]


class ViolationLog:
    """The episodes of this host, kept on disk as JSON lines. `record` is for the loop; the rest may be asked from any thread."""

    def __init__(self, path: Path, writer: Lines, *, epoch: str = "") -> None:
        """``epoch`` makes the ids of its violations differ from those of an agent that lost its state."""
        self._path = path
        self._writer = writer
        self._epoch = epoch
        self._recorded = False
        self._offender_seconds: dict[str, int] = {}
        self._lock = threading.Lock()
        self._open: dict[Key, Violation] = {}
        self._closed: deque[Violation] = deque(maxlen=_KEPT_EPISODES)
        self._bytes = 0
        self._opened: dict[Key, int] = {}
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

    def _changed(self, before: Mapping[Key, Violation]) -> tuple[list[Violation], list[Violation]]:
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
