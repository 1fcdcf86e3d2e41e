"""Who may write the journal (a lock), and its second copy, which a thread keeps in the state directory."""

import fcntl
import os
import threading
import time

from stella.xgos.actuation.private_files import FILE_MODE, check_directory, remove_private, replace_private

_LOCK_SECONDS = 3.0


class JournalLock:
    """Held by the process that writes the journal: an agent, `xgos release`, or the guard of an agent that is dead."""

    def __init__(self, journal_path: str, *, timeout_seconds: float = _LOCK_SECONDS) -> None:
        """Take the lock. Raises OSError: BlockingIOError when it is still held after ``timeout_seconds``."""
        check_directory(os.path.dirname(journal_path))  # noqa: PTH120
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._descriptor = os.open(f"{journal_path}.lock", flags, FILE_MODE)
        deadline = time.monotonic() + timeout_seconds
        while True:
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                if time.monotonic() >= deadline:
                    self.close()
                    raise
                time.sleep(0.02)
            else:
                return

    def close(self) -> None:
        """Give the lock back; again is no harm."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class JournalCopy:
    """The second copy of the journal, written by a thread: the latest text, when the disk is ready for it."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._text: str | None = None
        self._due = threading.Event()
        self._thread: threading.Thread | None = None
        self.problem = ""

    def put(self, text: str) -> None:
        """Have it stored; an empty text removes the file before this returns."""
        if not self._path:
            return
        if not text:
            with self._lock:
                self._text = None
                self._store("")
            return
        self._text = text
        self._due.set()
        if self._thread is None:
            from stella.xgos import supervision  # noqa: PLC0415 (the guard has no such thread)

            self._thread = supervision.start(self._run, name="journal-copy")

    def flush(self) -> None:
        """Store what is still to be stored, in this thread."""
        with self._lock:
            self._store_latest()

    def _run(self) -> None:
        while True:
            self._due.wait()
            self._due.clear()
            with self._lock:
                self._store_latest()

    def _store_latest(self) -> None:
        text, self._text = self._text, None
        if text is not None:
            self._store(text)

    def _store(self, text: str) -> None:
        try:
            if text:
                replace_private(self._path, text, durable=False)  # it need not outlive the boot
            else:
                remove_private(self._path)
            self.problem = ""
        except OSError as error:
            self.problem = f"{self._path}: {error.strerror or error}"
