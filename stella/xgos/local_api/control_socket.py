"""The agent's control socket: a Unix socket, one line of JSON in and one line out for each connection.

Each connection has a thread of its own, of which there are few, and a deadline; none of them is the loop's thread, so that a
slow or hostile client costs the tick nothing. Only root, the agent's own user and members of the group may ask. No other user
gets more than half of the connections, and some are kept for root, so that an operator is always answered.
"""

import contextlib
import grp
import json
import logging
import os
import pwd
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from stella.model.wire import Json
from stella.xgos import supervision
from stella.xgos.local_api.agent_api import AgentApi
from stella.xgos.local_api.answers import answer
from stella.xgos.local_api.requests import LARGEST_REQUEST_BYTES, error_answer

_LOG = logging.getLogger(__name__)
_CONNECTIONS = 16
_CONNECTIONS_OF_ONE_USER = 8
_CONNECTIONS_FOR_ROOT = 4
_RECEIVE_SECONDS = 5.0
_SEND_SECONDS = 10.0
_DRAIN_SECONDS = 0.5
_DRAIN_READS = 64


class SocketInUse(OSError):
    """Another agent answers on this socket."""


def group_id(name: str) -> int | None:
    """The group's number; None if there is no such group."""
    try:
        return grp.getgrnam(name).gr_gid if name else None
    except KeyError:
        return None


def may_ask(uid: int, gid: int, group: int | None) -> bool:
    """Whether a peer with these credentials is root, the agent's own user, or a member of ``group``."""
    if uid in (0, os.geteuid()):
        return True
    if group is None:
        return False
    if gid == group:
        return True
    try:
        return group in os.getgrouplist(pwd.getpwuid(uid).pw_name, gid)
    except KeyError:
        return False


def peer_of(connection: socket.socket) -> tuple[int, int]:
    """(uid, gid) of who connected, as the kernel tells."""
    _, uid, gid = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return uid, gid


class Slots:
    """The connections that are being served, by the user who opened them. Root and the agent's own user are one user."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[int, int] = {}

    def take(self, uid: int) -> bool:
        """Whether this user may have one more connection now; then `give_back` it."""
        privileged = uid in (0, os.geteuid())
        with self._lock:
            held, total = self._held.get(uid, 0), sum(self._held.values())
            within = total < _CONNECTIONS
            if not privileged:
                within = total < _CONNECTIONS - _CONNECTIONS_FOR_ROOT and held < _CONNECTIONS_OF_ONE_USER
            if within:
                self._held[uid] = held + 1
            return within

    def give_back(self, uid: int) -> None:
        """One connection of this user has ended."""
        with self._lock:
            left = self._held.get(uid, 0) - 1
            if left > 0:
                self._held[uid] = left
            else:
                self._held.pop(uid, None)


def encoded(message: Mapping[str, Json]) -> Iterator[bytes]:
    """An answer as one line of JSON, in parts.

    One call of the JSON encoder does not let other threads run; the parts are small enough not to hold up a tick.
    """
    begin = b"{"
    for key, value in message.items():
        yield begin + _text(key) + b":"
        begin = b","
        if isinstance(value, list):
            yield b"["
            for index, item in enumerate(value):
                yield (b"," if index else b"") + _text(item)
            yield b"]"
        elif isinstance(value, dict) and value:
            yield from encoded(value)
        else:
            yield _text(value)
    yield b"}" if message else b"{}"


def _text(value: Json) -> bytes:
    return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()


class ControlSocket:
    """Serves a port on a socket from construction until `close`. Raises `SocketInUse` or OSError when it cannot."""

    def __init__(
        self,
        path: Path,
        port: AgentApi,
        *,
        group: str = "",
        receive_seconds: float = _RECEIVE_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._path = path
        self._port = port
        self._clock = clock
        self._receive_seconds = receive_seconds
        self._group = group_id(group)
        self._slots = Slots()
        self._listener = self._bind()
        self._closing = threading.Event()
        self._thread = supervision.start(self._accept, name="control-socket", stop=self._closing)

    def _bind(self) -> socket.socket:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            if self._path.is_socket():
                with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                    probe.settimeout(1.0)
                    if probe.connect_ex(str(self._path)) == 0:
                        raise SocketInUse(f"{self._path}: another agent answers on this socket")
                self._path.unlink()
            listener.bind(str(self._path))
            if self._group is not None and os.geteuid() == 0:
                os.chown(self._path, 0, self._group)
            self._path.chmod(0o660)
            listener.listen(64)
        except BaseException:
            listener.close()
            raise
        self._inode = self._path.stat().st_ino
        return listener

    def close(self) -> None:
        """Stop, and remove the socket if it is still ours."""
        self._closing.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(timeout=2.0)
        with contextlib.suppress(OSError):
            if self._path.stat().st_ino == self._inode:
                self._path.unlink()

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError as error:
                if not self._closing.is_set():
                    _LOG.warning("control socket: %s", error.strerror)
                    self._closing.wait(0.1)  # no file descriptors left, perhaps: do not spin
                continue
            self._take(connection)

    def _take(self, connection: socket.socket) -> None:
        """Serve a connection in a thread of its own, or turn it away."""
        try:
            uid, gid = peer_of(connection)
        except OSError:
            connection.close()
            return
        if not self._slots.take(uid):
            connection.setblocking(False)
            self._send(connection, error_answer("agent", "too many connections"), 0.0)
            connection.close()
            return
        try:
            threading.Thread(
                target=self._serve, args=(connection, uid, gid), name="control-request", daemon=True
            ).start()
        except RuntimeError as error:  # no more threads
            self._slots.give_back(uid)
            connection.close()
            _LOG.warning("control socket: %s", error)

    def _serve(self, connection: socket.socket, uid: int, gid: int) -> None:
        try:
            with connection:
                self._send(connection, self._answer(connection, uid, gid), _SEND_SECONDS)
                self._drain(connection)
        except Exception:  # a thread's last resort: one bad connection must not end the agent
            _LOG.exception("control socket: a request failed")
        finally:
            self._slots.give_back(uid)

    def _answer(self, connection: socket.socket, uid: int, gid: int) -> dict[str, Json]:
        if not may_ask(uid, gid, self._group):
            return error_answer("user", "must be root or a member of the agent's group")
        try:
            line = self._receive(connection)
        except TimeoutError:
            return error_answer("request", "took too long")
        except OSError:
            return error_answer("request", "was cut")
        try:
            return answer(line, self._port, self._clock())
        except Exception as error:
            _LOG.exception("control socket: a request failed")
            return error_answer("agent", f"failed: {type(error).__name__}")

    def _receive(self, connection: socket.socket) -> bytes:
        """Up to the first newline or the end; one byte more than allowed is recognised by its length."""
        deadline = time.monotonic() + self._receive_seconds
        received = b""
        while b"\n" not in received and len(received) <= LARGEST_REQUEST_BYTES:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                raise TimeoutError
            connection.settimeout(remaining)
            part = connection.recv(LARGEST_REQUEST_BYTES + 1)
            if not part:
                break
            received += part
        return received.partition(b"\n")[0]

    @staticmethod
    def _drain(connection: socket.socket) -> None:
        """Take in what is left of a request that is too long: closing before would cost its sender our answer."""
        deadline = time.monotonic() + _DRAIN_SECONDS
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_WR)
            for _ in range(_DRAIN_READS):
                connection.settimeout(max(0.001, deadline - time.monotonic()))
                if not connection.recv(LARGEST_REQUEST_BYTES):
                    break

    @staticmethod
    def _send(connection: socket.socket, message: dict[str, Json], timeout_seconds: float) -> None:
        deadline = time.monotonic() + timeout_seconds
        data = b"".join(encoded(message)) + b"\n"
        try:
            if timeout_seconds:
                connection.settimeout(max(0.001, deadline - time.monotonic()))
            connection.sendall(data)
        except OSError:
            return  # the client went away, or reads too slowly
