"""What is asked of a hypervisor, its answers, and a recorded one."""

import json
from dataclasses import dataclass
from typing import Any, Protocol

from stella.linux.domain_xml import DiskXml
from stella.model.snapshot import DiskReading, RunState
from stella.xgos.host_files import HostFiles, Unavailable


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """One running instance as the hypervisor describes it. ``links`` are its taps, ``disks`` its targets (``vda``).

    ``pid`` is 0 while its process is not known for sure; ``start_ticks`` (field 22 of /proc/PID/stat) is 0 while it is not known.
    ``events`` grows with each event of the hypervisor about this instance. ``project``, ``flavor`` and ``title`` (its owner's name
    for it) are empty without metadata. ``plugs`` and ``block``: see `DomainXml`; libvirt was asked for it at
    ``described_seconds`` (monotonic).
    """

    uuid: str
    name: str
    pid: int
    state: RunState
    vcpus: int
    iothreads: int
    links: tuple[str, ...]
    disks: tuple[str, ...]
    start_ticks: int = 0
    events: int = 0
    project: str = ""
    flavor: str = ""
    title: str = ""
    plugs: tuple[tuple[str, str], ...] = ()
    block: tuple[DiskXml, ...] = ()
    described_seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainList:
    """All instances that the hypervisor knows: the ``running`` ones, and the uuids of those that are defined and do not run.

    ``driver`` is libvirt's driver, such as ``QEMU``; empty for none.
    """

    running: tuple[Domain, ...] = ()
    shut_off: tuple[str, ...] | None = None  # None: not known
    driver: str = ""


class Hypervisor(Protocol):
    """What is asked of a hypervisor. Every method may block and may raise `Unavailable`."""

    def domains(self) -> DomainList:
        """All instances, in the order of their uuids."""

    def block_statistics(self, uuids: tuple[str, ...]) -> dict[str, tuple[DiskReading, ...]]:
        """Disks of these instances; one that ended or whose monitor is busy is left out."""

    def changed(self) -> bool:
        """Whether an event came since the last call of this: it is worth asking for the domains now."""

    def close(self) -> None:
        """Let the connection go."""


def read_disks(record: dict[str, Any]) -> tuple[DiskReading, ...] | None:
    """The disks in one domain's record of bulk statistics; None when its monitor was not asked."""
    disks = []
    for n in range(int(record.get("block.count", 0))):

        def counter(key: str, n: int = n) -> int:
            return int(record.get(f"block.{n}.{key}", 0))

        if f"block.{n}.backingIndex" in record and f"block.{n}.rd.reqs" not in record:
            continue  # a layer of the chain, not a device
        if f"block.{n}.rd.reqs" not in record:
            return None
        disks.append(
            DiskReading(
                name=str(record.get(f"block.{n}.name", n)),
                read_operations=counter("rd.reqs"),
                read_bytes=counter("rd.bytes"),
                read_seconds=counter("rd.times") * 1e-9,
                write_operations=counter("wr.reqs"),
                write_bytes=counter("wr.bytes"),
                write_seconds=counter("wr.times") * 1e-9,
            )
        )
    return tuple(disks)


@dataclass(slots=True)
class RecordedHypervisor:
    """``hypervisor.json`` of a recorded tree.

    ``{"domains": [{"uuid": ..., "disks": [{"name": "vda", ...}]}], "shut_off": [UUID]}``; without ``shut_off`` it is not known.
    """

    _files: HostFiles
    _disks: dict[str, tuple[DiskReading, ...]] | None = None
    _list: DomainList = DomainList()
    _text: str = ""

    def domains(self) -> DomainList:
        """See `Hypervisor`. Read anew only when the text has changed."""
        text = self._files.read("/hypervisor.json", largest_bytes=1 << 24)
        if self._disks is not None and text == self._text:
            return self._list
        self._disks = None
        try:
            recorded = json.loads(text)
            running = tuple(sorted(map(self._domain, recorded["domains"]), key=lambda domain: domain.uuid))
            shut_off = recorded.get("shut_off")
            disks = {
                str(record["uuid"]): tuple(DiskReading(**disk) for disk in record["disks"])
                for record in recorded["domains"]
            }
            known = None if shut_off is None else tuple(sorted(map(str, shut_off)))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Unavailable(f"hypervisor.json: {error}") from None
        self._text, self._disks, self._list = text, disks, DomainList(running=running, shut_off=known)
        return self._list

    @staticmethod
    def _domain(record: dict[str, Any]) -> Domain:
        return Domain(
            uuid=str(record["uuid"]),
            name=str(record["name"]),
            pid=int(record["pid"]),
            state=RunState(record.get("state", "running")),
            vcpus=int(record["vcpus"]),
            iothreads=int(record["iothreads"]),
            links=tuple(record["links"]),
            disks=tuple(disk["name"] for disk in record["disks"]),
            start_ticks=int(record.get("start_ticks", 0)),
            events=int(record.get("events", 0)),
            project=str(record.get("project", "")),
            flavor=str(record.get("flavor", "")),
            title=str(record.get("title", "")),
        )

    def block_statistics(self, uuids: tuple[str, ...]) -> dict[str, tuple[DiskReading, ...]]:
        """See `Hypervisor`."""
        if self._disks is None:
            self.domains()
        disks = self._disks or {}
        return {uuid: disks[uuid] for uuid in uuids if disks.get(uuid)}

    def changed(self) -> bool:
        """See `Hypervisor`."""
        return False

    def close(self) -> None:
        """See `Hypervisor`."""
