"""Whole ticks of the law, plan, journal and release over disks on one back end; statistics come slower than ticks.

Storage is a model: it carries so much, and serves all that ask alike. What limits hold is what a hypervisor in memory was told.
"""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stella.control.capabilities import capabilities, missing
from stella.control.memory import Memory, Settings
from stella.control.tick import decide
from stella.linux.block_throttle import before_stella
from stella.model.allocation import Intent
from stella.model.attainment import Cause, Status
from stella.model.slo import parse_slo
from stella.model.snapshot import (
    NO_THROTTLE,
    BlockBackend,
    DiskReading,
    HostReading,
    InstanceReading,
    Role,
    RunState,
    Snapshot,
    ThreadReading,
)
from stella.model.target import TargetKind
from stella.xgos.actuation.actuators import Actuators
from stella.xgos.actuation.apply import Apply
from stella.xgos.actuation.audit import Audit
from stella.xgos.actuation.disk_throttles import DiskActuator
from stella.xgos.actuation.host import HostActuation
from stella.xgos.actuation.journal import Journal
from stella.xgos.actuation.restore import restore
from stella.xgos.block_throttles import BlockThrottles
from stella.xgos.host_files import HostFiles
from tests.unit.xgos.conftest import Guarded, ThrottleSetter

MB = 1e6
CAPACITY, TICK_SECONDS, EVERY = 100 * MB, 0.25, 2
BACKEND = BlockBackend(name="ssd", sources=("/x",), capacity_bytes_per_second=CAPACITY)
UUIDS = tuple(f"00000000-0000-4000-8000-00000000000{n}" for n in (1, 2, 3))


class Host:
    def __init__(self, directory: Path, *slos: dict[str, object]) -> None:
        self.setter = ThrottleSetter()
        self.throttles = BlockThrottles(lambda: self.setter)
        for n, uuid in enumerate(UUIDS):
            task = directory / "proc" / str(n + 1) / "task" / str(n + 1)
            task.mkdir(parents=True)
            (task / "stat").write_text(f"{n + 1} (qemu) S " + " ".join(["1"] * 18) + " 7 " + " ".join(["1"] * 30))
            self.setter.held[uuid, "vda"] = NO_THROTTLE
        self.reach: Actuators = {TargetKind.DISK: DiskActuator(HostFiles(str(directory)), self.throttles)}
        self.apply = Apply(self.reach, Journal(str(directory / "journal")), Audit(directory / "audit"))
        self.actuation = HostActuation(self.apply, Guarded(), observe=False)
        self.slos = {uuid: parse_slo(slo) for uuid, slo in zip(UUIDS, slos, strict=False) if slo}
        self.wants, self.got, self.counts = [0.0] * 3, [0.0] * 3, [0.0] * 3
        self.memory, self.now, self.ticks, self.latency = Memory(), 100.0, 0, 0.001
        self.seconds = [0.0] * 3
        self.shown: list[tuple[float, float, float]] = [(0.0, 0.0, 0.0)] * 3
        self.reports: dict[str, tuple[Status, Cause | None]] = {}
        self.writes = 0

    def limit(self, n: int) -> float:
        return self.setter.held[UUIDS[n], "vda"].limit("total_bytes_sec") or float("inf")

    def tick(self, count: int = 1) -> None:
        for _ in range(count):
            self._tick()

    def _tick(self) -> None:
        asked = [min(want, self.limit(n)) for n, want in enumerate(self.wants)]
        load = sum(asked) / CAPACITY
        self.got = [one / max(1.0, load) for one in asked]
        self.latency = 0.001 * (1 + 10 * min(load, 2.0) ** 2)
        for n, got in enumerate(self.got):
            self.counts[n] += got * TICK_SECONDS
            waiting = 2.0 if self.wants[n] > got * 1.01 else got / 65536 * self.latency
            self.seconds[n] += waiting * TICK_SECONDS
        self.now += TICK_SECONDS
        self.ticks += 1
        snapshot = self.actuation.bounds(self.snapshot())
        intents = {
            uuid: Intent(uuid=uuid, slo=slo, generation=1, reserved_cpu_cores=0.1, estimated=False)
            for uuid, slo in self.slos.items()
        }
        decision, _, self.memory = decide(snapshot, intents, self.memory, Settings())
        self.reports = {i.uuid: (o.status, o.cause) for i in decision.instances for o in i.objectives}
        outcomes, _ = self.actuation.act(snapshot, decision)
        assert [o.error for o in outcomes if o.error] == []
        self.writes += len(outcomes)
        self.throttles.drain(5)

    def snapshot(self) -> Snapshot:
        host = HostReading(
            cores=8, busy_seconds=self.now, idle_seconds=7 * self.now, softirq_seconds=0, steal_seconds=0, cgroup_version=1,
            throttles_lack="", block_backends=(BACKEND,),
        )  # fmt: skip
        assert all(missing(slo, capabilities(host)) is None for slo in self.slos.values())
        return Snapshot(
            monotonic_seconds=self.now, wall_seconds=self.now, host=host, instances=tuple(map(self.instance, range(3)))
        )

    def instance(self, n: int) -> InstanceReading:
        if self.ticks % EVERY == 0:
            self.shown[n] = (self.now, self.counts[n], self.seconds[n])
        at, count, seconds = self.shown[n]
        throttle = self.throttles.sensed(UUIDS[n], "vda", self.setter.held[UUIDS[n], "vda"], time.monotonic())
        disk = DiskReading(
            name="vda", read_operations=int(count / 65536), read_bytes=int(count), read_seconds=seconds, write_operations=0,
            write_bytes=0, write_seconds=0, throttle=throttle, allowed_throttle=before_stella(throttle) or throttle,
            backend="ssd",
        )  # fmt: skip
        threads = tuple(
            ThreadReading(tid=tid, start_ticks=7, role=role, index=0, run_seconds=self.now * 0.2, wait_seconds=0.0)
            for tid, role in ((n + 1, Role.EMULATOR), (n + 11, Role.VCPU))
        )
        return InstanceReading(
            uuid=UUIDS[n], name=f"vm{n}", pid=n + 1, state=RunState.RUNNING, vcpus=1, iothreads=0, threads=threads, links=(),
            disks=(disk,), disks_monotonic_seconds=at, groups=(), start_ticks=0,
        )  # fmt: skip


@pytest.fixture
def made(tmp_path: Path) -> Iterator[list[Host]]:
    hosts: list[Host] = []
    yield hosts
    for host in hosts:
        host.throttles.close()


def test_a_floor_is_whole_within_a_second_lent_and_back_and_restraints_are_lifted(
    made: list[Host], tmp_path: Path
) -> None:
    host = Host(tmp_path, {"block_bytes": {"floor": 60 * MB}})
    made.append(host)
    host.wants = [60 * MB, 300 * MB, 300 * MB]
    host.tick(8)
    assert host.got[0] >= 0.99 * 60 * MB
    written = host.writes
    host.tick(20)
    assert host.got[0] >= 0.99 * 60 * MB and host.writes <= written + 2, "limits stand still"
    assert host.reports[UUIDS[0]] == (Status.MET, None) and sum(host.got) >= 0.8 * CAPACITY
    host.wants[0] = 0.0
    host.tick(8)
    assert host.got[1] + host.got[2] >= 0.85 * CAPACITY
    host.wants[0] = 60 * MB
    host.tick(6)
    assert host.got[0] >= 0.99 * 60 * MB
    assert restore(host.reach, host.apply.journal.entries, temporary_only=True), "the guard has what to lift"
    assert set(host.setter.held.values()) == {NO_THROTTLE}
    host.wants = [MB, MB, MB]
    host.tick(16)
    assert set(host.setter.held.values()) == {NO_THROTTLE}, "nobody is limited once there is room"


def test_a_ceiling_stays_below_and_a_weight_counts(made: list[Host], tmp_path: Path) -> None:
    host = Host(tmp_path, {"block_bytes": {"ceiling": 20 * MB}}, {"block_bytes": {"weight": 3}})
    made.append(host)
    host.wants = [300 * MB] * 3
    host.tick(24)
    assert host.limit(0) <= 20 * MB and host.got[0] <= 20 * MB
    assert host.got[1] / host.got[2] == pytest.approx(3, rel=0.1)
    host.apply.release(0.0)
    assert set(host.setter.held.values()) == {NO_THROTTLE}


def test_a_latency_target_is_met_beside_a_flood(made: list[Host], tmp_path: Path) -> None:
    host = Host(tmp_path, {"block_latency": {"target": "5ms"}})
    made.append(host)
    host.wants = [5 * MB, 300 * MB, 0.0]
    host.tick(2)
    assert host.latency > 0.02
    host.tick(60)
    found = []
    for _ in range(40):
        host.tick()
        found.append(host.latency <= 0.005 * 1.06)
    assert sum(found) >= 0.85 * len(found)
    assert host.got[0] == 5 * MB and host.got[1] >= 0.25 * CAPACITY
