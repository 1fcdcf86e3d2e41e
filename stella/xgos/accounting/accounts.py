"""All accounts in memory: what is counted, when its lines are written, and what the disk gives back after a restart."""

import json
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence

from stella.model.allocation import ObjectiveReport
from stella.model.slo import Metric
from stella.xgos.accounting.history_files import LATEST_UNIX_SECONDS, HistoryFiles
from stella.xgos.accounting.history_levels import (
    DAY,
    GARBAGE,
    HOUR,
    MINUTE,
    RETENTION_SECONDS,
    Account,
    Level,
    Row,
    parse_row,
    parse_window,
    primary_reports,
    print_row,
)
from stella.xgos.line_log import read_lines

_WORK_SECONDS = 0.002
LARGEST_RECENT_BYTES = 32 * 1024 * 1024
BELIEVED_JUMP_SECONDS = DAY
"""Labels that jump further ahead than this make nothing old until they have gone on for as long."""

_KEPT_GONE_INSTANCES = 1000

Reports = Sequence[tuple[str, Sequence[ObjectiveReport]]]
"""The objectives of each instance, by uuid."""


def no_pause() -> None:
    return


class Pause:
    """Leaves the interpreter to the loop for twice as long as was worked: loading must not make ticks late."""

    def __init__(self) -> None:
        self._worked = time.thread_time()

    def __call__(self) -> None:
        worked = time.thread_time() - self._worked
        if worked > _WORK_SECONDS:
            time.sleep(2 * worked)
            self._worked = time.thread_time()


class Age:
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


class Accounts:
    """All accounts and the text of the recent windows. Not locked: `History` does that."""

    def __init__(self, files: HistoryFiles, pause: Callable[[], None] = no_pause) -> None:
        self._files = files
        self._pause = pause
        self.accounts: dict[tuple[str, Metric], Account] = {}
        self.recent: deque[tuple[int, str]] = deque()
        self._recent_bytes = 0
        self.starts: set[int] = set()
        self.last = 0  # the label of the last window
        self.newest = 0  # the highest label
        self.age = Age()
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
