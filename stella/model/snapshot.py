"""What one pass over a host saw: cumulative counters at one moment. Printable, storable, replayable.

Counters only grow. A negative difference means that a counter was reset, and is dropped. Network and block counters
are named from the guest's side: ``tx`` is what the guest sent.
"""

import enum
from dataclasses import dataclass, field


class Role(enum.StrEnum):
    """What a thread of QEMU, or a cgroup below an instance's, does."""

    VCPU = "vcpu"
    EMULATOR = "emulator"  # the main loop and whatever else is not named here
    IOTHREAD = "iothread"
    VHOST = "vhost"


class RunState(enum.StrEnum):
    """What libvirt says of an instance. Control is frozen in every state but ``running``."""

    RUNNING = "running"
    PAUSED = "paused"
    MIGRATING = "migrating"


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadReading:
    """One thread. ``run_seconds`` is its CPU time, ``wait_seconds`` the time it was runnable but not running.

    ``start_ticks`` (field 22 of /proc/PID/stat) tells a thread from a later one with the same number. ``policy`` is that of the
    fair scheduler (``other``, ``batch``, ``idle``); None where it is another or not known.
    """

    tid: int
    start_ticks: int
    role: Role
    index: int
    run_seconds: float
    wait_seconds: float
    policy: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkLimit:
    """What one direction of a link is limited to: packets/s and bytes/s; None: not limited."""

    packets: float | None = None
    bytes: float | None = None


NO_LIMIT = LinkLimit()


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkReading:
    """One network device of an instance, named by its tap on the host.

    ``tx_*`` and ``rx_*`` count what got through; ``*_limited_*`` what Stella's own limits dropped. ``tx_limit`` and ``rx_limit`` are
    what these limits are now. ``unlimited_because`` tells why no limit can act here, for each direction and kind (``tx_bytes``).
    """

    name: str
    tx_packets: int
    tx_bytes: int
    tx_drops: int
    rx_packets: int
    rx_bytes: int
    rx_drops: int
    tx_limited_packets: int = 0
    tx_limited_bytes: int = 0
    rx_limited_packets: int = 0
    rx_limited_bytes: int = 0
    tx_limit: LinkLimit = NO_LIMIT
    rx_limit: LinkLimit = NO_LIMIT
    unlimited_because: tuple[tuple[str, str], ...] = ()
    uplink: str = ""
    uplink_lack: str = ""

    def limit(self, direction: str) -> LinkLimit:
        """The limit of ``tx`` or ``rx``."""
        return self.tx_limit if direction == "tx" else self.rx_limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Throttle:
    """What QEMU limits a disk to. ``limits`` are pairs of libvirt's name and a value above 0, such as ``total_bytes_sec``, in order.

    Disks of one instance with the same ``group`` share their limits.
    """

    limits: tuple[tuple[str, int], ...] = ()
    group: str = ""

    def limit(self, name: str) -> int | None:
        """The limit with this name of libvirt's; None: not limited."""
        return dict(self.limits).get(name)


NO_THROTTLE = Throttle()


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskReading:
    """One disk of an instance. ``*_seconds`` is the sum over all operations of the time each took inside QEMU.

    ``throttle`` is what QEMU limits it to now (None: not known), ``allowed_throttle`` the same without Stella: Nova's or an
    operator's. ``backend`` names the shared back end that it lies on (empty: none). ``unlimited_because`` tells why no limit can act.
    """

    name: str
    read_operations: int
    read_bytes: int
    read_seconds: float
    write_operations: int
    write_bytes: int
    write_seconds: float
    throttle: Throttle | None = None
    allowed_throttle: Throttle | None = None
    backend: str = ""
    unlimited_because: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockBackend:
    """Storage that disks of several instances share, as the operator describes it.

    ``sources`` tell which disks lie on it (`stella.linux.block_source`). The capacities are of reads and writes together, 0 where none
    is stated; operations are of 16 KiB: larger ones count several times.
    """

    name: str
    sources: tuple[str, ...]
    capacity_bytes_per_second: float = 0.0
    capacity_operations_per_second: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """A CFS bandwidth limit: ``quota_us`` of CPU time in each ``period_us``; no limit when ``quota_us`` is None."""

    quota_us: int | None
    period_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupReading:
    """One cgroup of an instance and what its CPU knobs hold now.

    ``path`` is below the root of the CPU hierarchy. ``weight`` is in the unit of that hierarchy: cpu.shares (2 to 262144)
    under v1, cpu.weight (1 to 10000) under v2. ``throttled_seconds`` is None where the kernel does not tell.
    """

    path: str
    role: Role | None  # None: the instance's own group
    index: int
    weight: int
    quota: Quota
    throttled_seconds: float | None
    cpus: tuple[int, ...] | None = None  # inner groups: the CPUs it is confined to; None: no cpuset here
    allowed_cpus: tuple[int, ...] | None = None  # those that libvirt, Nova or an administrator allow; None: not known
    allowed_quota: Quota | None = None  # the quota that they set; None: not known
    burst_us: int = 0  # what it may save up beside its quota


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceReading:
    """One instance at one moment. A list that could not be read is None, never empty.

    ``pid`` is 0 while its process is not known for sure: then nothing of it is read.
    """

    uuid: str
    name: str
    pid: int
    state: RunState
    vcpus: int
    iothreads: int
    threads: tuple[ThreadReading, ...] | None
    links: tuple[LinkReading, ...] | None
    disks: tuple[DiskReading, ...] | None
    disks_monotonic_seconds: float | None  # when the disks were read: that sensor is slower than a tick
    groups: tuple[GroupReading, ...] | None
    start_ticks: int = 0  # of its process: field 22 of /proc/PID/stat; 0: not known
    project: str = ""  # the tenant's id, where the domain's metadata names one
    flavor: str = ""  # the flavor's name, where the domain's metadata names one
    title: str = ""  # the owner's name for it, where the metadata tells it; ``name`` is the hypervisor's

    def group(self, role: Role | None, index: int = 0) -> GroupReading | None:
        """The instance's own group (``role`` None) or an inner one."""
        return next((g for g in self.groups or () if g.role is role and g.index == index), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class UplinkReading:
    """A device through which instances reach the network. ``capacity`` is in bytes/s each way, ``packets_capacity`` in packets/s.

    ``packets_capacity`` is None where only bytes bound it. The counters are those of the device: what left the host is ``tx``.
    """

    name: str
    capacity: float
    tx_bytes: int
    rx_bytes: int = 0
    tx_packets: int = 0
    rx_packets: int = 0
    packets_capacity: float | None = None

    def capacity_of(self, kind: str) -> float | None:
        """The capacity in ``bytes`` or ``packets``."""
        return self.capacity if kind == "bytes" else self.packets_capacity


@dataclass(frozen=True, slots=True, kw_only=True)
class HostReading:
    """The host, which may be a part of a machine. ``*_seconds`` are sums over its CPUs since boot, and never fall.

    ``parents`` are the groups above the instances, from the top down, without the hierarchy's root. ``cgroup_mount`` is where
    the CPU hierarchy is mounted: the paths of groups are below it. ``cpuset_mount`` is the same for the cpuset hierarchy (empty:
    there is none). ``cpus`` are the numbers of the CPUs that this host may use and that are on line; ``cores`` tells how many.
    ``link_limits_lack`` tells why the host cannot limit a kind of network traffic (``packets``, ``bytes``); None: it was not tried.
    ``uplink_lack`` tells why there is no uplink, or not each that is configured. ``throttles_lack`` tells why disks cannot be limited
    (empty: they can).
    """

    cores: int
    busy_seconds: float
    idle_seconds: float
    softirq_seconds: float
    steal_seconds: float
    cgroup_version: int
    cgroup_mount: str = "/sys/fs/cgroup"
    cpuset_mount: str = ""
    cpus: tuple[int, ...] = ()
    parents: tuple[GroupReading, ...] = ()
    link_limits_lack: tuple[tuple[str, str], ...] | None = None
    uplinks: tuple[UplinkReading, ...] = ()
    uplink_lack: str = "network_uplink is not set"
    throttles_lack: str = "it was not tried here"
    block_backends: tuple[BlockBackend, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SensorReading:
    """Whether one sensor could read, how long it took, and if not, why."""

    name: str
    ok: bool
    duration_seconds: float
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """All that was sensed in one tick. ``wall_seconds`` (Unix time) only labels windows; all arithmetic is on the monotonic clock."""

    monotonic_seconds: float
    wall_seconds: float
    host: HostReading
    instances: tuple[InstanceReading, ...]
    sensors: tuple[SensorReading, ...] = field(default=())
    shut_off: tuple[str, ...] | None = None  # uuids of instances that are defined here and do not run; None: not known

    def instance(self, uuid: str) -> InstanceReading | None:
        """The instance with this uuid, if it was seen."""
        return next((i for i in self.instances if i.uuid == uuid), None)
