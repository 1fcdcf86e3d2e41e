"""How often a host is to ask and to report: the server chooses, so that any number of hosts is a load that it can bear."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from oslo_config import cfg

_COUNT_SECONDS = 10.0
PENDING_SECONDS = 30.0
"""For so long after its last change an SLO that is not acknowledged makes its host ask sooner."""

_LONGEST_POLL_SECONDS = 60.0
_REPORTS_A_SILENCE = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Intervals:
    """What one host is told, in seconds."""

    poll_seconds: float
    report_seconds: float


def choose(link: cfg.ConfigOpts.GroupAttr, *, hosts: int, has_pending: bool) -> Intervals:
    """The intervals with which ``hosts`` hosts together stay below ``[link] largest_polls_per_second`` and ``..reports_per_second``.

    They are never shorter than configured. A poll is never longer than 60 s and a report never longer than a third of the time after
    which a host counts as silent: beyond that (900 hosts as configured by default) an operator allows more requests.
    """
    poll = min(_LONGEST_POLL_SECONDS, max(link.poll_seconds, hosts / link.largest_polls_per_second))
    longest_report = max(link.report_seconds, link.silent_seconds / _REPORTS_A_SILENCE)
    return Intervals(
        poll_seconds=round(min(poll, link.pending_poll_seconds) if has_pending else poll, 3),
        report_seconds=round(min(longest_report, max(link.report_seconds, hosts / link.largest_reports_per_second)), 3),
    )


class HostCount:
    """How many hosts are enrolled, asked of the database now and then. May be used by any thread."""

    def __init__(self, count: Callable[[], int], clock: Callable[[], float]) -> None:
        self._count = count
        self._clock = clock
        self._lock = threading.Lock()
        self._known = 0
        self._counted_at = float("-inf")

    def __call__(self) -> int:
        """The number, at most ten seconds old. Raises what ``count`` raises."""
        with self._lock:
            now = self._clock()
            if not 0 <= now - self._counted_at < _COUNT_SECONDS:
                self._known = self._count()
                self._counted_at = now
            return self._known
