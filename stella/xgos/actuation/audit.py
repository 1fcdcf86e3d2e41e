"""The audit log: one JSON line for each write, with its reason and what became of it. Bounded: two files of at most half each."""

import contextlib
import json
import os
from collections.abc import Iterable

from stella.model.allocation import Outcome

LARGEST_BYTES = 8 << 20


class Audit:
    """The log at ``path``. A full disk costs lines, never a tick: ``lost_lines`` counts them."""

    def __init__(self, path: str, *, largest_bytes: int = LARGEST_BYTES) -> None:
        self._path = path
        self._largest_bytes = largest_bytes
        self._descriptor = -1
        self.lost_lines = 0

    def outcomes(self, wall_seconds: float, outcomes: Iterable[Outcome]) -> None:
        """Log what became of writes; ``wall_seconds`` is Unix time."""
        self.lines(
            {
                "wall_seconds": round(wall_seconds, 3),
                "path": each.write.path,
                "value": each.write.value,
                "previous": each.write.previous,
                "reason": each.write.reason,
                "temporary": each.write.temporary,
                "result": each.result.value,
                **({"error": each.error} if each.error else {}),
            }
            for each in outcomes
        )

    def event(self, wall_seconds: float, event: str, **details: object) -> None:
        """Log something else that was done to the host: a release, a group made, the guard's work."""
        self.lines([{"wall_seconds": round(wall_seconds, 3), "event": event, **details}])

    def lines(self, records: Iterable[dict[str, object]]) -> None:
        """Append records, one write for all: lines of several processes do not mix."""
        texts = [json.dumps(record, ensure_ascii=False) for record in records]
        if not texts:
            return
        try:
            self._open()
            os.write(self._descriptor, ("\n".join(texts) + "\n").encode())
        except OSError:
            self.lost_lines += len(texts)
            self.close()

    def close(self) -> None:
        """Close the file; the next line opens it again."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _open(self) -> None:
        if self._descriptor >= 0 and os.fstat(self._descriptor).st_size >= self._largest_bytes // 2:
            self.close()
            with contextlib.suppress(FileNotFoundError):
                os.replace(self._path, f"{self._path}.1")  # noqa: PTH105
        if self._descriptor < 0:
            os.makedirs(os.path.dirname(self._path), mode=0o755, exist_ok=True)  # noqa: PTH103, PTH120
            self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
