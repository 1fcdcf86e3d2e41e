"""Append-only files of JSON lines, written by a thread of their own so that a slow disk never holds up a tick.

A line is handed to the kernel before the next one is taken: a SIGKILL loses what is still in the queue, a power cut
what the kernel had not written. A line that was cut is dropped when the file is read, and cut off before it is appended to.
"""

import contextlib
import io
import json
import logging
import os
import queue
import threading
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from stella.xgos import supervision

_LOG = logging.getLogger(__name__)
_OPEN_FILES = 8
_CHUNK = 64 * 1024


DIRECTORY_MODE = 0o750
FILE_MODE = 0o640


def open_append(path: Path) -> io.BufferedWriter:
    """``path``, to be appended to; readable for its owner and group alone, whatever it was before. Raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, FILE_MODE)
    try:
        os.fchmod(descriptor, FILE_MODE)
        return os.fdopen(descriptor, "ab")
    except OSError:
        os.close(descriptor)
        raise


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a file of JSON lines; a line that is cut or garbage is skipped, a file that cannot be read has none."""
    try:
        with path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    return
                try:
                    entry = json.loads(line)
                except (ValueError, RecursionError):
                    continue
                if isinstance(entry, dict):
                    yield entry
    except OSError as error:
        if not isinstance(error, FileNotFoundError):
            _LOG.warning("%s: %s", path, error.strerror)


def _cut_tail(path: Path) -> None:
    """Cut off what stands after the last newline."""
    if not path.exists():
        return
    with path.open("rb+") as file:
        end = size = file.seek(0, io.SEEK_END)
        while end:
            start = max(0, end - _CHUNK)
            file.seek(start)
            newline = file.read(end - start).rfind(b"\n")
            if newline >= 0:
                end = start + newline + 1
                break
            end = start
        if end != size:
            file.truncate(end)


class Lines(Protocol):
    """Where lines go. Nothing here but `close` waits."""

    @property
    def dropped_lines(self) -> int:
        """Lines that were given and not written."""

    def append(self, path: Path, line: str) -> None:
        """Have ``line`` (without newline) appended to ``path``."""

    def remove(self, path: Path) -> None:
        """Have ``path`` removed, after whatever was appended before."""

    def rotate(self, path: Path, old: Path) -> None:
        """Have ``path`` renamed to ``old``, after whatever was appended before."""

    def close(self) -> None:
        """Write what is left and stop."""


class LineWriter:
    """Appends lines to files in the order they were given. Nothing here but `flush` and `close` waits.

    What does not fit the queue is counted and dropped.
    """

    def __init__(self, *, capacity: int = 600) -> None:
        self._queue: queue.Queue[tuple[Path, str | Path | None] | threading.Event | None] = queue.Queue(capacity)
        self._files: OrderedDict[Path, io.BufferedWriter] = OrderedDict()
        self._failing = False
        self.dropped_lines = 0
        self._thread = supervision.start(self._run, name="line-writer")

    def append(self, path: Path, line: str) -> None:
        """Have ``line`` (without newline) appended to ``path``."""
        self._put((path, line))

    def remove(self, path: Path) -> None:
        """Have ``path`` removed, after whatever was appended before."""
        self._put((path, None))

    def rotate(self, path: Path, old: Path) -> None:
        """Have ``path`` renamed to ``old``, after whatever was appended before."""
        self._put((path, old))

    def _put(self, item: tuple[Path, str | Path | None]) -> None:
        try:
            self._queue.put_nowait(item)
        except queue.Full:
            self.dropped_lines += 1

    def flush(self, timeout_seconds: float = 5.0) -> bool:
        """Wait until everything given so far was written (or dropped); False on time-out."""
        done = threading.Event()
        try:
            self._queue.put(done, timeout=timeout_seconds)
        except queue.Full:
            return False
        return done.wait(timeout_seconds)

    def close(self) -> None:
        """Write what is left and stop."""
        with contextlib.suppress(queue.Full):
            self._queue.put(None, timeout=5.0)
            self._thread.join(timeout=5.0)

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            if isinstance(item, threading.Event):
                item.set()
                continue
            path, line = item
            try:
                if line is None:
                    self._forget(path)
                    path.unlink(missing_ok=True)
                elif isinstance(line, Path):
                    self._forget(path)
                    path.replace(line)
                else:
                    self._write(path, line)
                    self._failing = False
            except OSError as error:
                self._failed(path, error)
            except ValueError as error:  # text that is no text
                self._failed(path, OSError(0, str(error)))
        for path in list(self._files):
            self._forget(path)

    def _write(self, path: Path, line: str) -> None:
        file = self._files.pop(path, None)
        if file is None:
            path.parent.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
            _cut_tail(path)
            file = open_append(path)
        self._files[path] = file
        file.write(line.encode() + b"\n")
        file.flush()
        if len(self._files) > _OPEN_FILES:
            self._forget(next(iter(self._files)))

    def _forget(self, path: Path) -> None:
        file = self._files.pop(path, None)
        if file is not None:
            with contextlib.suppress(OSError):
                file.close()

    def _failed(self, path: Path, error: OSError) -> None:
        self.dropped_lines += 1
        self._forget(path)  # opened anew, and its cut line removed, when there is room again
        if not self._failing:
            _LOG.warning("%s: %s; history goes on in memory", path, error.strerror)
        self._failing = True
