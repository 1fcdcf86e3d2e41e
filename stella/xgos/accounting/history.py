"""The account of windows, kept over restarts: 1 s windows for 15 min, 1 min roll-ups for 2 days, 1 h roll-ups for 90 days.

In memory each objective has small arrays (`stella.xgos.accounting.history_levels`); on disk there is a file of JSON
lines for each level
and stretch of time (`stella.xgos.line_log`). No window is counted twice after a restart, because each level is rebuilt from
the one below only where that tells of more windows: minutes from the 1 s windows, hours from the minutes.
"""

import json
import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from stella.control.account_clock import AccountClock, begun, free_label
from stella.model.allocation import ObjectiveReport
from stella.model.attainment import Status, Tally
from stella.model.slo import Metric
from stella.xgos import supervision
from stella.xgos.accounting.history_files import LATEST_UNIX_SECONDS, HistoryFiles, LastWindow, boot_id
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
    parse_row,
    parse_window,
    primary_reports,
    print_row,
    print_window,
    tally,
)
from stella.xgos.line_log import LineWriter, read_lines

_LOG = logging.getLogger(__name__)

_WORK_SECONDS = 0.002
LARGEST_RECENT_BYTES = 32 * 1024 * 1024
LARGEST_ANSWER_BYTES = 2 * 1024 * 1024
BELIEVED_JUMP_SECONDS = DAY
"""Labels that jump further ahead than this make nothing old until they have gone on for as long."""

_KEPT_GONE_INSTANCES = 1000

Reports = Sequence[tuple[str, Sequence[ObjectiveReport]]]
"""The objectives of each instance, by uuid."""

__all__ = ["History", "Point", "Reports", "Window", "midnight_utc", "primary_reports"]


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


class _Age:
    """The moment that retention is counted from: it follows the labels, but not a clock that has jumped far ahead."""

    __slots__ = ("_held", "now")

    def __init__(self, now: int = 0) -> None:
        self.now = now
        self._held = 0

    def pass_to(self, end: int, held_seconds: int = 1) -> None:
        """Labels have come to ``end``, after ``held_seconds`` with labels."""
        if not self.now or end - self.now <= BELIEVED_JUMP_SECONDS:
            self.now = max(self.now, end)
            self._held = 0
            return
        self._held += held_seconds
        if self._held >= BELIEVED_JUMP_SECONDS:
            self.now = end
            self._held = 0


class _Accounts:
    """All accounts and the text of the recent windows. Not locked: `History` does that."""

    def __init__(self, files: HistoryFiles, pause: Callable[[], None] = _no_pause) -> None:
        self._files = files
        self._pause = pause
        self.accounts: dict[tuple[str, Metric], Account] = {}
        self.recent: deque[tuple[int, str]] = deque()
        self._recent_bytes = 0
        self.starts: set[int] = set()
        self.last = 0  # the label of the last window
        self.newest = 0  # the highest label
        self.age = _Age()
        self._gone: OrderedDict[str, None] = OrderedDict()

    def record(self, start: int, line: str, instances: Reports, seconds: int = 1) -> bool:
        """Count ``seconds`` windows from ``start`` on; False when they were counted before."""
        if start in self.starts:
            return False
        self.age.pass_to(start + seconds)
        if self.last and start // MINUTE != self.last // MINUTE:
            self._close(self.last, start)
        self._remember(start, line)
        self._count(start, instances, seconds)
        self.last = start + seconds - 1
        if self.last // MINUTE != start // MINUTE:
            self._close(start, self.last)
            self._write_run(MINUTE, start, self.last)
            self._write_run(HOUR, start, self.last)
        self.newest = max(self.newest, self.last)
        return True

    def _count(self, start: int, instances: Reports, seconds: int) -> None:
        for uuid, reports in instances:
            self._gone.pop(uuid, None)
            for metric, report in primary_reports(reports).items():
                account = self.accounts.get((uuid, metric))
                if account is None:
                    account = self.accounts[uuid, metric] = Account()
                account.count(start, report, seconds=seconds)

    def _remember(self, start: int, line: str) -> None:
        self.recent.append((start, line))
        self.starts.add(start)
        self._recent_bytes += len(line)
        while len(self.recent) > RETENTION_SECONDS[1] or self._recent_bytes > LARGEST_RECENT_BYTES:
            old, dropped = self.recent.popleft()
            self._recent_bytes -= len(dropped)
            self.starts.discard(old)

    def _close(self, last: int, following: int) -> None:
        """The minute of ``last`` is over, and its hour perhaps: write their lines, forget what is too old."""
        self._write_row(MINUTE, last // MINUTE * MINUTE)
        if last // HOUR != following // HOUR:
            self._write_row(HOUR, last // HOUR * HOUR)
            self._files.expire(self.age.now)
        self._forget_old()
        self._files.expire_one(self.age.now)

    def _forget_old(self) -> None:
        for key, account in list(self.accounts.items()):
            for step, level in account.levels.items():
                level.forget_before(self.age.now - RETENTION_SECONDS[step])
            if not any(level.chunks for level in account.levels.values()):
                del self.accounts[key]

    def forget(self, uuid: str) -> None:
        """The instance is gone: of as many as come and go, the accounts of the last ones are kept in memory."""
        self._gone[uuid] = None
        self._gone.move_to_end(uuid)
        if len(self._gone) > _KEPT_GONE_INSTANCES:
            oldest, _ = self._gone.popitem(last=False)
            for key in [key for key in self.accounts if key[0] == oldest]:
                del self.accounts[key]

    def _write_row(self, step: int, start: int, steps: int = 1) -> None:
        rows: dict[str, dict[str, list[float]]] = {}
        for (uuid, metric), account in self.accounts.items():
            row = account.levels[step].row(start)
            if row is not None:
                rows.setdefault(uuid, {})[metric.value] = print_row(row)
        if rows:
            line: dict[str, object] = {"t": start, "r": rows}
            if steps > 1:
                line["n"] = steps
            last = start + (steps - 1) * step  # in the file of its end: it is as old as that
            self._files.append(step, last, json.dumps(line, separators=(",", ":")))

    def _write_run(self, step: int, start: int, last: int) -> None:
        """One line for all the whole steps between two windows of a gap."""
        end = last // step * step
        first = max(start // step * step + step, (last - RETENTION_SECONDS[step]) // step * step + step)
        if first < end:
            self._write_row(step, first, (end - first) // step)

    def load(self, now: int, last: int = 0) -> None:
        """Take in what is on disk, and write the lines that the last process did not come to write.

        ``last`` is the label of its last window: that minute is still under way.
        """
        hours = self._load_rows(HOUR)
        minutes = self._load_rows(MINUTE)
        derived = self._load_windows()
        self.recent = deque(sorted(self.recent))
        self.newest = max([0, *hours, *minutes, *derived, *(start for start, _ in self.recent)])
        self.last = last or self.newest
        for minute in sorted(derived - {self.last // MINUTE * MINUTE, now // MINUTE * MINUTE}):
            self._write_row(MINUTE, minute)
        for hour in sorted(self._derive_hours() - {self.last // HOUR * HOUR, now // HOUR * HOUR}):
            self._write_row(HOUR, hour)
        self._grow_old(hours, minutes | derived, now)
        self._forget_old()
        self._files.expire(self.age.now)

    def _grow_old(self, hours: set[int], minutes: set[int], now: int) -> None:
        """What is kept tells whether a label far ahead is to be believed."""
        steps = [(hour, HOUR) for hour in hours]
        steps += [(minute, MINUTE) for minute in minutes if minute // HOUR * HOUR not in hours]
        for start, length in sorted(steps):
            self.age.pass_to(min(start + length, max(now, start)), length)
        self.age.pass_to(now)

    def _load_windows(self) -> set[int]:
        """The 1 s windows, and the minutes that they tell more of than the rows do (a row was not written, or too early)."""
        seen: set[int] = set()
        told: dict[tuple[str, Metric], Level] = {}
        for _, path in self._files.paths(1):
            for line in read_lines(path):
                self._pause()
                try:
                    window = parse_window(line)
                    start = window.start_seconds
                    if start in seen or start + window.seconds > LATEST_UNIX_SECONDS:
                        continue
                    for uuid, reports in window.instances:
                        for metric, report in primary_reports(reports).items():
                            key = (uuid, metric)
                            account = self.accounts.setdefault(key, Account())
                            account.levels[1].count_run(start, report, window.seconds)
                            told.setdefault(key, Level(MINUTE)).count_run(start, report, window.seconds)
                except GARBAGE:
                    continue
                seen.add(start)
                self._remember(start, json.dumps(line, separators=(",", ":")))
        derived: set[int] = set()
        for key, level in told.items():
            own = self.accounts[key].levels[MINUTE]
            derived.update(start for start, row in level.rows(0, LATEST_UNIX_SECONDS) if own.fill(start, row))
        return derived

    def _load_rows(self, step: int) -> set[int]:
        found: set[int] = set()
        for _, path in self._files.paths(step):
            for line in read_lines(path):
                self._pause()
                try:
                    start, steps = int(line["t"]), max(1, int(line.get("n", 1)))
                    rows: list[tuple[tuple[str, Metric], Row]] = [
                        ((str(uuid), Metric(metric)), parse_row(row))
                        for uuid, metrics in line["r"].items()
                        for metric, row in metrics.items()
                    ]
                    if start + steps * step > LATEST_UNIX_SECONDS:
                        continue
                    moments = range(start, start + steps * step, step)[-RETENTION_SECONDS[step] // step :]
                    for key, row in rows:
                        level = self.accounts.setdefault(key, Account()).levels[step]
                        for moment in moments:
                            level.add(moment, row, replace=True)
                except GARBAGE:
                    continue
                found.update(moments)
        return found

    def _derive_hours(self) -> set[int]:
        """The hours that their minutes tell more of than the rows do."""
        derived: set[int] = set()
        for account in self.accounts.values():
            self._pause()
            minutes, hours = account.levels[MINUTE], account.levels[HOUR]
            told = Level(HOUR)
            for hour in (index * HOUR for index in minutes.chunks):  # a chunk of minutes is an hour
                for _, row in minutes.rows(hour, hour + HOUR):
                    told.add(hour, row)
                summed = told.row(hour)
                if summed is not None and hours.fill(hour, summed):
                    derived.add(hour)
        return derived


class History:
    """Windows of all instances. `record` is for the loop and never waits for the disk; everything may be asked from any thread."""

    def __init__(self, directory: Path, writer: LineWriter, *, now_seconds: float, background: bool = True) -> None:
        """Load what ``directory`` holds, in a thread if ``background``; ``now_seconds`` (Unix time) decides what is too old."""
        self._files = HistoryFiles(directory, writer)
        self._writer = writer
        self._lock = threading.Lock()
        self._accounts = _Accounts(self._files)
        self._while_loading: list[tuple[int, str, Reports, int]] | None = []
        self._since_start: dict[tuple[str, Metric], dict[Status, int]] = {}
        self._boot = boot_id()
        self._used = self._files.used_labels()
        self._last = self._files.last_window(self._boot)
        if background:
            supervision.start(lambda: self._load(int(now_seconds), _Pause), name="history-loader")
        else:
            self._load(int(now_seconds))

    def clock(self, wall_seconds: float, monotonic_seconds: float) -> AccountClock:
        """The account's clock as the last process left it: what nobody saw since then has windows too.

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

    def _load(self, now: int, make_pause: Callable[[], Callable[[], None]] = lambda: _no_pause) -> None:
        book = _Accounts(self._files, make_pause())
        try:
            book.load(now, self._last.label if self._last else 0)
        except Exception:  # a thread's last resort: the account goes on without its past
            _LOG.exception("history could not be loaded")
            book = _Accounts(self._files)
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
