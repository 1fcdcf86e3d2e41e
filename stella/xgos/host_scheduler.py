"""sched_getattr and sched_setattr: the slice that a thread asks the scheduler for."""

import ctypes
import os
from dataclasses import replace

from stella.linux import process, scheduler
from stella.xgos.host_files import Gone, HostFiles, InstanceGone, Unavailable, Unsupported, WriteFailed


class HostScheduler:
    """Slices of this machine's threads. ``supported`` is False on a recorded tree and before Linux 6.12."""

    def __init__(self, files: HostFiles) -> None:
        self._files = files
        self._calls = None if files.recorded else scheduler.system_calls(os.uname().machine)
        self._libc = ctypes.CDLL(None, use_errno=True) if self._calls else None
        self._buffer = ctypes.create_string_buffer(scheduler.SIZE)
        self._default_ns = self._probe()

    @property
    def supported(self) -> bool:
        """Whether slices can be read and set here."""
        return self._default_ns > 0

    def _probe(self) -> int:
        """The default slice in ns, 0 where there are no slices: kernels before 6.12 report a runtime of 0."""
        try:
            return self._get(0).runtime_ns
        except OSError:
            return 0

    def _get(self, tid: int) -> scheduler.SchedAttr:
        if self._libc is None or self._calls is None:
            raise OSError("no system call")
        if self._libc.syscall(self._calls[1], tid, self._buffer, scheduler.SIZE, 0):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return scheduler.parse_attr(self._buffer.raw)

    def slice_ns(self, tid: int) -> int:
        """The slice that a thread asked for; 0: the default. Raises `Unavailable`."""
        if not self.supported:
            raise Unavailable("no scheduler slices on this host")
        assert self._libc is not None and self._calls is not None
        if self._libc.syscall(self._calls[1], tid, self._buffer, scheduler.SIZE, 0):
            raise Unavailable(f"thread {tid}: {os.strerror(ctypes.get_errno())}")
        found = scheduler.runtime_ns(self._buffer)
        return 0 if found == self._default_ns else found

    def write_slice(self, path: str, value: str) -> None:
        """Set the slice of the thread that ``path`` (`scheduler.slice_path`) names, if it is still the same thread.

        Policy and nice value stay. A slice is set with reset-on-fork, so that threads started later do not inherit it; going
        back to 0 takes that flag away again. Raises `Unsupported`, `InstanceGone`, `WriteFailed`.
        """
        named = scheduler.parse_slice_path(path)
        if named is None or not self.supported:
            raise Unsupported(f"{path}: no scheduler slices here")
        _, tid, start_ticks = named
        try:
            stat = self._files.read(f"/proc/{tid}/stat")  # also of a thread, and of vhost's kernel threads
        except Gone as error:
            raise InstanceGone(str(error)) from None
        except Unavailable as error:
            raise WriteFailed(str(error)) from None
        if process.parse_start_ticks(stat) != start_ticks:
            raise InstanceGone(f"{path}: the number belongs to another thread now")
        self._set(tid, int(value), path)

    def _set(self, tid: int, slice_ns: int, path: str) -> None:
        assert self._libc is not None and self._calls is not None
        try:
            attr = self._get(tid)
        except OSError as error:
            raise InstanceGone(f"{path}: {error.strerror}") from None
        if attr.policy not in (scheduler.SCHED_OTHER, scheduler.SCHED_BATCH):
            raise Unsupported(f"{path}: scheduling policy {attr.policy} has no slice")
        flags = attr.flags | scheduler.RESET_ON_FORK if slice_ns else attr.flags & ~scheduler.RESET_ON_FORK
        data = scheduler.show_attr(replace(attr, runtime_ns=slice_ns, flags=flags))
        if self._libc.syscall(self._calls[0], tid, data, 0):
            raise WriteFailed(f"{path}: {os.strerror(ctypes.get_errno())}")

    def ask_own_slice(self, seconds: float) -> None:
        """Ask a slice for the calling thread itself; silently nothing where there are none."""
        if self.supported:
            self._set(0, int(seconds * 1e9), "own thread")
