"""All access to the host's files, below one root. Reads any, writes only CPU knobs, and keeps hot ones open.

A kept descriptor costs one pread. It also belongs to the very object it was opened on: on /proc/PID/task/TID it answers
ESRCH once that thread has died, on a cgroup's file ENODEV once that group is gone, also when
another one has its number or name by then.
"""

import contextlib
import errno
import os
import resource

from stella.linux import cgroup, process, scheduling

_GONE = (errno.ENOENT, errno.ESRCH, errno.ENODEV, errno.ENOTDIR)
_NO_DESCRIPTORS = (errno.EMFILE, errno.ENFILE)
_LARGEST_READ = 65536


class Unavailable(Exception):
    """A sensor cannot read this now."""


class Gone(Unavailable):
    """What was to be read or written no longer exists."""


class Broken(Exception):
    """A sensor will never work on this host."""


class Unsupported(Exception):
    """This host has no such knob."""


class InstanceGone(Exception):
    """The instance of this knob no longer exists."""


class WriteFailed(Exception):
    """The kernel refused a value."""


def _unavailable(error: OSError, path: str) -> Unavailable:
    text = f"{path}: {error.strerror or error}"
    return Gone(text) if error.errno in _GONE else Unavailable(text)


def raise_descriptor_limit() -> None:
    """Lift the soft limit of open files to the hard one: 200 instances keep about 4000 open."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class KeptFile:
    """A file that is read again and again. Close it, or let it go."""

    __slots__ = ("_descriptor", "_path")

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptor = -1
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise _unavailable(error, path) from None

    def read(self, size: int = 128) -> bytes:
        """Its text from the start. Raises `Gone` when the object it was opened on is gone, else `Unavailable`."""
        try:
            return os.pread(self._descriptor, size, 0)
        except OSError as error:
            raise _unavailable(error, self._path) from None

    def close(self) -> None:
        """Give the descriptor back; again is no harm."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __del__(self) -> None:
        self.close()


class HostFiles:
    """Files of a host by their absolute path, below ``root`` (``/``, or a recorded tree)."""

    def __init__(self, root: str = "/") -> None:
        self.root = os.path.realpath(root)
        self._prefix = "" if self.root == "/" else self.root

    @property
    def recorded(self) -> bool:
        """Whether this is a recorded tree, not the machine itself."""
        return bool(self._prefix)

    def real(self, path: str) -> str:
        """Where ``path`` lies. Raises `Unavailable` for a path that is relative or climbs."""
        if not path.startswith("/") or "/../" in path + "/" or "\0" in path:
            raise Unavailable(f"{path!r}: not an absolute path")
        return self._prefix + path

    def read(self, path: str, *, largest_bytes: int = _LARGEST_READ) -> str:
        """The whole text, at most ``largest_bytes`` of it. Raises `Gone` or `Unavailable`."""
        return self.read_bytes(path, largest_bytes=largest_bytes).decode(errors="replace")

    def read_bytes(self, path: str, *, largest_bytes: int = _LARGEST_READ) -> bytes:
        """The whole content, at most ``largest_bytes`` of it. Raises `Gone` or `Unavailable`."""
        real = self.real(path)
        try:
            descriptor = os.open(real, os.O_RDONLY | os.O_CLOEXEC)
            try:
                left = largest_bytes
                parts = [os.read(descriptor, min(left, _LARGEST_READ))]
                while parts[-1] and (left := left - len(parts[-1])) > 0:
                    parts.append(os.read(descriptor, min(left, _LARGEST_READ)))
                return b"".join(parts)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise _unavailable(error, path) from None

    def keep(self, path: str) -> KeptFile:
        """``path``, held open for `KeptFile.read`. Raises `Gone` or `Unavailable`."""
        return KeptFile(self.real(path))

    def names(self, path: str) -> list[str]:
        """Names in a directory. Raises `Gone` or `Unavailable`."""
        try:
            return os.listdir(self.real(path))  # noqa: PTH208
        except OSError as error:
            raise _unavailable(error, path) from None

    def count_directories(self, path: str) -> int:
        """How many directories there are in a directory, by its links: one call of the kernel. Raises `Gone` or `Unavailable`."""
        try:
            return os.stat(self.real(path)).st_nlink - 2  # noqa: PTH116
        except OSError as error:
            raise _unavailable(error, path) from None

    def directories(self, path: str) -> list[str]:
        """Names of the directories in a directory. Raises `Gone` or `Unavailable`."""
        try:
            with os.scandir(self.real(path)) as entries:
                return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
        except OSError as error:
            raise _unavailable(error, path) from None

    def link_target(self, path: str) -> str:
        """What a symbolic link says, as it says it. Raises `Unavailable` for a wrong path, else `OSError`."""
        return os.readlink(self.real(path))  # noqa: PTH115

    def exists(self, path: str) -> bool:
        """Whether there is such a file or directory."""
        return os.path.exists(self.real(path))  # noqa: PTH110 (pathlib costs the guard 2 MB)

    def identity(self, path: str) -> int:
        """The inode number of the directory ``path`` lies in: another one after a group was removed and made again."""
        directory = path.rpartition("/")[0] or "/"
        try:
            return os.stat(self.real(directory)).st_ino  # noqa: PTH116
        except OSError as error:
            raise _unavailable(error, path) from None

    def write_knob(self, path: str, value: str) -> None:
        """Set a CPU knob of a cgroup. Creates nothing.

        Raises `Unsupported` (the group has no such file), `InstanceGone` (no such group), `WriteFailed`.
        """
        directory, _, name = path.rpartition("/")
        if name not in cgroup.KNOBS:
            raise Unsupported(f"{path}: not one of Stella's knobs")
        self._write(path, directory, value)

    def _write(self, path: str, directory: str, value: str) -> None:
        real = self.real(path)
        try:
            descriptor = os.open(real, os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                os.write(descriptor, value.encode() + b"\n")
            finally:
                os.close(descriptor)
        except OSError as error:
            text = f"{path}: {error.strerror or error}"
            if error.errno in _GONE:
                raise (Unsupported if self.exists(directory) and error.errno != errno.ENODEV else InstanceGone)(
                    text
                ) from None
            raise WriteFailed(text) from None

    def read_policy(self, thread: str) -> str:
        """The scheduling policy (`stella.linux.scheduling`) of the thread at ``/proc/PID/task/TID``. Raises `Gone`, `Unavailable`."""
        try:
            if self.recorded:
                return scheduling.show_policy(process.parse_scheduling(self.read(f"{thread}/stat")))
            return scheduling.show_policy(os.sched_getscheduler(int(thread.rpartition("/")[2])))
        except OSError as error:
            raise _unavailable(error, thread) from None
        except ValueError as error:
            raise Unavailable(f"{thread}: {error}") from None

    def read_start_ticks(self, thread: str) -> int:
        """When the process or thread at ``/proc/PID[/task/TID]`` began, in ticks since boot. Raises `Gone`, `Unavailable`."""
        try:
            return process.parse_start_ticks(self.read(f"{thread}/stat"))
        except cgroup.InvalidText as error:
            raise Unavailable(f"{thread}: {error}") from None

    def write_policy(self, thread: str, value: str, *, start_ticks: int) -> None:
        """Set the policy of the thread that began at ``start_ticks``. Raises `Unsupported`, `InstanceGone`, `WriteFailed`."""
        if self.recorded:
            raise Unsupported(f"{thread}: a recorded host")
        try:
            tid = int(thread.split("/")[4])
            number = scheduling.parse_policy(value)
            if self.read_start_ticks(thread) != start_ticks:
                raise InstanceGone(f"{thread}: another thread has this number now")
            os.sched_setscheduler(tid, number, os.sched_param(0))
        except Gone as error:
            raise InstanceGone(str(error)) from None
        except OSError as error:
            kind = InstanceGone if error.errno in _GONE else WriteFailed
            raise kind(f"{thread}: {error.strerror or error}") from None
        except (ValueError, IndexError, Unavailable) as error:
            raise WriteFailed(f"{thread}: {error}") from None

    def make_group(self, path: str) -> bool:
        """Make a cgroup; False when it was there. Raises `WriteFailed`."""
        try:
            os.mkdir(self.real(path))  # noqa: PTH102
        except FileExistsError:
            return False
        except OSError as error:
            raise WriteFailed(f"{path}: {error.strerror or error}") from None
        return True

    def remove_group(self, path: str) -> bool:
        """Remove an empty cgroup; False when it was gone. Raises `WriteFailed` (for one: it still holds processes)."""
        try:
            os.rmdir(self.real(path))  # noqa: PTH106
        except FileNotFoundError:
            return False
        except OSError as error:
            raise WriteFailed(f"{path}: {error.strerror or error}") from None
        return True

    def move_process(self, group: str, pid: int) -> None:
        """Put a process into a cgroup. Raises `WriteFailed`, `Unsupported` or `InstanceGone`."""
        self._write(f"{group}/cgroup.procs", group, str(pid))

    def move_thread(self, group: str, tid: int) -> None:
        """Put a thread into a threaded cgroup (v2). Raises `WriteFailed`, `Unsupported` or `InstanceGone`."""
        self._write(f"{group}/cgroup.threads", group, str(tid))
