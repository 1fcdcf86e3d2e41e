"""Which instances run here, and their block statistics, by libvirt. The only importer of libvirt, and lazily.

Every call may block as long as libvirtd likes; `stella.xgos.sensing.discovery` calls from a thread of its own, with a deadline.
No call here asks a QEMU monitor but `Hypervisor.block_statistics`, and that one passes over busy monitors (NOWAIT).
"""

import contextlib
import json
import threading
from dataclasses import dataclass
from typing import Any, Protocol

from stella.linux import cgroup, domain_xml, process
from stella.model.snapshot import DiskReading, RunState
from stella.xgos.host_files import Gone, HostFiles, Unavailable

_XML_AGE_POLLS = 20
_KEEPALIVE_SECONDS, _KEEPALIVE_COUNT = 3, 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """One running instance as the hypervisor describes it. ``links`` are its taps, ``disks`` its targets (``vda``)."""

    uuid: str
    name: str
    pid: int
    state: RunState
    vcpus: int
    iothreads: int
    links: tuple[str, ...]
    disks: tuple[str, ...]


class Hypervisor(Protocol):
    """What is asked of a hypervisor. Every method may block and may raise `Unavailable`."""

    def domains(self) -> tuple[Domain, ...]:
        """All instances that have a process, in the order of their uuids."""

    def block_statistics(self, uuids: tuple[str, ...]) -> dict[str, tuple[DiskReading, ...]]:
        """Disks of these instances; one that ended or whose monitor is busy is left out."""

    def changed(self) -> bool:
        """Whether an event came since the last call of this: it is worth asking for the domains now."""

    def close(self) -> None:
        """Let the connection go."""


def find_processes(files: HostFiles, uuids: frozenset[str]) -> dict[str, list[int]]:
    """QEMU processes by the uuid on their command line.

    libvirt's pid file lies in a run directory that another mount namespace may hide; the process itself cannot hide.
    """
    found: dict[str, list[int]] = {}
    for name in files.names("/proc"):
        if not name.isdigit():
            continue
        try:
            uuid = process.qemu_uuid(files.read_bytes(f"/proc/{name}/cmdline"))
        except Unavailable:
            continue
        if uuid in uuids:
            found.setdefault(uuid, []).append(int(name))
    return found


def choose_process(files: HostFiles, pids: list[int], domain_id: int, name: str) -> int | None:
    """Of several processes with one uuid (a migration within one machine) the one that libvirt's directory names."""
    marks = (f"/domain-{domain_id}-{name}/".encode(), f"/domain-{domain_id}-".encode())
    for mark in marks:
        for pid in pids:
            try:
                if mark in files.read_bytes(f"/proc/{pid}/cmdline"):
                    return pid
            except Gone:
                continue
    return pids[0] if len(pids) == 1 else None


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
                name=str(record[f"block.{n}.name"]),
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
class _Known:
    domain_id: int
    pid: int
    devices: domain_xml.Devices
    age_polls: int = 0


class LibvirtHypervisor:
    """libvirt over ``uri``. Connects when first asked and again after an error; keepalive ends a dead connection in 12 s."""

    _loop_started = False
    _loop_lock = threading.Lock()

    def __init__(self, uri: str, files: HostFiles, *, events: bool = True) -> None:
        """``events``: listen for instances that come, go or change."""
        self._uri = uri
        self._events = events
        self._files = files
        self._connection: Any = None
        self._known: dict[str, _Known] = {}
        self._handles: dict[str, Any] = {}
        self._changed = threading.Event()
        self._stale: set[str] = set()

    @classmethod
    def _start_loop(cls, libvirt: Any) -> None:
        with cls._loop_lock:
            if cls._loop_started:
                return
            libvirt.registerErrorHandler(lambda _context, _error: None, None)
            libvirt.virEventRegisterDefaultImpl()

            def run() -> None:
                while True:
                    with contextlib.suppress(libvirt.libvirtError):
                        libvirt.virEventRunDefaultImpl()

            threading.Thread(target=run, name="libvirt-events", daemon=True).start()
            cls._loop_started = True

    def _connect(self) -> Any:
        if self._connection is not None and self._connection.isAlive():
            return self._connection
        import libvirt  # noqa: PLC0415

        self.close()
        self._start_loop(libvirt)
        connection = libvirt.open(self._uri)
        connection.setKeepAlive(_KEEPALIVE_SECONDS, _KEEPALIVE_COUNT)
        events = (
            libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE,
            libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_ADDED,
            libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED,
        )
        for event in events if self._events else ():
            connection.domainEventRegisterAny(None, event, self._on_event, None)
        self._connection = connection
        self._changed.set()
        return connection

    def _on_event(self, _connection: Any, domain: Any, *_details: Any) -> None:
        self._stale.add(domain.UUIDString())
        self._changed.set()

    def changed(self) -> bool:
        """See `Hypervisor`."""
        was = self._changed.is_set()
        self._changed.clear()
        return was

    def close(self) -> None:
        """See `Hypervisor`."""
        connection, self._connection = self._connection, None
        self._handles = {}
        if connection is not None:
            with contextlib.suppress(Exception):
                connection.close()

    def domains(self) -> tuple[Domain, ...]:
        """See `Hypervisor`. One call for the states of all; an instance's XML when it is new, changed, or every 20th time."""
        try:
            import libvirt  # noqa: PLC0415
        except ImportError as error:
            raise Unavailable(f"libvirt: {error}") from None
        try:
            records = self._connect().getAllDomainStats(
                libvirt.VIR_DOMAIN_STATS_STATE, libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE
            )
            self._handles = {handle.UUIDString(): handle for handle, _ in records}
            self._learn()
        except libvirt.libvirtError as error:
            self.close()
            raise Unavailable(f"libvirt: {error}") from None
        found = []
        for handle, record in records:
            uuid = handle.UUIDString()
            known = self._known.get(uuid)
            if known is None:
                continue
            paused = record.get("state.state") != libvirt.VIR_DOMAIN_RUNNING
            migrating = paused and record.get("state.reason") == libvirt.VIR_DOMAIN_PAUSED_MIGRATION
            state = RunState.MIGRATING if migrating else RunState.PAUSED if paused else RunState.RUNNING
            found.append(
                Domain(
                    uuid=uuid,
                    name=handle.name(),
                    pid=known.pid,
                    state=state,
                    vcpus=known.devices.vcpus,
                    iothreads=known.devices.iothreads,
                    links=known.devices.links,
                    disks=known.devices.disks,
                )
            )
        return tuple(sorted(found, key=lambda domain: domain.uuid))

    def _learn(self) -> None:
        """Processes and devices of those domains that are new or may have changed."""
        import libvirt  # noqa: PLC0415

        self._known = {uuid: known for uuid, known in self._known.items() if uuid in self._handles}
        for uuid, handle in self._handles.items():
            known = self._known.get(uuid)
            if known is not None and known.domain_id != handle.ID():
                del self._known[uuid]  # it was stopped and started again
        new = frozenset(self._handles) - frozenset(self._known)
        pids = find_processes(self._files, new) if new else {}
        for uuid, handle in self._handles.items():
            known = self._known.get(uuid)
            if known is not None:
                known.age_polls += 1
            if known is not None and known.age_polls < _XML_AGE_POLLS and uuid not in self._stale:
                continue
            self._stale.discard(uuid)
            with contextlib.suppress(libvirt.libvirtError, cgroup.InvalidText):  # it ends now, or is asked again
                devices = domain_xml.parse_devices(handle.XMLDesc(0))
                pid = (
                    known.pid if known else choose_process(self._files, pids.get(uuid, []), handle.ID(), handle.name())
                )
                if pid is not None:
                    self._known[uuid] = _Known(domain_id=handle.ID(), pid=pid, devices=devices)

    def block_statistics(self, uuids: tuple[str, ...]) -> dict[str, tuple[DiskReading, ...]]:
        """See `Hypervisor`."""
        try:
            import libvirt  # noqa: PLC0415
        except ImportError as error:
            raise Unavailable(f"libvirt: {error}") from None
        try:
            connection = self._connect()
            handles = [handle for uuid in uuids if (handle := self._handle(connection, uuid))]
            flags = libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
            records = connection.domainListGetStats(handles, libvirt.VIR_DOMAIN_STATS_BLOCK, flags) if handles else []
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
                self._handles = {}
                return {}  # one of them ended; the next list will not have it
            self.close()
            raise Unavailable(f"libvirt: {error}") from None
        read = ((handle.UUIDString(), read_disks(record)) for handle, record in records)
        return {uuid: disks for uuid, disks in read if disks}

    def _handle(self, connection: Any, uuid: str) -> Any:
        import libvirt  # noqa: PLC0415

        if uuid not in self._handles:
            try:
                self._handles[uuid] = connection.lookupByUUIDString(uuid)
            except libvirt.libvirtError as error:
                if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
                    raise
                return None
        return self._handles[uuid]


class RecordedHypervisor:
    """``hypervisor.json`` of a recorded tree: ``{"domains": [{"uuid": ..., "disks": [{"name": "vda", ...}]}]}``."""

    def __init__(self, files: HostFiles) -> None:
        self._files = files

    def _records(self) -> list[dict[str, Any]]:
        try:
            return list(json.loads(self._files.read("/hypervisor.json"))["domains"])
        except (ValueError, KeyError, TypeError) as error:
            raise Unavailable(f"hypervisor.json: {error}") from None

    def domains(self) -> tuple[Domain, ...]:
        """See `Hypervisor`."""
        return tuple(
            Domain(
                uuid=record["uuid"],
                name=record["name"],
                pid=record["pid"],
                state=RunState(record.get("state", "running")),
                vcpus=record["vcpus"],
                iothreads=record["iothreads"],
                links=tuple(record["links"]),
                disks=tuple(disk["name"] for disk in record["disks"]),
            )
            for record in sorted(self._records(), key=lambda record: str(record["uuid"]))
        )

    def block_statistics(self, uuids: tuple[str, ...]) -> dict[str, tuple[DiskReading, ...]]:
        """See `Hypervisor`."""
        records = (record for record in self._records() if record["uuid"] in uuids and record["disks"])
        return {record["uuid"]: tuple(DiskReading(**disk) for disk in record["disks"]) for record in records}

    def changed(self) -> bool:
        """See `Hypervisor`."""
        return False

    def close(self) -> None:
        """See `Hypervisor`."""
