"""Link counters of all instances' taps: one netlink dump a pass, in the network namespace the agent was started in."""

import json
import socket
from typing import Protocol

from stella.linux import rtnetlink
from stella.model.snapshot import LinkReading
from stella.xgos.host_files import HostFiles, Unavailable

_BUFFER_BYTES = 1 << 17
_DEADLINE_SECONDS = 0.1


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

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._sequence = 0
        self._indexes: dict[str, int] = {}

    def read(self, names: frozenset[str]) -> dict[str, LinkReading]:
        """See `Links`."""
        if not names:
            return {}
        counters = self._dump()
        found: dict[str, LinkReading] = {}
        for name in names:
            index = self._indexes.get(name)
            if index is None or index not in counters:
                index = self._look_up(name)
            if index is not None and index in counters:
                found[name] = _reading(name, counters[index])
        return found

    def forget_names(self) -> None:
        """Look all names up again at the next read (devices may have been renamed)."""
        self._indexes = {}

    def _look_up(self, name: str) -> int | None:
        self._indexes.pop(name, None)
        try:
            self._indexes[name] = socket.if_nametoindex(name)
        except OSError:
            return None
        return self._indexes[name]

    def _dump(self) -> dict[int, rtnetlink.LinkCounters]:
        self._sequence = (self._sequence + 1) & 0x7FFFFFFF
        found: dict[int, rtnetlink.LinkCounters] = {}
        try:
            if self._socket is None:
                self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
                self._socket.settimeout(_DEADLINE_SECONDS)
                self._socket.bind((0, 0))
            self._socket.send(rtnetlink.stats_request(self._sequence))
            while not rtnetlink.parse_stats(self._socket.recv(_BUFFER_BYTES), self._sequence, found):
                pass
        except OSError as error:
            if self._socket is not None:
                self._socket.close()
            self._socket = None
            raise Unavailable(f"netlink: {error.strerror or error}") from None
        return found


class RecordedLinks:
    """Counters from ``links.json`` of a recorded tree: ``{"tap0": {"tx_packets": 1, ...}}``, named from the guest's side."""

    def __init__(self, files: HostFiles) -> None:
        self._files = files

    def read(self, names: frozenset[str]) -> dict[str, LinkReading]:
        """See `Links`."""
        try:
            recorded = json.loads(self._files.read("/links.json"))
            return {name: LinkReading(name=name, **recorded[name]) for name in sorted(names & recorded.keys())}
        except (ValueError, TypeError) as error:
            raise Unavailable(f"links.json: {error}") from None
