"""The agent's side of the guard: starts it, tells it what is to be lifted, sends the heartbeat, and sees when it is gone.

Nothing here raises or waits in the tick: a guard that cannot be started is tried again later, and until then the agent sets no
restraint (`Guard.alive`).
"""

import contextlib
import fcntl
import importlib.util
import logging
import os
import select
import subprocess
import sys
import termios
from collections.abc import Callable, Iterable

_LOG = logging.getLogger(__name__)
RETRY_SECONDS = 5.0
STALLED_SECONDS = 3.0
_PIPE_BYTES = 1 << 20
_SEND_MILLISECONDS = 50


def _directory_of(module: str) -> str:
    """Where a module of this Python's site-packages lies; the guard, which has none, finds it there. Empty where there is none."""
    with contextlib.suppress(ImportError, ValueError):
        found = importlib.util.find_spec(module)
        if found is not None and found.origin is not None and os.path.isabs(found.origin):  # noqa: PTH117
            return os.path.dirname(found.origin)  # noqa: PTH120
    return ""


class Guard:
    """Starts `stella.xgos.actuation.guard` as a process and talks to it. ``entries``: lines of the journal, for a new guard."""

    def __init__(
        self, root: str, journal_path: str, entries: Callable[[], Iterable[str]] = list, *, libvirt_uri: str = ""
    ) -> None:
        """``libvirt_uri``: where QEMU's throttles are lifted (empty: there are none)."""
        self._libvirt_uri = libvirt_uri
        self._root = root
        self._journal_path = journal_path
        self._entries = entries
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe = -1
        self._unread_since: float | None = None
        self._tried_at: float | None = None
        self._problem = ""
        self._reads = False
        self.starts = 0

    @property
    def pid(self) -> int | None:
        """The guard's process, if it runs."""
        return self._process.pid if self._process else None

    @property
    def alive(self) -> bool:
        """Whether it runs, reads what it is told, and could be told everything when it was last spoken to."""
        return self._process is not None and self._reads

    @property
    def problem(self) -> str:
        """Why there is no guard; empty while there is one."""
        return self._problem

    def start(self) -> None:
        """Start the guard (it inherits our cgroup: reserve first) and tell it the whole journal. Raises OSError."""
        self.close()
        reading, self._pipe = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._pipe, False)
        with contextlib.suppress(OSError):  # the default of 64 KiB holds some hundred entries
            fcntl.fcntl(self._pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))  # noqa: PTH100, PTH120
        code = (
            f"import sys; sys.path.insert(0, {package!r}); "
            "from stella.xgos.actuation.guard import main; sys.exit(main(sys.argv[1:]))"
        )
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-S", "-E", "-c", code, str(reading), self._root, self._journal_path]
                + ([self._libvirt_uri, _directory_of("libvirt")] if self._libvirt_uri else []),
                pass_fds=(reading,),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError:
            self._drop_pipe()
            raise
        finally:
            os.close(reading)
        self.starts += 1
        self._unread_since, self._reads = None, False
        if not self._send(["=", *self._entries(), "."], wait_milliseconds=2000):
            self._give_up("it does not read")
            raise OSError(0, "the guard does not read what it is told")

    def beat(self) -> bool:
        """Tell the guard that the agent ticks; False when there is no guard any more (start another one)."""
        return self._send(["."])

    def ensure(self, monotonic_seconds: float) -> bool:
        """Beat; when there is no guard, or one that reads nothing, start another (now and then). Never raises: False without one."""
        if self._process is not None and self._stalled(monotonic_seconds):
            self._give_up("it read nothing for some seconds")
        if self.beat():
            return True
        if self._tried_at is not None and monotonic_seconds - self._tried_at < RETRY_SECONDS:
            return False
        self._tried_at = monotonic_seconds
        if self.starts:
            _LOG.error("the guard is gone; starting another")
        try:
            self.start()
        except OSError as error:
            if not self._problem:
                _LOG.error("no guard (%s): no restraint is set until there is one", error.strerror or error)
            self._problem = str(error.strerror or error)
            return False
        if self._problem:
            _LOG.warning("there is a guard again")
        self._problem = ""
        return True

    def tell(self, lines: Iterable[str]) -> None:
        """Send entries of the journal. A guard that cannot be told is given up: it could not lift what follows."""
        if self._process is not None and not self._send(lines):
            self._give_up("it could not be told of a restraint")

    def _send(self, lines: Iterable[str], wait_milliseconds: int = _SEND_MILLISECONDS) -> bool:
        """Write all lines, waiting a moment where the pipe is full; False when it is closed or stays full."""
        if self._process is None:
            return False
        data = memoryview("".join(f"{line}\n" for line in lines).encode(errors="replace"))
        poll = select.poll()
        poll.register(self._pipe, select.POLLOUT)
        while data:
            try:
                data = data[os.write(self._pipe, data) :]
            except BlockingIOError:
                if not poll.poll(wait_milliseconds):
                    return False
            except OSError:
                self._process.poll()
                self._drop_pipe()
                self._process = None
                return False
        return True

    def _stalled(self, monotonic_seconds: float) -> bool:
        """Whether it has left something unread for `STALLED_SECONDS`: stopped, or hanging."""
        unread = bytearray(4)
        try:
            fcntl.ioctl(self._pipe, termios.FIONREAD, unread)
        except OSError:
            return False
        if not any(unread):
            self._unread_since, self._reads = None, True
        elif self._unread_since is None:
            self._unread_since = monotonic_seconds
        return self._unread_since is not None and monotonic_seconds - self._unread_since > STALLED_SECONDS

    def _give_up(self, why: str) -> None:
        process, self._process = self._process, None
        self._drop_pipe()
        self._unread_since = None
        _LOG.error("the guard is ended: %s", why)
        if process is not None:
            process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=0.5)

    def _drop_pipe(self) -> None:
        if self._pipe >= 0:
            os.close(self._pipe)
            self._pipe = -1

    def close(self) -> None:
        """Let the guard go: it lifts what is still restrained, and ends. After a release there is nothing left to lift."""
        self._drop_pipe()
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=3.0)
            self._process = None
