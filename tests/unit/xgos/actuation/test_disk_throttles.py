"""Throttles of disks through plan, journal, apply, guard's lifting and release; what others set comes back."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from stella.linux.block_throttle import before_stella, parse_throttle, show_throttle
from stella.model.allocation import CpuAllocation, Decision, DiskAllocation, HostUsage, InstanceDecision
from stella.model.snapshot import DiskReading, HostReading, Snapshot, Throttle
from stella.model.target import TargetKind, disk_target
from stella.xgos.actuation.actuators import actuators
from stella.xgos.actuation.apply import Apply
from stella.xgos.actuation.audit import Audit
from stella.xgos.actuation.disk_throttles import DiskActuator
from stella.xgos.actuation.host import HostActuation
from stella.xgos.actuation.journal import Journal
from stella.xgos.actuation.journal_text import parse_entry, show_entry
from stella.xgos.actuation.restore import restore
from stella.xgos.block_throttles import BlockThrottles
from stella.xgos.host_files import HostFiles
from tests.unit.xgos.conftest import VM1, Guarded, ThrottleSetter, reading

OPERATORS = Throttle(limits=(("total_bytes_sec", 5_000_000),), group="gold")
CEILING = Throttle(limits=(("total_bytes_sec", 3_000_000),))
SHARE = Throttle(limits=(("total_bytes_sec", 1_000_000),))
PID = 4242


class Host:
    """One instance with one disk; what libvirt tells is what the setter holds."""

    def __init__(self, directory: Path, setter: ThrottleSetter) -> None:
        task = directory / "proc" / str(PID) / "task" / str(PID)
        task.mkdir(parents=True)
        (task / "stat").write_text(f"{PID} (qemu) S " + " ".join(["1"] * 18) + " 777 " + " ".join(["1"] * 30))
        self.setter, self.files, self.now = setter, HostFiles(str(directory)), 100.0
        self.throttles = BlockThrottles(lambda: setter)
        self.reach = {**actuators(self.files), TargetKind.DISK: DiskActuator(self.files, self.throttles)}
        self.journal = Journal(str(directory / "journal"))
        self.apply = Apply(self.reach, self.journal, Audit(directory / "audit"))
        self.actuation = HostActuation(self.apply, Guarded(), observe=False)

    def holds(self) -> Throttle:
        return self.setter.read(VM1, "vda")

    def tick(self, limit: Throttle | None = None, ceiling: Throttle | None = None, *, frozen: bool = False) -> int:
        self.now += 0.25
        throttle = self.throttles.sensed(VM1, "vda", self.holds(), time.monotonic())
        before = before_stella(throttle)
        disk = DiskReading(
            name="vda", read_operations=0, read_bytes=0, read_seconds=0, write_operations=0, write_bytes=0,
            write_seconds=0, throttle=throttle, allowed_throttle=throttle if before is None else before,
        )  # fmt: skip
        seen = replace(reading(VM1, "vm1"), pid=PID, start_ticks=777, disks=(disk,), groups=None, threads=(), links=())
        host = HostReading(
            cores=1, busy_seconds=0, idle_seconds=0, softirq_seconds=0, steal_seconds=0, cgroup_version=1
        )
        snapshot = self.actuation.bounds(
            Snapshot(monotonic_seconds=self.now, wall_seconds=self.now, host=host, instances=(seen,))
        )
        self.allowed = snapshot.instances[0].disks[0].allowed_throttle  # type: ignore[index]
        block = (
            () if limit is None else (DiskAllocation(disk="vda", unit="vda", limit=limit, ceiling=ceiling or limit),)
        )
        usage = HostUsage(cores=1, busy_cores=0, instances_cores=0, overhead_cores=0, softirq_cores=0, steal_cores=0)
        one = InstanceDecision(
            uuid=VM1, name="vm1", managed=True, frozen=frozen, usage_cores=0, demand_cores=0, starved_ratio=0,
            cpu=CpuAllocation(reservation_cores=0, allocation_cores=0, io_ratio=0), objectives=(), reason="", block=block,
        )  # fmt: skip
        decision = Decision(
            monotonic_seconds=self.now, wall_seconds=self.now, host=usage, instances=(one,), parent_weight_factor=None
        )
        outcomes, reasserted = self.actuation.act(snapshot, decision)
        assert [o.error for o in outcomes if o.error] == [] and reasserted == 0
        for _ in outcomes:
            self.throttles.settle(VM1, "vda", time.monotonic() + 5)
        return len(outcomes)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    setter = ThrottleSetter()
    setter.held[VM1, "vda"] = OPERATORS
    made = Host(tmp_path, setter)
    yield made
    made.throttles.close()


def limits(throttle: Throttle) -> dict[str, int]:
    return dict(throttle.limits)


def test_a_ceiling_is_set_once_and_release_gives_the_operators_back(host: Host) -> None:
    assert host.tick(CEILING) == 1 and limits(host.holds()) == limits(CEILING)
    assert before_stella(host.holds()) == OPERATORS and host.allowed == OPERATORS
    assert [host.tick(CEILING) for _ in range(3)] == [0, 0, 0]
    assert restore(host.reach, host.journal.entries, temporary_only=True) == (), "a ceiling is no restraint"
    (released,) = host.apply.release(0.0)
    assert not released.error and host.holds() == OPERATORS and host.journal.entries == ()


def test_a_lifted_share_leaves_the_ceiling_and_release_the_original(host: Host) -> None:
    host.tick(CEILING)
    assert host.tick(SHARE, CEILING) == 1 and limits(host.holds()) == limits(SHARE)
    assert host.tick(Throttle(limits=(("total_bytes_sec", 1_020_000),)), CEILING) == 0, "close enough"
    (entry,) = host.journal.entries
    assert parse_entry(show_entry(entry)) == entry and entry.fallback is not None
    (lifted,) = restore(host.reach, host.journal.entries, temporary_only=True)
    assert not lifted.error and limits(host.holds()) == limits(CEILING)
    host.now += 3  # as after a silence in which the guard lifted
    assert host.tick(SHARE, CEILING) == 1
    assert host.tick(CEILING, CEILING, frozen=True) == 1 and limits(host.holds()) == limits(CEILING)
    assert host.tick(None) == 1 and host.holds() == OPERATORS
    host.apply.release(0.0)
    assert host.holds() == OPERATORS


def test_what_an_operator_sets_meanwhile_is_adopted(host: Host) -> None:
    host.tick(CEILING)
    theirs = Throttle(limits=(("total_bytes_sec", 2_000_000),))
    host.setter.held[VM1, "vda"] = replace(theirs, group=host.holds().group)  # virsh leaves the group as it is
    host.tick(theirs, theirs)
    assert host.allowed == theirs
    host.apply.release(0.0)
    assert host.holds() == theirs


def test_a_throttle_that_came_with_a_migration_is_known(host: Host) -> None:
    host.tick(CEILING)
    entries = host.journal.entries
    host.journal.forget([e.target for e in entries])  # the journal stayed on the other host
    assert host.tick(CEILING) == 1 and host.allowed == OPERATORS
    (entry,) = host.journal.entries
    assert entry.original == show_throttle(OPERATORS)
    assert host.tick(None) == 1 and host.holds() == OPERATORS


def test_another_process_is_not_written(host: Host) -> None:
    host.tick(CEILING)
    target = disk_target(PID, "vda", instance=VM1)
    entry = host.journal.entry(target)
    assert entry is not None
    (result,) = restore(host.reach, [replace(entry, identity="1")])
    assert result.gone and limits(host.holds()) == limits(CEILING)
    assert parse_throttle(entry.original or "") == OPERATORS
