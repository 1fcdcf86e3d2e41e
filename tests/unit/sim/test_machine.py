"""The model of a host: deterministic, conserving, and with counters as a kernel would show them."""

import itertools

import pytest

from stella.model.snapshot import InstanceReading, Quota, Role, RunState
from stella.sim.instance import InstanceSpec
from stella.sim.loads import Load, Wave, block, compute, network
from stella.sim.machine import Machine
from stella.sim.population import specs

BOOT = 1_800_000_000.0


def machine(*instances: InstanceSpec, cores: int = 2, seed: int = 1) -> Machine:
    made = Machine(cores=cores, seed=seed, boot_unix_seconds=BOOT, services_cores=0.0)
    for one in instances:
        made.start(one)
    return made


def spec(name: str, *loads: Load, vcpus: int = 2, iothreads: int = 1) -> InstanceSpec:
    return InstanceSpec(uuid=name, name=name, vcpus=vcpus, iothreads=iothreads, loads=loads)


def hog(name: str, vcpus: int = 4) -> InstanceSpec:
    return spec(name, compute(vcpus), vcpus=vcpus)


def reading(made: Machine, name: str) -> InstanceReading:
    return next(one for one in made.instance_readings(0.0) if one.uuid == name)


def thread_seconds(made: Machine, name: str, role: Role) -> tuple[float, float]:
    """(run, wait) of all threads of a role."""
    found = [t for t in reading(made, name).threads or () if t.role is role]
    return sum(t.run_seconds for t in found), sum(t.wait_seconds for t in found)


def packets(made: Machine, name: str) -> int:
    (link,) = reading(made, name).links or ()
    return link.tx_packets + link.rx_packets


def test_the_same_seed_gives_the_same_host_and_another_seed_another() -> None:
    def run(seed: int) -> list[InstanceReading]:
        made = machine(*specs("sim1", 1, 8, seed=seed), cores=4, seed=seed)
        made.advance(120.0)
        return list(made.instance_readings(0.0))

    assert run(1) == run(1)
    assert run(1) != run(2)


def test_no_more_cpu_is_used_than_there_is_and_no_thread_has_more_than_one_cpu() -> None:
    made = Machine(cores=4, seed=3, boot_unix_seconds=BOOT)
    for one in specs("sim1", 1, 12, seed=3):
        made.start(one)
    before = dict[tuple[str, int], float]()
    for _ in range(200):
        was = made.busy_seconds
        made.advance(0.25)
        assert made.busy_seconds - was <= 4 * 0.25 + 1e-6
        total = 0.0
        for instance in made.instances.values():
            for thread in instance.threads:
                key = (instance.spec.uuid, thread.tid)
                ran = thread.run_seconds - before.get(key, 0.0)
                assert -1e-9 <= ran <= 0.25 + 1e-9
                before[key] = thread.run_seconds
                total += ran
        assert total <= 4 * 0.25 + 1e-6
    assert made.busy_seconds + made.idle_seconds == pytest.approx(4 * 50.0)


def test_run_and_wait_of_a_thread_never_exceed_the_time_that_passed() -> None:
    made = machine(*specs("sim1", 1, 10), cores=2)
    before: dict[int, tuple[float, float]] = {}
    for _ in range(100):
        made.advance(0.25)
        for instance in made.instances.values():
            for thread in instance.threads:
                run, wait = before.get(thread.tid, (0.0, 0.0))
                assert thread.run_seconds - run + thread.wait_seconds - wait <= 0.25 + 1e-6
                before[thread.tid] = (thread.run_seconds, thread.wait_seconds)


def test_an_io_load_alone_gets_what_it_asks_for_and_costs_what_it_costs() -> None:
    made = machine(spec("web", network(10_000, tx_ratio=0.5)))
    made.advance(10.0)
    assert packets(made, "web") == pytest.approx(100_000, abs=2)
    run, wait = thread_seconds(made, "web", Role.EMULATOR)
    assert run == pytest.approx(100_000 * 11e-6, rel=0.15)
    assert wait < 0.1 * run
    assert thread_seconds(made, "web", Role.VCPU)[0] == pytest.approx(100_000 * 12e-6, rel=0.15)


def test_a_thread_of_qemu_is_the_limit_of_a_load_that_asks_for_more_than_one_cpu_can_serve() -> None:
    made = machine(spec("web", network(1e6)), cores=4)
    made.advance(10.0)
    run, wait = thread_seconds(made, "web", Role.VCPU)
    assert run == pytest.approx(10.0, rel=0.01), "the dearer stage, which has one CPU"
    assert wait == 0.0
    assert packets(made, "web") == pytest.approx(10.0 / 12e-6, rel=0.15)


def test_a_load_that_is_held_up_waits_for_the_cpu_and_so_does_the_queue_of_its_disk() -> None:
    made = machine(spec("db", block(400e6, read_ratio=1.0)), *(hog(f"hog{n}") for n in range(6)))
    made.advance(10.0)
    (disk,) = reading(made, "db").disks or ()
    assert disk.read_bytes < 0.9 * 4000e6
    assert disk.read_seconds / 10.0 > 1.0, "its queue is never empty"
    starved = max(
        wait / (run + wait) for run, wait in (thread_seconds(made, "db", r) for r in (Role.VCPU, Role.IOTHREAD))
    )
    assert starved > 0.3


def test_disk_requests_are_served_by_the_iothread_and_without_one_by_the_main_loop() -> None:
    made = machine(spec("a", block(100e6)), spec("b", block(100e6), iothreads=0), cores=4)
    made.advance(5.0)
    assert thread_seconds(made, "a", Role.IOTHREAD)[0] > 0.1
    assert thread_seconds(made, "a", Role.EMULATOR)[0] == 0.0
    assert thread_seconds(made, "b", Role.EMULATOR)[0] > 0.1


def test_a_weight_divides_a_full_host() -> None:
    made = machine(hog("heavy"), hog("light"), cores=2)
    made.set_weight(made.instances["heavy"].own, 300)
    made.advance(20.0)
    heavy, light = (thread_seconds(made, name, Role.VCPU)[0] for name in ("heavy", "light"))
    assert heavy / (heavy + light) == pytest.approx(0.75, abs=0.02)


def test_a_quota_bounds_a_vcpu_and_its_time_is_booked_as_throttled_not_as_waiting() -> None:
    made = machine(spec("one", compute(1), vcpus=1))
    group = made.instances["one"].threads[1].group
    assert group.role is Role.VCPU
    made.set_quota(group, Quota(quota_us=12_500, period_us=50_000))
    made.advance(8.0)
    assert thread_seconds(made, "one", Role.VCPU) == (pytest.approx(2.0), 0.0)
    assert group.reading().throttled_seconds == pytest.approx(6.0)


def test_a_cpu_set_confines_a_thread() -> None:
    made = machine(hog("a", vcpus=1), hog("b", vcpus=1), cores=2)
    for name in ("a", "b"):
        made.set_cpus(made.instances[name].threads[1].group, (1,))
    made.advance(4.0)
    assert [thread_seconds(made, name, Role.VCPU)[0] for name in ("a", "b")] == pytest.approx([2.0, 2.0])
    assert made.idle_seconds == pytest.approx(4.0)


def test_a_paused_instance_does_nothing() -> None:
    made = machine(hog("a"))
    made.instances["a"].state = RunState.PAUSED
    made.advance(5.0)
    assert thread_seconds(made, "a", Role.VCPU) == (0.0, 0.0)


def test_an_instance_that_starts_again_is_another_process_with_other_groups() -> None:
    made = machine(hog("a"))
    before, paths = reading(made, "a"), {g.inode for g in made.instances["a"].groups}
    made.stop("a")
    assert tuple(made.shut_off) == ("a",)
    assert made.instance_readings(0.0) == ()
    made.start(hog("a"))
    after = reading(made, "a")
    assert (before.pid, before.start_ticks) != (after.pid, after.start_ticks)
    assert not paths & {g.inode for g in made.instances["a"].groups}
    assert not made.shut_off


def test_loads_wake_and_idle() -> None:
    wave = Wave(period_seconds=20.0, awake_ratio=0.5, low=0.1)
    levels = [wave.level(7, BOOT + t * 0.5) for t in range(4000)]
    assert set(levels) == {1.0, 0.1}
    assert sum(1 for level in levels if level == 1.0) / len(levels) == pytest.approx(0.5, abs=0.1)
    changes = sum(1 for a, b in itertools.pairwise(levels) if a != b)
    assert 150 <= changes <= 210, "twice in each of the hundred periods"
