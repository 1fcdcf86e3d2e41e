"""Link counters of all instances' taps: one netlink dump a pass, in the network namespace the agent was started in."""

import json
import socket
from collections.abc import Callable
from typing import Protocol

from stella.linux import rtnetlink
from stella.model.snapshot import LinkReading
from stella.xgos.host_files import HostFiles, Unavailable

_BUFFER_BYTES = 1 << 17
_DEADLINE_SECONDS = 0.1
_MOST_DUMPS = 3
_CHECKED_A_READ = 8


class Links(Protocol):
    """Where link counters come from."""

    def read(self, names: frozenset[str]) -> dict[str, LinkReading]:
        """Counters of those devices of ``names`` that exist. Raises `Unavailable`."""


def _reading(name: str, c: rtnetlink.LinkCounters) -> LinkReading:
    """The host's view of a tap, turned around: the guest sent what the host received."""
    return LinkReading(
        name=name,
        tx_packets=c.rx_packets,
        tx_bytes=c.rx_bytes,
        tx_drops=c.rx_dropped,
        rx_packets=c.tx_packets,
        rx_bytes=c.tx_bytes,
        rx_drops=c.tx_dropped,
    )


class NetlinkLinks:
    """Counters from the kernel. A device that was deleted and made again has another index and so is looked up again."""

    def __init__(self, *, open_socket: Callable[[], socket.socket] | None = None) -> None:
        """``open_socket``: another source of the kernel's answers, for tests."""
        self._open_socket = open_socket or _netlink_socket
        self._socket: socket.socket | None = None
        self._sequence = 0
        self._indexes: dict[str, int] = {}

    def read(self, names: frozenset[str]) -> dict[str, LinkReading]:
        """See `Links`."""
        if not names:
            return {}
        counters = self._dump()
        if len(self._indexes) > len(names):
            self._indexes = {name: index for name, index in self._indexes.items() if name in names}
        for name in tuple(self._indexes)[:_CHECKED_A_READ]:  # a device may have been renamed, and its name given on
            self._look_up(name)
        found: dict[str, LinkReading] = {}
        for name in names:
            index = self._indexes.get(name)
            if index is None or index not in counters:
                index = self._look_up(name)
            if index is not None and index in counters:
                found[name] = _reading(name, counters[index])
        return found

    def _look_up(self, name: str) -> int | None:
        self._indexes.pop(name, None)
        try:
            self._indexes[name] = socket.if_nametoindex(name)
        except OSError:
            return None
        return self._indexes[name]

    def _dump(self) -> dict[int, rtnetlink.LinkCounters]:
        """All counters by ifindex. An answer during which links came or went is asked for again; the last one counts."""
        try:
            if self._socket is None:
                self._socket = self._open_socket()
            for _ in range(_MOST_DUMPS):
                found, whole = self._ask(self._socket)
                if whole:
                    break
        except OSError as error:
            if self._socket is not None:
                self._socket.close()
            self._socket = None
            raise Unavailable(f"netlink: {error.strerror or error}") from None
        return found

    def _ask(self, kernel: socket.socket) -> tuple[dict[int, rtnetlink.LinkCounters], bool]:
        self._sequence = (self._sequence + 1) & 0x7FFFFFFF
        found: dict[int, rtnetlink.LinkCounters] = {}
        whole, complete = True, False
        kernel.send(rtnetlink.stats_request(self._sequence))
        while not complete:
            complete, interrupted = rtnetlink.parse_stats(kernel.recv(_BUFFER_BYTES), self._sequence, found)
            whole &= not interrupted
        return found, whole


def _netlink_socket() -> socket.socket:
    made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    try:
        made.settimeout(_DEADLINE_SECONDS)
        made.bind((0, 0))
    except OSError:
        made.close()
        raise
    return made


class RecordedLinks:
    """Counters from ``links.json`` of a recorded tree: ``{"tap0": {"tx_packets": 1, ...}}``, named from the guest's side."""

    def __init__(self, files: HostFiles) -> None:
        self._files = files

    def read(self, names: frozenset[str]) -> dict[str, LinkReading]:
        """See `Links`."""
        try:
            recorded = json.loads(self._files.read("/links.json", largest_bytes=1 << 24))
            return {name: LinkReading(name=name, **recorded[name]) for name in sorted(names & recorded.keys())}
        except (ValueError, TypeError, AttributeError) as error:
            raise Unavailable(f"links.json: {error}") from None
