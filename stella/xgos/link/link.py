"""The link as a whole: two threads, each with a connection of its own."""

import contextlib
import threading
from collections.abc import Callable
from dataclasses import replace

from stella.xgos import supervision
from stella.xgos.accounting.outbox import Outbox
from stella.xgos.intents.cloud import CloudSource
from stella.xgos.link.board import Board
from stella.xgos.link.fetcher import Fetcher
from stella.xgos.link.reporter import Reporter
from stella.xgos.link.transport import Endpoint, HttpTransport
from stella.xgos.local_api.agent_api import LinkStatus, Published

_JOIN_SECONDS = 2.0


class Link:
    """Runs from construction until `close`. Raises OSError when the certificate authority's file cannot be used."""

    def __init__(
        self, endpoint: Endpoint, cloud: CloudSource, outbox: Outbox | None, published: Callable[[], Published | None]
    ) -> None:
        self._board = Board(endpoint.url, endpoint.host_name, mode=cloud.mode)
        self._outbox = outbox
        self._stop = threading.Event()
        self._transports = [HttpTransport(endpoint)]
        fetcher = Fetcher(self._transports[0], cloud, self._board, host_name=endpoint.host_name)
        self._threads = [supervision.start(lambda: fetcher.run(self._stop), name="link-intent", stop=self._stop)]
        self._reporter: Reporter | None = None
        if outbox is not None:
            self._transports.append(HttpTransport(endpoint))
            reporter = self._reporter = Reporter(self._transports[1], outbox, self._board, published)
            outbox.state_stored = reporter.wake
            outbox.live.recorded = reporter.wake
            self._threads.append(
                supervision.start(lambda: reporter.run(self._stop), name="link-report", stop=self._stop)
            )

    @property
    def status(self) -> LinkStatus:
        """What is known of the link now."""
        return replace(self._board.status, backlog_rows=self._outbox.depth if self._outbox else 0)

    def close(self) -> None:
        """Stop both threads. One that waits for the network ends with the process."""
        self._stop.set()
        if self._reporter is not None:
            self._reporter.wake()
        for thread in self._threads:
            thread.join(timeout=_JOIN_SECONDS)
        if not any(thread.is_alive() for thread in self._threads):
            for transport in self._transports:
                with contextlib.suppress(OSError):
                    transport.close()
