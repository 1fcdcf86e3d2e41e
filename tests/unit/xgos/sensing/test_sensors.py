"""Sensing, on recorded hosts and on trees that change under it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stella.model.snapshot import Role, RunState, Snapshot
from stella.xgos.actuation.actuators import actuators
from stella.xgos.actuation.journal import Journal
from stella.xgos.actuation.restore import release
from stella.xgos.host_files import Broken, HostFiles
from stella.xgos.process.own_group import AlreadyRunning, HostLock, reserve
from stella.xgos.sensing.groups import find_hierarchy
from stella.xgos.sensing.sensors import Sensors, open_sensors

HOSTS = Path(__file__).parents[3] / "fixtures" / "hosts"
ALL = ("v1-libvirt9", "v1-namespaced", "v2-systemd")


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
    assert seen.instances and seen.host.cores == (1 if name == "v1-namespaced" else 2) and seen.host.busy_seconds > 0
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
    clock.seconds += 5.1
    assert sensors.sense().instances[0].group(Role.VCPU, 7)
    shutil.rmtree(directory / "vcpu7")
    clock.seconds += 5.1
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


def test_a_host_in_a_cgroup_namespace(clock: Clock) -> None:
    _, seen = sense(HOSTS / "v1-namespaced", clock)
    assert all(sensor.ok for sensor in seen.sensors), seen.sensors
    assert (seen.host.cpus, seen.host.cores, len(seen.instances)) == ((1,), 1, 2)
    assert all(each.groups and each.groups[0].path.startswith("/machine/qemu-") for each in seen.instances)
    assert [(each.project[:4], each.flavor) for each in seen.instances] == [
        ("3f0c", "slo.small"),
        ("9a7b", "slo.block"),
    ]
    assert seen.shut_off == ("d0de81ce-ccbb-5b5b-b9e9-3a23edb92b91",)


def hypervisor_says(root: Path, **keys: object) -> None:
    """Change what is recorded of the first instance."""
    recorded = json.loads((root / "hypervisor.json").read_text())
    recorded["domains"][0].update(keys)
    (root / "hypervisor.json").write_text(json.dumps(recorded))


def began(root: Path, pid: int, ticks: int) -> None:
    """Let the process be one that began then."""
    stat = root / f"proc/{pid}/task/{pid}/stat"
    words = stat.read_text().split()
    words[21] = str(ticks)
    stat.write_text(" ".join(words))


def test_an_instance_is_known_by_the_moment_its_process_began(copied: Callable[[str], Path], clock: Clock) -> None:
    root = copied("v1-libvirt9")
    sensors, first = sense(root, clock)
    one = first.instances[0]
    assert one.start_ticks > 0 and one.threads and one.start_ticks == one.threads[0].start_ticks
    began(root, one.pid, 999)
    clock.seconds += 5.1
    assert sensors.sense().instance(one.uuid) is None, "the number is another process's now"
    assert (found := sensors.sense().instance(one.uuid)) and found.start_ticks == 999
    hypervisor_says(root, start_ticks=one.start_ticks)
    assert sensors.sense().instance(one.uuid) is None, "not the one that the hypervisor means"
    hypervisor_says(root, start_ticks=999)
    assert (found := sensors.sense().instance(one.uuid)) and found.start_ticks == 999


def test_an_instance_whose_process_was_not_found_is_shown_without_readings(
    copied: Callable[[str], Path], clock: Clock
) -> None:
    root = copied("v1-libvirt9")
    hypervisor_says(root, pid=0)
    _, seen = sense(root, clock)
    one = seen.instances[0]
    assert (one.pid, one.start_ticks, one.threads, one.groups, one.links, one.disks) == (0, 0, None, None, None, None)
    assert [s.error for s in seen.sensors if s.name == "threads"] == [f"instance {one.uuid}: its process was not found"]
    assert all(each.threads and each.groups for each in seen.instances[1:])


def test_an_event_makes_threads_be_read_at_once(copied: Callable[[str], Path], clock: Clock) -> None:
    root = copied("v1-libvirt9")
    sensors, seen = sense(root, clock)
    pid = seen.instances[0].pid
    clock.seconds += 0.01
    sensors.sense()
    shutil.copytree(root / f"proc/{pid}/task/{pid}", root / f"proc/{pid}/task/4000000")
    (root / f"proc/{pid}/task/4000000/comm").write_text("live_migration\n")
    clock.seconds += 0.01
    assert sensors.sense().instances[0].state is RunState.RUNNING
    hypervisor_says(root, events=1)
    assert sensors.sense().instances[0].state is RunState.MIGRATING


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_garbage_in_any_file_is_never_a_crash(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    root = tmp_path_factory.mktemp("garbage") / "host"
    shutil.copytree(HOSTS / "v1-namespaced", root)
    clock = Clock()
    sensors, _ = sense(root, clock)
    files = sorted(path for path in root.rglob("*") if path.is_file() and path.name != "mountinfo")
    for path in data.draw(st.lists(st.sampled_from(files), min_size=1, max_size=6)):
        whole = path.read_bytes()
        cut = whole[: data.draw(st.integers(0, len(whole)))]
        path.write_bytes(
            data.draw(st.sampled_from((cut, b"", b"\xff\xfe", b"-1\n", b"[]", b"99999999999999999999999")))
        )
        clock.seconds += data.draw(st.sampled_from((0.0, 0.25, 1.1)))
        seen = sensors.sense()
        assert len(seen.sensors) == 6
    shutil.rmtree(root)


def test_a_process_that_dies_between_two_reads(copied: Callable[[str], Path], clock: Clock) -> None:
    root = copied("v1-libvirt9")
    sensors, seen = sense(root, clock)
    one = seen.instances[0]
    for name in ("comm", "schedstat", "stat"):  # a new thread that is gone before it was read whole
        task = root / f"proc/{one.pid}/task/999999"
        shutil.copytree(root / f"proc/{one.pid}/task/{one.pid}", task)
        (task / name).unlink()
        clock.seconds += 1.1
        found = sensors.sense().instance(one.uuid)
        assert found and found.threads and all(t.tid != 999999 for t in found.threads)
        shutil.rmtree(task)
    shutil.rmtree(root / f"proc/{one.pid}/task/{one.pid}")
    clock.seconds += 1.1
    assert sensors.sense().instance(one.uuid) is None
