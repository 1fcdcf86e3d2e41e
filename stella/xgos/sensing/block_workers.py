"""Block statistics of all instances, asked side by side, so that one slow QEMU monitor delays no other instance.

A monitor answers from QEMU's main loop: on a starved instance that takes hundreds of milliseconds, on a stopped one for ever.
So a few threads ("workers"), each with a connection of its own, take whichever instances are due; an instance whose answer is
outstanding is not asked again. A worker that waits longer than the deadline is counted out and another one started for it; one
that fails is started again, and asks for nothing meanwhile.
"""

import functools
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from stella.model.snapshot import DiskReading
from stella.xgos import supervision
from stella.xgos.host_files import Unavailable
from stella.xgos.sensing.domains import Hypervisor

WORKERS = 2
CALL_DEADLINE_SECONDS = 1.0
_MOST_WORKERS = 8
_BATCHES = 16
_IDLE_SECONDS = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Disks:
    """Block statistics of one instance and when they were read: the middle of the call, as the answer fell within it."""

    disks: tuple[DiskReading, ...]
    monotonic_seconds: float


@dataclass(slots=True, eq=False)
class _Worker:
    since: float | None = None
    asked: tuple[str, ...] = ()


@dataclass(slots=True)
class _State:
    due: dict[str, float] = field(default_factory=dict)
    disks: dict[str, Disks] = field(default_factory=dict)
    workers: list[_Worker] = field(default_factory=list)
    error: str = ""
    duration_seconds: float = 0.0
    closed: bool = False


class BlockWorkers:
    """The last block statistics of each instance, always at hand without waiting."""

    def __init__(
        self, connect: Callable[[], Hypervisor], *, monotonic: Callable[[], float], interval_seconds: float
    ) -> None:
        """``connect`` makes a connection for a worker; each instance is asked every ``interval_seconds``."""
        self._connect = connect
        self._monotonic = monotonic
        self._interval_seconds = interval_seconds
        self._changed = threading.Condition()
        self._state = _State()
        self._stop = threading.Event()

    def watch(self, uuids: frozenset[str]) -> None:
        """Ask for exactly these instances from now on."""
        now = self._monotonic()
        with self._changed:
            state = self._state
            if uuids != state.due.keys():
                state.due = {uuid: state.due.get(uuid, now) for uuid in sorted(uuids)}
                state.disks = {uuid: disks for uuid, disks in state.disks.items() if uuid in uuids}
                self._changed.notify_all()
            self._keep_workers(now)

    def seen(self) -> tuple[dict[str, Disks], str, float]:
        """(disks by uuid, the last call's error or nothing, its duration in seconds)."""
        with self._changed:
            return dict(self._state.disks), self._state.error, self._state.duration_seconds

    def answered(self) -> bool:
        """Whether each watched instance was answered for, or a call has failed."""
        with self._changed:
            return bool(self._state.error) or self._state.due.keys() <= self._state.disks.keys()

    def close(self) -> None:
        """Stop asking."""
        with self._changed:
            self._state.closed = True
            self._changed.notify_all()
        self._stop.set()

    def _keep_workers(self, now: float) -> None:
        workers = self._state.workers
        if self._state.closed or not self._state.due:
            return
        working = sum(1 for worker in workers if worker.since is None or now - worker.since < CALL_DEADLINE_SECONDS)
        for _ in range(min(WORKERS - working, _MOST_WORKERS - len(workers))):
            worker = _Worker()
            workers.append(worker)
            supervision.start(functools.partial(self._run, worker), name="block", stop=self._stop)

    def _take(self, worker: _Worker) -> tuple[str, ...] | None:
        """The instances that are due longest and not being asked; waits for them. None: this worker is needed no more."""
        with self._changed:
            state = self._state
            while True:
                others = [each for each in state.workers if each.since is None and each is not worker]
                if state.closed or not state.due or len(others) >= WORKERS:
                    state.workers.remove(worker)
                    return None
                now = self._monotonic()
                asked = {uuid for each in state.workers for uuid in each.asked}
                free = sorted((due, uuid) for uuid, due in state.due.items() if uuid not in asked)
                ready = [uuid for due, uuid in free if due <= now]
                if ready:
                    worker.asked = tuple(ready[: max(1, math.ceil(len(state.due) / _BATCHES))])
                    worker.since = now
                    for uuid in worker.asked:
                        state.due[uuid] = max(state.due[uuid] + self._interval_seconds, now)
                    return worker.asked
                self._changed.wait(min(max(free[0][0] - now, 0.001), _IDLE_SECONDS) if free else _IDLE_SECONDS)

    def _run(self, worker: _Worker) -> None:
        hypervisor = self._connect()
        try:
            while (uuids := self._take(worker)) is not None:
                before = self._monotonic()
                error, found = "", {}
                try:
                    found = hypervisor.block_statistics(uuids)
                except Unavailable as problem:
                    error = str(problem)
                self._keep(worker, found, before, error)
                if error:
                    self._stop.wait(_IDLE_SECONDS)
        except (
            Exception
        ) as problem:  # the supervisor logs it and runs this again: what it asked for is free for the others
            self._keep(worker, {}, self._monotonic(), f"{type(problem).__name__}: {problem}")
            raise
        finally:
            hypervisor.close()

    def _keep(self, worker: _Worker, found: dict[str, tuple[DiskReading, ...]], before: float, error: str) -> None:
        duration = self._monotonic() - before
        with self._changed:
            state = self._state
            worker.since, worker.asked = None, ()
            state.error, state.duration_seconds = error, duration
            for uuid, disks in found.items():
                if uuid in state.due:
                    state.disks[uuid] = Disks(disks=disks, monotonic_seconds=before + duration / 2)
            self._changed.notify_all()
