"""The outbox on disk: segments of JSON lines, one line for each row, numbered without a gap within an epoch.

A row is in the kernel's hands and on the disk before it has a number that anybody sees, so that no number is given twice,
whatever is cut off.
"""

import contextlib
import io
import os
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from stella.model import wire
from stella.model.report import MinuteRow, StateRow, ViolationRow
from stella.xgos.durable_files import set_aside, write_atomically
from stella.xgos.line_log import DIRECTORY_MODE, open_append, read_lines

SEGMENT_BYTES = 1024 * 1024
Row: TypeAlias = "MinuteRow | ViolationRow | tuple[str, StateRow]"
"""A row to be sent; a state comes with the uuid of its instance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxState:
    """What outlives the process beside the rows: who reports, in which epoch, and what was acknowledged of it."""

    agent: str
    epoch: str
    acknowledged: int = 0


@dataclass(slots=True)
class Segment:
    """One file: the numbers of its first and last row. ``born_seconds`` is when it was first seen, in accounted seconds."""

    path: Path
    first: int
    last: int
    size: int
    born_seconds: int = 0


def print_line(sequence: int, row: Row) -> str:
    """One row for a file."""
    match row:
        case MinuteRow():
            return wire.dumps({"s": sequence, "minute": wire.encode(row)})
        case ViolationRow():
            return wire.dumps({"s": sequence, "violation": wire.encode(row)})
        case (instance, state):
            return wire.dumps({"s": sequence, "state": wire.encode(state), "uuid": instance})


def rows_of(path: Path) -> Iterator[tuple[int, Row]]:
    """The rows of a segment with their numbers; a line that is cut or garbage is left out."""
    for line in read_lines(path):
        try:
            sequence = wire.decode(int, line.get("s"))
            if "minute" in line:
                yield sequence, wire.decode(MinuteRow, line["minute"])
            elif "violation" in line:
                yield sequence, wire.decode(ViolationRow, line["violation"])
            elif "state" in line:
                yield sequence, (wire.decode(str, line.get("uuid")), wire.decode(StateRow, line["state"]))
        except wire.InvalidWire:
            continue


class Segments:
    """All segments of one outbox. Not locked; every call may wait for the disk, and may raise OSError where it writes."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._state_path = directory / "outbox.json"
        directory.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
        self._file: io.BufferedWriter | None = None
        self.segments: list[Segment] = []
        self._stale: list[Path] = []
        known = self._load_state()
        self.state = known or OutboxState(agent=str(uuid.uuid4()), epoch=str(uuid.uuid4()))
        self._find()
        self.last = max([self.state.acknowledged, *(s.last for s in self.segments)])
        if known is None:
            self._save_state()
        self._adopt()

    def _load_state(self) -> OutboxState | None:
        try:
            return wire.loads(OutboxState, self._state_path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, wire.InvalidWire) as error:
            set_aside(self._state_path, f"is not readable ({error}); a new epoch begins")
            return None

    def _save_state(self) -> None:
        write_atomically(self._state_path, wire.dumps(self.state) + "\n")

    def _find(self) -> None:
        for path in sorted(self._directory.glob("*.rows")):
            epoch, _, digits = path.stem.rpartition("-")
            if epoch != self.state.epoch or not (digits.isascii() and digits.isdigit()):
                self._stale.append(path)
                continue
            first = int(digits)
            last = max((sequence for sequence, _ in rows_of(path)), default=first - 1)
            if last < first:  # nothing of it can be read: its name is free again
                path.unlink(missing_ok=True)
                continue
            self.segments.append(Segment(path, first, last, path.stat().st_size))

    def _adopt(self) -> None:
        """Rows of an epoch whose state was lost go on under the present one."""
        for path in self._stale:
            rows = [row for _, row in rows_of(path)]
            if rows:
                self.append(rows)
            path.unlink(missing_ok=True)
        self._stale = []

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(segment.size for segment in self.segments)

    @property
    def depth(self) -> int:
        """Rows that are not acknowledged."""
        return self.last - self.state.acknowledged

    def append(self, rows: Sequence[Row], born_seconds: int = 0) -> None:
        """Write rows; they have numbers once they are on the disk. Raises OSError: then none of them has."""
        lines = [print_line(self.last + 1 + index, row) + "\n" for index, row in enumerate(rows)]
        data = "".join(lines).encode()
        if self._file is None or self.segments[-1].size > SEGMENT_BYTES:
            self.close()
            path = self._directory / f"{self.state.epoch}-{self.last + 1:016d}.rows"
            self._file = open_append(path)
            self.segments.append(Segment(path, self.last + 1, self.last, path.stat().st_size, born_seconds))
        segment = self.segments[-1]
        try:
            self._file.write(data)
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError:
            self._undo(segment)
            raise
        segment.size += len(data)
        segment.last = self.last = self.last + len(rows)

    def _undo(self, segment: Segment) -> None:
        """Take back what was written of a batch of rows: their numbers are given again."""
        with contextlib.suppress(OSError):
            self.close()
        with contextlib.suppress(OSError):
            os.truncate(segment.path, segment.size)
        if segment.last < segment.first:
            self.segments.remove(segment)

    def read(self, after: int, most: int) -> list[tuple[int, Row]]:
        """Up to ``most`` rows with numbers above ``after``, in order."""
        found: list[tuple[int, Row]] = []
        for segment in self.segments:
            if segment.last > after:
                found += [(n, row) for n, row in rows_of(segment.path) if after < n <= self.last]
            if len(found) >= most:
                break
        return found[:most]

    def newest_minute(self) -> int:
        """The start of the last minute that there is a row of; 0 when there is none."""
        for segment in reversed(self.segments):
            starts = [row.start for _, row in rows_of(segment.path) if isinstance(row, MinuteRow)]
            if starts:
                return max(starts)
        return 0

    def acknowledge(self, sequence: int) -> None:
        """Rows up to ``sequence`` were taken: they need not be kept. Raises OSError."""
        upto = min(sequence, self.last)
        if upto <= self.state.acknowledged:
            return
        self.state = OutboxState(agent=self.state.agent, epoch=self.state.epoch, acknowledged=upto)
        self._save_state()  # before the rows go: numbers must not begin anew
        while self.segments and self.segments[0].last <= upto:
            self.remove(self.segments[0])

    def remove(self, segment: Segment) -> None:
        """Let a segment go. Raises OSError."""
        if segment is self.segments[-1]:
            self.close()
        segment.path.unlink(missing_ok=True)
        self.segments.remove(segment)

    def close(self) -> None:
        """Let go of the file that is open."""
        if self._file is not None:
            file, self._file = self._file, None
            file.close()
