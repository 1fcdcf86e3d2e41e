"""One line on stderr that says what the bench does: rewritten in place on a terminal, now and then a new one elsewhere."""

import sys
import time
from typing import TextIO

_QUIET_SECONDS = 10.0


class Progress:
    """``step`` names what is done; ``tick`` updates it with seconds done of all; ``close`` ends the line."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._terminal = self._stream.isatty()
        self._shown = ""
        self._last_seconds = 0.0

    def _show(self, text: str) -> None:
        if self._terminal:
            self._stream.write(f"\r\x1b[K{text}")
        else:
            self._stream.write(f"{text}\n")
        self._shown = text
        self._last_seconds = time.monotonic()
        self._stream.flush()

    def step(self, text: str) -> None:
        """Say what begins now."""
        line = f"stella-bench: {text}"
        if line != self._shown:
            self._show(line)

    def tick(self, text: str, done_seconds: float, all_seconds: float) -> None:
        """Say how far a longer step is."""
        if self._terminal or time.monotonic() - self._last_seconds >= _QUIET_SECONDS:
            self._show(f"stella-bench: {text} {done_seconds:.0f}/{all_seconds:.0f} s")

    def note(self, text: str) -> None:
        """A line that stays."""
        self.close()
        self._stream.write(f"stella-bench: {text}\n")
        self._stream.flush()

    def close(self) -> None:
        """End a line that is rewritten in place."""
        if self._terminal and self._shown:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
        self._shown = ""
