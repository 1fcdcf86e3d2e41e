"""The guard: lifts temporary restraints when the agent stops ticking, however it stops. Needs no service manager.

The agent holds the writing end of a pipe and sends a line each tick. End of file: the agent is dead (the kernel closes its
end at once, even on SIGKILL): lift, mend the journal, and end. Silence for `SILENCE_SECONDS`: it is stopped or hangs: lift, look
again each `AGAIN_SECONDS` (it may still have been writing), and wait on for its next line. When the agent goes on, it finds by
read-back that its restraints are gone and makes them again.

What is to be lifted the agent tells it over the same pipe, before each restraint is made: the guard does not depend on the
journal's file, which may be cut, garbled or gone. Lines: ``.`` a tick, ``=`` forget all, ``+ENTRY`` and ``-ENTRY`` an entry of the
journal made and forgotten. The guard answers nothing.

It runs in a session of its own and ignores SIGTERM: a service manager that stops the whole group must not stop it first.
"""

import contextlib
import os
import select
import signal
import sys
import time
from collections.abc import Iterable
from dataclasses import replace

from stella.model.target import Target
from stella.xgos.actuation.actuators import Actuators, actuators
from stella.xgos.actuation.journal_storage import JournalLock
from stella.xgos.actuation.journal_text import (
    Entry,
    InvalidJournal,
    current_boot,
    parse_entry,
    parse_journal,
    show_journal,
)
from stella.xgos.actuation.private_files import read_private, replace_private
from stella.xgos.actuation.restore import Restored, restore
from stella.xgos.block_throttles import BlockThrottles, LibvirtThrottles
from stella.xgos.host_files import HostFiles

SILENCE_SECONDS = 1.4
AGAIN_SECONDS = 0.5
_TRIES = 10
_PAUSE_SECONDS = 0.1
_LARGEST_LINE = 1 << 16


class Memory:
    """What the agent told: None in ``entries`` until it told anything, then the journal's file is not asked."""

    def __init__(self) -> None:
        self.entries: dict[Target, Entry] | None = None
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """Take in what came over the pipe; a line that makes no sense is passed over."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._rest = self._rest[:_LARGEST_LINE]
        for line in lines:
            mark, text = line[:1], line[1:]
            if mark == b"=":
                self.entries = {}
            elif mark in (b"+", b"-"):
                with contextlib.suppress(InvalidJournal, UnicodeError):
                    self._take(mark == b"+", parse_entry(text.decode()))

    def _take(self, made: bool, entry: Entry) -> None:
        if self.entries is None:
            self.entries = {}
        if made:
            self.entries[entry.target] = entry
        else:
            self.entries.pop(entry.target, None)


def entries_of(memory: Memory, journal_path: str) -> tuple[Entry, ...]:
    """What the agent told; without that the journal's file. Raises OSError or ValueError when it cannot be read."""
    if memory.entries is not None:
        return tuple(memory.entries.values())
    try:
        return parse_journal(read_private(journal_path), current_boot())
    except FileNotFoundError:
        return ()


def lift(host: Actuators, entries: Iterable[Entry]) -> tuple[Restored, ...]:
    """Restore all temporary knobs."""
    return restore(host, entries, temporary_only=True)


def _lift_and_tell(host: Actuators, memory: Memory, journal_path: str, why: str) -> tuple[Restored, ...]:
    problem = ""
    results: tuple[Restored, ...] = ()
    lifted = 0
    for _ in range(_TRIES):
        try:
            results = lift(host, entries_of(memory, journal_path))
        except (OSError, ValueError) as error:
            problem = str(error)
        else:
            lifted += sum(1 for each in results if each.changed)
            failed = [each for each in results if each.error]
            if not failed:
                if lifted:
                    _tell(f"{why}: {lifted} temporary restraints lifted")
                return results
            problem = f"{len(failed)} of {len(results)} knobs: {failed[0].error}"
        time.sleep(_PAUSE_SECONDS)
    _tell(f"{why}: could not lift restraints: {problem}")
    return results


def mend(memory: Memory, journal_path: str, results: Iterable[Restored]) -> None:
    """Leave a journal from which everything can be released, unless the next agent has it already. What was lifted is marked."""
    if not memory.entries:
        return
    lifted = {each.target for each in results if not each.error and not each.gone}
    entries = (replace(e, lifted=True) if e.target in lifted else e for e in memory.entries.values())
    try:
        with contextlib.closing(JournalLock(journal_path, timeout_seconds=0)):
            replace_private(journal_path, show_journal(entries, current_boot()), durable=False)
    except BlockingIOError:
        return
    except OSError as error:
        _tell(f"the journal could not be written: {journal_path}: {error.strerror or error}")


def _tell(text: str) -> None:
    with contextlib.suppress(OSError):  # the reader of our log may be gone too
        os.write(2, f"stella guard[{os.getpid()}]: {text}\n".encode())


def watch(
    descriptor: int,
    root: str,
    journal_path: str,
    silence_seconds: float = SILENCE_SECONDS,
    throttles: BlockThrottles | None = None,
) -> None:
    """Listen to the agent's heartbeat on ``descriptor`` until its end."""
    host = actuators(HostFiles(root), throttles)
    poll = select.poll()
    poll.register(descriptor, select.POLLIN | select.POLLHUP)
    memory, silent = Memory(), False
    while True:
        wait_seconds = min(silence_seconds, AGAIN_SECONDS) if silent else silence_seconds
        if not poll.poll(wait_seconds * 1000):
            silent = True
            _lift_and_tell(host, memory, journal_path, f"no tick for {silence_seconds:g} s")
            continue
        data = os.read(descriptor, _LARGEST_LINE)
        if not data:
            results = _lift_and_tell(host, memory, journal_path, "the agent ended")
            mend(memory, journal_path, results)
            return
        memory.feed(data)
        silent = False


def main(arguments: list[str]) -> int:
    """``guard.main([descriptor, root, journal[, libvirt's URI, where its module lies]])``: the process's whole life."""
    descriptor, root, journal_path, *libvirt = int(arguments[0]), *arguments[1:]
    throttles = None
    if libvirt:
        sys.path += [directory for directory in libvirt[1:] if directory]  # last: nothing else is to be found there
        throttles = BlockThrottles(lambda: LibvirtThrottles(libvirt[0]), remembers=False)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, -10)
    watch(descriptor, root, journal_path, throttles=throttles)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
