"""One-second points of the instances that somebody watches: in memory alone, bounded, and let go of when they cannot be sent."""

import threading
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass

from stella.control.windows import Window
from stella.model.allocation import ObjectiveReport
from stella.xgos.accounting.history_levels import primary_reports

LARGEST_KEPT = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class LivePoint:
    """What became of a watched instance in the second that began at ``at`` (Unix seconds); one report for each metric."""

    uuid: str
    at: int
    objectives: tuple[ObjectiveReport, ...]


class LivePoints:
    """Any thread may call; nothing blocks. ``recorded`` is called when there are new points, in the thread that recorded them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watched: frozenset[str] = frozenset()
        self._points: deque[LivePoint] = deque(maxlen=LARGEST_KEPT)
        self.recorded: Callable[[], None] | None = None

    @property
    def watched(self) -> frozenset[str]:
        """The instances of which points are kept now."""
        return self._watched

    def watch(self, uuids: Collection[str]) -> None:
        """From now on keep points of exactly these."""
        with self._lock:
            self._watched = frozenset(uuids)
            if not self._watched:
                self._points.clear()

    def record(self, window: Window) -> None:
        """Take in a closed window. A gap of several tells nothing of its seconds, and is left out."""
        watched = self._watched
        if not watched or window.seconds != 1:
            return
        found = [
            LivePoint(
                uuid=one.uuid,
                at=window.start_unix_seconds,
                objectives=tuple(primary_reports(one.objectives).values()),
            )
            for one in window.instances
            if one.uuid in watched
        ]
        with self._lock:
            self._points.extend(found)
        if found and self.recorded is not None:
            self.recorded()

    def take(self, most: int) -> list[LivePoint]:
        """The oldest points, which are not kept any longer."""
        with self._lock:
            return [self._points.popleft() for _ in range(min(most, len(self._points)))]

    def clear(self) -> None:
        """Let go of all points."""
        with self._lock:
            self._points.clear()
