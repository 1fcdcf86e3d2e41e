"""A listener inside a network namespace whose connections go to a port of this process's own namespace: how the agent, which lives
where the taps are, reaches stella-api on the host's loopback."""

import contextlib
import socket
import threading
from pathlib import Path

from stella.bench.lab.entering import inside

_CHUNK_BYTES = 1 << 16
_CONNECT_SECONDS = 5.0


def listen_inside(namespace: Path, port: int) -> socket.socket:
    """A socket that listens on 127.0.0.1 in the namespace at this path (its ``lo`` must be up). Raises OSError."""
    return inside(namespace, lambda: socket.create_server(("127.0.0.1", port)))


class Relay:
    """Forwards each connection, until it is closed."""

    def __init__(self, listener: socket.socket, port: int) -> None:
        """``port``: of 127.0.0.1, in this process's namespace."""
        self._listener, self._port = listener, port
        self._thread = threading.Thread(target=self._accept, name="relay", daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                inside, _ = self._listener.accept()
            except OSError:
                return
            try:
                outside = socket.create_connection(("127.0.0.1", self._port), timeout=_CONNECT_SECONDS)
            except OSError:
                inside.close()  # as if nobody listened
                continue
            outside.settimeout(None)
            for ends in ((inside, outside), (outside, inside)):
                threading.Thread(target=_forward, args=ends, name="relay", daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


def _forward(source: socket.socket, target: socket.socket) -> None:
    """Both directions end together: neither side of an HTTP exchange goes on without the other."""
    with contextlib.suppress(OSError):
        while data := source.recv(_CHUNK_BYTES):
            target.sendall(data)
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
    source.close()
