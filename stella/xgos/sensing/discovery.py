"""Asks the hypervisor in threads of their own, so that a stuck libvirtd or QEMU monitor never blocks a tick.

One thread asks for the list of domains every second, and at once after an event; `stella.xgos.sensing.block_workers` asks for block
statistics. A list that outlasts its deadline is abandoned with its thread and connection, and another thread goes on.
"""

import functools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from stella.xgos import supervision
from stella.xgos.host_files import Unavailable
from stella.xgos.sensing.block_workers import BlockWorkers, Disks
from stella.xgos.sensing.domains import Domain, DomainList, Hypervisor

DOMAINS_SECONDS = 1.0
BLOCK_SECONDS = 0.3
CALL_DEADLINE_SECONDS = 2.0
DISKS_KEPT_SECONDS = 2.0
"""Block statistics older than this are no longer shown."""
_EVENT_SECONDS = 0.1
_MOST_ABANDONED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class HypervisorView:
    """What the hypervisor last told. ``*_error`` is empty when the last call of that kind succeeded.

    ``shut_off`` are the uuids of instances that are defined and do not run; None while the last list could not be had. ``driver``: see
    `DomainList`.
    """

    domains: tuple[Domain, ...] | None = None
    shut_off: tuple[str, ...] | None = None
    driver: str = ""
    domains_monotonic_seconds: float = 0.0
    domains_error: str = "not asked yet"
    disks: dict[str, Disks] = field(default_factory=dict)
    block_error: str = ""
    block_duration_seconds: float = 0.0


class Discovery:
    """What the hypervisor last told, always at hand without waiting."""

    def __init__(
        self,
        connect: Callable[[], Hypervisor],
        *,
        connect_worker: Callable[[], Hypervisor] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        threaded: bool = True,
        block_seconds: float = BLOCK_SECONDS,
    ) -> None:
        """``connect`` makes a connection (another after one was abandoned), ``connect_worker`` one for block statistics.

        Not ``threaded``: asks at each `seen` (recorded hosts).
        """
        self._connect = connect
        self._monotonic = monotonic
        self._threaded = threaded
        self._workers = BlockWorkers(connect_worker or connect, monotonic=monotonic, interval_seconds=block_seconds)
        self._lock = threading.Lock()
        self._seen = HypervisorView()
        self._generation = 0
        self._call_since: float | None = None
        self._abandoned: list[threading.Thread] = []
        self._thread: threading.Thread | None = None
        self._wake = threading.Event()
        self._closed = False
        self._stop = threading.Event()
        self._hypervisor: Hypervisor | None = None

    def seen(self) -> HypervisorView:
        """The last answers; starts the threads, or another one for a stuck one."""
        if not self._threaded:
            return self._ask_here()
        self._replace_stuck()
        if self._thread is None or not self._thread.is_alive():
            self._start()
        with self._lock:
            seen = self._seen
        self._workers.watch(frozenset(domain.uuid for domain in seen.domains or () if domain.disks))
        disks, error, duration = self._workers.seen()
        return replace(seen, disks=disks, block_error=error, block_duration_seconds=duration)

    def ask_now(self) -> None:
        """Ask for the domains at once (a process vanished)."""
        self._wake.set()

    def wait_answered(self, timeout_seconds: float) -> bool:
        """Wait until the hypervisor first answered for both; False when it did not in time."""
        end = time.monotonic() + timeout_seconds
        while (self.seen().domains is None or not self._workers.answered()) and self._threaded:
            if time.monotonic() > end:
                return False
            time.sleep(0.01)
        return True

    def close(self) -> None:
        """Stop asking."""
        self._closed = True
        self._stop.set()
        self._wake.set()
        self._workers.close()
        if self._thread is not None:
            self._thread.join(0.5)

    def _ask_here(self) -> HypervisorView:
        if self._hypervisor is None:
            self._hypervisor = self._connect()
        self._ask_domains(self._hypervisor, self._generation)
        now = self._monotonic()
        try:
            found = self._hypervisor.block_statistics(tuple(domain.uuid for domain in self._seen.domains or ()))
        except Unavailable as error:
            self._seen = replace(self._seen, block_error=str(error))
        else:
            disks = {uuid: Disks(disks=each, monotonic_seconds=now) for uuid, each in found.items()}
            self._seen = replace(self._seen, disks=disks, block_error="")
        return self._seen

    def _start(self) -> None:
        if not self._closed:
            target = functools.partial(self._run, self._generation)
            self._thread = supervision.start(target, name="hypervisor", stop=self._stop)

    def _replace_stuck(self) -> None:
        since = self._call_since
        if since is None or self._monotonic() - since < CALL_DEADLINE_SECONDS:
            return
        self._abandoned = [thread for thread in self._abandoned if thread.is_alive()]
        with self._lock:
            self._seen = replace(self._seen, shut_off=None, domains_error="no answer within the deadline")
        if len(self._abandoned) >= _MOST_ABANDONED or self._thread is None:
            return
        self._abandoned.append(self._thread)
        with self._lock:
            self._generation += 1
            self._call_since = None
        self._start()

    def _run(self, generation: int) -> None:
        hypervisor = self._connect()
        next_domains = self._monotonic()
        try:
            while not self._closed and generation == self._generation:
                now = self._monotonic()
                woken = self._wake.is_set()
                self._wake.clear()
                if now >= next_domains or woken or hypervisor.changed():
                    next_domains = now + DOMAINS_SECONDS
                    self._ask_domains(hypervisor, generation)
                self._wake.wait(_EVENT_SECONDS)
        finally:
            hypervisor.close()

    def _ask_domains(self, hypervisor: Hypervisor, generation: int) -> None:
        now = self._monotonic()
        with self._lock:
            if generation == self._generation:
                self._call_since = now
        try:
            found = hypervisor.domains()
        except Unavailable as problem:
            self._answered(generation, None, str(problem), now)
        except Exception as problem:  # the supervisor logs it and starts the thread again
            self._answered(generation, None, f"{type(problem).__name__}: {problem}", now)
            raise
        else:
            self._answered(generation, found, "", now)

    def _answered(self, generation: int, found: DomainList | None, error: str, now: float) -> None:
        with self._lock:
            if generation != self._generation:
                return
            self._call_since = None
            if found is None:
                self._seen = replace(self._seen, shut_off=None, domains_error=error)
            else:
                self._seen = replace(
                    self._seen,
                    domains=found.running,
                    shut_off=found.shut_off,
                    driver=found.driver,
                    domains_monotonic_seconds=now,
                    domains_error="",
                )
