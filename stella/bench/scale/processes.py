"""Processes of a run: on CPUs of their own, and gone when the run ends, however it ends."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stella.bench.lab.process import cpu_seconds, session, stat

_START_SECONDS = 60.0
_STOP_SECONDS = 10.0


class NotStarted(Exception):
    """A process did not come up; the message has the end of its log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cores:
    """Where what runs: what is measured on one core, what asks it on the others."""

    measured: frozenset[int]
    asking: frozenset[int]

    @property
    def apart(self) -> bool:
        """Whether the load generator leaves the measured core alone."""
        return not self.measured & self.asking


def divide_cores() -> Cores:
    """The first CPU that this process may use is measured; the others ask. With one CPU both are on it."""
    first, *others = sorted(os.sched_getaffinity(0))
    return Cores(measured=frozenset({first}), asking=frozenset(others or {first}))


class Process:
    """A program in a session of its own, killed when this process dies."""

    def __init__(
        self, command: Sequence[str], *, log: Path, cores: frozenset[int], environment: Mapping[str, str] | None = None
    ) -> None:
        """Start it. Raises `NotStarted` where it cannot be."""
        listed = ",".join(str(core) for core in sorted(cores))
        self._log = log
        full = ["setpriv", "--pdeathsig", "KILL", "taskset", "--cpu-list", listed, *command]
        try:
            with log.open("ab") as output:
                self._process = subprocess.Popen(
                    full,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env={**os.environ, **(environment or {})},
                    start_new_session=True,
                )
        except OSError as error:
            raise NotStarted(f"{full[0]}: {error.strerror}") from None

    def wait_until(self, ready: Callable[[], bool]) -> None:
        """Wait until ``ready``. Raises `NotStarted` where it ends before, or does not come up."""
        end = time.monotonic() + _START_SECONDS
        while time.monotonic() < end and self._process.poll() is None:
            if ready():
                return
            time.sleep(0.05)
        raise NotStarted(self._log.read_text(errors="replace")[-2000:])

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    @property
    def cpu_seconds(self) -> float:
        """CPU time that all processes of its session took so far; those that ended count no more."""
        return sum(cpu_seconds(pid) or 0.0 for pid in session(self._process.pid))

    @property
    def resident_bytes(self) -> int:
        """Memory of all its processes; what they share counts for each."""
        fields = [stat(pid) for pid in session(self._process.pid)]
        return sum(int(one[21]) for one in fields if one) * os.sysconf("SC_PAGE_SIZE")

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it and all it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_STOP_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
