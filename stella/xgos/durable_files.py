"""Small files that are replaced whole or not at all, and set aside when they cannot be used."""

import logging
import os
from pathlib import Path

_LOG = logging.getLogger(__name__)
_KEPT_ASIDE = 5


def write_atomically(path: Path, text: str) -> None:
    """Replace the file by ``text`` in one step that survives a crash. Raises OSError; then the old file still stands."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def set_aside(path: Path, why: str) -> None:
    """Rename a file that cannot be used to ``<name>.set-aside-N`` (the last few are kept) and log why."""
    for number in range(_KEPT_ASIDE):
        target = path.with_name(f"{path.name}.set-aside-{number}")
        if not target.exists() or number == _KEPT_ASIDE - 1:
            break
    try:
        path.replace(target)
        _LOG.error("%s: %s; set aside as %s", path, why, target.name)
    except OSError as error:
        _LOG.error("%s: %s; could not be set aside: %s", path, why, error.strerror)
