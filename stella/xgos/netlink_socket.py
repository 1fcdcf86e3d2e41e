"""A netlink socket, in the network namespace that this process was in when it was first used. One thread, no waiting for others.

The kernel works on a request within ``send``: when that returns, the answers lie in the socket.
"""

import contextlib
import errno
import os
import socket
from collections.abc import Callable, Iterator

from stella.linux import netlink

ROUTE, NETFILTER = 0, 12
_BUFFER_BYTES = 1 << 17
_DEADLINE_SECONDS = 0.1
_MOST_DUMPS = 3
_SEQUENCES_A_REQUEST = 64


class Refused(OSError):
    """The kernel refused a request; ``errno`` tells why."""


class NetlinkSocket:
    """Requests to one of the kernel's netlink families. A socket that failed is opened again. Every method raises OSError."""

    def __init__(self, family: int) -> None:
        self._family = family
        self._socket: socket.socket | None = None
        self._sequence = 0

    def _opened(self) -> socket.socket:
        if self._socket is None:
            made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, self._family)
            try:
                made.bind((0, 0))
            except OSError:
                made.close()
                raise
            self._socket = made
        return self._socket

    def close(self) -> None:
        """Let the socket go; the next request opens another."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _next(self) -> int:
        self._sequence = (self._sequence + _SEQUENCES_A_REQUEST) & 0x7FFFFFFF
        return self._sequence

    def errors(self, build: Callable[[int], bytes]) -> list[int]:
        """Send what ``build`` makes for a first sequence; the error number of each answer (0: done), in the order they came."""
        return [m.error for m in self.ask(build) if m.kind == netlink.ERROR]

    def ask(self, build: Callable[[int], bytes]) -> list[netlink.Message]:
        """Send what ``build`` makes for a first sequence; all that answers it, in the order it came."""
        first = self._next()
        try:
            self._opened().send(build(first))
            return [m for m in self._waiting() if 0 <= m.sequence - first < _SEQUENCES_A_REQUEST]
        except (OSError, netlink.InvalidMessage) as error:
            self.close()
            raise _as_os_error(error) from None

    def change(self, build: Callable[[int], bytes], *, tolerated: tuple[int, ...] = ()) -> None:
        """The same, for a change that is to succeed. Raises `Refused` with the first error that is not ``tolerated``."""
        answers = self.errors(build)
        for number in answers or [errno.EIO]:
            if number and number not in tolerated:
                raise Refused(number, os.strerror(number))

    def dump(self, build: Callable[[int], bytes]) -> list[netlink.Message]:
        """The messages of an answer of several parts. One that changed meanwhile is asked for again; the last one counts."""
        try:
            for _ in range(_MOST_DUMPS):
                found, whole = self._dump(build)
                if whole:
                    break
        except (OSError, netlink.InvalidMessage) as error:
            self.close()
            raise _as_os_error(error) from None
        return found

    def _dump(self, build: Callable[[int], bytes]) -> tuple[list[netlink.Message], bool]:
        first, found, whole = self._next(), list[netlink.Message](), True
        kernel = self._opened()
        kernel.settimeout(_DEADLINE_SECONDS)
        kernel.send(build(first))
        while True:
            for message in netlink.messages(kernel.recv(_BUFFER_BYTES)):
                if message.sequence != first:
                    continue
                whole &= not message.flags & netlink.DUMP_INTERRUPTED
                if message.kind == netlink.DONE:
                    return found, whole
                if message.kind == netlink.ERROR:
                    raise Refused(message.error, os.strerror(message.error))
                found.append(message)

    def _waiting(self) -> Iterator[netlink.Message]:
        kernel = self._opened()
        kernel.settimeout(0.0)
        with contextlib.suppress(BlockingIOError):
            while True:
                yield from netlink.messages(kernel.recv(_BUFFER_BYTES))


def _as_os_error(error: Exception) -> OSError:
    return error if isinstance(error, OSError) else OSError(errno.EPROTO, str(error))
