"""The audit log: one JSON line for each write, with its reason and what became of it. Bounded: two files of at most half each.

Written by a thread (`stella.xgos.line_log`): a slow or full disk costs lines, never a tick.
"""

import contextlib
import json
import os
from collections.abc import Iterable
from pathlib import Path

from stella.model.allocation import Outcome, WriteResult
from stella.model.target import Target
from stella.xgos.line_log import Lines, LineWriter

LARGEST_BYTES = 8 << 20
_MOST_FAILING = 10_000


class Audit:
    """The log at ``path``. What could not be written is counted by the writer (``lost_lines``)."""

    def __init__(self, path: str, writer: Lines | None = None, *, largest_bytes: int = LARGEST_BYTES) -> None:
        self._path = Path(path)
        self._writer = writer
        self._largest_bytes = largest_bytes
        self._bytes = 0
        self._failing: dict[Target, tuple[str, str]] = {}
        with contextlib.suppress(OSError):
            self._bytes = os.stat(path).st_size  # noqa: PTH116

    @property
    def lost_lines(self) -> int:
        """How many batches of lines were lost."""
        return self._writer.dropped_lines if self._writer else 0

    def outcomes(self, wall_seconds: float, outcomes: Iterable[Outcome]) -> None:
        """Log what became of writes; ``wall_seconds`` is Unix time. One that fails in the same way each tick is logged once."""
        self.lines(
            {
                "wall_seconds": round(wall_seconds, 3),
                "target": str(each.write.target),
                "instance": each.write.target.instance,
                "value": each.write.value,
                "previous": each.write.previous,
                "reason": each.write.reason,
                "temporary": each.write.temporary,
                "result": each.result.value,
                **({"error": each.error} if each.error else {}),
            }
            for each in outcomes
            if self._is_news(each)
        )

    def _is_news(self, outcome: Outcome) -> bool:
        target, now = outcome.write.target, (outcome.result.value, outcome.error)
        if outcome.result is WriteResult.WRITTEN:
            self._failing.pop(target, None)
            return True
        if self._failing.get(target) == now:
            return False
        if len(self._failing) >= _MOST_FAILING:
            self._failing.clear()
        self._failing[target] = now
        return True

    def event(self, wall_seconds: float, event: str, **details: object) -> None:
        """Log something else that was done to the host: a release, a group made, the guard's work."""
        self.lines([{"wall_seconds": round(wall_seconds, 3), "event": event, **details}])

    def lines(self, records: Iterable[dict[str, object]]) -> None:
        """Append records; all of one call are one entry of the writer's queue."""
        text = "\n".join(json.dumps(record, ensure_ascii=False) for record in records)
        if not text:
            return
        if self._writer is None:
            self._writer = LineWriter()
        size = len(text.encode(errors="replace")) + 1
        if self._bytes and self._bytes + size > self._largest_bytes // 2:
            self._writer.rotate(self._path, self._path.with_name(f"{self._path.name}.1"))
            self._bytes = 0
        self._bytes += size
        self._writer.append(self._path, text)

    def close(self) -> None:
        """Write what is left and end the thread; the next line starts another."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
