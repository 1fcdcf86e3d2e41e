"""The agent on a kernel with cgroup v2 controllers, booted in a guest: real groups, processes and schedulers.

The host may well have v1 controllers only. One boot tells all facts (`tests.vm.cgroup_v2.guest`); each test judges some of them.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stella.bench.lab.image import kernel_arguments
from stella.bench.lab.model import LabError
from stella.bench.lab.process import launch
from tests.vm.cgroup_v2 import image
from tests.vm.cgroup_v2.guest import CAPPED, HEAVY, INSTANCES, LIGHT, Instance

BOOT_SECONDS = 480.0
"""Far more than it takes, where the machine is full of other guests."""
pytestmark = [pytest.mark.vm, pytest.mark.timeout(BOOT_SECONDS + 30)]
WEIGHTS = ("cpu.weight", "cpu.weight.nice")


class Facts(dict[str, Any]):
    """What the guest told, by name; one that is missing fails the test with the guest's own words."""

    def __init__(self, lines: str, console: str) -> None:
        super().__init__((name, value) for name, _, value in map(json.loads, lines.splitlines()))
        self._told, self._console = lines, console

    def __missing__(self, name: str) -> Any:
        story = "\n".join(f"{at:8} {name}" for name, at, _ in map(json.loads, self._told.splitlines()))
        words = (self.get("failed"), self.get("log"), self._console[-2000:])
        pytest.fail(f"the guest did not tell {name!r}:\n{story}\n" + "\n".join(filter(None, words)), pytrace=False)


def boot(directory: Path) -> Facts:
    """One guest from its start to its end. Raises `LabError` that tells what is missing on this machine."""
    made = image.make(directory / "agent.cpio")
    facts, console = directory / "facts", directory / "console"
    argv = ["/usr/bin/qemu-system-x86_64", "-accel", "tcg,thread=multi", "-machine", "pc", "-smp", "2", "-m", "768"]
    argv += ["-nodefaults", "-display", "none", "-no-reboot", "-kernel", str(made.kernel)]
    argv += ["-initrd", str(made.initramfs), "-append", kernel_arguments(Path("/proc/cpuinfo").read_text())]
    argv += ["-serial", f"file:{console}", "-device", "virtio-serial-pci", "-chardev", f"file,id=facts,path={facts}"]
    argv += ["-device", "virtserialport,chardev=facts,name=facts"]
    with (directory / "qemu").open("w+b") as log, launch(argv, stderr=log) as process:
        try:
            status = process.wait(timeout=BOOT_SECONDS)
        except subprocess.TimeoutExpired:
            status = 0  # what was told until then shows how far it came
        finally:
            process.kill()
    made.initramfs.unlink()
    if status:
        raise LabError(f"QEMU ended with {status}: {(directory / 'qemu').read_text().strip()[-300:]}")
    return Facts(facts.read_text(), console.read_text(errors="replace"))


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Facts]:
    directory = tmp_path_factory.mktemp("cgroup_v2")
    try:
        yield boot(directory)
    except (LabError, OSError) as error:
        pytest.fail(f"no guest with cgroup v2 can be booted here: {error}", pytrace=False)


def inner(instance: Instance, group: str, knob: str) -> str:
    return f"{instance.scope.name}/libvirt/{group}/{knob}"


def weight(change: dict[str, list[str]], instance: Instance) -> int:
    return int(change[f"{instance.scope.name}/cpu.weight"][1])


def test_all_controllers_are_v2(told: Facts) -> None:
    assert {"cpu", "cpuset", "io", "memory", "pids"} <= set(told["controllers"].split())


def test_every_group_thread_and_knob_is_seen(told: Facts) -> None:
    done = told["sensed"]
    assert (done["status"], done["error"]) == (0, "")
    snapshot = json.loads(done["out"])["snapshot"]
    assert snapshot["host"]["cgroup_version"] == 2
    assert snapshot["host"]["cgroup_mount"] == snapshot["host"]["cpuset_mount"] == "/sys/fs/cgroup"
    assert [parent["path"] for parent in snapshot["host"]["parents"]] == ["/machine.slice"]
    seen = {each["name"]: each for each in snapshot["instances"]}
    for instance in INSTANCES:
        stages = {("emulator", 0), ("iothread", 1), *(("vcpu", n) for n in range(instance.vcpus))}
        assert {(thread["role"], thread["index"]) for thread in seen[instance.name]["threads"]} == stages
        groups = {(group["role"], group["index"]): group for group in seen[instance.name]["groups"]}
        assert groups.keys() == {(None, 0), *stages}
        assert groups[None, 0]["path"].endswith(instance.scope.name)
    vcpu = next(group for group in seen[CAPPED.name]["groups"] if group["role"] == "vcpu")
    assert (vcpu["cpus"], vcpu["quota"]) == ([0, 1], {"quota_us": 90000, "period_us": 100000})
    assert vcpu["burst_us"] == 20000


def test_to_look_changes_nothing(told: Facts) -> None:
    assert told["dry run changed"] == {}


def test_the_agent_has_a_group_of_its_own(told: Facts) -> None:
    assert told["agent's group"] == "0::/stella-xgos\n"
    assert told["agent's weight"] == "3200\n"


def test_one_cpu_is_shared_by_weight(told: Facts) -> None:
    change, cores = told["changed under contention"], told["contention"]
    assert weight(change, HEAVY) / weight(change, LIGHT) == pytest.approx(4.0, rel=0.1)
    assert 0.3 < cores[LIGHT.name] + cores[HEAVY.name] < 1.1, "both were busy, on one CPU"
    assert cores[HEAVY.name] / cores[LIGHT.name] == pytest.approx(4.0, rel=0.25)


def test_a_ceiling_holds_within_the_administrators_quota_and_burst(told: Facts) -> None:
    change = told["changed under a ceiling"]
    assert change[inner(CAPPED, "vcpu0", "cpu.max")] == ["90000 100000\n", "15000 50000\n"]
    assert change[inner(CAPPED, "vcpu0", "cpu.max.burst")] == ["20000\n", "0\n"]
    assert told["ceiling"][CAPPED.name] == pytest.approx(0.3, abs=0.07), "vCPU, main loop and I/O thread together"


def test_io_threads_are_weighed_beside_the_vcpu(told: Facts) -> None:
    assert told["changed under a ceiling"][inner(CAPPED, "emulator", "cpu.weight")] == ["50\n", "100\n"]


def test_a_full_host_confines_threads_to_cpus(told: Facts) -> None:
    change = told["changed on a full host"]
    confined = [name for name in change if name.endswith("/cpuset.cpus.effective")]
    assert confined and all(change[name][1] in ("0\n", "1\n") for name in confined)
    batches = str(os.SCHED_BATCH | os.SCHED_RESET_ON_FORK)
    assert any(change.get(f"{each.name}: qemu-system-x86") == ["0", batches] for each in INSTANCES)


def test_what_a_killed_agent_restrained_is_lifted(told: Facts) -> None:
    assert told["lifted after seconds"] < 10.0, "two seconds, on a machine that is not emulated"
    change = told["changed after the agent's death"]
    assert weight(change, LIGHT) != 100, "a weight is no restraint: it stays until release"
    for name, (before, now) in change.items():
        if name.endswith("/cpuset.cpus"):
            assert (before, now) == ("\n", "0-1\n"), f"{name}: the kernel takes no empty list while there are threads"
        else:
            assert name.endswith(WEIGHTS), name


def test_no_knob_is_left_that_stella_does_not_know(told: Facts) -> None:
    """Threads stay where libvirt put them, and neither memory nor io, nor any other file, is ever touched."""
    for fact in ("changed under contention", "changed under a ceiling", "changed after both died"):
        known = (*WEIGHTS, "cpu.max", "cpu.max.burst", "cpuset.cpus", "cpuset.cpus.effective")
        assert {name for name in told[fact] if ": " not in name and not name.endswith(known)} == set()


def test_release_is_bit_for_bit(told: Facts) -> None:
    left = told["changed after both died"]
    assert inner(CAPPED, "vcpu0", "cpu.max") in left, "agent and guard were killed together: their restraints stay"
    assert left[inner(HEAVY, "vcpu0", "cpuset.cpus")][0] == "\n", "set by the first agent, known to the second"
    done = told["release"]
    assert (done["status"], done["error"]) == (0, "") and done["out"].endswith(", 0 failed\n")
    assert told["changed after release"] == {}
    assert told["groups left"] == []
    assert told["end"] is True
