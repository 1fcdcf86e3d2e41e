"""Files that decide what root writes to the host: only those that no other user could have made are believed or replaced."""

import contextlib
import os
import stat

_LARGEST_BYTES = 64 << 20
FILE_MODE = 0o640
DIRECTORY_MODE = 0o750


class Untrusted(OSError):
    """A file or directory could have been made or changed by another user."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(0, why)
        self.path = path
        self.strerror = why


def _check(path: str, status: os.stat_result) -> None:
    if status.st_uid not in (0, os.geteuid()):
        raise Untrusted(path, f"is owned by uid {status.st_uid}")
    if status.st_mode & 0o022:
        raise Untrusted(path, "may be written by other users; chmod go-w")


def check_directory(path: str) -> None:
    """Make ``path`` where it is missing. Raises OSError: `Untrusted` when it is a link, another user's, or writable by others."""
    os.makedirs(path, mode=DIRECTORY_MODE, exist_ok=True)  # noqa: PTH103
    status = os.lstat(path)
    if not stat.S_ISDIR(status.st_mode):
        raise Untrusted(path, "is not a directory but a link or a file")
    _check(path, status)


def read_private(path: str) -> str:
    """The text of a file that only root (or this user) can have written. Raises OSError, or ValueError for what is not UTF-8."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise Untrusted(path, "is not a regular file")
        _check(path, status)
        return file.read(_LARGEST_BYTES).decode()


def replace_private(path: str, text: str, *, durable: bool) -> None:
    """Replace the file as a whole, readable by its owner and group. Raises OSError; then the old one still stands.

    A file or link that was planted under the temporary name is removed, never followed. ``durable``: on disk when this returns.
    """
    directory = os.path.dirname(path)  # noqa: PTH120
    check_directory(directory)
    temporary = f"{path}.tmp"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)  # noqa: PTH108
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        with os.fdopen(os.open(temporary, flags, FILE_MODE), "wb") as file:
            file.write(text.encode())
            file.flush()
            if durable:
                os.fsync(file.fileno())
        os.replace(temporary, path)  # noqa: PTH105
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary)  # noqa: PTH108
        raise
    if durable:
        _sync_directory(directory)


def remove_private(path: str) -> None:
    """Remove the file; nothing to do when it or its directory is not there. Raises OSError."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)  # noqa: PTH108


def _sync_directory(directory: str) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def filesystem_of(path: str, mountinfo: str) -> str:
    """The type of the file system that ``path`` lies on, from the text of /proc/self/mountinfo; empty when it is not listed."""
    best, found = -1, ""
    for line in mountinfo.splitlines():
        before, dash, after = line.partition(" - ")
        words = before.split(" ")
        if not dash or len(words) < 5:
            continue
        mount = words[4]
        below = mount in ("/", path) or path.startswith(mount + "/")
        if below and len(mount) >= best:
            best, found = len(mount), after.split(" ")[0]
    return found
