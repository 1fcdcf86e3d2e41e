"""The guard: lifts temporary restraints when the agent stops ticking, however it stops. Needs no service manager.

The agent holds the writing end of a pipe and sends a byte each tick. End of file: the agent is dead (the kernel closes its
end at once, even on SIGKILL): lift, and end. Silence for `SILENCE_SECONDS`: it is stopped or hangs: lift, and wait on for its
next byte. What is to be lifted stands in the journal, which is on disk before any restraint is made. The guard writes
nothing else: when the agent goes on, it finds by read-back that its restraints are gone and makes them again.

It runs in a session of its own and ignores SIGTERM: a service manager that stops the whole group must not stop it first.
"""

import contextlib
import os
import select
import signal
import subprocess
import sys
import time

from stella.xgos.actuation.journal import InvalidJournal, Restored, current_boot, parse_journal, restore
from stella.xgos.host_files import HostFiles

SILENCE_SECONDS = 1.5
_TRIES = 10
_PAUSE_SECONDS = 0.1


def lift(root: str, journal_path: str) -> tuple[Restored, ...]:
    """Restore all temporary knobs in the journal. Raises `InvalidJournal` or OSError when it cannot be read."""
    try:
        with open(journal_path, encoding="utf-8") as file:  # noqa: PTH123
            entries = parse_journal(file.read(), current_boot())
    except FileNotFoundError:
        return ()
    return restore(HostFiles(root), entries, temporary_only=True)


def _lift_and_tell(root: str, journal_path: str, why: str) -> None:
    problem = ""
    for _ in range(_TRIES):
        try:
            results = lift(root, journal_path)
        except (OSError, InvalidJournal) as error:
            problem = str(error)
        else:
            failed = [each for each in results if each.error]
            if not failed:
                lifted = sum(1 for each in results if not each.gone)
                if results:
                    _tell(f"{why}: {lifted} temporary restraints lifted")
                return
            problem = f"{len(failed)} of {len(results)} knobs: {failed[0].error}"
        time.sleep(_PAUSE_SECONDS)
    _tell(f"{why}: could not lift restraints: {problem}")


def _tell(text: str) -> None:
    with contextlib.suppress(OSError):  # whoever read our log may be gone too
        os.write(2, f"stella guard[{os.getpid()}]: {text}\n".encode())


def watch(descriptor: int, root: str, journal_path: str, silence_seconds: float = SILENCE_SECONDS) -> None:
    """Listen to the agent's heartbeat on ``descriptor`` until its end."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN | select.POLLHUP)
    lifted = False
    while True:
        if not poll.poll(silence_seconds * 1000):
            if not lifted:
                _lift_and_tell(root, journal_path, f"no tick for {silence_seconds:g} s")
            lifted = True
            continue
        if not os.read(descriptor, 4096):
            _lift_and_tell(root, journal_path, "the agent ended")
            return
        lifted = False


def main(arguments: list[str]) -> int:
    """``guard.main([descriptor, root, journal])``: the process's whole life."""
    descriptor, root, journal_path = int(arguments[0]), arguments[1], arguments[2]
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, -10)
    watch(descriptor, root, journal_path)
    return 0


class Guard:
    """The agent's side: starts the guard, sends its heartbeat, starts it again when it died."""

    def __init__(self, root: str, journal_path: str) -> None:
        self._root = root
        self._journal_path = journal_path
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe = -1
        self.starts = 0

    @property
    def pid(self) -> int | None:
        """The guard's process, if it runs."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start the guard (it inherits our cgroup: reserve first). Raises OSError."""
        self.close()
        reading, self._pipe = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._pipe, False)
        package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # noqa: PTH100, PTH120
        code = (
            f"import sys; sys.path.insert(0, {package!r}); "
            "from stella.xgos.actuation.guard import main; sys.exit(main(sys.argv[1:]))"
        )
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-S", "-E", "-c", code, str(reading), self._root, self._journal_path],
                pass_fds=(reading,),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )
        finally:
            os.close(reading)
        self.starts += 1
        self.beat()

    def beat(self) -> bool:
        """Tell the guard that the agent ticks; False when there is no guard any more (start another one)."""
        if self._process is None:
            return False
        try:
            os.write(self._pipe, b".")
        except BlockingIOError:
            return True  # it is stopped, or behind: the bytes it has are enough
        except OSError:
            self._process.poll()
            return False
        return True

    def close(self) -> None:
        """Let the guard go: it lifts what is still in the journal, and ends. After a release there is nothing left to lift."""
        if self._pipe >= 0:
            os.close(self._pipe)
            self._pipe = -1
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=3.0)
            self._process = None
