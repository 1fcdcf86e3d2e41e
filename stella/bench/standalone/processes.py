"""Detached processes that are known again later: by number and start time, each recorded before its program begins.

A record is the process's own ``/proc/PID/stat`` line, written by the process itself before it becomes its program; a start time is
told in clock ticks since boot, so records count only within one boot (`stella.bench.standalone.state`).
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stella.bench.lab.process import session, start_ticks, wait_until

# Fixed text: what comes from outside is only ever an argument.
_RECORD_AND_BECOME = (
    'read -r line < "/proc/$$/stat" && printf "%s\\n" "$line" > "$1.starting" && mv "$1.starting" "$1" || exit 126; '
    'shift; exec "$@"'
)
_RECORD_SECONDS = 30.0
_STARTING = ".starting"
_POLL_SECONDS = 0.05
_KILLED_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One process that was started: leader of a session of its own. ``ticks``: when, in clock ticks since boot."""

    name: str
    pid: int
    ticks: int

    @property
    def runs(self) -> bool:
        """Whether it still does."""
        return start_ticks(self.pid) == self.ticks


def parse_record(name: str, stat: str) -> Record:
    """The record in a line of ``/proc/PID/stat``. Raises ValueError."""
    number, _, rest = stat.partition(" (")
    fields = rest.rpartition(")")[2].split()
    if len(fields) < 20:
        raise ValueError("not a line of /proc/PID/stat")
    return Record(name=name, pid=int(number), ticks=int(fields[19]))


def start(name: str, argv: Sequence[str], *, records: Path, log: Path) -> "subprocess.Popen[bytes]":
    """Start a program that outlives us, with its record in ``records`` and its output in ``log``."""
    (records / f"{name}{_STARTING}").touch()  # for one who stops it while it has no record yet
    with log.open("ab") as output:
        return subprocess.Popen(
            ["/bin/sh", "-c", _RECORD_AND_BECOME, "stella-bench", str(records / name), *argv],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd="/",
            start_new_session=True,
        )


def wait_for_records(records: Path) -> None:
    """Wait until every process that was started has its record; one that never began is given up after half a minute."""
    wait_until(lambda: not any(records.glob(f"*{_STARTING}")), _RECORD_SECONDS, every_seconds=_POLL_SECONDS)


def recorded(records: Path) -> list[Record]:
    """All records, in the order in which the processes were started."""
    found = []
    paths = [path for path in records.glob("*") if path.suffix != _STARTING]
    for path in sorted(paths, key=lambda p: p.stat().st_mtime_ns):
        with contextlib.suppress(OSError, ValueError):
            found.append(parse_record(path.name, path.read_text(encoding="utf-8")))
    return found


def session_of(record: Record) -> list[int]:
    """The living processes of its session, itself too. None are ours once another process has its number.

    A number is not given away while a session has it, so a session without its leader is still the one that was recorded.
    """
    ticks = start_ticks(record.pid)
    if ticks is not None and ticks != record.ticks:
        return []
    return session(record.pid)


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def end(record: Record, *, patience_seconds: float) -> bool:
    """End a process politely, at last forcibly, and what is left of its session. True when all are gone.

    Raises PermissionError for a process of another user.
    """
    if record.runs:
        _signal(record.pid, signal.SIGTERM)
        _signal(record.pid, signal.SIGCONT)
    wait_until(lambda: not record.runs, patience_seconds, every_seconds=_POLL_SECONDS)
    limit = time.monotonic() + _KILLED_SECONDS
    while (left := session_of(record)) and time.monotonic() < limit:
        for pid in left:
            _signal(pid, signal.SIGKILL)
        time.sleep(_POLL_SECONDS)
    return not left
