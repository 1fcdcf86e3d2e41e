"""Actuators of a simulated host behave as those of a machine do."""

import pytest

from stella.linux import scheduling
from stella.model.target import Target, TargetKind, cgroup_target, thread_policy_target
from stella.sim.instance import InstanceSpec
from stella.sim.knobs import simulated_actuators
from stella.sim.loads import compute, network
from stella.sim.machine import MOUNT, Machine
from stella.xgos.actuation.actuators import Actuator
from stella.xgos.host_files import Gone, InstanceGone, Unsupported, WriteFailed

SPEC = InstanceSpec(uuid="a", name="a", vcpus=2, loads=(compute(2),))


@pytest.fixture
def machine() -> Machine:
    made = Machine(cores=4, seed=1, boot_unix_seconds=1000.0)
    made.start(SPEC)
    return made


def knob(machine: Machine, name: str, *, vcpu: int | None = 0) -> Target:
    instance = machine.instances["a"]
    group = instance.own if vcpu is None else instance.threads[1 + vcpu].group
    return cgroup_target(f"{MOUNT}{group.path}", name, instance="a")


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [("cpu.weight", "100", "2500"), ("cpu.max", "max 100000", "12500 50000"), ("cpuset.cpus", "0-3", "1,3")],
)
def test_a_knob_holds_what_is_written(machine: Machine, name: str, before: str, after: str) -> None:
    actuator, target = simulated_actuators(machine)[TargetKind.CGROUP], knob(machine, name)
    assert actuator.read(target) == before
    actuator.write(target, after, actuator.identity(target))
    assert actuator.read(target) == after


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("cpu.weight", "0", WriteFailed),
        ("cpu.weight", "10001", WriteFailed),
        ("cpu.weight", "much", WriteFailed),
        ("cpu.max", "x", WriteFailed),
        ("cpuset.cpus", "0-4", WriteFailed),
        ("memory.max", "1", Unsupported),
    ],
)
def test_a_value_that_the_kernel_would_refuse_is_refused(
    machine: Machine, name: str, value: str, error: type[Exception]
) -> None:
    actuator, target = simulated_actuators(machine)[TargetKind.CGROUP], knob(machine, name)
    weight = actuator.read(knob(machine, "cpu.weight"))
    with pytest.raises(error):
        actuator.write(target, value, actuator.identity(target))
    assert actuator.read(knob(machine, "cpu.weight")) == weight


def test_the_instances_own_group_has_no_cpu_set(machine: Machine) -> None:
    with pytest.raises(Gone):
        simulated_actuators(machine)[TargetKind.CGROUP].read(knob(machine, "cpuset.cpus", vcpu=None))


def restarted(machine: Machine) -> None:
    machine.stop("a")
    machine.start(SPEC)


def gone(actuator: Actuator, target: Target, identity: str) -> None:
    with pytest.raises(Gone):
        actuator.read(target)
    with pytest.raises(InstanceGone):
        actuator.write(target, "1", identity)


def test_a_group_that_is_gone_is_told_from_one_that_was_made_again(machine: Machine) -> None:
    actuator, target = simulated_actuators(machine)[TargetKind.CGROUP], knob(machine, "cpu.weight")
    identity = actuator.identity(target)
    restarted(machine)
    gone(actuator, target, identity)
    with pytest.raises(InstanceGone):
        actuator.write(knob(machine, "cpu.weight"), "1", identity)


def test_the_policy_of_a_thread(machine: Machine) -> None:
    actuator, pid = simulated_actuators(machine)[TargetKind.THREAD], machine.instances["a"].pid
    target = thread_policy_target(pid, pid + 1, instance="a")
    assert actuator.read(target) == scheduling.OTHER
    identity = actuator.identity(target)
    assert identity == str(machine.instances["a"].start_ticks)
    actuator.write(target, scheduling.BATCHING, identity)
    assert actuator.read(target) == scheduling.BATCHING
    threads = machine.instance_readings(0.0)[0].threads or ()
    assert threads[1].policy == scheduling.BATCH
    with pytest.raises(WriteFailed):
        actuator.write(target, "fifo", identity)
    restarted(machine)
    gone(actuator, target, identity)
    with pytest.raises(Gone):
        actuator.read(thread_policy_target(machine.instances["a"].pid, 99_999))


def test_with_overruns_only_threads_that_serve_io_and_batch_yield(machine: Machine) -> None:
    machine.start(InstanceSpec(uuid="b", name="b", vcpus=2, iothreads=0, loads=(network(10_000),)))
    actuator = simulated_actuators(machine, overruns=True)[TargetKind.THREAD]
    for uuid in ("a", "b"):
        pid = machine.instances[uuid].pid
        for n in range(3):
            target = thread_policy_target(pid, pid + n, instance=uuid)
            actuator.write(target, scheduling.BATCHING, actuator.identity(target))
    assert not any(thread.task.yields for thread in machine.instances["a"].threads)
    assert [thread.task.yields for thread in machine.instances["b"].threads[:3]] == [True, True, False]
    target = thread_policy_target(pid, pid, instance="b")
    actuator.write(target, scheduling.OTHER, actuator.identity(target))
    assert not machine.instances["b"].threads[0].task.yields
    actuator = simulated_actuators(machine)[TargetKind.THREAD]
    actuator.write(target, scheduling.BATCHING, actuator.identity(target))
    assert not machine.instances["b"].threads[0].task.yields, "without them a policy changes nothing"
