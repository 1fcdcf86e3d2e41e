"""Which instances run here, and their block statistics, by libvirt. The only importer of libvirt, and lazily.

Every call may block as long as libvirtd likes; `stella.xgos.sensing.discovery` calls from a thread of its own, with a deadline.
No call here asks a QEMU monitor but `LibvirtHypervisor.block_statistics`, and that one passes over busy monitors (NOWAIT).
"""

import contextlib
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from stella.linux import cgroup, domain_xml
from stella.model.snapshot import DiskReading, RunState
from stella.xgos import supervision
from stella.xgos.host_files import HostFiles, Unavailable
from stella.xgos.sensing import processes
from stella.xgos.sensing.domains import Domain, DomainList, read_disks

_XML_AGE_POLLS = 20
_KEEPALIVE_SECONDS, _KEEPALIVE_COUNT = 3, 3
_MOST_HANDLES = 1024
"""A worker's connection keeps the handles of so many instances, which it asked last."""
_EVENTS = (
    "LIFECYCLE",
    "DEVICE_ADDED",
    "DEVICE_REMOVED",
    "METADATA_CHANGE",
    "MIGRATION_ITERATION",
    "JOB_COMPLETED",
    "TUNABLE",
)
_LONGEST_PAUSE_POLLS = 16
_MIGRATION_ENDS = ("LIFECYCLE", "JOB_COMPLETED")
_MIGRATION_POLLS = 3


@dataclass(slots=True)
class _Known:
    """``seen_events``: how many events there had been when the XML was read, ``read_seconds`` (monotonic) when that was.

    ``misses``: how often its process was looked for in vain; ``pause_polls``: for how many lists it is not looked for.
    """

    domain_id: int
    xml: domain_xml.DomainXml
    process: processes.QemuProcess | None = None
    age_polls: int = 0
    seen_events: int = 0
    read_seconds: float = 0.0
    misses: int = 0
    pause_polls: int = 0


@dataclass(slots=True)
class _Events:
    """What libvirt's events told. Written by the thread of the event loop, read by the one that asks for domains."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    changed: threading.Event = field(default_factory=threading.Event)
    counts: dict[str, int] = field(default_factory=dict)
    migrating: dict[str, int] = field(default_factory=dict)

    def note(self, uuid: str, event: str) -> None:
        """An event about an instance. It is taken to migrate for some lists after an iteration of a migration.

        That bridges the time until the threads of QEMU tell; a lost event would otherwise freeze it for good.
        """
        with self.lock:
            self.counts[uuid] = self.counts.get(uuid, 0) + 1
            if event == "MIGRATION_ITERATION":
                self.migrating[uuid] = _MIGRATION_POLLS
            elif event in _MIGRATION_ENDS:
                self.migrating.pop(uuid, None)
        self.changed.set()

    def take(self, running: frozenset[str]) -> tuple[dict[str, int], frozenset[str]]:
        """(events by uuid, which ones migrate) of the instances that run; all others are forgotten."""
        with self.lock:
            self.counts = {uuid: count for uuid, count in self.counts.items() if uuid in running}
            migrating = frozenset(self.migrating.keys() & running)
            self.migrating = {uuid: self.migrating[uuid] - 1 for uuid in migrating if self.migrating[uuid] > 1}
            return dict(self.counts), migrating

    def forget_migrations(self) -> None:
        """Their ends may have been missed while there was no connection. The threads of QEMU tell all the same."""
        with self.lock:
            self.migrating.clear()


class LibvirtHypervisor:
    """libvirt over ``uri``. Connects when first asked and again after an error; keepalive ends a dead connection in 12 s."""

    _loop_started = False
    _loop_lock = threading.Lock()

    def __init__(self, uri: str, files: HostFiles, *, events: bool = True) -> None:
        """``events``: listen for instances that come, go or change; not for a connection that only asks for statistics."""
        self._uri = uri
        self._listens = events
        self._files = files
        self._connection: Any = None
        self._driver = ""
        self._known: dict[str, _Known] = {}
        self._handles: dict[str, Any] = {}
        self._events = _Events()

    @classmethod
    def _start_loop(cls, libvirt: Any) -> None:
        with cls._loop_lock:
            if cls._loop_started:
                return
            libvirt.registerErrorHandler(lambda _context, _error: None, None)
            libvirt.virEventRegisterDefaultImpl()

            def run() -> None:
                while True:
                    libvirt.virEventRunDefaultImpl()

            supervision.start(run, name="libvirt-events")
            cls._loop_started = True

    def _connect(self) -> Any:
        if self._connection is not None and self._connection.isAlive():
            return self._connection
        import libvirt  # noqa: PLC0415

        self.close()
        self._start_loop(libvirt)
        connection = libvirt.open(self._uri)
        try:
            with contextlib.suppress(libvirt.libvirtError):  # a driver without a daemon has none
                connection.setKeepAlive(_KEEPALIVE_SECONDS, _KEEPALIVE_COUNT)
            for name in _EVENTS if self._listens else ():
                event = getattr(libvirt, f"VIR_DOMAIN_EVENT_ID_{name}", None)
                if event is not None:
                    with contextlib.suppress(libvirt.libvirtError):  # an older libvirtd does not know all of them
                        connection.domainEventRegisterAny(None, event, self._on_event, name)
        except libvirt.libvirtError:
            with contextlib.suppress(libvirt.libvirtError):
                connection.close()
            raise
        self._connection, self._driver = connection, str(connection.getType())
        self._events.forget_migrations()
        self._events.changed.set()
        return connection

    def _on_event(self, _connection: Any, domain: Any, *details: Any) -> None:
        self._events.note(domain.UUIDString(), str(details[-1]))

    def changed(self) -> bool:
        """See `Hypervisor`."""
        was = self._events.changed.is_set()
        self._events.changed.clear()
        return was

    def close(self) -> None:
        """See `Hypervisor`."""
        connection, self._connection = self._connection, None
        self._handles = {}
        if connection is not None:
            with contextlib.suppress(Exception):
                connection.close()

    def domains(self) -> DomainList:
        """See `Hypervisor`. One call for the states of all, one for those that do not run; XML when it is new, changed, or old."""
        try:
            import libvirt  # noqa: PLC0415
        except ImportError as error:
            raise Unavailable(f"libvirt: {error}") from None
        try:
            connection = self._connect()
            records = connection.getAllDomainStats(
                libvirt.VIR_DOMAIN_STATS_STATE, libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE
            )
            inactive = connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_INACTIVE)
            handles = {handle.UUIDString(): handle for handle, _ in records}
            counts, migrating = self._events.take(frozenset(handles))
            self._learn(handles, counts)
        except libvirt.libvirtError as error:
            self.close()
            raise Unavailable(f"libvirt: {error}") from None
        running = [self._domain(libvirt, handle, record, counts, migrating) for handle, record in records]
        shut_off = {handle.UUIDString() for handle in inactive} - handles.keys()
        return DomainList(
            running=tuple(sorted(running, key=lambda domain: domain.uuid)),
            shut_off=tuple(sorted(shut_off)),
            driver=self._driver,
        )

    def _domain(
        self, libvirt: Any, handle: Any, record: dict[str, Any], counts: dict[str, int], migrating: frozenset[str]
    ) -> Domain:
        """One running domain; with ``pid`` 0 while its process is not known for sure."""
        uuid = handle.UUIDString()
        known = self._known.get(uuid)
        found = known.process if known else None
        xml = known.xml if known else domain_xml.DomainXml(vcpus=1, iothreads=0, links=(), disks=())
        state = _run_state(libvirt, record)
        return Domain(
            uuid=uuid,
            name=handle.name(),
            pid=found.pid if found else 0,
            start_ticks=found.start_ticks if found else 0,
            state=RunState.MIGRATING if uuid in migrating else state,
            vcpus=xml.vcpus,
            iothreads=xml.iothreads,
            links=xml.links,
            disks=xml.disks,
            events=counts.get(uuid, 0),
            project=xml.project,
            flavor=xml.flavor,
            title=xml.title,
            plugs=xml.plugs,
            block=xml.block,
            described_seconds=known.read_seconds if known else 0.0,
        )

    def _learn(self, handles: dict[str, Any], counts: dict[str, int]) -> None:
        """Processes and devices of those domains that are new or may have changed."""
        import libvirt  # noqa: PLC0415

        self._known = {
            uuid: known
            for uuid, known in self._known.items()
            if uuid in handles and known.domain_id == handles[uuid].ID()  # else it was stopped and started again
        }
        for uuid, handle in handles.items():
            known = self._known.get(uuid)
            if known is not None:
                known.age_polls += 1
                if known.age_polls < _XML_AGE_POLLS and known.seen_events == counts.get(uuid, 0):
                    continue
            with contextlib.suppress(libvirt.libvirtError, cgroup.InvalidText):  # it ends now, or is asked again
                at = time.monotonic()
                xml = domain_xml.parse_domain(handle.XMLDesc(0))
                process = known.process if known else None
                self._known[uuid] = _Known(handle.ID(), xml, process, seen_events=counts.get(uuid, 0), read_seconds=at)
        self._find_processes(handles)

    def _find_processes(self, handles: dict[str, Any]) -> None:
        """For domains without a process, or whose process number is another process's by now.

        All processes of the host are looked through for one without a pid file: after misses that is done ever more rarely.
        """
        wanted = []
        for uuid, known in self._known.items():
            if known.process is not None:
                with contextlib.suppress(Unavailable):
                    if processes.start_ticks(self._files, known.process.pid) == known.process.start_ticks:
                        continue
                known.process, known.pause_polls = None, 0
            if known.pause_polls > 0:
                known.pause_polls -= 1
                continue
            wanted.append(
                processes.Wanted(
                    uuid=uuid,
                    name=handles[uuid].name(),
                    domain_id=known.domain_id,
                    emulator=known.xml.emulator,
                    uid=known.xml.uid,
                )
            )
        found = processes.find_processes(self._files, tuple(wanted)) if wanted else {}
        for each in wanted:
            known = self._known[each.uuid]
            known.process = found.get(each.uuid)
            known.misses = 0 if known.process else known.misses + 1
            known.pause_polls = min(1 << known.misses, _LONGEST_PAUSE_POLLS) - 2 if known.misses else 0

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
        """A handle of this connection; None when there is no such domain. The one asked longest ago makes room."""
        import libvirt  # noqa: PLC0415

        handle = self._handles.pop(uuid, None)
        if handle is None:
            try:
                handle = connection.lookupByUUIDString(uuid)
            except libvirt.libvirtError as error:
                if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
                    raise
                return None
        self._handles[uuid] = handle
        if len(self._handles) > _MOST_HANDLES:
            del self._handles[next(iter(self._handles))]
        return handle


def _run_state(libvirt: Any, record: dict[str, Any]) -> RunState:
    """What libvirt's state and its reason say. An instance that arrives is paused, for ``migration`` or as ``starting up``."""
    state, reason = record.get("state.state"), record.get("state.reason")
    if state == libvirt.VIR_DOMAIN_RUNNING:
        arriving = (libvirt.VIR_DOMAIN_RUNNING_POSTCOPY, getattr(libvirt, "VIR_DOMAIN_RUNNING_POSTCOPY_FAILED", None))
        return RunState.MIGRATING if reason in arriving else RunState.RUNNING
    moving = (
        libvirt.VIR_DOMAIN_PAUSED_MIGRATION,
        libvirt.VIR_DOMAIN_PAUSED_STARTING_UP,
        libvirt.VIR_DOMAIN_PAUSED_POSTCOPY,
        libvirt.VIR_DOMAIN_PAUSED_POSTCOPY_FAILED,
    )
    paused = state == libvirt.VIR_DOMAIN_PAUSED
    return RunState.MIGRATING if paused and reason in moving else RunState.PAUSED
