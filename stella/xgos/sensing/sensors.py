"""One pass over the host: `Sensors.sense` gives a `Snapshot`. A sensor that fails gives None and says so; nothing raises."""

import itertools
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from stella.linux.block_source import backend_of
from stella.linux.block_throttle import before_stella
from stella.linux.cgroup import Hierarchy
from stella.linux.domain_xml import DiskXml
from stella.model.snapshot import (
    BlockBackend,
    DiskReading,
    GroupReading,
    HostReading,
    InstanceReading,
    LinkReading,
    Role,
    RunState,
    SensorReading,
    Snapshot,
    ThreadReading,
)
from stella.xgos.block_throttles import BlockThrottles
from stella.xgos.host_files import Gone, HostFiles, Unavailable, raise_descriptor_limit
from stella.xgos.link_limits import LinkLimits
from stella.xgos.sensing.discovery import BLOCK_SECONDS, DISKS_KEPT_SECONDS, Discovery, HypervisorView
from stella.xgos.sensing.domains import Domain, RecordedHypervisor
from stella.xgos.sensing.groups import RETRY_SECONDS, Groups, find_hierarchy
from stella.xgos.sensing.host import Host
from stella.xgos.sensing.hypervisor import LibvirtHypervisor
from stella.xgos.sensing.network import Links, NetlinkLinks, RecordedLinks
from stella.xgos.sensing.threads import WHOLE_REFRESH_SECONDS, Threads
from stella.xgos.sensing.uplinks import NamedUplink, uplinks_of

_TURNS = (
    4  # instances re-read their lists of threads, and of groups, in so many turns, so that no tick carries them all
)


@dataclass(slots=True)
class _Instance:
    """The open descriptors of one instance."""

    pid: int
    threads: Threads
    groups: Groups | None = None
    turn: int = 0
    events: int = 0
    hinted_refresh: int = 0
    retry_seconds: float = 0.0

    def is_of(self, domain: Domain) -> bool:
        """Whether this is the process that the hypervisor means."""
        return domain.pid == self.pid and domain.start_ticks in (0, self.threads.start_ticks)


class _Sensor:
    """Collects what happened to one sensor in one pass."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.duration_seconds = 0.0
        self.error = ""

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Count the time spent inside."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.duration_seconds += time.perf_counter() - start

    def fail(self, error: object) -> None:
        """Remember the first error."""
        self.error = self.error or str(error)

    def reading(self) -> SensorReading:
        """The result of this pass."""
        return SensorReading(
            name=self.name, ok=not self.error, duration_seconds=self.duration_seconds, error=self.error
        )


class Sensors:
    """All sensors of a host. `open_sensors` makes one."""

    def __init__(
        self,
        files: HostFiles,
        hierarchy: Hierarchy,
        discovery: Discovery,
        links: Links,
        *,
        throttles: BlockThrottles | None = None,
        backends: tuple[BlockBackend, ...] = (),
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """``throttles``: of the disks (None: they are not limited here); ``backends``: those that disks share."""
        self._throttles, self._backends = throttles, backends
        self._files = files
        self.hierarchy = hierarchy
        self.discovery = discovery
        self._links = links
        self._monotonic = monotonic
        self._wall = wall
        self._host = Host(files, hierarchy)
        self._last_host: HostReading | None = None
        self._instances: dict[str, _Instance] = {}
        self._turn = itertools.count()

    def wait_ready(self, timeout_seconds: float) -> bool:
        """Wait until the hypervisor first answered; False when it did not in time (`sense` works all the same)."""
        return self.discovery.wait_answered(timeout_seconds)

    def close(self) -> None:
        """Let all descriptors and connections go."""
        self._instances = {}
        self.discovery.close()

    def sense(self) -> Snapshot:
        """One pass. Until the host itself was once read, `Unavailable` is raised: there is nothing to show."""
        now, wall = self._monotonic(), self._wall()
        names = ("hypervisor", "threads", "groups", "network", "block", "host")
        hypervisor, threads, groups, network, block, host = sensors = tuple(_Sensor(name) for name in names)
        with hypervisor.measured():
            seen = self.discovery.seen()
            if seen.domains_error:
                hypervisor.fail(seen.domains_error)
            if seen.block_error:
                block.fail(seen.block_error)
            block.duration_seconds = seen.block_duration_seconds
            domains = seen.domains or ()
            self._forget(domains)
            if self._throttles is not None:
                self._throttles.keep(frozenset(domain.uuid for domain in domains))
        with network.measured():
            try:
                found_links = self._links.read(
                    frozenset(name for domain in domains for name in domain.links),
                    {device: plug for domain in domains for device, plug in domain.plugs},
                )
            except Unavailable as error:
                network.fail(error)
                found_links = {}
        readings = [
            reading
            for domain in domains
            if (reading := self._read(domain, now, seen, found_links, (threads, groups, network)))
        ]
        with host.measured():
            host_reading = replace(
                self._read_host(host), throttles_lack=self._throttles_lack(seen), block_backends=self._backends
            )
        return Snapshot(
            monotonic_seconds=now,
            wall_seconds=wall,
            host=host_reading,
            instances=tuple(readings),
            shut_off=None if seen.domains_error else seen.shut_off,
            sensors=tuple(sensor.reading() for sensor in sensors),
        )

    def _throttles_lack(self, seen: HypervisorView) -> str:
        if self._throttles is None:
            return "it was not tried here"
        if not seen.driver:
            return "libvirt has not answered yet"
        return "" if seen.driver == "QEMU" else f"libvirt's driver {seen.driver} has no throttles"

    def _forget(self, domains: tuple[Domain, ...]) -> None:
        self._instances = {
            domain.uuid: held for domain in domains if (held := self._instances.get(domain.uuid)) and held.is_of(domain)
        }

    def _read_host(self, sensor: _Sensor) -> HostReading:
        paths = tuple(held.groups.path for held in self._instances.values() if held.groups)
        try:
            self._last_host = replace(
                self._host.read(paths),
                link_limits_lack=self._links.limits_lack,
                uplinks=self._links.uplinks,
                uplink_lack=self._links.uplink_lack,
            )
        except Unavailable as error:
            if self._last_host is None:
                raise
            sensor.fail(error)
        return self._last_host

    def _read(
        self,
        domain: Domain,
        now: float,
        seen: HypervisorView,
        found_links: dict[str, LinkReading],
        sensors: tuple[_Sensor, _Sensor, _Sensor],
    ) -> InstanceReading | None:
        threads_sensor, groups_sensor, network_sensor = sensors
        held: _Instance | None = None
        threads: tuple[ThreadReading, ...] | None = None
        groups: tuple[GroupReading, ...] | None = None
        try:
            with threads_sensor.measured():
                held = self._hold(domain, now)
            with groups_sensor.measured():
                groups = self._read_groups(held, now, groups_sensor)
            with threads_sensor.measured():
                threads = held.threads.read(now)
        except Gone:  # it ended; the hypervisor will tell in a moment
            self._instances.pop(domain.uuid, None)
            self.discovery.ask_now()
            return None
        except Unavailable as error:
            threads_sensor.fail(error)
        links: tuple[LinkReading, ...] | None = None
        if not network_sensor.error and domain.pid:
            links = tuple(found_links[name] for name in domain.links if name in found_links)
            links = links if len(links) == len(domain.links) else None
        disks, disks_seconds = _disks(domain, seen, now)
        if disks and self._throttles is not None:
            described = {each.name: each for each in domain.block}
            disks = tuple(self._throttled(domain, disk, described.get(disk.name)) for disk in disks)
        counts = [sum(1 for t in threads or () if t.role is role) for role in (Role.VCPU, Role.IOTHREAD)]
        migrating = domain.state is RunState.RUNNING and held is not None and held.threads.migrating
        return InstanceReading(
            uuid=domain.uuid,
            name=domain.name,
            pid=domain.pid,
            state=RunState.MIGRATING if migrating else domain.state,
            vcpus=counts[0] or domain.vcpus,
            iothreads=counts[1] if counts[0] else domain.iothreads,
            threads=threads,
            links=links,
            disks=disks,
            disks_monotonic_seconds=disks_seconds,
            groups=groups,
            start_ticks=held.threads.start_ticks if held else domain.start_ticks,
            project=domain.project,
            flavor=domain.flavor,
            title=domain.title,
        )

    def _throttled(self, domain: Domain, disk: DiskReading, described: DiskXml | None) -> DiskReading:
        """The disk with its throttle and its back end; drives of removable media are left out of all limits."""
        if described is None or self._throttles is None or described.device in _REMOVABLE:
            return disk
        throttle = self._throttles.sensed(domain.uuid, disk.name, described.throttle, domain.described_seconds)
        before = before_stella(throttle)
        return replace(
            disk,
            throttle=throttle,
            allowed_throttle=throttle if before is None else before,
            backend=backend_of(described.sources, self._backends),
            unlimited_because=_why_unlimited(described),
        )

    def _hold(self, domain: Domain, now: float) -> _Instance:
        held = self._instances.get(domain.uuid)
        if held is None:
            if not domain.pid:
                raise Unavailable(f"instance {domain.uuid}: its process was not found")
            turn = next(self._turn)
            threads = Threads(self._files, domain.pid, first_refresh_seconds=_at_turn(turn, now))
            held = _Instance(pid=domain.pid, threads=threads, turn=turn, events=domain.events)
            if not held.is_of(domain):
                raise Gone(f"process {domain.pid} is another one now")
            self._instances[domain.uuid] = held
        if held.events != domain.events:
            held.events = domain.events
            held.threads.refresh_soon()
        return held

    def _read_groups(self, held: _Instance, now: float, sensor: _Sensor) -> tuple[GroupReading, ...] | None:
        try:
            if held.groups is None:
                if now < held.retry_seconds:
                    sensor.fail(f"process {held.pid}: its CPU group could not be read")
                    return None
                held.groups = Groups(
                    self._files,
                    self.hierarchy,
                    held.pid,
                    cpuset_mount=self._host.cpuset_mount,
                    first_refresh_seconds=_at_turn(held.turn + _TURNS // 2, now),
                )
            if held.hinted_refresh != held.threads.refreshes:
                held.hinted_refresh = held.threads.refreshes
                held.threads.hint(held.groups.thread_roles())
                held.groups.refresh_soon()
            return held.groups.read(now)
        except Unavailable as error:
            sensor.fail(error)
            held.groups, held.retry_seconds = None, now + RETRY_SECONDS
            return None


_REMOVABLE = ("cdrom", "floppy")


def _why_unlimited(disk: DiskXml) -> str:
    """Why QEMU's throttles do not act on a disk; empty where they do."""
    if disk.device == "lun":
        return "the guest's SCSI commands pass QEMU's block layer by (device lun)"
    return "another process serves it (vhost-user or vDPA)" if disk.kind in ("vhostuser", "vhostvdpa") else ""


def _at_turn(turn: int, now: float) -> float:
    """When an instance with this turn re-reads its lists next."""
    return now + WHOLE_REFRESH_SECONDS * (1 + turn % _TURNS) / _TURNS


def _disks(domain: Domain, seen: HypervisorView, now: float) -> tuple[tuple[DiskReading, ...] | None, float | None]:
    """The instance's disks and when they were read; None when that is too long ago. No disks at all: an honest empty list."""
    if not domain.disks:
        return ((), now) if domain.pid else (None, None)
    last = seen.disks.get(domain.uuid)
    if last is None or now - last.monotonic_seconds > DISKS_KEPT_SECONDS:
        return None, None
    return last.disks, last.monotonic_seconds


def open_sensors(
    root: str = "/",
    *,
    uri: str = "qemu:///system",
    block_seconds: float = BLOCK_SECONDS,
    uplinks: Sequence[NamedUplink] = (),
    throttles: BlockThrottles | None = None,
    backends: tuple[BlockBackend, ...] = (),
    monotonic: Callable[[], float] = time.monotonic,
    wall: Callable[[], float] = time.time,
) -> Sensors:
    """Sensors of this machine, or of the recorded tree at ``root``. Raises `Broken` when there is no CPU hierarchy.

    ``uplinks``: through which its instances reach the network. ``throttles`` and ``backends``: of disks.
    """
    raise_descriptor_limit()
    files = HostFiles(os.fspath(root))
    hierarchy = find_hierarchy(files)
    if files.recorded:
        discovery = Discovery(lambda: RecordedHypervisor(files), monotonic=monotonic, threaded=False)
        links: Links = RecordedLinks(files)
    else:
        discovery = Discovery(
            lambda: LibvirtHypervisor(uri, files),
            connect_worker=lambda: LibvirtHypervisor(uri, files, events=False),
            monotonic=monotonic,
            block_seconds=block_seconds,
        )
        links = NetlinkLinks(limits=LinkLimits(), uplinks=uplinks_of(files, uplinks))
    return Sensors(
        files,
        hierarchy,
        discovery,
        links,
        throttles=None if files.recorded else throttles,
        backends=backends,
        monotonic=monotonic,
        wall=wall,
    )
