"""The files of the history: which line goes where, which labels they hold, and which files may go."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stella.control.account_clock import Labels, merged
from stella.xgos.accounting.history_levels import DAY, GARBAGE, HOUR, MINUTE, RETENTION_SECONDS
from stella.xgos.line_log import Lines

FILE_SPAN_SECONDS = {1: 5 * MINUTE, MINUTE: 6 * HOUR, HOUR: 7 * DAY}
_FILE_NAMES = {1: "seconds", MINUTE: "minutes", HOUR: "hours"}
LARGEST_LEVEL_BYTES = 256 * 1024 * 1024
LATEST_UNIX_SECONDS = 1 << 34
"""No label is beyond this (about the year 2514)."""

_TAIL_BYTES = 1024 * 1024
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> str:
    """Names this boot of the machine; empty where the kernel does not tell."""
    try:
        return _BOOT_ID.read_text().strip()[:13]
    except OSError:
        return ""


@dataclass(frozen=True, slots=True)
class LastWindow:
    """The label (Unix seconds) of the last window that was written, and when it ended on this boot's monotonic clock."""

    label: int
    end_monotonic_seconds: float


def _last_line(path: Path) -> dict[str, Any]:
    """The last whole line of a file of JSON lines; empty when there is none."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _TAIL_BYTES))
            lines = file.read().splitlines(keepends=True)
    except OSError:
        return {}
    for line in reversed(lines):
        if line.endswith(b"\n"):
            try:
                entry = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(entry, dict):
                return entry
    return {}


class HistoryFiles:
    """Files of JSON lines, one for each level and stretch of labels."""

    def __init__(self, directory: Path, writer: Lines) -> None:
        self._directory = directory
        self._writer = writer

    def _path(self, step: int, start: int) -> Path:
        span = FILE_SPAN_SECONDS[step]
        return self._directory / f"{_FILE_NAMES[step]}-{start // span * span:012d}.jsonl"

    def append(self, step: int, start: int, line: str) -> None:
        """Have a line written that is as old as ``start``."""
        self._writer.append(self._path(step, start), line)

    def paths(self, step: int) -> list[tuple[int, Path]]:
        """The files of a level with the first label that each may hold, oldest first."""
        found = []
        for path in self._directory.glob(f"{_FILE_NAMES[step]}-*.jsonl"):
            digits = path.stem.rpartition("-")[2]
            if digits.isascii() and digits.isdigit():
                found.append((int(digits), path))
        return sorted(found)

    def used_labels(self) -> Labels:
        """The labels that were given, as the last line of each file tells."""
        ranges = []
        for step in RETENTION_SECONDS:
            for start, path in self.paths(step):
                line = _last_line(path)
                try:
                    first, count = int(line["t"]), max(1, int(line.get("n", 1)))
                except GARBAGE:
                    continue
                if 0 < first + count * step <= LATEST_UNIX_SECONDS:
                    ranges.append((min(start, first), first + count * step))
        return merged(ranges)

    def last_window(self, boot: str) -> LastWindow | None:
        """The last window that was written in this boot of the machine; None when none was."""
        found = []
        for _, path in self.paths(1):
            line = _last_line(path)
            try:
                if boot and line.get("b") == boot:
                    label = int(line["t"]) + max(1, int(line.get("n", 1))) - 1
                    found.append(LastWindow(label, float(line["m"])))
            except GARBAGE:
                continue
        return max(found, key=lambda last: last.end_monotonic_seconds, default=None)

    def expire_one(self, now: int) -> None:
        """Remove the file of 1 s windows that has just become too old: cheap enough for every minute."""
        self._writer.remove(self._path(1, now - RETENTION_SECONDS[1] - FILE_SPAN_SECONDS[1]))

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
                too_old = start + FILE_SPAN_SECONDS[step] <= now - kept
                if too_old or (size > LARGEST_LEVEL_BYTES and path != files[-1][1]):
                    self._writer.remove(path)
