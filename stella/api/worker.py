"""gunicorn's threaded worker with what it lacks: a client that sends or reads slowly delays no other client.

gunicorn gives a thread to a connection for as long as its request takes to arrive, and closes connections on its main thread, waiting
up to 2 s for each: a few clients that send a byte now and then stop the service. Here

- a connection gets a thread when its first byte is there, and 2048 connections can have one: a thread that waits costs little;
- a request is *served* when all of it has arrived, and at most `[api] threads` are served at once;
- a connection whose request has not arrived within `[api] request_read_seconds`, or whose answer is not taken within as long, is shut
  down by the main thread, whatever its own thread waits for: TLS, headers, body or answer.
"""

import errno
import json
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent import futures
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from socket import SHUT_RDWR, socket
from ssl import SSLError
from typing import IO, Any

from gunicorn import util
from gunicorn.http import errors
from gunicorn.workers.gthread import TConn, ThreadWorker
from oslo_context.context import generate_request_id

from stella.api.errors import ApiError

Environ = dict[str, Any]
_CHUNK_BYTES = 65536
_STOPPING_SECONDS = 0.5
_MOST_THREADS = 2048
_LARGEST_BODY_IN_MEMORY_BYTES = 65536
_NO_CONNECTION = (errno.EAGAIN, errno.EWOULDBLOCK, errno.ECONNABORTED, errno.EMFILE, errno.ENFILE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a worker allows. ``connections_per_address`` 0: any number. Larger bodies than ``largest_body_bytes`` are not read here."""

    read_seconds: float
    served_at_once: int
    connections_per_address: int
    largest_body_bytes: int


class _Connection(TConn):  # type: ignore[misc]  # gunicorn has no types
    """One client. `close` never waits."""

    def __init__(self, *arguments: Any, closed: Callable[[], None]) -> None:
        super().__init__(*arguments)
        self._closed: Callable[[], None] | None = closed

    def close(self, graceful: bool = False) -> None:
        """Close the socket; who is counted by address is counted down once."""
        util.close(self.sock)
        closed, self._closed = self._closed, None
        if closed is not None:
            closed()


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """The application object of gunicorn has our `Limits` as ``limits``."""

    wsgi: Any

    def init_process(self) -> None:
        """Make what this process needs, then serve until it is stopped."""
        self._limits: Limits = self.app.limits
        self._turns = threading.BoundedSemaphore(self._limits.served_at_once)
        self._by_address: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._deadlines: dict[_Connection, float] = {}
        self._mine = threading.local()
        super().init_process()

    def load_wsgi(self) -> None:
        """Load the application, which then serves in turn."""
        super().load_wsgi()
        application = self.wsgi
        self.wsgi = partial(self._serve, application)

    def get_thread_pool(self) -> futures.ThreadPoolExecutor:
        """A thread for each connection that is not idle; they are made when they are needed."""
        return futures.ThreadPoolExecutor(max_workers=min(self.cfg.worker_connections, _MOST_THREADS))

    def accept(self, listener: socket) -> None:
        """Take a connection and wait for its first byte on the main thread."""
        try:
            client, address = listener.accept()
        except OSError as error:
            if error.errno not in _NO_CONNECTION:
                raise
            return
        name = str(address[0]) if isinstance(address, tuple) else ""
        most = self._limits.connections_per_address
        if name and most and self._by_address[name] >= most:
            client.close()
            return
        self._by_address[name] += 1
        self.nr_conns += 1
        conn = _Connection(self.cfg, client, address, listener.getsockname(), closed=partial(self._count_down, name))
        conn.timeout = time.monotonic() + self._limits.read_seconds
        self.pending_conns.append(conn)
        self.poller.register(client, 1, partial(self.on_pending_socket_readable, conn))

    def _count_down(self, name: str) -> None:
        self._by_address[name] -= 1
        if not self._by_address[name]:
            del self._by_address[name]

    def handle(self, conn: _Connection) -> Any:
        """Read a request and answer it, in a thread of the pool, which also waits for the client to close."""
        self._watch(conn)
        self._mine.conn = conn
        kept = False
        try:
            kept = super().handle(conn)
        finally:
            self._mine.conn = None
            self._unwatch(conn)
            if not kept:
                util.close_graceful(conn.sock)
        return kept

    def _watch(self, conn: _Connection) -> None:
        with self._lock:
            self._deadlines[conn] = time.monotonic() + self._limits.read_seconds

    def _unwatch(self, conn: _Connection) -> None:
        with self._lock:
            self._deadlines.pop(conn, None)

    def murder_pending(self) -> None:
        """Called by the main loop each second: end what takes too long."""
        now = time.monotonic()
        if not self.alive:
            for conn in self.pending_conns:
                conn.timeout = min(conn.timeout, now + _STOPPING_SECONDS)
        super().murder_pending()
        with self._lock:  # a connection that is watched is not closed, so that its number is not that of another file
            late = [conn for conn, deadline in self._deadlines.items() if deadline <= now]
            for conn in late:
                with suppress(OSError):
                    conn.sock.shutdown(SHUT_RDWR)
        if late:
            self.log.info("%d connections were shut down: slower than %g s", len(late), self._limits.read_seconds)

    def _serve(self, application: Any, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Read the body, wait for the turn, serve; then the client has its time to take the answer."""
        conn: _Connection = self._mine.conn
        with self._body(environ) as body:
            environ["wsgi.input"] = body
            self._unwatch(conn)
            with self._turns:
                found = application(environ, start_response)
                try:
                    answer = list(found)
                finally:
                    if hasattr(found, "close"):
                        found.close()
        self._watch(conn)
        return answer

    def _body(self, environ: Environ) -> IO[bytes]:
        """All of the body; large ones wait in a file. Raises `errors.NoMoreData` for one that is cut."""
        body = tempfile.SpooledTemporaryFile(max_size=_LARGEST_BODY_IN_MEMORY_BYTES)  # noqa: SIM115  # the caller closes it
        left = int(environ.get("CONTENT_LENGTH") or 0)
        if left > self._limits.largest_body_bytes:
            return body  # it is refused for its length alone
        while left:
            chunk = environ["wsgi.input"].read(min(left, _CHUNK_BYTES))
            if not chunk:
                body.close()
                raise errors.NoMoreData(b"")
            body.write(chunk)
            left -= len(chunk)
        body.seek(0)
        return body

    def handle_error(self, req: Any, client: socket, addr: Any, exc: Exception) -> None:
        """What is no HTTP, or failed outside of the application, as an API-SIG error; its text tells nothing of what was sent."""
        match exc:
            case SSLError():
                self.log.debug("TLS failed: %s", exc.reason)
                return
            case errors.LimitRequestLine():
                known = ApiError("stella.request.uri_too_long", "The path and query are longer than what is taken.")
            case errors.LimitRequestHeaders():
                known = ApiError("stella.request.headers_too_large", "The headers are larger than what is taken.")
            case errors.ParseException():
                known = ApiError("stella.request.invalid", f"This is no valid HTTP request: {type(exc).__name__}.")
            case _:
                self.log.exception("the server failed outside of the application", exc_info=exc)
                known = ApiError("stella.server.failed", "The server failed; its log has more.")
        body = json.dumps(known.body(generate_request_id())).encode()
        head = f"HTTP/1.1 {known.status} {known.title}\r\nConnection: close\r\nContent-Type: application/json\r\n"
        with suppress(OSError):
            util.write_nonblock(client, f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
