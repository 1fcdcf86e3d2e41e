"""What this host has to report upwards, on disk until it is acknowledged: minute rows, violations, the states of intents.

`Outbox.record_window` and its like are for the loop and never wait for the disk: a thread of its own writes. What `batch` hands
out is on the disk. A process that was killed loses at most its last second: minutes that were under way are gathered
again from the history's 1 s windows. Bounded in bytes and days: of what must be dropped, minutes become rows that tell how many of
their seconds are UNKNOWN now, the last state of each instance and the last news of each violation are kept, and the rest is
counted in `Outbox.dropped`.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from stella.control.windows import Window
from stella.model.attainment import Cause
from stella.model.intent import IntentState
from stella.model.report import Batch, MinuteRow, StateRow, StatusCounts, ViolationRow
from stella.model.slo import Metric
from stella.xgos import supervision
from stella.xgos.accounting import history_levels
from stella.xgos.accounting.live_points import LivePoints
from stella.xgos.accounting.minutes import Minutes
from stella.xgos.accounting.outbox_segments import Row, Segments, rows_of
from stella.xgos.accounting.violations import Violation

_LOG = logging.getLogger(__name__)
LARGEST_BYTES = 64 * 1024 * 1024
KEPT_SECONDS = 7 * history_levels.DAY
_LARGEST_QUEUE_ROWS = 50_000
_KEPT_VIOLATIONS = 1000
_RETRY_SECONDS = 5.0

Recent = Iterable[history_levels.Window]


class Outbox:
    """Rows for the link to the cloud. Any thread may call; `record_window`, `record_violation` and `record_state` never block."""

    def __init__(self, directory: Path, *, recent: Recent = (), background: bool = True) -> None:
        """Open what ``directory`` holds; ``recent`` are the 1 s windows that the last process wrote. Raises OSError."""
        self._segments = Segments(directory)
        self._disk = threading.Lock()  # held while the disk is waited for
        self._lock = threading.Lock()
        self._minutes = Minutes()
        self._queue: deque[Row] = deque()
        self._lost: list[MinuteRow] = []
        self._dropped = 0
        self._elapsed_seconds = 0
        self._failing = False
        self._recent: Recent | None = recent
        self.live = LivePoints()  # beside the rows: never on the disk
        self.state_stored: Callable[[], None] | None = None  # called when a state is ready to be sent; must not block
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread = supervision.start(self._run, name="outbox", stop=self._stop) if background else None

    @property
    def agent(self) -> str:
        """The id of this agent, made when it first ran."""
        return self._segments.state.agent

    @property
    def epoch(self) -> str:
        """New whenever the agent lost its state."""
        return self._segments.state.epoch

    @property
    def acknowledged(self) -> int:
        """The number of the last row of this epoch that was acknowledged; 0 when none was."""
        return self._segments.state.acknowledged

    @property
    def stored(self) -> int:
        """The number of the last row on the disk."""
        return self._segments.last

    @property
    def depth(self) -> int:
        """Rows that are not acknowledged."""
        return self._segments.depth + len(self._queue)

    @property
    def dropped(self) -> int:
        """Rows that were dropped since this process started; minutes among them are reported as UNKNOWN."""
        return self._dropped

    def record_window(self, window: Window) -> None:
        """Take in a closed window (or a gap of several)."""
        self.live.record(window)
        instances = [(one.uuid, one.objectives) for one in window.instances]
        with self._lock:
            self._elapsed_seconds += window.seconds
            rows = self._minutes.record(window.start_unix_seconds, instances, window.seconds)
            self._put(rows)

    def record_violation(self, episode: Violation) -> None:
        """Take in a violation that opened, went on or closed."""
        evidence = {"value": episode.value, "missed_seconds": float(episode.missed_windows)}
        if episode.worst is not None:
            evidence["worst"] = episode.worst
        if episode.evidence is not None:
            evidence["offender_used_cores"] = episode.evidence.used_cores
            evidence["offender_entitled_cores"] = episode.evidence.entitled_cores
        row = ViolationRow(
            id=episode.id,
            uuid=episode.uuid,
            metric=episode.metric,
            opened_at=episode.start_seconds,
            closed_at=episode.end_seconds,
            cause=episode.cause,
            offender=episode.offender,
            evidence=evidence,
        )
        with self._lock:
            self._put([row])

    def record_state(
        self,
        uuid: str,
        revision: int,
        state: IntentState,
        reason: str = "",
        largest: dict[Metric, float] | None = None,
    ) -> None:
        """Acknowledge the intent of an instance: ``revision`` is its source's."""
        with self._lock:
            self._put([(uuid, StateRow(revision=revision, state=state, reason=reason, largest=largest or {}))])

    def nudge(self) -> None:
        """Have a report sent at once: something changed that is not a row."""
        if self.state_stored is not None:
            self.state_stored()

    def _put(self, rows: Sequence[Row]) -> None:
        for row in rows:
            if len(self._queue) < _LARGEST_QUEUE_ROWS:
                self._queue.append(row)
            else:
                self._dropped += 1
                if isinstance(row, MinuteRow):
                    self._lost = unknown_rows([*self._lost, row])
        if rows:
            self._wake.set()

    def batch(self, max_rows: int = 500) -> Batch | None:
        """The oldest rows that are not acknowledged, all of them on disk; None when there are none. Waits for the disk."""
        with self._disk:
            found = self._segments.read(self._segments.state.acknowledged, max_rows)
        if not found:
            return None
        rows = [row for _, row in found]
        return Batch(
            agent=self.agent,
            epoch=self.epoch,
            sequence=found[-1][0],
            minutes=tuple(row for row in rows if isinstance(row, MinuteRow)),
            violations=tuple(row for row in rows if isinstance(row, ViolationRow)),
            states={row[0]: row[1] for row in rows if isinstance(row, tuple)},
        )

    def acknowledge(self, epoch: str, sequence: int) -> None:
        """Rows of ``epoch`` up to ``sequence`` were taken. Another epoch's are none of ours. Waits for the disk. Raises OSError."""
        with self._disk:
            if epoch == self.epoch:
                self._segments.acknowledge(sequence)

    def flush(self) -> bool:
        """Write what is waiting; False when the disk would not take it. For the outbox's own thread and for tests."""
        with self._disk:
            self._restore()
            with self._lock:
                rows: list[Row] = [*self._lost, *self._queue]
                self._queue.clear()
                self._lost = []
                self._wake.clear()
            try:
                if rows:
                    self._segments.append(rows, self._elapsed_seconds)
                if self.state_stored is not None and any(isinstance(row, tuple) for row in rows):
                    self.state_stored()
                self._drop_oldest()
                self._failing = False
            except OSError as error:
                with self._lock:
                    later = list(self._queue)
                    self._queue.clear()
                    self._put([*rows, *later])
                if not self._failing:
                    _LOG.warning("outbox: %s; rows wait in memory", error.strerror or error)
                self._failing = True
                return False
        return True

    def _restore(self) -> None:
        """Once: the minutes that the last process had under way."""
        recent, self._recent = self._recent, None
        if recent is None:
            return
        since = self._segments.newest_minute()  # once more: some of its rows may have been cut off
        before = Minutes()
        rows: list[Row] = []
        for window in recent:
            if window.start_seconds + window.seconds > since:
                rows += before.record(window.start_seconds, window.instances, window.seconds)
        with self._lock:
            self._put([*rows, *self._minutes.merge(before)])

    def _drop_oldest(self) -> None:
        """Keep within bounds: the oldest segment goes, and what it told of minutes is reported as UNKNOWN."""
        segments = self._segments
        for oldest in segments.segments[:-1]:
            too_old = self._elapsed_seconds - oldest.born_seconds > KEPT_SECONDS
            if segments.size <= LARGEST_BYTES and not too_old:
                return
            rows = [row for sequence, row in rows_of(oldest.path) if sequence > segments.state.acknowledged]
            kept = _condensed(rows)
            if kept:
                segments.append(kept, self._elapsed_seconds)
            self._dropped += len(rows) - len(kept)
            _LOG.warning("outbox: full; %d rows become %d, minutes among them are unknown", len(rows), len(kept))
            segments.acknowledge(oldest.last)

    def _run(self) -> None:
        done = True
        while not self._stop.is_set():
            if done:
                self._wake.wait(_RETRY_SECONDS)
            else:
                self._stop.wait(_RETRY_SECONDS)
            done = self.flush()

    def close(self) -> None:
        """Write what is left, and stop."""
        self._stop.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout=5.0)
        self.flush()
        with self._disk:
            self._segments.close()


def unknown_rows(rows: Sequence[MinuteRow]) -> list[MinuteRow]:
    """For each objective one row that spans all of its rows, with their seconds as UNKNOWN."""
    spans: dict[tuple[str, Metric], tuple[int, int, int]] = {}
    for row in rows:
        key = (row.uuid, row.metric)
        first, end, seconds = spans.get(key, (row.start, row.start, 0))
        spans[key] = (
            min(first, row.start),
            max(end, row.start + row.span_seconds),
            seconds + row.counts.seconds,
        )
    return [
        MinuteRow(
            uuid=uuid,
            metric=metric,
            start=first,
            counts=StatusCounts(unknown=seconds),
            causes={Cause.SENSOR: seconds},
            span_seconds=end - first,
        )
        for (uuid, metric), (first, end, seconds) in spans.items()
        if seconds
    ]


def _condensed(rows: Sequence[Row]) -> list[Row]:
    """What is kept of rows that must be dropped."""
    minutes = unknown_rows([row for row in rows if isinstance(row, MinuteRow)])
    violations = {row.id: row for row in rows if isinstance(row, ViolationRow)}
    states = {row[0]: row for row in rows if isinstance(row, tuple)}
    return [*minutes, *list(violations.values())[-_KEPT_VIOLATIONS:], *states.values()]
