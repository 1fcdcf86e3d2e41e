"""A small agent in memory, behind the real port's types."""

import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from stella.model.allocation import (
    CpuAllocation,
    Decision,
    HostUsage,
    InstanceDecision,
    Intent,
    ObjectiveReport,
    Outcome,
    Write,
    WriteResult,
)
from stella.model.attainment import Cause, Status
from stella.model.intent import Mode
from stella.model.slo import Metric
from stella.model.snapshot import (
    NO_THROTTLE,
    GroupReading,
    HostReading,
    InstanceReading,
    LinkReading,
    Quota,
    Role,
    RunState,
    SensorReading,
    Snapshot,
    ThreadReading,
    Throttle,
)
from stella.model.target import cgroup_target
from stella.model.wire import Json
from stella.xgos.accounting.history import History
from stella.xgos.accounting.outbox import Outbox
from stella.xgos.accounting.violations import ViolationLog
from stella.xgos.host_files import InstanceGone
from stella.xgos.intents.changes import Accepted, Refused, SloChange
from stella.xgos.intents.store import IntentStore
from stella.xgos.line_log import LineWriter
from stella.xgos.local_api.agent_api import AgentCounters, LinkStatus, Published

NOW = 1_790_000_000
VM1, VM2, TWIN = (f"00000000-0000-4000-8000-00000000000{n}" for n in "123")
ODD_NAME = "$(reboot); `id` && rm -rf /"


def report(
    status: Status = Status.MET,
    *,
    metric: Metric = Metric.CPU,
    kind: str = "floor",
    usage: float | None = 0.5,
    cause: Cause | None = None,
) -> ObjectiveReport:
    return ObjectiveReport(metric=metric, kind=kind, value=0.5, usage=usage, demand=0.75, status=status, cause=cause)


def thread(tid: int, role: Role, run: float = 1.0, wait: float = 0.5) -> ThreadReading:
    return ThreadReading(tid=tid, start_ticks=7, role=role, index=0, run_seconds=run, wait_seconds=wait)


def reading(uuid: str, name: str, threads: tuple[ThreadReading, ...] | None = None) -> InstanceReading:
    return InstanceReading(
        uuid=uuid,
        name=name,
        pid=4242,
        state=RunState.RUNNING,
        vcpus=2,
        iothreads=1,
        threads=threads if threads is not None else (thread(1, Role.VCPU), thread(2, Role.EMULATOR)),
        links=(
            LinkReading(name="tap0", tx_packets=1, tx_bytes=2, tx_drops=3, rx_packets=4, rx_bytes=5, rx_drops=6),
        ),
        disks=None,
        disks_monotonic_seconds=None,
        groups=(
            GroupReading(
                path="machine/vm1", role=None, index=0, weight=1024, quota=Quota(quota_us=None, period_us=100000),
                throttled_seconds=0.1,
            ),
        ),
        project="p1",
    )  # fmt: skip


def decision_of(uuid: str, name: str, *objectives: ObjectiveReport) -> InstanceDecision:
    return InstanceDecision(
        uuid=uuid,
        name=name,
        managed=bool(objectives),
        frozen=False,
        cpu=CpuAllocation(reservation_cores=0.3, allocation_cores=0.9, io_ratio=0.4, vcpu_ceilings_cores=(None, 0.5)),
        usage_cores=0.5,
        demand_cores=0.75,
        starved_ratio=0.1,
        objectives=objectives,
        reason="floor of cpu",
    )


def make_published(intents: Mapping[str, Intent]) -> Published:
    instances = ((VM1, "vm1"), (VM2, "twin"), (TWIN, "twin"), (VM2[:-1] + "9", ODD_NAME))
    snapshot = Snapshot(
        monotonic_seconds=12.25,
        wall_seconds=NOW + 0.1,
        host=HostReading(
            cores=2, busy_seconds=1.0, idle_seconds=2.0, softirq_seconds=0.1, steal_seconds=0.0, cgroup_version=1, parents=()
        ),
        instances=tuple(reading(uuid, name) for uuid, name in instances),
        sensors=(
            SensorReading(name="cpu", ok=True, duration_seconds=0.001),
            SensorReading(name="block", ok=False, duration_seconds=0.2, error="timed out"),
        ),
    )  # fmt: skip
    missed = report(Status.VIOLATED, metric=Metric.NETWORK_PACKETS, usage=1.5, cause=Cause.CPU)
    decisions = [decision_of(uuid, name, *((report(), missed) if uuid == VM1 else ())) for uuid, name in instances]
    write = Write(target=cgroup_target("/cgroup", "x"), value="2", previous="1", reason="floor")
    outcome = Outcome(write=write, result=WriteResult.WRITTEN)
    counters = AgentCounters()
    for duration in (0.003, 0.02, 3.0):
        counters = counters.after_tick(
            duration_seconds=duration, late=duration > 1, snapshot=snapshot, outcomes=(outcome,), reasserted_writes=1
        )
    return Published(
        mode=Mode.ENFORCE,
        snapshot=snapshot,
        decision=Decision(
            monotonic_seconds=12.25,
            wall_seconds=NOW + 0.1,
            host=HostUsage(
                cores=2, busy_cores=1.5, instances_cores=1.0, overhead_cores=0.5, softirq_cores=0.1, steal_cores=0.0
            ),
            instances=tuple(decisions),
            parent_weight_factor=None,
        ),
        outcomes=(outcome,),
        intents=intents,
        counters=counters,
        capacity_cpu_cores=1.8,
        host_reserved_cpu_cores=0.1,
        costs={VM1: {"network_packets": 2.0e-5}},
    )


class FakePort:
    """Admits up to 1.8 cores; each floor of CPU costs itself."""

    def __init__(self, directory: Path) -> None:
        self.writer = LineWriter()
        self.store = IntentStore(directory / "intents.json")
        self.history = History(directory / "history", self.writer, now_seconds=NOW, background=False)
        self.violations = ViolationLog(directory / "violations.jsonl", self.writer)
        self.outbox = Outbox(directory / "outbox", background=False)
        self.ready = True
        self.link = LinkStatus(
            url="https://stella.example.org",
            host_name="host1",
            mode="enforce",
            revision=417,
            last_intent_seconds=NOW,
            last_report_seconds=NOW,
        )

    def published(self) -> Published | None:
        return make_published(self.store.intents) if self.ready else None

    def link_status(self) -> LinkStatus | None:
        return self.link

    def change_slo(self, uuid: str, change: SloChange, *, dry_run: bool) -> Accepted:
        slo = change(self.store.slo(uuid))
        if slo is None:
            generation = 0 if dry_run else (self.store.unset(uuid) or 0)
            return Accepted(uuid=uuid, slo=None, generation=generation, reserved_cpu_cores=0.0, estimated=False)
        needed = slo.floor(Metric.CPU)
        if needed > 1.8:
            raise Refused("cpu.floor", "does not fit on this host", {Metric.CPU: 1.8})
        if dry_run:
            return Accepted(uuid=uuid, slo=slo, generation=0, reserved_cpu_cores=needed, estimated=True)
        intent = self.store.set(uuid, slo, reserved_cpu_cores=needed, estimated=True)
        self.store.save()
        return Accepted(uuid=uuid, slo=slo, generation=intent.generation, reserved_cpu_cores=needed, estimated=True)

    def calibrate(self) -> Mapping[str, Json]:
        return {"io_per_packet_seconds": 1.1e-5}


@pytest.fixture
def port(tmp_path: Path) -> Iterator[FakePort]:
    fake = FakePort(tmp_path)
    yield fake
    fake.writer.close()


@pytest.fixture
def writer() -> Iterator[LineWriter]:
    made = LineWriter()
    yield made
    made.close()


__all__ = ["FakePort", "replace"]


class Guarded:
    """A guard that is well."""

    alive = True

    def ensure(self, _now: float) -> bool:
        return True

    def beat(self) -> bool:
        return True


class ThrottleSetter:
    """A hypervisor in memory; ``gate`` closed: it does not answer for instance a."""

    def __init__(self) -> None:
        self.held: dict[tuple[str, str], Throttle] = {}
        self.sets: list[tuple[str, Throttle]] = []
        self.fails: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()

    def set(self, uuid: str, disk: str, throttle: Throttle) -> None:
        if uuid == "a":
            self.gate.wait(20)
        if self.fails:
            raise self.fails
        self.sets.append((uuid, throttle))
        self.held[uuid, disk] = throttle

    def read(self, uuid: str, disk: str) -> Throttle:
        if uuid == "gone":
            raise InstanceGone("gone")
        return self.held.get((uuid, disk), NO_THROTTLE)

    def close(self) -> None:
        pass
