"""Per-thread CPU time and wait of one instance's QEMU, from schedstat.

The list of threads is read again when their number has changed (asked every second), every few seconds, after an event of the
hypervisor, and as soon as a known thread is gone; their times and scheduling policies every pass. A descriptor belongs to its
thread, so a number that another thread took over is never read; a process is the one that it was by the moment of its start.

The kernel stores a wait when it *ends*. A thread of which nothing was booked since the last pass, and which is runnable now, has
waited all the time in between: that is counted at once, and taken off what the kernel stores later.
"""

from dataclasses import dataclass

from stella.linux import process, scheduling
from stella.linux.cgroup import InvalidText
from stella.model.snapshot import Role, ThreadReading
from stella.xgos.host_files import Gone, HostFiles, KeptFile, Unavailable
from stella.xgos.sensing.processes import start_ticks as process_start_ticks

REFRESH_SECONDS = 1.0
WHOLE_REFRESH_SECONDS = 5.0
ASLEEP_SECONDS = 3.0
"""A thread of which nothing was booked for so long, and which did not wait when last asked, is no longer asked whether it does."""


@dataclass(slots=True)
class _Thread:
    tid: int
    start_ticks: int
    role: Role
    index: int
    comm: str
    directory: str
    file: KeptFile
    booked_seconds: tuple[float, float] = (-1.0, -1.0)  # run, wait
    booked_at: float = 0.0
    read_at: float = 0.0
    ahead_seconds: float = 0.0
    waits: bool = False
    policy: str | None = None  # of a recorded thread, which nothing can change

    def book(self, run: float, wait: float, now: float) -> bool:
        """Take what the kernel has booked. True when that is nothing new, though it ran lately: then it may be waiting.

        What is booked makes up for what was counted ahead.
        """
        if (run, wait) == self.booked_seconds:
            return self.waits or now - self.booked_at < ASLEEP_SECONDS
        self.ahead_seconds = max(0.0, self.ahead_seconds - max(0.0, wait - self.booked_seconds[1]))
        self.booked_seconds, self.booked_at = (run, wait), now
        return False


class Threads:
    """The threads of one QEMU process, and the kernel's vhost threads that work for it."""

    def __init__(self, files: HostFiles, pid: int, *, first_refresh_seconds: float) -> None:
        """``first_refresh_seconds``: monotonic time of the first re-read, so that instances take turns."""
        self._files = files
        self._pid = pid
        self._threads: dict[int, _Thread] = {}
        self._next_refresh, self._next_whole_refresh = 0.0, first_refresh_seconds
        self._count = 0
        self._changed = False
        self._hints: dict[int, tuple[Role, int]] = {}
        self.refreshes = 0
        self.start_ticks = self._begun()
        self._refresh()

    @property
    def migrating(self) -> bool:
        """Whether QEMU has a thread that exists only while it sends itself elsewhere."""
        return any(process.is_migration_thread(thread.comm) for thread in self._threads.values())

    def refresh_soon(self) -> None:
        """Read the list of threads again at the next `read`: something changed."""
        self._changed = True

    def hint(self, roles: dict[int, tuple[Role, int]]) -> None:
        """What cgroups tell of threads (by tid): used for those whose names say nothing, and to find vhost threads."""
        if not self._hints:
            self._changed = True
        self._hints = roles

    def read(self, monotonic_seconds: float) -> tuple[ThreadReading, ...]:
        """All threads, by number. Raises `Gone` when the process is gone, `Unavailable` when it cannot be read."""
        if monotonic_seconds >= self._next_refresh:
            self._next_refresh = monotonic_seconds + REFRESH_SECONDS
            self._changed |= self._files.count_directories(f"/proc/{self._pid}/task") != self._count
        if self._changed or monotonic_seconds >= self._next_whole_refresh:
            self._next_whole_refresh = monotonic_seconds + WHOLE_REFRESH_SECONDS
            self._changed = False
            self._refresh()
        try:
            return self._read(monotonic_seconds)
        except Gone:
            self._refresh()  # a worker thread ended, or all did
            return self._read(monotonic_seconds, skip_gone=True)

    def _read(self, now: float, *, skip_gone: bool = False) -> tuple[ThreadReading, ...]:
        found = []
        for thread in self._threads.values():
            try:
                run, wait = process.parse_schedstat(thread.file.read())
                may_wait = thread.book(run, wait, now)
                thread.waits = may_wait and process.is_runnable(self._files.read(f"{thread.directory}/stat"))
                if thread.waits:
                    thread.ahead_seconds += now - thread.read_at
            except Gone:
                if skip_gone:
                    continue
                raise
            except InvalidText as error:
                raise Unavailable(str(error)) from None
            thread.read_at = now
            found.append(
                ThreadReading(
                    tid=thread.tid,
                    start_ticks=thread.start_ticks,
                    role=thread.role,
                    index=thread.index,
                    run_seconds=run,
                    wait_seconds=wait + thread.ahead_seconds,
                    policy=self._policy(thread) if thread.role is not Role.VHOST else None,
                )
            )
        if not found:
            raise Gone(f"process {self._pid} has no thread left")
        return tuple(found)

    def _refresh(self) -> None:
        self.refreshes += 1
        if self._begun() != self.start_ticks:
            raise Gone(f"process {self._pid} is another one now")
        tids = sorted(int(name) for name in self._files.names(f"/proc/{self._pid}/task") if name.isdigit())
        owned = set(tids)
        self._count = len(tids)
        foreign = sorted(tid for tid in self._hints if tid not in owned)
        old, self._threads = self._threads, {}
        for tid in (*tids, *foreign):
            thread = self._known(old.get(tid)) or self._open(tid, self._pid if tid in owned else tid)
            if thread is not None and (tid in owned or thread.role is Role.VHOST):
                self._threads[tid] = thread
        vhosts = [thread for thread in self._threads.values() if thread.role is Role.VHOST]
        for index, thread in enumerate(vhosts):
            thread.index = index

    def _begun(self) -> int:
        """When the process began: that of its first thread. Raises `Gone` or `Unavailable`."""
        return process_start_ticks(self._files, self._pid)

    def _policy(self, thread: _Thread) -> str | None:
        """That of the fair scheduler which it has now; None for any other."""
        if thread.policy is not None:
            return thread.policy
        try:
            return scheduling.plain(self._files.read_policy(thread.directory))
        except Unavailable:
            return None

    def _known(self, thread: _Thread | None) -> _Thread | None:
        """A thread that is still the one it was, under the role that is now known of it."""
        if thread is None:
            return None
        try:
            thread.file.read()
        except Unavailable:
            return None
        if thread.tid in self._hints and process.parse_thread_name(thread.comm) is None:
            thread.role, thread.index = self._hints[thread.tid]
        return thread

    def _open(self, tid: int, pid: int) -> _Thread | None:
        directory = f"/proc/{pid}/task/{tid}"
        try:
            file = self._files.keep(f"{directory}/schedstat")
            comm = self._files.read(f"{directory}/comm").rstrip("\n")
            start_ticks = process.parse_start_ticks(self._files.read(f"{directory}/stat"))
        except Gone:
            return None
        except InvalidText as error:
            raise Unavailable(str(error)) from None
        named = process.parse_thread_name(comm)
        if named is None:
            named = self._hints.get(tid, (Role.EMULATOR, 0))
        if pid != self._pid and comm != f"vhost-{self._pid}":
            return None
        thread = _Thread(tid, start_ticks, named[0], named[1], comm, directory, file)
        if self._files.recorded:
            thread.policy = self._policy(thread)
        return thread
