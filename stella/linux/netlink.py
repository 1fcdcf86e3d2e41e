"""Netlink messages and their attributes, packed and taken apart (linux/netlink.h). Opens nothing.

For changes and for dumps of a few hundred bytes; the link counters of each tick have a tighter reader of their own (`rtnetlink`).
"""

import struct
from collections.abc import Iterator, Mapping
from typing import NamedTuple

REQUEST, ACK, ECHO, DUMP, DUMP_INTERRUPTED = 0x1, 0x4, 0x8, 0x300, 0x10
REPLACE, CREATE, APPEND = 0x100, 0x400, 0x800
ERROR, DONE = 2, 3
HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_ATTRIBUTE = struct.Struct("=HH")
_NESTED, _TYPE_MASK = 0x8000, 0x3FFF
_ERROR = struct.Struct("=i")


class InvalidMessage(ValueError):
    """What came from the kernel is cut."""


class Message(NamedTuple):
    """One message: its type, flags and sequence, and what follows the header."""

    kind: int
    flags: int
    sequence: int
    body: bytes

    @property
    def error(self) -> int:
        """The error number of an answer to a request, 0 for an acknowledgement."""
        return -int(_ERROR.unpack_from(self.body)[0]) if self.kind == ERROR and len(self.body) >= _ERROR.size else 0


def attribute(kind: int, payload: bytes) -> bytes:
    """One attribute, padded to four bytes."""
    size = _ATTRIBUTE.size + len(payload)
    return _ATTRIBUTE.pack(size, kind) + payload + bytes(-size % 4)


def text(kind: int, value: str) -> bytes:
    """An attribute that is a string, ended by a zero."""
    return attribute(kind, value.encode() + b"\0")


def nested(kind: int, *attributes: bytes) -> bytes:
    """An attribute that holds others."""
    return attribute(kind | _NESTED, b"".join(attributes))


def message(kind: int, flags: int, sequence: int, body: bytes) -> bytes:
    """One message, padded to four bytes."""
    size = HEADER.size + len(body)
    return HEADER.pack(size, kind, flags, sequence, 0) + body + bytes(-size % 4)


def messages(data: bytes) -> Iterator[Message]:
    """The messages of one datagram. Raises `InvalidMessage`."""
    start = 0
    while start + HEADER.size <= len(data):
        length, kind, flags, sequence, _ = HEADER.unpack_from(data, start)
        if length < HEADER.size or start + length > len(data):
            raise InvalidMessage("cut netlink message")
        yield Message(kind, flags, sequence, data[start + HEADER.size : start + length])
        start += (length + 3) & ~3


def spans(data: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """The attributes in this part of ``data``, in order: type, and where each begins and ends. Raises `InvalidMessage`."""
    while start + _ATTRIBUTE.size <= end:
        length, kind = _ATTRIBUTE.unpack_from(data, start)
        if length < _ATTRIBUTE.size or start + length > end:
            raise InvalidMessage("cut netlink attribute")
        yield kind & _TYPE_MASK, start + _ATTRIBUTE.size, start + length
        start += (length + 3) & ~3


def each_attribute(data: bytes, start: int = 0) -> Iterator[tuple[int, bytes]]:
    """The attributes of ``data`` from ``start`` on, in order. Raises `InvalidMessage`."""
    for kind, begin, end in spans(data, start, len(data)):
        yield kind, data[begin:end]


def attributes(data: bytes, start: int = 0) -> Mapping[int, bytes]:
    """The attributes by their type; the last of a type counts. Raises `InvalidMessage`."""
    return dict(each_attribute(data, start))


def string(payload: bytes | None) -> str:
    """The text of a string attribute; empty for a missing one."""
    return (payload or b"").rstrip(b"\0").decode(errors="replace")
