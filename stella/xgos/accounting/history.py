"""The account of windows, kept over restarts: 1 s windows for 15 min, 1 min roll-ups for 2 days, 1 h roll-ups for 90 days.

In memory each objective has small arrays (`stella.xgos.accounting.history_levels`); on disk there is a file of JSON lines for each
level and stretch of time (`stella.xgos.line_log`). No window is counted twice after a restart, because each level is rebuilt from
the one below only where that tells of more windows: minutes from the 1 s windows, hours from the minutes.
"""

import json
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from stella.control.account_clock import AccountClock, begun, free_label
from stella.model.attainment import Status, Tally
from stella.model.slo import Metric
from stella.xgos import supervision
from stella.xgos.accounting.accounts import BELIEVED_JUMP_SECONDS, Accounts, Pause, Reports, no_pause
from stella.xgos.accounting.history_files import HistoryFiles, LastWindow, boot_id
from stella.xgos.accounting.history_levels import (
    DAY,
    GARBAGE,
    HOUR,
    Point,
    Window,
    parse_window,
    primary_reports,
    print_window,
    tally,
)
from stella.xgos.line_log import Lines, read_lines

_LOG = logging.getLogger(__name__)

LARGEST_ANSWER_BYTES = 2 * 1024 * 1024

__all__ = ["History", "Point", "Reports", "Window", "midnight_utc", "primary_reports"]


class History:
    """Windows of all instances. `record` is for the loop and never waits for the disk; everything may be asked from any thread."""

    def __init__(self, directory: Path, writer: Lines, *, now_seconds: float, background: bool = True) -> None:
        """Load what ``directory`` holds, in a thread if ``background``; ``now_seconds`` (Unix time) decides what is too old."""
        self._files = HistoryFiles(directory, writer)
        self._writer = writer
        self._lock = threading.Lock()
        self._accounts = Accounts(self._files)
        self._while_loading: list[tuple[int, str, Reports, int]] | None = []
        self._since_start: dict[tuple[str, Metric], dict[Status, int]] = {}
        self._boot = boot_id()
        self._used = self._files.used_labels()
        self._last = self._files.last_window(self._boot)
        if background:
            supervision.start(lambda: self._load(int(now_seconds), Pause), name="history-loader")
        else:
            self._load(int(now_seconds))

    def clock(self, wall_seconds: float, monotonic_seconds: float) -> AccountClock:
        """The account's clock as the last process left it: the time since then, in which nothing was seen, has windows too.

        After a reboot a gap of up to a day is believed; a longer one may be a clock that is not set yet, and has no windows.
        """
        last = self._last
        if last is not None and last.end_monotonic_seconds <= monotonic_seconds:
            begin = last.end_monotonic_seconds
        else:
            start = free_label(int(wall_seconds), self._used)
            end = max((end for _, end in self._used if end <= start), default=0)
            if not 0 < wall_seconds - end <= BELIEVED_JUMP_SECONDS:
                return begun(wall_seconds, monotonic_seconds, self._used)
            last, begin = LastWindow(end - 1, 0.0), monotonic_seconds - (wall_seconds - end)
        start = free_label(last.label + 1, self._used)
        return AccountClock(start=start, begin_monotonic_seconds=begin, since=start, used=self._used)

    def recent_windows(self) -> Iterator[Window]:
        """The 1 s windows of the processes before, from the disk, oldest first. May be walked once, in any thread."""
        for _, path in self._files.paths(1):
            for line in read_lines(path):
                try:
                    window = parse_window(line)
                except GARBAGE:
                    continue
                if any(first <= window.start_seconds < end for first, end in self._used):
                    yield window

    def _load(self, now: int, make_pause: Callable[[], Callable[[], None]] = lambda: no_pause) -> None:
        book = Accounts(self._files, make_pause())
        try:
            book.load(now, self._last.label if self._last else 0)
        except Exception:  # a thread's last resort: the account goes on without its past
            _LOG.exception("history could not be loaded")
            book = Accounts(self._files)
        with self._lock:
            for start, line, instances, seconds in self._while_loading or ():
                book.record(start, line, instances, seconds)  # what the loader read already is not counted again
            self._accounts = book
            self._while_loading = None

    def record(
        self, window_start_unix: float, instances: Reports, *, seconds: int = 1, end_monotonic_seconds: float = 0.0
    ) -> bool:
        """Count the window that began at ``window_start_unix``, or ``seconds`` of them of which nothing was seen.

        False for one that was counted before: it is dropped. ``end_monotonic_seconds`` is when it ended.
        """
        start = int(window_start_unix)
        instances = [(uuid, tuple(reports)) for uuid, reports in instances if reports]
        boot = self._boot if end_monotonic_seconds else ""
        line = print_window(start, instances, seconds=seconds, end_monotonic_seconds=end_monotonic_seconds, boot=boot)
        with self._lock:
            self._files.append(1, start + seconds - 1, line)  # before the rows that count it
            if self._while_loading is not None:
                self._while_loading.append((start, line, instances, seconds))
            elif not self._accounts.record(start, line, instances, seconds):
                return False
            for uuid, reports in instances:
                for metric, report in primary_reports(reports).items():
                    counts = self._since_start.setdefault((uuid, metric), {})
                    counts[report.status] = counts.get(report.status, 0) + seconds
        return True

    def forget(self, uuid: str) -> None:
        """The instance is gone from this host: drop its counts since the start (its history stays)."""
        with self._lock:
            self._accounts.forget(uuid)
            for key in [key for key in self._since_start if key[0] == uuid]:
                del self._since_start[key]

    @property
    def dropped_lines(self) -> int:
        """Lines that were not written, because the disk was slow or full."""
        return self._writer.dropped_lines

    def windows(self, after: float) -> tuple[list[Window], bool]:
        """The 1 s windows that began later than ``after`` (Unix seconds), oldest first, and whether there are more.

        An answer is bounded, so that making text of it does not hold up a tick: ask again from the last start on.
        """
        with self._lock:
            recent = list(self._accounts.recent)
            recent += [(start, line) for start, line, *_ in self._while_loading or ()]
        lines: list[str] = []
        size = 0
        for start, line in sorted(recent):
            if start <= after:
                continue
            size += len(line)
            if lines and size > LARGEST_ANSWER_BYTES:
                return [parse_window(json.loads(line)) for line in lines], True
            lines.append(line)
        return [parse_window(json.loads(line)) for line in lines], False

    def counts(self) -> dict[tuple[str, Metric], dict[Status, int]]:
        """For each uuid and metric the windows by status since this process started."""
        with self._lock:
            return {key: dict(counts) for key, counts in self._since_start.items()}

    def account_seconds(self, now_seconds: float) -> float:
        """The time now in labels of windows: ``now_seconds`` (Unix time), or later where they are ahead of a clock that went back."""
        with self._lock:
            last = self._while_loading[-1][0] if self._while_loading else self._accounts.last
        return max(now_seconds, last + 1.0)

    def tally(self, uuid: str, metric: Metric, since: float, until: float | None = None) -> Tally:
        """Windows of one objective that began at ``since`` or later and before ``until`` (Unix seconds; None: up to now).

        Exact to the second within 15 min; further back whole minutes are taken, beyond 2 days whole hours.
        """
        with self._lock:
            account = self._accounts.accounts.get((uuid, metric))
            newest = self._accounts.newest
            if account is None:
                return Tally()
            if until is None or until > newest:
                until = (newest // HOUR + 1) * HOUR  # what is under way is complete up to now at every resolution
            now = self._accounts.age.now
            return tally(row for _, row in account.rows(HOUR, int(since), int(until), now))

    def attainment(self, uuid: str, metric: Metric, since: float, until: float | None = None) -> float | None:
        """Met windows among those with demand; None when there was no demand."""
        return self.tally(uuid, metric, since, until).attainment_ratio

    def series(self, uuid: str, metric: Metric, *, since: float, until: float, step_seconds: int) -> list[Point]:
        """Mean usage and tally for each step of 1, 60 or 3600 seconds; steps without windows are left out."""
        with self._lock:
            account = self._accounts.accounts.get((uuid, metric))
            rows = account.levels[step_seconds].rows(int(since), int(until)) if account else []
        return [
            Point(start_seconds=start, mean_usage=row[2] / row[1] if row[1] else None, tally=tally([row]))
            for start, row in rows
        ]


def midnight_utc(now_seconds: float) -> int:
    """The start of today, in UTC."""
    return int(now_seconds) // DAY * DAY
