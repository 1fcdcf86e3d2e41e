"""What is known of the link, for those who ask: written by its two threads, read by any."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace

from stella.xgos.link.intent import DEFAULT_REPORT_SECONDS
from stella.xgos.local_api.agent_api import LinkStatus, SlaClass


class Board:
    """The newest `LinkStatus`, and what the API asks of the link itself.

    ``report_seconds``: how often to report. ``watch`` is called with the instances of which it wants a point each second.
    """

    def __init__(self, url: str, host_name: str, *, mode: str = "") -> None:
        self._lock = threading.Lock()
        self._status = LinkStatus(url=url, host_name=host_name, mode=mode)
        self.report_seconds = DEFAULT_REPORT_SECONDS
        self.watch: Callable[[frozenset[str]], None] = lambda _: None

    @property
    def status(self) -> LinkStatus:
        """What is known now; a value that never changes."""
        return self._status

    def told_classes(self, classes: Mapping[str, SlaClass]) -> None:
        """The API told which instances are under which class."""
        with self._lock:
            self._status = replace(self._status, classes=dict(classes))

    def fetched(self, now: float, *, revision: int, mode: str) -> None:
        """The intent was asked for and is known."""
        with self._lock:
            self._status = replace(
                self._status,
                last_intent_seconds=now,
                intent_error="",
                revision=revision,
                mode=mode or self._status.mode,
            )

    def not_fetched(self, error: str) -> bool:
        """The intent could not be had; returns whether that is news."""
        with self._lock:
            news = self._status.intent_error != error
            failures = self._status.failures + 1
            self._status = replace(self._status, intent_error=error, failures=failures)
            return news

    def reported(self, now: float) -> None:
        """A report was taken."""
        with self._lock:
            self._status = replace(
                self._status, last_report_seconds=now, report_error="", reports=self._status.reports + 1
            )

    def not_reported(self, error: str) -> bool:
        """A report was not taken; returns whether that is news."""
        with self._lock:
            news = self._status.report_error != error
            failures = self._status.failures + 1
            self._status = replace(self._status, report_error=error, failures=failures)
            return news

    def rejected(self, rows: int) -> None:
        """The API will never take these rows."""
        with self._lock:
            self._status = replace(self._status, rejected_rows=self._status.rejected_rows + rows)
