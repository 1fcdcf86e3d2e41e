"""What libvirt's domain XML tells about an instance: its devices, whose it is, and what its process looks like."""

from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree import ElementTree  # what it reads is libvirtd's own output, without any document type (see `_parse`)

from stella.linux.block_throttle import NAMES
from stella.linux.cgroup import InvalidText
from stella.model.snapshot import Throttle

LARGEST_CHARACTERS = 1 << 22
LONGEST_NAME = 255
_NOVA = "{http://openstack.org/xmlns/libvirt/nova/"  # 1.0 and 1.1 are in use


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskXml:
    """A disk. ``sources`` name where it lies: its path, or for network storage such as ``nbd:HOST:PORT``, ``rbd:POOL/IMAGE``.

    ``kind`` is libvirt's type, such as ``file`` or ``vhostuser``; ``device`` is ``disk``, ``lun``, ``cdrom`` or ``floppy``.
    """

    name: str
    device: str
    kind: str
    sources: tuple[str, ...]
    throttle: Throttle


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainXml:
    """``links`` are host-side device names (taps), ``disks`` target names as block statistics have them.

    ``project`` is the id of the tenant, ``flavor`` and ``title`` are names, from Nova's metadata; empty without it. ``title`` is
    what its owner calls the instance, which libvirt calls by another name. ``emulator`` is the path of
    the program, ``uid`` the user that libvirt runs it as; None where libvirt does not say. ``plugs`` has the links that are not
    simply taps: ``direct`` (macvtap), or the type of the virtual port, such as ``openvswitch``. ``block`` tells more of the disks.
    """

    vcpus: int
    iothreads: int
    links: tuple[str, ...]
    disks: tuple[str, ...]
    project: str = ""
    flavor: str = ""
    title: str = ""
    emulator: str = ""
    uid: int | None = None
    plugs: tuple[tuple[str, str], ...] = ()
    block: tuple[DiskXml, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """How an instance's link is plugged. ``device`` is the host's side of it, empty where there is none.

    ``kind`` is libvirt's type, such as ``bridge``, ``ethernet``, ``direct`` (macvtap) or ``vhostuser``. ``switch`` is the type of its
    virtual port, such as ``openvswitch``; empty without one.
    """

    device: str
    kind: str
    switch: str = ""


def parse_interfaces(text: str) -> tuple[Interface, ...]:
    """The links of a running domain, from its live XML. Raises `InvalidText`."""
    return _interfaces(_parse(text))


def _interfaces(root: ElementTree.Element) -> tuple[Interface, ...]:
    found = []
    for each in root.iterfind("devices/interface"):
        target, port = each.find("target"), each.find("virtualport")
        found.append(
            Interface(
                device=_name(target.get("dev") if target is not None else None),
                kind=_name(each.get("type")),
                switch=_name(port.get("type") if port is not None else None),
            )
        )
    return tuple(found)


def parse_domain(text: str) -> DomainXml:
    """A running domain, from its live XML. Raises `InvalidText`."""
    root = _parse(text)
    try:
        vcpu = root.find("vcpu")
        count = (vcpu.get("current") or vcpu.text or "1") if vcpu is not None else "1"
        links = (target.get("dev") for target in root.iterfind("devices/interface/target"))
        disks = (target.get("dev") for target in root.iterfind("devices/disk/target"))
        project, flavor, title = _nova(root)
        return DomainXml(
            vcpus=int(count),
            iothreads=int(root.findtext("iothreads") or 0),
            links=tuple(name for name in links if name),
            disks=tuple(name for name in disks if name),
            project=project,
            flavor=flavor,
            title=title,
            emulator=(root.findtext("devices/emulator") or "").strip(),
            uid=_uid(root),
            plugs=tuple(
                (each.device, plug)
                for each in _interfaces(root)
                if each.device and (plug := each.kind if each.kind == "direct" else each.switch)
            ),
            block=tuple(_disks(root)),
        )
    except ValueError as error:
        raise InvalidText(f"domain XML: {error}") from None


def _disks(root: ElementTree.Element) -> Iterator[DiskXml]:
    for each in root.iterfind("devices/disk"):
        target, tune = each.find("target"), each.find("iotune")
        name = _name(target.get("dev") if target is not None else None)
        if not name:
            continue
        told = {one.tag: (one.text or "").strip() for one in (tune if tune is not None else ())}
        limits = ((key, int(text)) for key, text in sorted(told.items()) if key in NAMES and text.isdigit())
        yield DiskXml(
            name=name,
            device=_name(each.get("device")) or "disk",
            kind=_name(each.get("type")),
            sources=tuple(_sources(each.find("source"))),
            throttle=Throttle(limits=tuple((k, n) for k, n in limits if n > 0), group=told.get("group_name", "")),
        )


def _sources(source: ElementTree.Element | None) -> Iterator[str]:
    if source is None:
        return
    for key in ("file", "dev", "dir"):
        if path := source.get(key):
            yield path
    if pool := source.get("pool"):
        yield f"volume:{pool}/{source.get('volume', '')}"
    if protocol := source.get("protocol"):
        for host in source.iterfind("host"):
            yield f"{protocol}:{host.get('socket') or host.get('name', '') + ':' + host.get('port', '')}"
        if name := source.get("name"):
            yield f"{protocol}:{name}"


def _parse(text: str) -> ElementTree.Element:
    """A document type could define entities that expand without end or name files; libvirt never writes one."""
    if len(text) > LARGEST_CHARACTERS:
        raise InvalidText(f"domain XML: longer than {LARGEST_CHARACTERS} characters")
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise InvalidText("domain XML: it has a document type")
    try:
        return ElementTree.fromstring(text)  # noqa: S314 (no entities: see above)
    except (ElementTree.ParseError, ValueError) as error:
        raise InvalidText(f"domain XML: {error}") from None


def _nova(root: ElementTree.Element) -> tuple[str, str, str]:
    """(project's id, flavor's name, instance's name) of ``<nova:instance>`` in the metadata; empty where it is not told."""
    project = flavor = title = ""
    for each in root.iterfind("metadata/*"):
        namespace, brace, name = each.tag.rpartition("}")
        if name != "instance" or not namespace.startswith(_NOVA):
            continue
        namespace += brace
        owner = each.find(f"{namespace}owner/{namespace}project")
        kind = each.find(f"{namespace}flavor")
        project = _name(owner.get("uuid") if owner is not None else None)
        flavor = _name(kind.get("name") if kind is not None else None)
        title = _name(each.findtext(f"{namespace}name"))
    return project, flavor, title


def _name(text: str | None) -> str:
    """A name that can stand in a label or a log line; any other is left out."""
    return text if text and text.isprintable() and len(text) <= LONGEST_NAME else ""


def _uid(root: ElementTree.Element) -> int | None:
    """The number in the DAC label, ``+64055:+108``. A label that names its user is not resolved here."""
    for label in root.iterfind("seclabel"):
        if label.get("model") == "dac":
            user = (label.findtext("label") or "").partition(":")[0].removeprefix("+")
            if user.isascii() and user.isdigit():
                return int(user)
    return None
