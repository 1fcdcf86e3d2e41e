"""Network namespaces of the lab's own: bridges for the guests, and a namespace per guest where its peer lives.

Nothing is learned and nothing is flooded: addresses, neighbours and forwarding entries are all set, because a receiver that
never answers would otherwise be forgotten by the bridge, and its traffic copied to every guest.
"""

import contextlib
from dataclasses import dataclass
from pathlib import Path

from stella.bench.lab.model import LabError, Place, Uplink
from stella.bench.lab.process import run

HEADER_BYTES = 42  # Ethernet, IPv4 and UDP before the payload: what a tap counts for each packet besides it
_QUIET = 'for c in all default; do echo 1 > "/proc/sys/net/ipv6/conf/$c/disable_ipv6"; done; true'


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat(Place):
    """Where one guest sits, and its tap."""

    tap: str
    uplink: str

    @property
    def guest_mac(self) -> str:
        """The guest's hardware address."""
        return f"52:54:00:77:01:{self.index:02x}"

    @property
    def peer_mac(self) -> str:
        """Its peer's hardware address."""
        return f"02:00:00:77:02:{self.index:02x}"

    def set_up(self) -> tuple[tuple[str, ...], ...]:
        """The commands that the guest runs to have its address, and its peer's hardware address."""
        commands: list[tuple[str, ...]] = [
            ("ip", "addr", "add", f"{self.guest_ip}/16", "dev", "eth0"),
            ("ip", "link", "set", "eth0", "up"),
        ]
        if self.namespace:
            commands.append(("arp", "-s", self.peer_ip, self.peer_mac))
        return tuple(commands)


def tbf_arguments(rate_bytes_per_second: float, *, burst_seconds: float = 0.01) -> list[str]:
    """`tc` words for a token bucket: bursts of ``burst_seconds`` (at least 16 KB), and room for 50 ms."""
    burst = max(16384, int(rate_bytes_per_second * burst_seconds))
    limit = burst + max(65536, int(rate_bytes_per_second * 0.05))
    return ["tbf", "rate", f"{int(rate_bytes_per_second * 8)}bit", "burst", str(burst), "limit", str(limit)]


class Network:
    """The lab's namespace with its bridges, and the peers' namespaces."""

    def __init__(self, name: str, uplinks: tuple[Uplink, ...]) -> None:
        self.name, self.uplinks = name, uplinks
        self.namespaces: list[str] = []
        self._outside: dict[str, str] = {}  # uplink -> the bridge its peers are on
        self._seats: dict[str, Seat] = {}

    def _ip(self, *words: str) -> None:
        run("/usr/sbin/ip", "-n", self.name, *words)

    def _add_namespace(self, name: str) -> None:
        run("/usr/sbin/ip", "netns", "add", name)
        self.namespaces.append(name)
        run("/usr/sbin/ip", "-n", name, "link", "set", "lo", "up")
        run("/usr/bin/nsenter", f"--net=/run/netns/{name}", "/bin/sh", "-c", _QUIET)

    def _add_bridge(self, bridge: str) -> None:
        self._ip("link", "add", bridge, "type", "bridge", "stp_state", "0", "forward_delay", "0", "mcast_snooping", "0")
        self._ip("link", "set", bridge, "up")

    def _settle_port(self, port: str, macs: list[str]) -> None:
        """Make a bridge port forward to the addresses known to lie behind it, and to nothing else."""
        options = ["learning", "off", "flood", "off", "mcast_flood", "off", "bcast_flood", "off"]
        run("/usr/sbin/bridge", "-n", self.name, "link", "set", "dev", port, *options)
        for mac in macs:
            run("/usr/sbin/bridge", "-n", self.name, "fdb", "replace", mac, "dev", port, "master", "static")

    def build(self) -> None:
        """The lab's namespace and a bridge per uplink; a rate-limited uplink is a wire between two bridges."""
        self._add_namespace(self.name)
        for number, uplink in enumerate(self.uplinks):
            if not 0 < len(uplink.name) <= 15 or not uplink.name.replace("-", "").isalnum():
                raise LabError(f"uplinks: {uplink.name[:40]!r} is no name for a network device")
            self._add_bridge(uplink.name)
            self._outside[uplink.name] = uplink.name
            if uplink.rate_bytes_per_second is not None:
                inner, outer, outside = f"wire{number}i", f"wire{number}o", f"outside{number}"
                self._add_bridge(outside)
                self._outside[uplink.name] = outside
                self._ip("link", "add", inner, "type", "veth", "peer", "name", outer)
                for port, bridge in ((inner, uplink.name), (outer, outside)):
                    self._ip("link", "set", port, "master", bridge, "up")
                    words = tbf_arguments(uplink.rate_bytes_per_second)
                    run("/usr/sbin/tc", "-n", self.name, "qdisc", "replace", "dev", port, "root", *words)
                    self._settle_port(port, [])

    def limited(self) -> dict[str, float]:
        """The devices on the host's side through which limited uplinks send, with their rates in bytes/s."""
        each = enumerate(self.uplinks)
        return {f"wire{n}i": u.rate_bytes_per_second for n, u in each if u.rate_bytes_per_second is not None}

    def seat(self, guest: str, uplink: str, index: int, *, peer: bool) -> Seat:
        """Make room for one guest; with a peer's namespace when it has network load. Its tap is made by libvirt later."""
        if uplink not in self._outside:
            raise LabError(f"{guest}: no uplink {uplink!r}")
        seat = Seat(
            index=index,
            guest_ip=f"10.77.1.{index}",
            peer_ip=f"10.77.2.{index}",
            namespace=f"{self.name}-{index}" if peer else "",
            tap=f"sbtap{index}",
            uplink=uplink,
        )
        self._seats[guest] = seat
        if peer:
            self._add_namespace(seat.namespace)
            port = f"peer{index}"
            address = ["address", seat.peer_mac]
            self._ip("link", "add", port, "type", "veth", "peer", "name", "eth0", *address, "netns", seat.namespace)
            self._ip("link", "set", port, "master", self._outside[uplink], "up")
            inside = ["/usr/sbin/ip", "-n", seat.namespace]
            run(*inside, "addr", "add", f"{seat.peer_ip}/16", "dev", "eth0")
            run(*inside, "link", "set", "eth0", "up")
            run(*inside, "neigh", "replace", seat.guest_ip, "lladdr", seat.guest_mac, "dev", "eth0", "nud", "permanent")
            self._settle_port(port, [seat.peer_mac])
            number = [u.name for u in self.uplinks].index(uplink)
            if self._outside[uplink] != uplink:
                self._settle_port(f"wire{number}i", [seat.peer_mac])
                self._settle_port(f"wire{number}o", [seat.guest_mac])
        return seat

    def attach(self, guest: str) -> None:
        """Settle the tap that libvirt has made and put on the bridge."""
        seat = self._seats[guest]
        self._settle_port(seat.tap, [seat.guest_mac])

    def tap(self, guest: str) -> str:
        """A guest's device."""
        return self._seats[guest].tap

    def remove(self) -> None:
        """Delete the namespaces and all in them."""
        for name in self.namespaces:
            delete_namespace(name)
        self.namespaces = []


def delete_namespace(name: str) -> None:
    """Delete one namespace; nothing happens when it is not there."""
    if Path("/run/netns", name).exists():
        with contextlib.suppress(LabError):
            run("/usr/sbin/ip", "netns", "delete", name)


def udp_received(snmp: str) -> int:
    """Datagrams handed to a socket, from the text of /proc/net/snmp (``InDatagrams``)."""
    lines = [line.split() for line in snmp.splitlines() if line.startswith("Udp:")]
    return int(lines[1][lines[0].index("InDatagrams")])
