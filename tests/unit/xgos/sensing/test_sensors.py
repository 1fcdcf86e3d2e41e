"""Sensing, on recorded hosts and on trees that change under it."""

import json
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from stella.model.snapshot import DiskReading, Role, RunState, Snapshot
from stella.xgos.actuation.actuators import actuators
from stella.xgos.actuation.journal import Journal
from stella.xgos.actuation.restore import release
from stella.xgos.host_files import Broken, HostFiles, Unavailable
from stella.xgos.process.own_group import AlreadyRunning, HostLock, reserve
from stella.xgos.sensing.block_workers import BlockWorkers
from stella.xgos.sensing.discovery import Discovery
from stella.xgos.sensing.groups import find_hierarchy
from stella.xgos.sensing.hypervisor import Domain, RecordedHypervisor, choose_process, find_processes, read_disks
from stella.xgos.sensing.sensors import Sensors, open_sensors

HOSTS = Path(__file__).parents[3] / "fixtures" / "hosts"
ALL = ("v1-libvirt9", "v2-systemd")
DISK = DiskReading(
    name="vda",
    read_operations=1,
    read_bytes=1,
    read_seconds=1,
    write_operations=0,
    write_bytes=0,
    write_seconds=0,
)


class Clock:
    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def copied(tmp_path: Path) -> Callable[[str], Path]:
    def copy(name: str) -> Path:
        return Path(shutil.copytree(HOSTS / name, tmp_path / name))

    return copy


def sense(root: Path, clock: Clock) -> tuple[Sensors, Snapshot]:
    sensors = open_sensors(str(root), monotonic=clock, wall=lambda: 1.0)
    return sensors, sensors.sense()


@pytest.mark.parametrize("name", ALL)
def test_recorded_hosts_are_seen_whole(name: str, clock: Clock) -> None:
    _, seen = sense(HOSTS / name, clock)
    assert all(sensor.ok for sensor in seen.sensors), seen.sensors
    assert seen.instances and seen.host.cores == 2 and seen.host.busy_seconds > 0
    assert seen.host.cgroup_version == (1 if name.startswith("v1") else 2)
    assert len(seen.host.parents) == 1
    for each in seen.instances:
        assert each.threads and each.groups and each.links and each.state is RunState.RUNNING
        assert sum(t.role is Role.VCPU for t in each.threads) == each.vcpus
        assert sum(t.role is Role.IOTHREAD for t in each.threads) == each.iothreads
        own = each.group(None)
        assert own is not None and own.path.startswith(seen.host.parents[0].path + "/")
        assert each.group(Role.EMULATOR) and all(each.group(Role.VCPU, n) for n in range(each.vcpus))
        assert all(t.run_seconds > 0 for t in each.threads if t.role is Role.VCPU)
    assert any(each.disks for each in seen.instances)


def test_a_thread_that_ends_is_forgotten_and_a_new_one_found(copied: Callable[[str], Path], clock: Clock) -> None:
    root = copied("v1-libvirt9")
    sensors, seen = sense(root, clock)
    one = seen.instances[0]
    task = root / f"proc/{one.pid}/task"
    shutil.copytree(task / str(one.pid), task / "999999")
    (task / "999999/comm").write_text("CPU 9/TCG\n")
    clock.seconds += 1.1
    threads = sensors.sense().instances[0].threads
    assert threads and any(t.tid == 999999 and (t.role, t.index) == (Role.VCPU, 9) for t in threads)
    shutil.rmtree(task / "999999")
    clock.seconds += 1.1
    threads = sensors.sense().instances[0].threads
    assert threads and all(t.tid != 999999 for t in threads)


def test_an_instance_that_vanishes_is_not_shown(copied: Callable[[str], Path], clock: Clock) -> None:
    root = copied("v1-libvirt9")
    sensors, seen = sense(root, clock)
    shutil.rmtree(root / f"proc/{seen.instances[0].pid}")
    clock.seconds += 1.1
    after = sensors.sense()
    assert [i.uuid for i in after.instances] == [i.uuid for i in seen.instances[1:]]
    hypervisor = json.loads((root / "hypervisor.json").read_text())
    (root / "hypervisor.json").write_text(json.dumps({"domains": hypervisor["domains"][:0]}))
    assert sensors.sense().instances == ()


def test_hot_plugged_groups_are_found(copied: Callable[[str], Path], clock: Clock) -> None:
    root = copied("v1-libvirt9")
    sensors, seen = sense(root, clock)
    own = seen.instances[0].group(None)
    assert own
    directory = root / ("sys/fs/cgroup/cpu" + own.path)
    shutil.copytree(directory / "vcpu0", directory / "vcpu7")
    clock.seconds += 1.1
    assert sensors.sense().instances[0].group(Role.VCPU, 7)
    shutil.rmtree(directory / "vcpu7")
    clock.seconds += 1.1
    assert not sensors.sense().instances[0].group(Role.VCPU, 7)


@pytest.mark.parametrize(
    ("path", "sensor"),
    [("links.json", "network"), ("hypervisor.json", "hypervisor")],
)
def test_a_failed_sensor_gives_none_and_says_so(
    copied: Callable[[str], Path], clock: Clock, path: str, sensor: str
) -> None:
    root = copied("v2-systemd")
    sensors, _ = sense(root, clock)
    (root / path).write_text("{")
    seen = sensors.sense()
    assert next(s.name for s in seen.sensors if not s.ok) == sensor
    assert len(seen.instances) == 2  # still known
    if sensor == "network":
        assert all(each.links is None for each in seen.instances)
    else:
        clock.seconds += 3.0
        assert [each.disks for each in sensors.sense().instances] == [(), None]  # the first has no disk at all


def test_lost_groups_and_process_stat_give_none(copied: Callable[[str], Path], clock: Clock) -> None:
    root = copied("v1-libvirt9")
    sensors, seen = sense(root, clock)
    pid = seen.instances[0].pid
    (root / f"proc/{pid}/cgroup").write_text("3:cpu:/\n")
    (root / "proc/stat").write_text("")
    clock.seconds += 1.1
    after = sensors.sense()
    assert after.instances[0].groups is None and after.instances[0].threads
    assert {s.name for s in after.sensors if not s.ok} == {"groups", "host"}
    assert after.host.cores == 2


def test_migration_freezes(copied: Callable[[str], Path], clock: Clock) -> None:
    root = copied("v1-libvirt9")
    pid = json.loads((root / "hypervisor.json").read_text())["domains"][0]["pid"]
    shutil.copytree(root / f"proc/{pid}/task/{pid}", root / f"proc/{pid}/task/4000000")
    (root / f"proc/{pid}/task/4000000/comm").write_text("live_migration\n")
    _, seen = sense(root, clock)
    assert seen.instances[0].state is RunState.MIGRATING


def test_roles_from_groups_where_threads_have_no_names(copied: Callable[[str], Path], clock: Clock) -> None:
    root = copied("v1-libvirt9")
    _, named = sense(root, clock)
    one = named.instances[0]
    for thread in one.threads or ():
        (root / f"proc/{one.pid}/task/{thread.tid}/comm").write_text("qemu-kvm\n")
    _, seen = sense(root, clock)
    roles = [[(t.tid, t.role, t.index) for t in each.threads or ()] for each in (one, seen.instances[0])]
    assert roles[0] == roles[1]


def test_vhost_kernel_threads_belong_to_the_instance(copied: Callable[[str], Path], clock: Clock) -> None:
    root = copied("v1-libvirt9")
    _, seen = sense(root, clock)
    one = seen.instances[0]
    group = one.group(Role.EMULATOR)
    assert group
    for tid, comm in ((700001, f"vhost-{one.pid}"), (700002, "somebody")):
        task = root / f"proc/{tid}/task/{tid}"
        shutil.copytree(root / f"proc/{one.pid}/task/{one.pid}", task)
        (task / "comm").write_text(f"{comm}\n")
    tasks = root / ("sys/fs/cgroup/cpu" + group.path) / "tasks"
    tasks.write_text(tasks.read_text() + "700001\n700002\n")
    _, after = sense(root, clock)
    extra = [t for t in after.instances[0].threads or () if t.tid >= 700000]
    assert [(t.tid, t.role) for t in extra] == [(700001, Role.VHOST)]


def test_hierarchies_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(Broken):
        find_hierarchy(HostFiles(str(tmp_path)))
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/mountinfo").write_text("41 31 0:38 / /cg rw - cgroup2 cgroup2 rw\n")
    (tmp_path / "cg").mkdir()
    (tmp_path / "cg/cgroup.controllers").write_text("memory\n")
    with pytest.raises(Broken, match="no cgroup hierarchy"):
        find_hierarchy(HostFiles(str(tmp_path)))
    (tmp_path / "cg/cgroup.controllers").write_text("cpu memory\n")
    assert find_hierarchy(HostFiles(str(tmp_path))).version == 2


def test_the_process_of_a_uuid(tmp_path: Path) -> None:
    for pid, directory in ((10, "domain-1-a"), (11, "domain-2-a")):
        (tmp_path / f"proc/{pid}").mkdir(parents=True)
        words = ["qemu", "-uuid", "AA", f"file=/var/lib/libvirt/qemu/{directory}/master-key.aes"]
        (tmp_path / f"proc/{pid}/cmdline").write_text("\0".join(words))
    files = HostFiles(str(tmp_path))
    found = find_processes(files, frozenset({"aa"}))
    assert sorted(found["aa"]) == [10, 11]
    assert choose_process(files, found["aa"], 2, "a") == 11
    assert choose_process(files, found["aa"], 3, "a") is None
    assert choose_process(files, [], 1, "a") is None


def test_block_records() -> None:
    record = {"block.count": 2, "block.0.name": "vda", "block.0.rd.reqs": 5, "block.0.rd.times": 2 * 10**9}
    record |= {"block.1.name": "vda", "block.1.backingIndex": 3}
    disks = read_disks(record)
    assert disks and len(disks) == 1 and disks[0].read_seconds == 2.0
    assert read_disks({"block.count": 1, "block.0.name": "vda"}) is None  # its monitor was busy


def wait_for(condition: Callable[[], object]) -> None:
    """Spin until other threads have done it (pytest's own limit ends what never comes)."""
    while not condition():
        os.sched_yield()


def test_a_stuck_monitor_delays_nobody_else(clock: Clock) -> None:
    files = HostFiles(str(HOSTS / "v1-libvirt9"))
    let_go = threading.Event()

    class Stuck(RecordedHypervisor):
        def block_statistics(self, uuids: tuple[str, ...]) -> dict[str, tuple[DiskReading, ...]]:
            if "stuck" in uuids:
                let_go.wait(10)
                raise Unavailable("it was stuck")
            return {uuid: (DISK,) for uuid in uuids}

    workers = BlockWorkers(lambda: Stuck(files), monotonic=clock, interval_seconds=0.25)
    try:
        workers.watch(frozenset({"stuck", "a", "b"}))
        wait_for(lambda: {"a", "b"} <= workers.seen()[0].keys())
        for _ in range(5):
            clock.seconds += 1.1
            workers.watch(frozenset({"stuck", "a", "b"}))
            wait_for(lambda: all(workers.seen()[0][uuid].monotonic_seconds == clock.seconds for uuid in ("a", "b")))
        assert "stuck" not in workers.seen()[0] and not workers.answered()
    finally:
        let_go.set()
        workers.close()


def test_a_stuck_list_never_blocks(clock: Clock) -> None:
    files = HostFiles(str(HOSTS / "v1-libvirt9"))
    let_go = threading.Event()
    made: list[object] = []

    class Stuck(RecordedHypervisor):
        def domains(self) -> tuple[Domain, ...]:
            if len(made) == 1:
                let_go.wait(10)
            return super().domains()

    def connect() -> Stuck:
        made.append(None)
        return Stuck(files)

    discovery = Discovery(connect, connect_worker=lambda: RecordedHypervisor(files), monotonic=clock)
    try:
        wait_for(lambda: discovery.seen() and discovery._call_since is not None)
        assert discovery.seen().domains_error == "not asked yet"
        clock.seconds += 5.0
        wait_for(lambda: discovery.seen().domains and discovery.seen().disks)
        assert discovery.seen().domains_error == "" and len(made) == 2
    finally:
        let_go.set()
        discovery.close()


def test_reservation_and_lock(copied: Callable[[str], Path]) -> None:
    root = copied("v1-libvirt9")
    files = HostFiles(str(root))
    hierarchy = find_hierarchy(files)
    lock = HostLock(files, hierarchy)
    with pytest.raises(AlreadyRunning):
        HostLock(files, hierarchy)
    lock.close()
    HostLock(files, hierarchy).close()
    journal = Journal.load(str(root / "journal"))
    v2 = HostFiles(str(HOSTS / "v2-systemd"))
    assert "service manager" in reserve(v2, find_hierarchy(v2), journal, pid=1)
    assert journal.entries == ()
    assert release(actuators(files), journal) == ()


def test_a_wait_is_counted_while_it_lasts_and_once_only(copied: Callable[[str], Path], clock: Clock) -> None:
    root = copied("v2-systemd")
    sensors, first = sense(root, clock)
    instance = first.instances[0]
    assert instance.threads
    thread = next(t for t in instance.threads if t.role is Role.VCPU)
    (directory,) = root.glob(f"proc/*/task/{thread.tid}")
    stat = (directory / "stat").read_text()
    name_end = stat.rindex(")") + 2

    def wait_seconds() -> float:
        clock.seconds += 0.25
        seen = sensors.sense().instance(instance.uuid)
        assert seen and seen.threads
        return next(t.wait_seconds for t in seen.threads if t.tid == thread.tid) - thread.wait_seconds

    (directory / "stat").write_text(stat[:name_end] + "S" + stat[name_end + 1 :])
    assert wait_seconds() == 0
    (directory / "stat").write_text(stat[:name_end] + "R" + stat[name_end + 1 :])
    assert wait_seconds() == pytest.approx(0.25)
    assert wait_seconds() == pytest.approx(0.5)
    clock.seconds += 10
    assert wait_seconds() == pytest.approx(10.75)  # however long it takes
    run, wait, slices = (int(word) for word in (directory / "schedstat").read_text().split())
    (directory / "schedstat").write_text(f"{run + 1_000_000} {wait + 11_000_000_000} {slices + 1}\n")
    assert wait_seconds() == pytest.approx(11.0)
    clock.seconds += 10
    assert wait_seconds() == pytest.approx(11.0)
