"""Asks the hypervisor in a thread of its own, so that a stuck libvirtd or QEMU monitor never blocks a tick.

One thread alternates between the list of domains (every second, at once after an event) and block statistics. A call that
outlasts its deadline is abandoned with its thread and connection, and another thread goes on: the stuck domain's monitor is
then known to be busy and passed over (NOWAIT), so the others are seen again.
"""

import functools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from stella.model.snapshot import DiskReading
from stella.xgos.host_files import Unavailable
from stella.xgos.hypervisor import Domain, Hypervisor

DOMAINS_SECONDS = 1.0
BLOCK_SECONDS = 0.25
CALL_DEADLINE_SECONDS = 1.0
DISKS_KEPT_SECONDS = 2.0
"""Block statistics older than this are no longer shown."""
_MOST_ABANDONED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Disks:
    """Block statistics of one instance and when they were asked for."""

    disks: tuple[DiskReading, ...]
    monotonic_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the hypervisor last told. ``*_error`` is empty when the last call of that kind succeeded."""

    domains: tuple[Domain, ...] | None = None
    domains_monotonic_seconds: float = 0.0
    domains_error: str = "not asked yet"
    disks: dict[str, Disks] | None = None
    block_error: str = "not asked yet"
    block_duration_seconds: float = 0.0


class Discovery:
    """What the hypervisor last told, always at hand without waiting."""

    def __init__(
        self,
        connect: Callable[[], Hypervisor],
        *,
        monotonic: Callable[[], float] = time.monotonic,
        threaded: bool = True,
        block_seconds: float = BLOCK_SECONDS,
    ) -> None:
        """``connect`` makes a connection (also after one was abandoned). Not ``threaded``: asks at each `seen` (recorded hosts)."""
        self._connect = connect
        self._monotonic = monotonic
        self._threaded = threaded
        self._block_seconds = block_seconds
        self._lock = threading.Lock()
        self._seen = Seen()
        self._generation = 0
        self._call_since: float | None = None
        self._abandoned: list[threading.Thread] = []
        self._thread: threading.Thread | None = None
        self._wake = threading.Event()
        self._answered = threading.Event()
        self._closed = False
        self._hypervisor: Hypervisor | None = None

    def seen(self) -> Seen:
        """The last answers; starts the thread, or another one for a stuck one."""
        if not self._threaded:
            if self._hypervisor is None:
                self._hypervisor = self._connect()
            self._ask_domains(self._hypervisor, self._generation)
            self._ask_block(self._hypervisor, self._generation)
            return self._seen
        self._replace_stuck()
        if self._thread is None or not self._thread.is_alive():
            self._start()
        with self._lock:
            return self._seen

    def ask_now(self) -> None:
        """Ask for the domains at once (a process vanished)."""
        self._wake.set()

    def wait_answered(self, timeout_seconds: float) -> bool:
        """Wait until the hypervisor first answered for both; False when it did not in time."""
        self.seen()
        return not self._threaded or self._answered.wait(timeout_seconds)

    def close(self) -> None:
        """Stop asking."""
        self._closed = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(0.5)

    def _start(self) -> None:
        if self._closed:
            return
        generation = self._generation
        self._thread = threading.Thread(target=self._run, args=(generation,), name="hypervisor", daemon=True)
        self._thread.start()

    def _replace_stuck(self) -> None:
        since = self._call_since
        if since is None or self._monotonic() - since < CALL_DEADLINE_SECONDS:
            return
        self._abandoned = [thread for thread in self._abandoned if thread.is_alive()]
        if len(self._abandoned) >= _MOST_ABANDONED or self._thread is None:
            return
        self._abandoned.append(self._thread)
        with self._lock:
            self._generation += 1
            self._call_since = None
            self._seen = _failed(self._seen, "no answer within the deadline", domains=True, block=True)
        self._start()

    def _run(self, generation: int) -> None:
        hypervisor = self._connect()
        next_domains = next_block = self._monotonic()
        try:
            while not self._closed and generation == self._generation:
                now = self._monotonic()
                woken = self._wake.is_set()
                self._wake.clear()
                if now >= next_domains or woken or hypervisor.changed():
                    next_domains = now + DOMAINS_SECONDS
                    self._ask_domains(hypervisor, generation)
                if now >= next_block:
                    next_block = max(next_block + self._block_seconds, now)
                    self._ask_block(hypervisor, generation)
                    self._answered.set()
                self._wake.wait(max(0.0, min(next_domains, next_block) - self._monotonic()))
        finally:
            hypervisor.close()

    def _begin(self, generation: int) -> float:
        now = self._monotonic()
        with self._lock:
            if generation == self._generation:
                self._call_since = now
        return now

    def _end(self, generation: int, change: Callable[[Seen], Seen]) -> None:
        with self._lock:
            if generation == self._generation:
                self._call_since = None
                self._seen = change(self._seen)

    def _ask_domains(self, hypervisor: Hypervisor, generation: int) -> None:
        now = self._begin(generation)
        try:
            domains = hypervisor.domains()
        except Unavailable as error:
            text = str(error)
            self._end(generation, lambda seen: _failed(seen, text, domains=True))
            return
        self._end(
            generation,
            lambda seen: replace(seen, domains=domains, domains_monotonic_seconds=now, domains_error=""),
        )

    def _ask_block(self, hypervisor: Hypervisor, generation: int) -> None:
        """Each answer of the statistics has its own time: the middle of its call, since a monitor answers somewhere within it."""
        total = 0.0
        answers = hypervisor.block_statistics()
        while True:
            before = self._begin(generation)
            try:
                found = next(answers, None)
            except Unavailable as error:
                self._end(generation, functools.partial(_failed, error=str(error), block=True))
                return
            duration = self._monotonic() - before
            total += duration
            if found is None:
                break
            self._keep(generation, found, before + duration / 2)
        self._end(generation, lambda seen: replace(seen, block_error="", block_duration_seconds=total))

    def _keep(self, generation: int, found: dict[str, tuple[DiskReading, ...]], middle: float) -> None:
        """Take an answer, also a late one of an abandoned call, unless there is a later one."""
        with self._lock:
            running = {domain.uuid for domain in self._seen.domains or ()}
            disks = {uuid: each for uuid, each in (self._seen.disks or {}).items() if uuid in running}
            for uuid, each in found.items():
                if uuid in running and (uuid not in disks or disks[uuid].monotonic_seconds < middle):
                    disks[uuid] = Disks(disks=each, monotonic_seconds=middle)
            self._seen = replace(self._seen, disks=disks)
            if generation == self._generation:
                self._call_since = None


def _failed(seen: Seen, error: str, *, domains: bool = False, block: bool = False) -> Seen:
    return replace(
        seen,
        domains_error=error if domains else seen.domains_error,
        block_error=error if block else seen.block_error,
    )
