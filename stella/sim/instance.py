"""One simulated instance: its threads, groups, devices, and their cumulative counters."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

from stella.linux import cgroup, scheduling
from stella.model.snapshot import (
    DiskReading,
    GroupReading,
    InstanceReading,
    LinkReading,
    Quota,
    Role,
    RunState,
    ThreadReading,
)
from stella.sim import chance
from stella.sim.loads import Load, LoadKind
from stella.sim.scheduler import Task

SLICE = "/machine.slice"
BLOCK_LATENCY_SECONDS = 100e-6
QUEUE_DEPTH = 4.0
"""Requests in flight while a load is held up."""
_NO_QUOTA = Quota(quota_us=None, period_us=100_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceSpec:
    """What an instance is. ``iothreads`` serve its disk; without one QEMU's main loop does."""

    uuid: str
    name: str
    project: str = ""
    flavor: str = ""
    vcpus: int = 1
    iothreads: int = 1
    loads: tuple[Load, ...] = ()


@dataclass(slots=True, kw_only=True)
class Group:
    """One control group (cgroup v2) and what its knobs hold. ``inode`` tells it from a later one of the same path."""

    path: str
    role: Role | None
    index: int
    inode: int
    weight: int = cgroup.V2.default_weight
    quota: Quota = _NO_QUOTA
    cpus: tuple[int, ...] | None = None
    throttled_seconds: float = 0.0
    _reading: GroupReading | None = None

    def changed(self) -> None:
        """A knob or a counter is another one now."""
        self._reading = None

    def reading(self) -> GroupReading:
        """What a sensor sees of it."""
        if self._reading is None:
            self._reading = GroupReading(
                path=self.path,
                role=self.role,
                index=self.index,
                weight=self.weight,
                quota=self.quota,
                throttled_seconds=self.throttled_seconds,
                cpus=self.cpus,
            )
        return self._reading


@dataclass(slots=True, kw_only=True)
class Thread:
    """One thread of QEMU, in the group of its role, with what the scheduler knows of it."""

    tid: int
    role: Role
    index: int
    group: Group
    task: Task
    run_seconds: float = 0.0
    wait_seconds: float = 0.0
    policy: str = scheduling.OTHER
    sleeps: bool = False
    """Whether it serves packets or requests, between which it sleeps, and computes nothing."""


@dataclass(slots=True, kw_only=True)
class Flow:
    """A stream of units (packets, bytes, core-seconds) through the threads that serve it in turn.

    ``number`` is that of its load in the instance. ``stages``: the number of each thread in the instance, and CPU seconds for each
    unit. ``seed`` is that of its load's chance. ``moved`` and ``asked`` are sums of units since the instance started.
    """

    number: int
    load: Load
    seed: int
    stages: tuple[tuple[int, float], ...]
    moved: float = 0.0
    asked: float = 0.0


@dataclass(slots=True)
class Counters:
    """Of the network device and the disk, from the guest's side."""

    tx_packets: float = 0.0
    tx_bytes: float = 0.0
    rx_packets: float = 0.0
    rx_bytes: float = 0.0
    rx_drops: float = 0.0
    read_operations: float = 0.0
    read_bytes: float = 0.0
    read_seconds: float = 0.0
    write_operations: float = 0.0
    write_bytes: float = 0.0
    write_seconds: float = 0.0


@dataclass(slots=True, kw_only=True)
class Instance:
    """A running instance. Made by `start`."""

    spec: InstanceSpec
    pid: int
    start_ticks: int
    own: Group
    threads: list[Thread]
    flows: list[Flow]
    counters: Counters = field(default_factory=Counters)
    state: RunState = RunState.RUNNING
    wanted_seconds: float = 0.0
    """CPU that its threads would have used if nothing had held them back."""

    @property
    def groups(self) -> Iterator[Group]:
        """Its own group and the inner ones."""
        yield self.own
        yield from (thread.group for thread in self.threads)

    @property
    def device(self) -> str:
        """The name of its tap on the host."""
        return f"tap{self.pid}"

    def count(self, load: Load, rate: float, seconds: float, *, demand: float, held_up: bool) -> None:
        """Add what a load moved in ``seconds`` at ``rate`` (units/s) to the counters of its device."""
        units, mine = rate * seconds, self.counters
        if load.kind is LoadKind.NETWORK:
            tx = units * load.forward_ratio
            mine.tx_packets += tx
            mine.tx_bytes += tx * load.unit_bytes
            mine.rx_packets += units - tx
            mine.rx_bytes += (units - tx) * load.unit_bytes
            if load.forward_ratio < 0.5 and held_up:
                mine.rx_drops += (demand - rate) * seconds * (1.0 - load.forward_ratio)
        elif load.kind is LoadKind.BLOCK:
            read = units * load.forward_ratio
            operations = units / load.unit_bytes
            in_flight = QUEUE_DEPTH if held_up else min(QUEUE_DEPTH, operations / seconds * BLOCK_LATENCY_SECONDS)
            mine.read_bytes += read
            mine.write_bytes += units - read
            mine.read_operations += operations * load.forward_ratio
            mine.write_operations += operations * (1.0 - load.forward_ratio)
            mine.read_seconds += in_flight * seconds * load.forward_ratio
            mine.write_seconds += in_flight * seconds * (1.0 - load.forward_ratio)

    def reading(self, monotonic_seconds: float) -> InstanceReading:
        """What sensors see of it."""
        c = self.counters
        return InstanceReading(
            uuid=self.spec.uuid,
            name=self.spec.name,
            pid=self.pid,
            state=self.state,
            vcpus=self.spec.vcpus,
            iothreads=self.spec.iothreads,
            threads=tuple(
                ThreadReading(
                    tid=t.tid,
                    start_ticks=self.start_ticks,
                    role=t.role,
                    index=t.index,
                    run_seconds=t.run_seconds,
                    wait_seconds=t.wait_seconds,
                    policy=t.policy.partition("+")[0],
                )
                for t in self.threads
            ),
            links=(
                LinkReading(
                    name=self.device,
                    tx_packets=int(c.tx_packets),
                    tx_bytes=int(c.tx_bytes),
                    tx_drops=0,
                    rx_packets=int(c.rx_packets),
                    rx_bytes=int(c.rx_bytes),
                    rx_drops=int(c.rx_drops),
                ),
            ),
            disks=(
                DiskReading(
                    name="vda",
                    read_operations=int(c.read_operations),
                    read_bytes=int(c.read_bytes),
                    read_seconds=c.read_seconds,
                    write_operations=int(c.write_operations),
                    write_bytes=int(c.write_bytes),
                    write_seconds=c.write_seconds,
                ),
            ),
            disks_monotonic_seconds=monotonic_seconds,
            groups=tuple(group.reading() for group in self.groups),
            start_ticks=self.start_ticks,
            project=self.spec.project,
            flavor=self.spec.flavor,
        )


def start(
    spec: InstanceSpec, *, number: int, pid: int, start_ticks: int, inodes: "itertools.count[int]", cpus: int, seed: int
) -> Instance:
    """Start an instance: its threads and groups are named as libvirt names them under systemd and cgroup v2."""
    scope = f"{SLICE}/machine-qemu\\x2d{number}\\x2d{spec.name.replace('-', chr(92) + 'x2d')}.scope"
    own = Group(path=scope, role=None, index=0, inode=next(inodes))
    every = tuple(range(cpus))
    roles = [(Role.EMULATOR, 0)]
    roles += [(Role.VCPU, n) for n in range(spec.vcpus)]
    roles += [(Role.IOTHREAD, n + 1) for n in range(spec.iothreads)]
    threads = []
    for n, (role, index) in enumerate(roles):
        name = "emulator" if role is Role.EMULATOR else f"{role.value}{index}"
        group = Group(path=f"{scope}/libvirt/{name}", role=role, index=index, inode=next(inodes), cpus=every)
        task = Task(instance=0, weight=group.weight, bound_cores=1.0, cpus=every, home=(number + n) % cpus)
        threads.append(Thread(tid=pid + n, role=role, index=index, group=group, task=task))
    places = {(role, index): n for n, (role, index) in enumerate(roles)}
    flows = [
        flow
        for n, load in enumerate(spec.loads)
        for flow in _flows(n, load, places, chance.derived(seed, spec.uuid, n), iothreads=spec.iothreads)
    ]
    for place, thread in enumerate(threads):
        kinds = {flow.load.kind for flow in flows if any(n == place for n, _ in flow.stages)}
        thread.sleeps = bool(kinds) and LoadKind.CPU not in kinds
    return Instance(spec=spec, pid=pid, start_ticks=start_ticks, own=own, threads=threads, flows=flows)


def _flows(
    number: int, load: Load, places: dict[tuple[Role, int], int], seed: int, *, iothreads: int
) -> Iterator[Flow]:
    if load.kind is LoadKind.CPU:
        for n in load.vcpus:
            yield Flow(number=number, load=load, seed=seed, stages=((places[Role.VCPU, n], load.vcpu_seconds),))
        return
    serving = (Role.IOTHREAD, 1) if load.kind is LoadKind.BLOCK and iothreads else (Role.EMULATOR, 0)
    vcpu = places[Role.VCPU, load.vcpus[0]]
    stages = ((vcpu, load.vcpu_seconds), (places[serving], load.io_seconds))
    yield Flow(number=number, load=load, seed=seed, stages=stages)
