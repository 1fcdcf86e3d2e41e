"""From two readings of cumulative counters to rates over the time between them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from operator import attrgetter

from stella.model.allocation import HostUsage
from stella.model.slo import Direction, Metric
from stella.model.snapshot import DiskReading, InstanceReading, LinkReading, Role, Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class StageRate:
    """One thread: the shares of wall time in which it ran, was runnable but waited, and was held by a quota (each 0 to 1).

    The kernel stores a wait when it ends: ``overhang_ratio`` is what was booked beyond the length of the interval, in units of
    it, and belongs to the time before.
    """

    role: Role
    index: int
    run_ratio: float
    wait_ratio: float
    throttled_ratio: float = 0.0
    overhang_ratio: float = 0.0

    @property
    def busy_ratio(self) -> float:
        """The share of wall time in which it had something to do."""
        return self.run_ratio + self.wait_ratio

    @property
    def starved_ratio(self) -> float:
        """wait / (run + wait): the share of its runnable time in which it did not run."""
        return self.wait_ratio / self.busy_ratio if self.busy_ratio > 0 else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkRates:
    """All links of an instance together: packets/s and bytes/s, seen from the guest. ``*_limited_*``: dropped by its own limits."""

    tx_packets: float
    tx_bytes: float
    tx_drops: float
    rx_packets: float
    rx_bytes: float
    rx_drops: float
    tx_limited_packets: float = 0.0
    tx_limited_bytes: float = 0.0
    rx_limited_packets: float = 0.0
    rx_limited_bytes: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockRates:
    """All disks of an instance together: operations/s and bytes/s.

    ``*_seconds`` is latency summed per second, which is the mean number of operations in flight.
    """

    read_operations: float
    read_bytes: float
    read_seconds: float
    write_operations: float
    write_bytes: float
    write_seconds: float

    @property
    def in_flight(self) -> float:
        """Mean number of operations under way inside QEMU (Little's law)."""
        return self.read_seconds + self.write_seconds

    def mean_latency_seconds(self, direction: Direction) -> float | None:
        """Mean time of an operation; None when there was none."""
        operations = _directed(direction, self.read_operations, self.write_operations)
        return _directed(direction, self.read_seconds, self.write_seconds) / operations if operations > 0 else None

    def mean_request_bytes(self, direction: Direction) -> float | None:
        """Mean size of a request; None when there was none."""
        operations = _directed(direction, self.read_operations, self.write_operations)
        return _directed(direction, self.read_bytes, self.write_bytes) / operations if operations > 0 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuRates:
    """CPU of an instance: every thread as a stage, and the share of wall time its vCPU groups were throttled (sum over vCPUs)."""

    stages: tuple[StageRate, ...]

    @property
    def throttled_ratio(self) -> float:
        """Time held by quotas, summed over the vCPUs."""
        return sum(s.throttled_ratio for s in self.stages)

    def cores(self, *roles: Role) -> float:
        """CPU used by the threads of these roles, in cores (of all threads when none is named)."""
        return sum(stage.run_ratio for stage in self.stages if not roles or stage.role in roles)

    @property
    def vcpu_cores(self) -> float:
        """The guest's own CPU time, in cores."""
        return self.cores(Role.VCPU)

    def worst(self, *roles: Role) -> StageRate | None:
        """The most starved of the busy threads (of these roles); threads busy for less than 2 % of the time do not count."""
        busy = [s for s in self.stages if s.busy_ratio >= 0.02 and (not roles or s.role in roles)]
        return max(busy, key=lambda s: (s.wait_ratio, s.run_ratio), default=None)

    def fullest(self, *roles: Role) -> StageRate | None:
        """The thread (of these roles) that had something to do for the largest share of time."""
        return max((s for s in self.stages if not roles or s.role in roles), key=lambda s: s.busy_ratio, default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceRates:
    """One instance between two readings. What could not be read is None. Block rates have their own interval.

    ``links`` and ``disks`` have the rates of each by its name, as far as they are known. ``uplink_ratio`` is the part of what
    it sent that the uplink carried (see `carried`). ``overrun_ratio`` is the part of the time in which an uplink of its received all
    it can carry, so that what was lost before it is not known.
    """

    start_seconds: float
    end_seconds: float
    vcpus: int
    cpu: CpuRates | None
    network: NetworkRates | None
    block: BlockRates | None
    block_start_seconds: float = 0.0
    block_end_seconds: float = 0.0
    links: Mapping[str, NetworkRates] = field(default_factory=dict)
    disks: Mapping[str, BlockRates] = field(default_factory=dict)
    uplink_ratio: float = 1.0
    overrun_ratio: float = 0.0

    @property
    def seconds(self) -> float:
        """Length of the interval."""
        return self.end_seconds - self.start_seconds


Device = LinkReading | DiskReading


def _directed(direction: Direction, first: float, second: float) -> float:
    """The sum of two one-way figures, or the one that the direction names."""
    if direction in (Direction.TX, Direction.READ):
        return first
    if direction in (Direction.RX, Direction.WRITE):
        return second
    return first + second


def usage(metric: Metric, direction: Direction, rates: InstanceRates, unit_bytes: float = 0.0) -> float | None:
    """What an instance got of a metric, in its base unit; None when the sensor did not tell.

    Block operations are normalised by size as QEMU's ``iops-size`` does: an operation larger than ``unit_bytes`` counts
    size / unit_bytes times. Only sums are known, so this is the larger of the count and bytes / unit_bytes.
    """
    network, block = rates.network, rates.block
    match metric:
        case Metric.CPU:
            return rates.cpu.vcpu_cores if rates.cpu else None
        case Metric.NETWORK_PACKETS:
            return _directed(direction, network.tx_packets, network.rx_packets) if network else None
        case Metric.NETWORK_BYTES:
            return _directed(direction, network.tx_bytes, network.rx_bytes) if network else None
        case Metric.BLOCK_BYTES:
            return _directed(direction, block.read_bytes, block.write_bytes) if block else None
        case Metric.BLOCK_OPERATIONS:
            if block is None:
                return None
            operations = _directed(direction, block.read_operations, block.write_operations)
            sent = _directed(direction, block.read_bytes, block.write_bytes)
            return max(operations, sent / unit_bytes) if unit_bytes else operations
        case Metric.BLOCK_LATENCY:
            return block.mean_latency_seconds(direction) if block else None


def mean_unit_bytes(metric: Metric, direction: Direction, rates: InstanceRates) -> float | None:
    """Mean size of the packets or requests behind a metric, in bytes; None when there were none or it has no size."""
    if metric.resource == "block" and rates.block:
        return rates.block.mean_request_bytes(direction)
    if metric.resource == "network" and rates.network:
        packets = _directed(direction, rates.network.tx_packets, rates.network.rx_packets)
        return _directed(direction, rates.network.tx_bytes, rates.network.rx_bytes) / packets if packets > 0 else None
    return None


def _cpu_rates(before: InstanceReading, after: InstanceReading, seconds: float) -> CpuRates | None:
    if before.threads is None or after.threads is None:
        return None
    known = {(t.tid, t.start_ticks): t for t in before.threads}
    throttled = _throttled_ratios(before, after, seconds)
    stages = []
    for thread in after.threads:
        old = known.get((thread.tid, thread.start_ticks))
        if old is None:
            continue
        run, wait = thread.run_seconds - old.run_seconds, thread.wait_seconds - old.wait_seconds
        if run < 0 or wait < 0:
            continue
        stages.append(
            StageRate(
                role=thread.role,
                index=thread.index,
                run_ratio=min(1.0, run / seconds),
                wait_ratio=min(1.0, wait / seconds),
                overhang_ratio=max(0.0, (run + wait) / seconds - 1.0),
                throttled_ratio=throttled.get(thread.index, 0.0) if thread.role is Role.VCPU else 0.0,
            )
        )
    return CpuRates(stages=tuple(stages)) if stages else None


def _throttled_ratios(before: InstanceReading, after: InstanceReading, seconds: float) -> dict[int, float]:
    """By vCPU, the share of wall time for which its quota held it."""
    earlier = {g.path: g.throttled_seconds for g in before.groups or ()}
    ratios = {}
    for group in after.groups or ():
        old = earlier.get(group.path)
        if group.role is Role.VCPU and group.throttled_seconds is not None and old is not None:
            ratios[group.index] = min(1.0, max(0.0, group.throttled_seconds - old) / seconds)
    return ratios


def _of_each(
    before: Sequence[Device] | None, after: Sequence[Device] | None, names: Sequence[str], seconds: float
) -> dict[str, dict[str, float]] | None:
    """Rates of the named counters by device; a device that is new or whose counters fell is left out."""
    if before is None or after is None or seconds <= 0:
        return None
    known = {device.name: device for device in before}
    counters = attrgetter(*names)
    found = {}
    for device in after:
        old = known.get(device.name)
        if old is None:
            continue
        deltas = [new - first for new, first in zip(counters(device), counters(old), strict=True)]
        if min(deltas) >= 0:
            found[device.name] = dict(zip(names, [delta / seconds for delta in deltas], strict=True))
    return found


def _summed(each: Iterable[Mapping[str, float]], names: Sequence[str]) -> dict[str, float]:
    totals = dict.fromkeys(names, 0.0)
    for one in each:
        for name, rate in one.items():
            totals[name] += rate
    return totals


_NETWORK = tuple(f.name for f in fields(NetworkRates))
_BLOCK = tuple(f.name for f in fields(BlockRates))


def instance_rates(
    before: InstanceReading, after: InstanceReading, start_seconds: float, end_seconds: float
) -> InstanceRates | None:
    """Rates of one instance between two snapshots; None for another process, or when no time has passed."""
    seconds = end_seconds - start_seconds
    if seconds <= 0 or (before.pid, before.start_ticks) != (after.pid, after.start_ticks):
        return None
    links = _of_each(before.links, after.links, _NETWORK, seconds)
    block, block_start, block_end = None, 0.0, 0.0
    disks = None
    if before.disks_monotonic_seconds is not None and after.disks_monotonic_seconds is not None:
        block_start, block_end = before.disks_monotonic_seconds, after.disks_monotonic_seconds
        disks = _of_each(before.disks, after.disks, _BLOCK, block_end - block_start)
        block = None if disks is None else _summed(disks.values(), _BLOCK)
    return InstanceRates(
        start_seconds=start_seconds,
        end_seconds=end_seconds,
        vcpus=after.vcpus,
        cpu=_cpu_rates(before, after, seconds),
        network=NetworkRates(**_summed(links.values(), _NETWORK)) if links is not None else None,
        block=BlockRates(**block) if block is not None else None,
        block_start_seconds=block_start,
        block_end_seconds=block_end,
        links={name: NetworkRates(**one) for name, one in (links or {}).items()},
        disks={name: BlockRates(**one) for name, one in (disks or {}).items()},
    )


def carried(rates: InstanceRates, ratio: float) -> InstanceRates:
    """The same where the uplink carried only this part of what was sent, and dropped the rest."""
    network = rates.network
    if network is None or ratio >= 1.0:
        return rates
    left = replace(
        network,
        tx_packets=network.tx_packets * ratio,
        tx_bytes=network.tx_bytes * ratio,
        tx_drops=network.tx_drops + network.tx_packets * (1.0 - ratio),
    )
    return replace(rates, network=left, uplink_ratio=ratio)


def sent(rates: InstanceRates) -> InstanceRates:
    """The same with all that it sent, also what its limits or the uplink dropped: its vCPUs and QEMU have worked for that too."""
    network = rates.network
    if network is None or (not network.tx_limited_packets and rates.uplink_ratio >= 1.0):
        return rates
    everything = replace(
        network,
        tx_packets=network.tx_packets / rates.uplink_ratio + network.tx_limited_packets,
        tx_bytes=network.tx_bytes / rates.uplink_ratio + network.tx_limited_bytes,
    )
    return replace(rates, network=everything)


def host_usage(before: Snapshot, after: Snapshot, instances_cores: float) -> HostUsage:
    """The host between two snapshots. What the instances did not use of the busy time is overhead."""
    seconds = after.monotonic_seconds - before.monotonic_seconds
    old, new = before.host, after.host

    def cores(name: str) -> float:
        return max(0.0, getattr(new, name) - getattr(old, name)) / seconds if seconds > 0 else 0.0

    busy = cores("busy_seconds")
    return HostUsage(
        cores=float(new.cores),
        busy_cores=busy,
        instances_cores=instances_cores,
        overhead_cores=max(0.0, busy - instances_cores),
        softirq_cores=cores("softirq_seconds"),
        steal_cores=cores("steal_seconds"),
    )
