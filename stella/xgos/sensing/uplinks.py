"""The uplinks that an operator named: their counters and speeds, and which of them each tap reaches."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from stella.linux import link_topology, rtnetlink
from stella.model.snapshot import UplinkReading
from stella.xgos.host_files import HostFiles, Unavailable

_SPEED_EACH, _TOPOLOGY_EACH = 20, 80
"""Speeds, and which tap reaches which uplink, are read once in so many passes."""
_MBIT_BYTES = 125_000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Uplink:
    """One uplink: its ``device``, what tells its speed in bytes/s (None while that is not known), and what else bounds it.

    ``packets_capacity`` is in packets/s each way (None: only bytes bound it). ``bridges`` are those that are said to lead to it.
    """

    device: str
    capacity: Callable[[], float | None]
    packets_capacity: float | None = None
    bridges: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedUplink:
    """The same as it was configured. A capacity of 0: the speed that the device has negotiated, and no bound in packets."""

    device: str
    capacity_mbit_per_second: float = 0.0
    capacity_packets_per_second: float = 0.0
    bridges: tuple[str, ...] = ()


def uplinks_of(files: HostFiles, named: Sequence[NamedUplink]) -> tuple[Uplink, ...]:
    """What was configured, with the means to learn what was not."""
    return tuple(
        Uplink(
            device=one.device,
            capacity=_speed(files, one),
            packets_capacity=one.capacity_packets_per_second or None,
            bridges=one.bridges,
        )
        for one in named
    )


def _speed(files: HostFiles, named: NamedUplink) -> Callable[[], float | None]:
    def capacity() -> float | None:
        if named.capacity_mbit_per_second > 0:
            return named.capacity_mbit_per_second * _MBIT_BYTES
        try:
            mbit = int(files.read(f"/sys/class/net/{named.device}/speed"))
        except (Unavailable, ValueError):
            return None
        return mbit * _MBIT_BYTES if mbit > 0 else None

    return capacity


class Uplinks:
    """All uplinks of the host. ``topology`` reads its links (raises OSError)."""

    def __init__(self, named: Sequence[Uplink], topology: Callable[[], Mapping[int, link_topology.Device]]) -> None:
        self._named = tuple(named)
        self._topology = topology
        self._devices: Mapping[int, link_topology.Device] = {}
        self._beside: Mapping[int, frozenset[int]] = {}
        self._ends = {name: one.device for one in named for name in (one.device, *one.bridges)}
        self._found: dict[int, tuple[str, str]] = {}
        self._capacities: dict[str, float | None] = {}
        self.readings: tuple[UplinkReading, ...] = ()

    @property
    def devices(self) -> frozenset[str]:
        """Their names."""
        return frozenset(one.device for one in self._named)

    @property
    def lack(self) -> str:
        """Why there is none, or not each of those that were named."""
        if not self._named:
            return "network_uplink is not set"
        known = {reading.name for reading in self.readings}
        without = [one.device for one in self._named if one.device not in known]
        what = f"the device {without[0]}" if len(without) == 1 else f"of the devices {', '.join(without)} each"
        return f"{what} or its speed is not known; see network_uplink in xgos.toml" if without else ""

    def read(
        self, counters: Mapping[int, rtnetlink.LinkCounters], index_of: Callable[[str], int | None], passes: int
    ) -> None:
        """One pass. ``passes`` counts them."""
        readings = []
        for one in self._named:
            if self._capacities.get(one.device) is None or passes % _SPEED_EACH == 1:
                self._capacities[one.device] = one.capacity()
            index, capacity = index_of(one.device), self._capacities[one.device]
            if index is None or index not in counters or not capacity:
                continue
            now = counters[index]
            readings.append(
                UplinkReading(
                    name=one.device,
                    capacity=capacity,
                    packets_capacity=one.packets_capacity,
                    tx_bytes=now.tx_bytes,
                    rx_bytes=now.rx_bytes,
                    tx_packets=now.tx_packets,
                    rx_packets=now.rx_packets,
                )
            )
        self.readings = tuple(readings)
        if passes % _TOPOLOGY_EACH == 1:
            self._devices, self._found = {}, {}

    def of(self, index: int) -> tuple[str, str]:
        """The uplink that a tap reaches (empty: not known), and why it is not. One uplink alone serves all. Raises `Unavailable`."""
        if len(self._named) < 2:
            return (self._named[0].device, "") if self._named else ("", "")
        known = self._found.get(index)
        if known is None:
            if index not in self._devices:
                self._read_topology()
            known = self._found[index] = self._reached(index)
        return known

    def _read_topology(self) -> None:
        try:
            self._devices = self._topology()
        except OSError as error:
            raise Unavailable(f"links of the host: {error.strerror or error}") from None
        self._beside = link_topology.neighbours(self._devices)

    def _reached(self, index: int) -> tuple[str, str]:
        found = sorted(link_topology.reached(index, self._devices, self._beside, self._ends))
        if len(found) == 1:
            return found[0], ""
        what = f"it reaches {' and '.join(found)}" if found else "it reaches none that network_uplink names"
        return "", f"{what}; name its bridge at its uplink in network_uplink"
