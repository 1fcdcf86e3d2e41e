"""The operator's fencing command, one process for each host, without a shell. Nobody waits for it: `poll` tells what has ended."""

import contextlib
import logging
import os
import shlex
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import IO

_LOG = logging.getLogger(__name__)
HOST = "{host}"
LARGEST_AT_ONCE = 5
_SHORTEST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 30.0, 600.0
_LARGEST_TEXT = 300


class InvalidCommand(Exception):
    """The command cannot be used; the message names the option."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """What became of the command for one host. ``text`` is the last line that it wrote, or why it did not run."""

    host: str
    succeeded: bool
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Running:
    process: "subprocess.Popen[bytes]"
    output: IO[bytes]
    until: float


class Fencing:
    """The commands that run, and when each host may be tried again."""

    def __init__(self, command: str | None, *, seconds: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        """``command`` is that of the configuration; None: there is none. Raises `InvalidCommand`."""
        self._words = _words(command) if command else ()
        self._seconds = seconds
        self._monotonic = monotonic
        self._running: dict[str, _Running] = {}
        self._again: dict[str, tuple[float, float]] = {}

    @property
    def is_configured(self) -> bool:
        """Whether there is a command."""
        return bool(self._words)

    def start(self, host: str) -> Ended | None:
        """Run it for ``host``, unless it runs, failed a moment ago, or too many run; what became of it where it cannot be run."""
        now = self._monotonic()
        waits = now < self._again.get(host, (0.0, 0.0))[0] if host in self._again else False
        if host in self._running or waits or len(self._running) >= LARGEST_AT_ONCE:
            return None
        words = [word.replace(HOST, host) for word in self._words]
        output = tempfile.TemporaryFile()  # noqa: SIM115  # it lives as long as the process
        try:
            process = subprocess.Popen(  # the operator's own command, no shell, the host's name is checked
                words, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        except OSError as error:
            output.close()
            return self._ended(host, succeeded=False, text=f"{words[0]}: {error.strerror or error}")
        _LOG.warning("host %s is being fenced: %s", host, words[0])
        self._running[host] = _Running(process=process, output=output, until=now + self._seconds)
        return None

    def poll(self) -> Sequence[Ended]:
        """Those that ended; one that takes too long is killed, with all that it started."""
        found = []
        for host, one in list(self._running.items()):
            code = one.process.poll()
            is_late = code is None and self._monotonic() >= one.until
            if code is None and not is_late:
                continue
            if is_late:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(one.process.pid, signal.SIGKILL)
                one.process.wait()
            said = f"took longer than {self._seconds:g} s" if is_late else _last_line(one.output) or f"exit code {code}"
            one.output.close()
            del self._running[host]
            found.append(self._ended(host, succeeded=code == 0, text=said))
        return found

    def _ended(self, host: str, *, succeeded: bool, text: str) -> Ended:
        if succeeded:
            self._again.pop(host, None)
        else:
            _, pause = self._again.get(host, (0.0, _SHORTEST_PAUSE_SECONDS / 2))
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            self._again[host] = (self._monotonic() + pause, pause)
        return Ended(host=host, succeeded=succeeded, text=text)


def _words(command: str) -> tuple[str, ...]:
    try:
        words = tuple(shlex.split(command))
    except ValueError as error:
        raise InvalidCommand(f"[relief] fencing_command: {error}") from None
    if not any(HOST in word for word in words):
        raise InvalidCommand(f"[relief] fencing_command does not name {HOST}, which stands for the name of the host")
    return words


def _last_line(output: IO[bytes]) -> str:
    size = output.seek(0, os.SEEK_END)
    output.seek(max(0, size - 4096))
    lines = output.read().decode(errors="replace").split("\n")
    told = [line.strip() for line in lines if line.strip()]
    return "".join(c if c.isprintable() else " " for c in told[-1])[:_LARGEST_TEXT] if told else ""
