"""Links of all instances: the counters of their taps, and Stella's limits, by netlink dumps in the agent's network namespace.

A tap counts what a guest sent before a limit at ingress drops some of it; that is taken off, so that ``tx`` is what got through.
"""

import json
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from stella.linux import rtnetlink
from stella.model.snapshot import LinkReading, UplinkReading
from stella.xgos.host_files import HostFiles, Unavailable
from stella.xgos.link_limits import LimitState, LinkLimits
from stella.xgos.sensing.uplinks import Uplink, Uplinks

_BUFFER_BYTES = 1 << 17
_DEADLINE_SECONDS = 0.1
_MOST_DUMPS = 3
_CHECKED_A_READ = 8
_ETHERNET_BYTES = 14
"""At ingress a packet comes without its Ethernet header, which the tap has counted."""
_QUEUES_EACH = 20
"""While nothing is limited, the queues of taps are read once in so many passes."""

_NO_PLUGS: Mapping[str, str] = {}
_USERSPACE = "Open vSwitch's userspace datapath takes what it sends before a limit could act"
_MACVTAP = "what passes a macvtap passes no limit of the host"
_ALL = ("tx_packets", "tx_bytes", "rx_packets", "rx_bytes")

Lacks = tuple[tuple[str, str], ...]


class Links(Protocol):
    """Where link counters come from."""

    def read(self, names: frozenset[str], plugs: Mapping[str, str] = _NO_PLUGS) -> dict[str, LinkReading]:
        """Counters of those devices of ``names`` that exist; ``plugs``: see `DomainXml`. Raises `Unavailable`."""

    @property
    def uplinks(self) -> tuple[UplinkReading, ...]:
        """The devices through which instances reach the network, as they were last read."""

    @property
    def uplink_lack(self) -> str:
        """Why there is none, or not each that is configured."""

    @property
    def limits_lack(self) -> Lacks | None:
        """Why this host cannot limit ``packets`` or ``bytes``; nothing for what it can, None where it was not tried."""


@dataclass(slots=True)
class _Dropped:
    """What the limits of one direction dropped in all. Their own counters begin anew with each limit."""

    packets: int = 0
    bytes: int = 0
    _chain: tuple[int, int, int] = (0, 0, 0)
    _bucket: int = 0

    def add(self, chain: tuple[int, int, int], bucket: int, through: tuple[int, int], *, at_most: bool) -> None:
        """``chain``: the number of its limit, and packets and bytes that this dropped.

        ``bucket``: packets alone, taken to be as large as those in ``through``: packets and bytes that the device counted since the
        last call. ``at_most``: no more than these were dropped.
        """
        old = self._chain if chain[0] == self._chain[0] and chain[1] >= self._chain[1] else (0, 0, 0)
        queued = bucket - (self._bucket if bucket >= self._bucket else 0)
        self._chain, self._bucket = chain, bucket
        packets = chain[1] - old[1] + queued
        octets = chain[2] - old[2] + (round(queued * through[1] / through[0]) if through[0] > 0 else 0)
        if at_most:  # a bucket counts each part of a frame that it had to take apart
            packets, octets = min(packets, through[0]), min(octets, through[1])
        self.packets += packets
        self.bytes += octets


def _dropped_now(name: str, index: int, direction: str, limits: LimitState) -> tuple[tuple[int, int, int], int]:
    chain = limits.chain(name, direction)
    if chain is None:
        return (0, 0, 0), 0
    header = _ETHERNET_BYTES if direction == "tx" else 0
    dropped = chain.number, chain.dropped_packets, chain.dropped_bytes + header * chain.dropped_packets
    return dropped, limits.bucket(name, index, direction).dropped_packets


@dataclass(slots=True)
class _Link:
    """What is remembered of one device."""

    counters: rtnetlink.LinkCounters
    tx: _Dropped = field(default_factory=_Dropped)
    rx: _Dropped = field(default_factory=_Dropped)
    because: Lacks = ()

    def read(
        self, name: str, index: int, now: rtnetlink.LinkCounters, limits: LimitState, uplink: str, uplink_lack: str
    ) -> LinkReading:
        """The host's view of a tap, turned around: the guest sent what the host received."""
        before, self.counters = self.counters, now
        received = now.rx_packets - before.rx_packets, now.rx_bytes - before.rx_bytes
        transmitted = now.tx_packets - before.tx_packets, now.tx_bytes - before.tx_bytes
        self.tx.add(*_dropped_now(name, index, "tx", limits), received, at_most=True)
        self.rx.add(*_dropped_now(name, index, "rx", limits), transmitted, at_most=False)
        foreign = limits.roots[index].kind if index in limits.roots else ""
        return LinkReading(
            name=name,
            tx_packets=now.rx_packets - self.tx.packets,
            tx_bytes=now.rx_bytes - self.tx.bytes,
            tx_drops=now.rx_dropped,
            rx_packets=now.tx_packets,
            rx_bytes=now.tx_bytes,
            rx_drops=now.tx_dropped,
            tx_limited_packets=self.tx.packets,
            tx_limited_bytes=self.tx.bytes,
            rx_limited_packets=self.rx.packets,
            rx_limited_bytes=self.rx.bytes,
            tx_limit=limits.limit(name, index, "tx"),
            rx_limit=limits.limit(name, index, "rx"),
            uplink=uplink,
            uplink_lack=uplink_lack,
            unlimited_because=self.because
            + ((("rx_bytes", f"another program has set its queue ({foreign})"),) if foreign else ()),
        )


class NetlinkLinks:
    """Counters from the kernel. A device that was deleted and made again has another index and so is looked up again."""

    def __init__(
        self,
        *,
        open_socket: Callable[[], socket.socket] | None = None,
        limits: LinkLimits | None = None,
        uplinks: Sequence[Uplink] = (),
    ) -> None:
        """``open_socket``: another source of the kernel's answers, for tests; ``limits``: none are read without."""
        self._open_socket = open_socket or _netlink_socket
        self._socket: socket.socket | None = None
        self._sequence = 0
        self._indexes: dict[str, int] = {}
        self._limits = limits
        self._lack = limits.lack() if limits else None
        self._state = LimitState()
        self._passes = 0
        self._known: dict[int, _Link] = {}
        self._uplinks = Uplinks(uplinks, limits.topology if limits else dict)

    @property
    def uplinks(self) -> tuple[UplinkReading, ...]:
        """See `Links`."""
        return self._uplinks.readings

    @property
    def uplink_lack(self) -> str:
        """See `Links`."""
        return self._uplinks.lack

    @property
    def limits_lack(self) -> Lacks | None:
        """See `Links`. Asked once, at the start."""
        return self._lack

    def _read_limits(self) -> LimitState:
        """Before the counters, so that nothing counts as dropped that was not yet counted as sent."""
        self._passes += 1
        if self._limits is None or "packets" in dict(self._lack or ()):
            return self._state
        try:
            chains = self._limits.chains()
            if chains or self._state.chains or self._passes % _QUEUES_EACH == 1:
                self._state = LimitState(chains=chains, roots=self._limits.roots())
        except OSError as error:
            raise Unavailable(f"limits of links: {error.strerror or error}") from None
        return self._state

    def read(self, names: frozenset[str], plugs: Mapping[str, str] = _NO_PLUGS) -> dict[str, LinkReading]:
        """See `Links`."""
        if not names:
            return {}
        limits = self._read_limits()
        counters = self._dump()
        if len(self._indexes) > len(names) + len(self._uplinks.devices):
            kept = names | self._uplinks.devices
            self._indexes = {name: index for name, index in self._indexes.items() if name in kept}
        self._uplinks.read(counters, lambda name: self._indexes.get(name) or self._look_up(name), self._passes)
        for name in tuple(self._indexes)[:_CHECKED_A_READ]:  # a device may have been renamed, and its name given on
            self._look_up(name)
        found: dict[str, LinkReading] = {}
        for name in names:
            index = self._indexes.get(name)
            if index is None or index not in counters:
                index = self._look_up(name)
            if index is not None and index in counters:
                known = self._known.get(index)
                if known is None:
                    known = self._known[index] = _Link(counters[index], because=self._because(index, plugs.get(name)))
                elif self._passes % _QUEUES_EACH == 1:
                    known.because = self._because(index, plugs.get(name))
                uplink, lack = self._uplinks.of(index)
                found[name] = known.read(name, index, counters[index], limits, uplink, lack)
        if len(self._known) > len(names):
            here = set(self._indexes.values())
            self._known = {index: link for index, link in self._known.items() if index in here}
        return found

    def _because(self, index: int, plug: str | None) -> Lacks:
        """Why limits cannot act on a device, by how it is plugged. The kernel's datapath of Open vSwitch shows as a master."""
        if plug == "direct":
            return tuple((part, _MACVTAP) for part in _ALL)
        if plug != "openvswitch" or self._limits is None:
            return ()
        try:
            inside = self._limits.is_port(index)
        except OSError as error:
            raise Unavailable(f"netlink: {error.strerror or error}") from None
        return () if inside else tuple((part, _USERSPACE) for part in _ALL[:2])

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

    limits_lack = None
    uplinks = ()
    uplink_lack = "a recorded host has no uplink"

    def __init__(self, files: HostFiles) -> None:
        self._files = files

    def read(self, names: frozenset[str], plugs: Mapping[str, str] = _NO_PLUGS) -> dict[str, LinkReading]:
        """See `Links`."""
        try:
            recorded = json.loads(self._files.read("/links.json", largest_bytes=1 << 24))
            return {name: LinkReading(name=name, **recorded[name]) for name in sorted(names & recorded.keys())}
        except (ValueError, TypeError, AttributeError) as error:
            raise Unavailable(f"links.json: {error}") from None
