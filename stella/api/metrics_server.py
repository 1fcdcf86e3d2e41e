"""The page of metrics on an address of its own: one socket, made before the workers, on which any of them answers."""

import logging
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer

_LOG = logging.getLogger(__name__)
_READ_SECONDS = 5.0
_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class InvalidAddress(ValueError):
    """The address is not HOST:PORT."""


def listen(address: str) -> socket.socket:
    """A socket on HOST:PORT, IPv6 in brackets. Raises `InvalidAddress`, OSError where it is taken."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise InvalidAddress(f"{address[:80]!r} must be HOST:PORT, such as 127.0.0.1:9818")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.create_server((host.strip("[]"), int(port)), family=family)
    made.setblocking(False)  # of several workers that wake up one accepts, and the others must not wait for the next
    return made


def serve(listening: socket.socket, page: Callable[[], bytes]) -> HTTPServer:
    """Answer ``GET /metrics`` with ``page`` in a thread of this process until it ends, or `HTTPServer.shutdown`."""

    class _Handler(BaseHTTPRequestHandler):
        timeout = _READ_SECONDS

        def do_GET(self) -> None:
            """One scrape."""
            if self.path.partition("?")[0] != "/metrics":
                self.send_error(404)
                return
            try:
                body = page()
            except Exception:  # the database may be away, and a scrape must not end the thread
                _LOG.exception("metrics")
                self.send_error(503)
                return
            self.send_response(200)
            self.send_header("Content-Type", _CONTENT_TYPE)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            """Scrapes are not logged."""

    server = HTTPServer(("", 0), _Handler, bind_and_activate=False)
    server.socket.close()
    server.socket = listening
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    return server
