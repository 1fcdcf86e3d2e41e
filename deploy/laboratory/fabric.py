"""What joins several hosts: a bridge for the guests' network, and one for management and migrations.

Each host has a link to both: `PHYSICAL`, which is a port of its Open vSwitch, and `MANAGEMENT_LINK`. The bridges are in the
laboratory's own namespaces; neither has a leg in the machine's own network.
"""

import subprocess
from pathlib import Path

from laboratory.enclosure import Enclosure
from laboratory.settings import Host, LaboratoryError, Settings

GATEWAY = "10.77.0.1/24"
"""The laboratory's own address in the network of the guests, inside its network namespace."""
PHYSICAL, MANAGEMENT_LINK = "phy0", "mgt0"
_GUESTS, _MANAGEMENT = "guests", "mgt-bridge"


class Fabric:
    """Makes the bridges, and a host's two links to them."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._middle = Enclosure(settings)

    def _ip(self, *words: str) -> None:
        self._middle.run(["/usr/sbin/ip", *words])

    def _whole_checksums(self, device: str, place: Enclosure | None = None) -> None:
        """A switch on the userspace datapath reads frames before the kernel would fill their checksums in."""
        (place or self._middle).run(["/usr/sbin/ethtool", "--offload", device, "tx", "off"])

    def _delete(self, device: str) -> None:
        """Delete a link, if it is there: one of a host that was cut off goes by itself at any moment."""
        subprocess.run(
            self._middle.inside(["/usr/sbin/ip", "link", "delete", device]), capture_output=True, check=False
        )

    @property
    def _mark(self) -> Path:
        return self._settings.stamps / "fabric"

    def is_made(self) -> bool:
        """Whether the bridges are there, with all of the controller's legs."""
        return self._mark.exists()

    def make(self) -> None:
        """The bridges, the gateway's address, and the end of the controller's own switch."""
        for bridge, address in ((_GUESTS, GATEWAY), (_MANAGEMENT, f"{self._settings.controller.address}/24")):
            self._delete(bridge)
            self._ip("link", "add", bridge, "type", "bridge")
            self._ip("address", "replace", address, "dev", bridge)
            self._ip("link", "set", bridge, "up")
        self._whole_checksums(_GUESTS)
        self._delete("ctl-phy")
        self._ip("link", "add", "ctl-phy", "type", "veth", "peer", "name", PHYSICAL)
        self._ip("link", "set", "ctl-phy", "master", _GUESTS, "up")
        self._ip("link", "set", PHYSICAL, "up")
        self._whole_checksums(PHYSICAL)
        self._mark.touch()

    def has_joined(self, host: Host) -> bool:
        """Whether a host's links are there; False while the host is off."""
        return Enclosure(self._settings, host).is_open() and (host.stamps / "links").exists()

    def join(self, host: Host) -> None:
        """Plug a host's two links in. Raises `LaboratoryError`."""
        place = Enclosure(self._settings, host)
        if place.holder is None:
            raise LaboratoryError(f"the host {host.name} is not up")
        number = int(host.address.rpartition(".")[2])
        # A fixed address: others keep the old one in their ARP tables for seconds after a host was cut off and started again.
        hardware = f"02:00:0a:4e:00:{number:02x}"
        links: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (
            (f"{host.name}-phy", PHYSICAL, _GUESTS, ()),
            (f"{host.name}-mgt", MANAGEMENT_LINK, _MANAGEMENT, ("address", hardware)),
        )
        for near, far, bridge, more in links:
            self._delete(near)
            self._ip(*("link", "add", near, "type", "veth", "peer", "name", far, *more, "netns", str(place.holder)))
            self._ip("link", "set", near, "master", bridge, "up")
        place.run(["/usr/sbin/ip", "link", "set", PHYSICAL, "up"])
        self._whole_checksums(PHYSICAL, place)
        place.run(["/usr/sbin/ip", "address", "replace", f"{host.address}/24", "dev", MANAGEMENT_LINK])
        place.run(["/usr/sbin/ip", "link", "set", MANAGEMENT_LINK, "up"])
        (host.stamps / "links").touch()
