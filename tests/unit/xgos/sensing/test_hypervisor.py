"""libvirt, by a module that stands in for it: no daemon is asked."""

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stella.model.snapshot import RunState
from stella.xgos.host_files import HostFiles, Unavailable
from stella.xgos.sensing.domains import Domain
from stella.xgos.sensing.hypervisor import _MOST_HANDLES, LibvirtHypervisor

from .test_processes import Host


class LibvirtError(Exception):
    code = 0

    def get_error_code(self) -> int:
        return self.code


class NoDomain(LibvirtError):
    code = 42


@dataclass
class FakeDomain:
    uuid: str
    number: int
    reason: int = 1
    state: int = 1
    xml: str = "<domain><vcpu>2</vcpu></domain>"
    xml_reads: int = 0

    def UUIDString(self) -> str:  # noqa: N802
        return self.uuid

    def ID(self) -> int:  # noqa: N802
        return self.number

    def name(self) -> str:
        return f"i-{self.uuid}"

    def XMLDesc(self, _flags: int) -> str:  # noqa: N802
        self.xml_reads += 1
        return self.xml


@dataclass
class FakeLibvirt:
    """The daemon and the module."""

    running: dict[str, FakeDomain] = field(default_factory=dict)
    defined: list[FakeDomain] = field(default_factory=list)
    alive: bool = True
    connections: int = 0
    callbacks: dict[int, tuple[Any, Any]] = field(default_factory=dict)
    refused: frozenset[int] = frozenset()

    libvirtError = LibvirtError  # noqa: N815

    def __getattr__(self, name: str) -> int:
        values = {"VIR_ERR_NO_DOMAIN": 42, "VIR_DOMAIN_RUNNING": 1, "VIR_DOMAIN_PAUSED": 3}
        if name.startswith("VIR_"):
            return values.get(name, 100 + sum(map(ord, name)))
        raise AttributeError(name)

    def open(self, _uri: str) -> "FakeLibvirt":
        if not self.alive:
            raise LibvirtError("no daemon")
        self.connections += 1
        self.callbacks = {}
        return self

    def isAlive(self) -> bool:  # noqa: N802
        return self.alive

    def getType(self) -> str:  # noqa: N802
        return "QEMU"

    def setKeepAlive(self, _interval: int, _count: int) -> None:  # noqa: N802
        pass

    def close(self) -> None:
        self.callbacks = {}

    def domainEventRegisterAny(self, _domain: None, event: int, callback: Any, opaque: Any) -> None:  # noqa: N802
        if event in self.refused:
            raise LibvirtError("not known")
        self.callbacks[event] = (callback, opaque)

    def getAllDomainStats(self, _what: int, _flags: int) -> list[tuple[FakeDomain, dict[str, int]]]:  # noqa: N802
        if not self.alive:
            raise LibvirtError("connection lost")
        return [(each, {"state.state": each.state, "state.reason": each.reason}) for each in self.running.values()]

    def listAllDomains(self, _flags: int) -> list[FakeDomain]:  # noqa: N802
        return self.defined

    def lookupByUUIDString(self, uuid: str) -> FakeDomain:  # noqa: N802
        if uuid not in self.running:
            raise NoDomain(uuid)
        return self.running[uuid]

    def domainListGetStats(self, handles: list[FakeDomain], _what: int, _flags: int) -> list[Any]:  # noqa: N802
        record = {"block.count": 1, "block.0.name": "vda", "block.0.rd.reqs": 1}
        return [(handle, record) for handle in handles]

    def emit(self, name: str, domain: FakeDomain) -> None:
        """An event as the event loop brings it."""
        found = self.callbacks.get(getattr(self, f"VIR_DOMAIN_EVENT_ID_{name}"))
        if found is not None:
            found[0](self, domain, 0, found[1])


@pytest.fixture
def libvirt(monkeypatch: pytest.MonkeyPatch) -> FakeLibvirt:
    fake = FakeLibvirt()
    monkeypatch.setitem(sys.modules, "libvirt", fake)  # type: ignore[arg-type]
    monkeypatch.setattr(LibvirtHypervisor, "_loop_started", True)
    return fake


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path / "host")


def start(libvirt: FakeLibvirt, host: Host, uuid: str, number: int, pid: int, began: int = 500) -> FakeDomain:
    host.process(pid, uuid=uuid, group=f"/machine/qemu-{number}-i.libvirt-qemu/emulator", began=began)
    libvirt.running[uuid] = FakeDomain(uuid, number)
    return libvirt.running[uuid]


def only(hypervisor: LibvirtHypervisor) -> Domain:
    (found,) = hypervisor.domains().running
    return found


def test_running_and_shut_off(libvirt: FakeLibvirt, host: Host) -> None:
    start(libvirt, host, "b", 2, 12)
    start(libvirt, host, "a", 1, 11)
    libvirt.defined = [FakeDomain("d", -1), FakeDomain("c", -1), FakeDomain("a", -1)]
    found = LibvirtHypervisor("x", host.files).domains()
    assert [(each.uuid, each.pid, each.start_ticks, each.vcpus) for each in found.running] == [
        ("a", 11, 500, 2),
        ("b", 12, 500, 2),
    ]
    assert found.shut_off == ("c", "d"), "one that has ended since is still listed as running"


def test_an_instance_whose_process_is_not_known_is_listed_all_the_same(libvirt: FakeLibvirt, host: Host) -> None:
    libvirt.running["a"] = FakeDomain("a", 1, xml="garbage")
    hypervisor = LibvirtHypervisor("x", host.files)
    assert (only(hypervisor).pid, only(hypervisor).start_ticks) == (0, 0)
    libvirt.running["a"].xml = "<domain/>"
    host.process(11, uuid="a", group="/machine/qemu-1-i.libvirt-qemu/emulator")
    assert only(hypervisor).pid == 11


def test_a_recycled_process_number_is_looked_up_again(libvirt: FakeLibvirt, host: Host) -> None:
    start(libvirt, host, "a", 1, 11)
    hypervisor = LibvirtHypervisor("x", host.files)
    assert only(hypervisor).pid == 11
    host.process(11, uuid="z", uid=1000, began=900)
    assert only(hypervisor).pid == 0
    start(libvirt, host, "a", 1, 13, began=950)
    assert (only(hypervisor).pid, only(hypervisor).start_ticks) == (13, 950)


def test_processes_are_looked_through_ever_more_rarely(
    libvirt: FakeLibvirt, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    domain = libvirt.running["a"] = FakeDomain("a", 1)
    looks: list[str] = []
    names = HostFiles.names
    monkeypatch.setattr(HostFiles, "names", lambda self, path: (looks.append(path), names(self, path))[1])
    hypervisor = LibvirtHypervisor("x", host.files)
    for _ in range(15):
        hypervisor.domains()
    assert looks == ["/proc"] * 4
    start(libvirt, host, "a", 1, 11)
    libvirt.running["a"] = domain
    libvirt.emit("LIFECYCLE", domain)
    assert only(hypervisor).pid == 11, "an event is a reason to look at once"


def test_an_instance_that_was_started_again(libvirt: FakeLibvirt, host: Host) -> None:
    start(libvirt, host, "a", 1, 11)
    hypervisor = LibvirtHypervisor("x", host.files)
    hypervisor.domains()
    start(libvirt, host, "a", 2, 12, began=600)  # the other number alone tells: the old process may still be ending
    assert (only(hypervisor).pid, only(hypervisor).start_ticks) == (12, 600)


def test_an_event_makes_its_xml_be_read_again(libvirt: FakeLibvirt, host: Host) -> None:
    domain = start(libvirt, host, "a", 1, 11)
    hypervisor = LibvirtHypervisor("x", host.files)
    assert only(hypervisor).disks == ()
    assert hypervisor.changed() and not hypervisor.changed()
    domain.xml = "<domain><vcpu current='3'>4</vcpu><devices><disk><target dev='vdb'/></disk></devices></domain>"
    assert only(hypervisor).disks == () and domain.xml_reads == 1
    libvirt.emit("DEVICE_ADDED", domain)
    assert hypervisor.changed()
    found = only(hypervisor)
    assert (found.disks, found.vcpus, found.events, domain.xml_reads) == (("vdb",), 3, 1, 2)
    for _ in range(25):
        hypervisor.domains()
    assert domain.xml_reads == 3, "and now and then without one"


@pytest.mark.parametrize(
    ("state", "reason", "expected"),
    [
        ("RUNNING", "RUNNING_BOOTED", RunState.RUNNING),
        ("RUNNING", "RUNNING_POSTCOPY", RunState.MIGRATING),
        ("PAUSED", "PAUSED_USER", RunState.PAUSED),
        ("PAUSED", "PAUSED_MIGRATION", RunState.MIGRATING),
        ("PAUSED", "PAUSED_STARTING_UP", RunState.MIGRATING),
        ("PAUSED", "PAUSED_POSTCOPY", RunState.MIGRATING),
        ("SHUTDOWN", "PAUSED_MIGRATION", RunState.PAUSED),
    ],
)
def test_states(libvirt: FakeLibvirt, host: Host, state: str, reason: str, expected: RunState) -> None:
    domain = start(libvirt, host, "a", 1, 11)
    domain.state, domain.reason = (getattr(libvirt, f"VIR_DOMAIN_{name}") for name in (state, reason))
    assert only(LibvirtHypervisor("x", host.files)).state is expected


def test_a_migration_is_told_by_its_first_event_and_ends(libvirt: FakeLibvirt, host: Host) -> None:
    domain = start(libvirt, host, "a", 1, 11)
    hypervisor = LibvirtHypervisor("x", host.files)
    hypervisor.domains()
    libvirt.emit("MIGRATION_ITERATION", domain)
    libvirt.emit("METADATA_CHANGE", domain)
    assert only(hypervisor).state is RunState.MIGRATING
    libvirt.emit("JOB_COMPLETED", domain)
    assert only(hypervisor).state is RunState.RUNNING
    libvirt.emit("MIGRATION_ITERATION", domain)
    states = [only(hypervisor).state for _ in range(4)]
    assert states == [RunState.MIGRATING] * 3 + [RunState.RUNNING], "an end that was missed does not freeze it for good"


def test_libvirt_is_started_again(libvirt: FakeLibvirt, host: Host) -> None:
    domain = start(libvirt, host, "a", 1, 11)
    libvirt.refused = frozenset((libvirt.VIR_DOMAIN_EVENT_ID_METADATA_CHANGE,))  # of an older one
    hypervisor = LibvirtHypervisor("x", host.files)
    hypervisor.domains()
    libvirt.alive = False
    for _ in range(2):
        with pytest.raises(Unavailable, match="libvirt"):
            hypervisor.domains()
    libvirt.alive = True
    assert only(hypervisor).pid == 11 and libvirt.connections == 2
    hypervisor.changed()
    libvirt.emit("DEVICE_ADDED", domain)
    assert hypervisor.changed(), "its events come again"


def test_a_connection_for_statistics_does_not_listen(libvirt: FakeLibvirt, host: Host) -> None:
    start(libvirt, host, "a", 1, 11)
    worker = LibvirtHypervisor("x", host.files, events=False)
    assert worker.block_statistics(("a", "gone"))["a"][0].name == "vda"
    assert libvirt.callbacks == {}


def test_memory_stays_flat_over_ten_thousand_starts(libvirt: FakeLibvirt, tmp_path: Path) -> None:
    files = HostFiles(str(tmp_path))
    (tmp_path / "proc").mkdir()
    hypervisor, worker = LibvirtHypervisor("x", files), LibvirtHypervisor("x", files, events=False)
    hypervisor.domains()
    for number in range(10_000):
        uuid = f"vm-{number}"
        domain = libvirt.running[uuid] = FakeDomain(uuid, number)
        for event in ("LIFECYCLE", "DEVICE_ADDED", "MIGRATION_ITERATION"):
            libvirt.emit(event, domain)
        if number % 10 == 0:
            hypervisor.domains()
        worker.block_statistics((uuid,))
        del libvirt.running[uuid]
        libvirt.emit("LIFECYCLE", domain)
    hypervisor.domains()
    kept = SimpleNamespace(events=hypervisor._events, known=hypervisor._known, handles=worker._handles)
    assert (kept.events.counts, kept.events.migrating, kept.known) == ({}, {}, {})
    assert len(kept.handles) <= _MOST_HANDLES and not worker._events.counts


def test_with_libvirts_own_test_driver(host: Host) -> None:
    """The names, arguments and callbacks of the real library: its driver within this process needs no daemon."""
    library = pytest.importorskip("libvirt")
    hypervisor = LibvirtHypervisor("test:///default", host.files)
    found = only(hypervisor)
    assert (found.name, found.pid, found.state, found.vcpus) == ("test", 0, RunState.RUNNING, 2)
    assert hypervisor.changed() and not hypervisor.changed()
    domain = library.open("test:///default").lookupByName("test")  # all connections to it share its domains
    domain.suspend()
    while not hypervisor.changed():
        os.sched_yield()
    assert only(hypervisor).state is RunState.PAUSED and only(hypervisor).events > 0
    assert hypervisor.block_statistics((found.uuid, "00000000-0000-4000-8000-000000000000")) == {}
    domain.destroy()
    ended = hypervisor.domains()
    assert (ended.running, ended.shut_off) == ((), (found.uuid,))
    hypervisor.close()
