"""Runs in the guest: libvirt's groups on cgroup v2 with real processes in them, the agent over them, and what came of it.

Facts leave as JSON lines ``[NAME, SECONDS, VALUE]`` over the virtio port, and `tests/vm/test_cgroup_v2.py` judges them. Nothing is
judged here but that what is waited for comes. libvirt's test driver names the instances; the agent is the program as it is installed.
"""

import contextlib
import ctypes
import fcntl
import functools
import json
import os
import signal
import struct
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TextIO

TOP = Path("/sys/fs/cgroup")
MACHINE = TOP / "machine.slice"
BUSY, PIDS = Path("/run/busy"), Path("/run/libvirt/qemu")
CONFIG, LOG = Path("/run/xgos.toml"), Path("/run/agent.log")
PATIENCE_SECONDS = 90.0
RESTRAINTS = ("cpu.max", "cpu.max.burst", "cpuset.cpus.effective")
SETTLE_SECONDS, MEASURE_SECONDS = 5.0, 4.0
_RESTART, _TUNSETIFF, _TUNSETPERSIST, _TAP = 0x01234567, 0x400454CA, 0x400454CB, 0x1002
_AGENT = [sys.executable, "-m", "stella.cmd.xgos"]


class Instance(NamedTuple):
    """One domain; ``knobs`` are set as an administrator or libvirt would, by their paths below the scope, before the agent comes."""

    name: str
    number: int
    vcpus: int
    slo: str
    knobs: dict[str, str]
    tap: str = ""

    @property
    def uuid(self) -> str:
        return f"{self.number}" * 8 + "-1111-4111-8111-" + f"{self.number}" * 12

    @property
    def scope(self) -> Path:
        return MACHINE / rf"machine-qemu\x2d{self.number}\x2d{self.name}.scope"


LIGHT = Instance("light", 1, 2, "{cpu: {weight: 1}}", {"cpuset.cpus": "0-1"})
HEAVY = Instance("heavy", 2, 2, "{cpu: {weight: 4}}", {"cpuset.cpus": "0-1", "libvirt/vcpu1/cpuset.cpus": "0-1"})
CAPPED = Instance(
    name="capped",
    number=3,
    vcpus=1,
    slo="{cpu: {ceiling: 30%}, network_packets: {floor: 1kpps, direction: tx}}",
    knobs={
        "cpu.weight": "250",
        "libvirt/emulator/cpu.weight": "50",
        "libvirt/vcpu0/cpu.max": "90000 100000",
        "libvirt/vcpu0/cpu.max.burst": "20000",
        "libvirt/vcpu0/cpuset.cpus": "0-1",
    },
    tap="tap0",
)
INSTANCES = (LIGHT, HEAVY, CAPPED)


@functools.cache
def port() -> TextIO:
    """Where facts leave."""
    return open(next(Path("/dev").glob("vport*")), "w", buffering=1)  # noqa: PTH123


def tell(name: str, value: object) -> None:
    """One fact to the test outside, and how long after the boot it was found."""
    port().write(json.dumps([name, round(time.monotonic(), 1), value]) + "\n")


def wait_for(what: str, true: Callable[[], object], seconds: float = PATIENCE_SECONDS) -> float:
    """Seconds until it came true. Raises `TimeoutError`."""
    begin = time.monotonic()
    while not true():
        if time.monotonic() - begin > seconds:
            raise TimeoutError(f"in {seconds:g} s it did not come to this: {what}")
        time.sleep(0.1)
    return time.monotonic() - begin


# --- libvirt's part ---------------------------------------------------------------------------------------------------


def enable(group: Path, controllers: str) -> None:
    (group / "cgroup.subtree_control").write_text(" ".join(f"+{each}" for each in controllers.split()))


def make_tap(name: str) -> None:
    with open("/dev/net/tun", "r+b", buffering=0) as device:  # noqa: PTH123
        fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _TAP))
        fcntl.ioctl(device, _TUNSETPERSIST, 1)
    subprocess.run(["ip", "link", "set", name, "up"], check=True)


def tids_of(pid: int) -> dict[str, str]:
    """The threads of a process by their names."""
    return {(each / "comm").read_text().strip(): each.name for each in Path(f"/proc/{pid}/task").iterdir()}


def start(instance: Instance) -> "subprocess.Popen[bytes]":
    """Its process, and its groups as libvirt 9 makes them under systemd: the inner ones hold threads."""
    argv = ["/usr/bin/qemu-system-x86_64", "-I", "-S", "/opt/stella/instance.pyc", "-uuid", instance.uuid, "-name"]
    process = subprocess.Popen([*argv, instance.name, str(instance.vcpus)])
    threads = {"emulator": "qemu-system-x86", "iothread1": "IO iothread1"}
    threads |= {f"vcpu{n}": f"CPU {n}/TCG" for n in range(instance.vcpus)}
    (PIDS / f"{instance.name}.pid").write_text(f"{process.pid}\n")
    inner = instance.scope / "libvirt"
    inner.mkdir(parents=True)
    enable(instance.scope, "cpu cpuset io memory pids")
    (inner / "cgroup.procs").write_text(str(process.pid))
    wait_for(f"{instance.name} runs", lambda: set(threads.values()) <= tids_of(process.pid).keys())
    for group in threads:
        (inner / group).mkdir()
        (inner / group / "cgroup.type").write_text("threaded")
    enable(inner, "cpu cpuset")
    for group, thread in threads.items():
        (inner / group / "cgroup.threads").write_text(tids_of(process.pid)[thread])
    for knob, value in instance.knobs.items():
        (instance.scope / knob).write_text(value)
    return process


def describe() -> None:
    """The domains, for libvirt's test driver; the SLOs and the agent's configuration."""
    domains = "".join(
        f"<domain type='test'><name>{i.name}</name><uuid>{i.uuid}</uuid><memory>65536</memory><vcpu>{i.vcpus}</vcpu>"
        f"<iothreads>1</iothreads><os><type>hvm</type></os><devices>"
        + (f"<interface type='ethernet'><target dev='{i.tap}' managed='no'/></interface>" if i.tap else "")
        + "</devices></domain>"
        for i in INSTANCES
    )
    Path("/run/host.xml").write_text(f"<node>{domains}</node>")
    Path("/run/slo.yaml").write_text("instances:\n" + "".join(f"  {i.name}: {i.slo}\n" for i in INSTANCES))
    keys = {
        "mode": "enforce",
        "tick_milliseconds": 500,
        "libvirt_uri": "test:///run/host.xml",
        "state_directory": "/run/xgos-state",
        "run_directory": "/run/xgos",
        "socket": "/run/xgos/xgos.sock",
        "metrics_listen": "",
        "slo_file": "/run/slo.yaml",
    }
    CONFIG.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items()))


# --- what is looked at ------------------------------------------------------------------------------------------------


@functools.cache
def knob_files() -> tuple[Path, ...]:
    """All that can be set in the groups of instances, and the CPUs that groups really have."""

    def is_knob(path: Path) -> bool:
        return path.is_file() and path.stat().st_mode & 0o600 == 0o600 and not path.name.endswith(".pressure")

    return tuple(p for p in sorted(MACHINE.rglob("*")) if p.name == "cpuset.cpus.effective" or is_knob(p))


def knobs(names: tuple[str, ...] = ()) -> dict[str, str]:
    """What they hold (those of these names alone), bit for bit: threads too. ``NAME: THREAD`` tells how a thread is scheduled."""
    found = {}
    for path in knob_files():
        if not names or path.name in names:
            with contextlib.suppress(OSError):  # a threaded group does not tell its processes
                found[str(path.relative_to(MACHINE))] = path.read_text()
    for instance in INSTANCES:
        for name, tid in tids_of(int((PIDS / f"{instance.name}.pid").read_text())).items():
            found[f"{instance.name}: {name}"] = str(os.sched_getscheduler(int(tid)))
    return found


def changed(before: dict[str, str], names: tuple[str, ...] = ()) -> dict[str, list[str]]:
    """What differs from ``before``: the value then and now."""
    now = knobs(names)
    keys = now.keys() if names else now.keys() | before.keys()
    return {key: [before.get(key, ""), now.get(key, "")] for key in sorted(keys) if before.get(key) != now.get(key)}


def restrained_at(before: dict[str, str], *ends: str) -> dict[str, list[str]]:
    """What restrains at a moment when knobs with all these ends do. (The guard lifts them whenever the agent is late.)"""
    found: dict[str, list[str]] = {}

    def is_so() -> bool:
        found.clear()
        found.update(changed(before, RESTRAINTS))
        return all(any(name.endswith(end) for name in found) for end in ends)

    wait_for(f"{' and '.join(ends)} changed", is_so)
    return found


def usage() -> dict[str, float]:
    """CPU seconds of each instance so far, as the kernel counts them."""
    return {i.name: int((i.scope / "cpu.stat").read_text().split()[1]) / 1e6 for i in INSTANCES}


def cores() -> dict[str, float]:
    """Cores that each instance takes, over some seconds."""
    begin, before = time.monotonic(), usage()
    time.sleep(MEASURE_SECONDS)
    after, seconds = usage(), time.monotonic() - begin
    return {name: round((after[name] - before[name]) / seconds, 4) for name in after}


def busy(*instances: Instance) -> None:
    for each in INSTANCES:
        (BUSY / each.name).touch() if each in instances else (BUSY / each.name).unlink(missing_ok=True)


def confine(cpus: str, *instances: Instance) -> None:
    """As an administrator may, above all that the agent sets."""
    for each in instances:
        (each.scope / "cpuset.cpus").write_text(cpus)


# --- the agent --------------------------------------------------------------------------------------------------------


def start_agent() -> "subprocess.Popen[bytes]":
    seen = LOG.read_text().count("mode enforce") if LOG.exists() else 0
    with LOG.open("ab") as log:
        process = subprocess.Popen([*_AGENT, "run", "--config", str(CONFIG)], stderr=log, stdin=subprocess.DEVNULL)
    wait_for("the agent runs", lambda: process.poll() is not None or LOG.read_text().count("mode enforce") > seen)
    return process


def guard_of(agent: int) -> int:
    return int((Path(f"/proc/{agent}/task/{agent}/children").read_text().split() or ["0"])[0])


def command(*words: str) -> dict[str, object]:
    done = subprocess.run([*_AGENT, *words, "--config", str(CONFIG)], capture_output=True, text=True, check=False)
    return {"status": done.returncode, "out": done.stdout, "error": done.stderr}


def prepare() -> None:
    """The host as it is before the agent comes."""
    for directory in (BUSY, PIDS):
        directory.mkdir(parents=True)
    tell("controllers", (TOP / "cgroup.controllers").read_text())
    enable(TOP, "cpu cpuset io memory pids")
    MACHINE.mkdir()
    enable(MACHINE, "cpu cpuset io memory pids")
    make_tap(CAPPED.tap)
    describe()
    for instance in INSTANCES:
        start(instance)


def run() -> None:
    """The whole story, in its order."""
    before, groups = knobs(), sorted(each.name for each in TOP.iterdir() if each.is_dir())
    tell("before", before)
    tell("sensed", command("run", "--once", "--dry-run"))
    tell("dry run changed", changed(before))

    agent = start_agent()
    tell("agent's group", Path(f"/proc/{agent.pid}/cgroup").read_text())
    tell("agent's weight", (TOP / "stella-xgos" / "cpu.weight").read_text())
    busy(LIGHT, HEAVY)
    confine("1", LIGHT, HEAVY)  # on several CPUs the shares of each need not add up to those of the whole
    time.sleep(SETTLE_SECONDS)
    tell("contention", cores())
    tell("changed under contention", changed(before))
    confine("0-1", LIGHT, HEAVY)

    busy(CAPPED)
    time.sleep(SETTLE_SECONDS)
    tell("ceiling", cores())
    tell("changed under a ceiling", changed(before))

    guard = guard_of(agent.pid)
    os.kill(guard, signal.SIGKILL)
    wait_for("another guard", lambda: guard_of(agent.pid) not in (0, guard))
    time.sleep(1.0)
    restrained_at(before, "cpu.max")
    busy(*INSTANCES)
    tell("changed on a full host", restrained_at(before, "cpuset.cpus.effective", ": qemu-system-x86"))
    agent.kill()
    agent.wait()
    tell("lifted after seconds", wait_for("the guard lifts", lambda: not changed(before, RESTRAINTS)))
    tell("changed after the agent's death", changed(before))

    busy(CAPPED)  # an agent that starts has no CPU of its own yet
    agent = start_agent()
    restrained_at(before, "cpu.max")
    guard = guard_of(agent.pid)
    agent.send_signal(signal.SIGSTOP)
    os.kill(guard, signal.SIGKILL)
    agent.kill()
    agent.wait()
    busy()
    tell("changed after both died", changed(before))
    tell("release", command("release"))
    tell("changed after release", changed(before))
    tell("groups left", sorted({each.name for each in TOP.iterdir() if each.is_dir()} - set(groups)))


def main() -> None:
    """Tell the facts, or why there are no more; then the machine ends."""
    try:
        prepare()
        run()
    except Exception:
        tell("failed", traceback.format_exc())
    tell("log", LOG.read_text() if LOG.exists() else "")
    tell("end", True)
    port().close()
    ctypes.CDLL(None).reboot(_RESTART)


if __name__ == "__main__":
    main()
