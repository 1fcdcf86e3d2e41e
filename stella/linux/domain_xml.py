"""What libvirt's domain XML tells about an instance's devices."""

from dataclasses import dataclass
from xml.etree import ElementTree  # what it reads is libvirtd's own output, from its root-only socket

from stella.linux.cgroup import InvalidText


@dataclass(frozen=True, slots=True, kw_only=True)
class Devices:
    """``links`` are host-side device names (taps), ``disks`` target names as block statistics have them."""

    vcpus: int
    iothreads: int
    links: tuple[str, ...]
    disks: tuple[str, ...]


def parse_devices(text: str) -> Devices:
    """The devices of a running domain, from its live XML. Raises `InvalidText`."""
    try:
        root = ElementTree.fromstring(text)  # noqa: S314
        vcpu = root.find("vcpu")
        count = (vcpu.get("current") or vcpu.text or "1") if vcpu is not None else "1"
        links = (target.get("dev") for target in root.iterfind("devices/interface/target"))
        disks = (target.get("dev") for target in root.iterfind("devices/disk/target"))
        return Devices(
            vcpus=int(count),
            iothreads=int(root.findtext("iothreads") or 0),
            links=tuple(name for name in links if name),
            disks=tuple(name for name in disks if name),
        )
    except (ElementTree.ParseError, ValueError) as error:
        raise InvalidText(f"domain XML: {error}") from None
