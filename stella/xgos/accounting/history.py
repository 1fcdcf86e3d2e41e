"""The account of windows, kept over restarts: 1 s windows for 15 min, 1 min roll-ups for 2 days, 1 h roll-ups for 90 days.

In memory each objective has small arrays (`stella.xgos.accounting.history_levels`); on disk there is a file of JSON
lines for each level
and stretch of time (`stella.xgos.line_log`). No window is counted twice after a restart, because each level is rebuilt from
the one below only where it has no line of its own: minutes without a line from the 1 s windows, hours without a line from the
minutes.
"""

import json
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from stella.model.allocation import ObjectiveReport
from stella.model.attainment import Status, Tally
from stella.model.slo import Metric
from stella.xgos.accounting.history_levels import (
    DAY,
    GARBAGE,
    HOUR,
    MINUTE,
    RETENTION_SECONDS,
    Account,
    Level,
    Point,
    Row,
    Window,
    parse_window,
    primary_reports,
    print_window,
    tally,
)
from stella.xgos.line_log import LineWriter, read_lines

_LOG = logging.getLogger(__name__)

_FILE_SPAN_SECONDS = {1: 5 * MINUTE, MINUTE: 6 * HOUR, HOUR: 7 * DAY}
_FILE_NAMES = {1: "seconds", MINUTE: "minutes", HOUR: "hours"}
_WORK_SECONDS = 0.002
LARGEST_RECENT_BYTES = 32 * 1024 * 1024
LARGEST_ANSWER_BYTES = 2 * 1024 * 1024
LARGEST_LEVEL_BYTES = 256 * 1024 * 1024

Reports = Sequence[tuple[str, Sequence[ObjectiveReport]]]
"""The objectives of each instance, by uuid."""

__all__ = ["History", "Point", "Reports", "Window", "midnight_utc", "primary_reports"]


class _Files:
    """Which line goes to which file, and which files may go."""

    def __init__(self, directory: Path, writer: LineWriter) -> None:
        self._directory = directory
        self._writer = writer

    def _path(self, step: int, start: int) -> Path:
        span = _FILE_SPAN_SECONDS[step]
        return self._directory / f"{_FILE_NAMES[step]}-{start // span * span:012d}.jsonl"

    def append(self, step: int, start: int, line: str) -> None:
        self._writer.append(self._path(step, start), line)

    def paths(self, step: int) -> list[tuple[int, Path]]:
        found = []
        for path in self._directory.glob(f"{_FILE_NAMES[step]}-*.jsonl"):
            digits = path.stem.rpartition("-")[2]
            if digits.isascii() and digits.isdigit():
                found.append((int(digits), path))
        return sorted(found)

    def expire_one(self, now: int) -> None:
        """Remove the file of 1 s windows that has just become too old: cheap enough for every minute."""
        self._writer.remove(self._path(1, now - RETENTION_SECONDS[1] - _FILE_SPAN_SECONDS[1]))

    def expire(self, now: int) -> None:
        """Remove all files that are too old, and the oldest ones of a level that is too large."""
        for step, kept in RETENTION_SECONDS.items():
            files = self.paths(step)
            size = 0
            for start, path in reversed(files):
                try:
                    size += path.stat().st_size
                except OSError:
                    continue
                too_old = start + _FILE_SPAN_SECONDS[step] <= now - kept
                if too_old or (size > LARGEST_LEVEL_BYTES and path != files[-1][1]):
                    self._writer.remove(path)


def _no_pause() -> None:
    return


class _Pause:
    """Leaves the interpreter to the loop for twice as long as was worked: loading must not make ticks late."""

    def __init__(self) -> None:
        self._worked = time.thread_time()

    def __call__(self) -> None:
        worked = time.thread_time() - self._worked
        if worked > _WORK_SECONDS:
            time.sleep(2 * worked)
            self._worked = time.thread_time()


class _Accounts:
    """All accounts and the text of the recent windows. Not locked: `History` does that."""

    def __init__(self, files: _Files, pause: Callable[[], None] = _no_pause) -> None:
        self._files = files
        self._pause = pause
        self.accounts: dict[tuple[str, Metric], Account] = {}
        self.recent: deque[tuple[int, str]] = deque()
        self._recent_bytes = 0
        self.starts: set[int] = set()
        self.newest = 0

    def record(self, start: int, line: str, instances: Reports) -> bool:
        if start in self.starts:
            return False
        if self.newest and start // MINUTE != self.newest // MINUTE:
            self._close(self.newest, start)
        self._remember(start, line)
        self._count(start, instances, up_to=HOUR)
        self.newest = start
        return True

    def _count(self, start: int, instances: Reports, *, up_to: int) -> None:
        for uuid, reports in instances:
            for metric, report in primary_reports(reports).items():
                account = self.accounts.get((uuid, metric))
                if account is None:
                    account = self.accounts[uuid, metric] = Account()
                account.count(start, report, up_to=up_to)

    def _remember(self, start: int, line: str) -> None:
        self.recent.append((start, line))
        self.starts.add(start)
        self._recent_bytes += len(line)
        while self.recent and (
            self.recent[0][0] <= start - RETENTION_SECONDS[1] or self._recent_bytes > LARGEST_RECENT_BYTES
        ):
            old, dropped = self.recent.popleft()
            self._recent_bytes -= len(dropped)
            self.starts.discard(old)

    def _close(self, last: int, now: int) -> None:
        """The minute of ``last`` is over, and its hour perhaps: write their lines, forget what is too old."""
        self._write_row(MINUTE, last // MINUTE * MINUTE)
        if last // HOUR != now // HOUR:
            self._write_row(HOUR, last // HOUR * HOUR)
            self._files.expire(now)
        for key, account in list(self.accounts.items()):
            for step, level in account.levels.items():
                level.forget_before(now - RETENTION_SECONDS[step])
            if not any(level.chunks for level in account.levels.values()):
                del self.accounts[key]
        self._files.expire_one(now)

    def _write_row(self, step: int, start: int) -> None:
        rows: dict[str, dict[str, list[float]]] = {}
        for (uuid, metric), account in self.accounts.items():
            row = account.levels[step].row(start)
            if row is not None:
                counts, known, usage = row
                rows.setdefault(uuid, {})[metric.value] = [*counts, known, float(f"{usage:.9g}")]
        if rows:
            self._files.append(step, start, json.dumps({"t": start, "r": rows}, separators=(",", ":")))

    def load(self, now: int) -> None:
        """Take in what is on disk, and write the lines that the last process did not come to write."""
        hours = self._load_rows(HOUR, now)
        minutes = self._load_rows(MINUTE, now)
        derived = self._load_windows(now, minutes)
        self.recent = deque(sorted(self.recent))
        self.newest = max([0, *hours, *minutes, *derived, *(start for start, _ in self.recent)])
        for minute in sorted(derived - {self.newest // MINUTE * MINUTE, now // MINUTE * MINUTE}):
            self._write_row(MINUTE, minute)
        for hour in sorted(self._derive_hours(hours) - {self.newest // HOUR * HOUR, now // HOUR * HOUR}):
            self._write_row(HOUR, hour)
        self._files.expire(now)

    def _load_windows(self, now: int, minutes: set[int]) -> set[int]:
        derived: set[int] = set()
        seen: set[int] = set()
        for _, path in self._files.paths(1):
            for line in read_lines(path):
                self._pause()
                try:
                    window = parse_window(line)
                except GARBAGE:
                    continue
                start = window.start_seconds
                if start in seen or not now - RETENTION_SECONDS[MINUTE] < start < now + HOUR:
                    continue
                seen.add(start)
                if start > now - RETENTION_SECONDS[1]:
                    self._remember(start, json.dumps(line, separators=(",", ":")))
                minute = start // MINUTE * MINUTE
                if minute not in minutes:
                    derived.add(minute)
                self._count(start, window.instances, up_to=1 if minute in minutes else MINUTE)
        return derived

    def _load_rows(self, step: int, now: int) -> set[int]:
        found: set[int] = set()
        for _, path in self._files.paths(step):
            for line in read_lines(path):
                self._pause()
                try:
                    start = int(line["t"])
                    rows: list[tuple[tuple[str, Metric], Row]] = [
                        ((str(uuid), Metric(metric)), ([int(c) for c in row[:5]], int(row[5]), float(row[6])))
                        for uuid, metrics in line["r"].items()
                        for metric, row in metrics.items()
                    ]
                    if not now - RETENTION_SECONDS[step] < start < now + HOUR:
                        continue
                    for key, row in rows:
                        self.accounts.setdefault(key, Account()).levels[step].add(start, row, replace=True)
                except GARBAGE:
                    continue
                found.add(start)
        return found

    def _derive_hours(self, known: set[int]) -> set[int]:
        derived: set[int] = set()
        for account in self.accounts.values():
            self._pause()
            minutes: Level = account.levels[MINUTE]
            for hour in (index * HOUR for index in minutes.chunks):  # a chunk of minutes is an hour
                if hour not in known:
                    for _, row in minutes.rows(hour, hour + HOUR):
                        account.levels[HOUR].add(hour, row)
                    derived.add(hour)
        return derived


class History:
    """Windows of all instances. `record` is for the loop and never waits for the disk; everything may be asked from any thread."""

    def __init__(self, directory: Path, writer: LineWriter, *, now_seconds: float, background: bool = True) -> None:
        """Load what ``directory`` holds, in a thread if ``background``; ``now_seconds`` (Unix time) decides what is too old."""
        self._files = _Files(directory, writer)
        self._writer = writer
        self._lock = threading.Lock()
        self._accounts = _Accounts(self._files)
        self._while_loading: list[tuple[int, str, Reports]] | None = []
        self._since_start: dict[tuple[str, Metric], dict[Status, int]] = {}
        if background:
            loader = threading.Thread(
                target=self._load, args=(int(now_seconds), _Pause), name="history-loader", daemon=True
            )
            loader.start()
        else:
            self._load(int(now_seconds))

    def _load(self, now: int, make_pause: Callable[[], Callable[[], None]] = lambda: _no_pause) -> None:
        book = _Accounts(self._files, make_pause())
        try:
            book.load(now)
        except Exception:  # a thread's last resort: the account goes on without its past
            _LOG.exception("history could not be loaded")
            book = _Accounts(self._files)
        with self._lock:
            for start, line, instances in self._while_loading or ():
                book.record(start, line, instances)  # what the loader read from the file already is not counted again
            self._accounts = book
            self._while_loading = None

    def record(self, window_start_unix: float, instances: Reports) -> bool:
        """Count the window that began at ``window_start_unix``. False for one that was counted before: it is dropped."""
        start = int(window_start_unix)
        instances = [(uuid, tuple(reports)) for uuid, reports in instances if reports]
        line = print_window(start, instances)
        with self._lock:
            if self._while_loading is not None:
                self._while_loading.append((start, line, instances))
            elif not self._accounts.record(start, line, instances):
                return False
            for uuid, reports in instances:
                for metric, report in primary_reports(reports).items():
                    counts = self._since_start.setdefault((uuid, metric), {})
                    counts[report.status] = counts.get(report.status, 0) + 1
        self._files.append(1, start, line)
        return True

    def forget(self, uuid: str) -> None:
        """The instance is gone from this host: drop its counts since the start (its history stays)."""
        with self._lock:
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
            recent += [(start, line) for start, line, _ in self._while_loading or ()]
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
            return tally(row for _, row in account.rows(HOUR, int(since), int(until), newest))

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
