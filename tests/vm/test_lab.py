"""The laboratory with real guests: what it counts is plausible, loads obey, and nothing is left behind (root, about a minute)."""

import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stella.bench.lab import Backend, Guest, Lab, Uplink, Workload, sweep
from stella.bench.lab.groups import processes_below
from stella.bench.lab.leftovers import HOME
from tests.functional.long import choose

pytestmark = [
    pytest.mark.vm,
    pytest.mark.timeout(300),
]
DIRECTORY = Path(__file__).parents[2] / ".run" / "bench"

GUESTS = (
    Guest(name="net", workloads=(Workload(kind="udp"),)),
    Guest(name="disk", disk=("local", 200 * 10**6), workloads=(Workload(kind="disk"),)),
    Guest(name="cpu", vcpus=2, workloads=(Workload(kind="cpu", threads=2),), start_idle=True),
)


def traces(name: str, directory: Path = DIRECTORY) -> list[str]:
    """All that a lab of this name has left on the host."""
    found = [str(path) for top in Path("/sys/fs/cgroup").iterdir() for path in top.glob(f"{name}*")]
    found += [
        str(path) for path in (Path("/run/netns"), directory, HOME) if path.exists() for path in path.glob(f"{name}*")
    ]
    found += [line for line in Path("/proc/self/mounts").read_text().splitlines() if name in line]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_text()
        except OSError:
            continue
        if name in words:
            found.append(words.replace("\0", " ")[:200])
    return found


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """One lab with three guests, for all tests that only look."""
    with Lab(directory=DIRECTORY, backends=(Backend("local"),), progress=print) as made:
        made.boot(GUESTS)
        yield made


def whole_seconds(seconds: int) -> tuple[float, float]:
    """The measured time: the next whole second, and so many later."""
    start = float(math.ceil(time.time()))
    return start, start + seconds


def test_counts_are_plausible_and_loads_obey(lab: Lab) -> None:
    recorder = lab.record()
    agent = lab.spawn(["/bin/sleep", "60"])
    recorder.watch_agent(agent.pid)
    start, end = whole_seconds(10)
    time.sleep(max(0.0, start + 5 - time.time()))
    lab.start("cpu")
    lab.change("net", rate=2000.0)
    lab.stop("disk")
    recording = recorder.finish(start, end)
    agent.kill()
    agent.wait()
    assert {name: instance.died for name, instance in recording.instances.items()} == {"net": "", "disk": "", "cpu": ""}
    net, disk, cpu = (recording.instances[name] for name in ("net", "disk", "cpu"))
    sent, read = net.windows["network_packets.tx"], disk.windows["block_bytes.read"]
    assert sent.rate(start, start + 4) > 2 * sent.rate(
        start + 7, end
    )  # how fast is the machine's affair, that it obeys is ours
    assert 1000 < sent.rate(start + 7, end) < 2200
    assert read.rate(start, start + 4) > 10e6
    assert read.rate(start + 7, end) < 1e6
    assert read.rate(start, start + 4) == pytest.approx(
        disk.host_io["block_bytes.read"].rate(start, start + 4), rel=0.3
    )
    used = cpu.windows["cpu"]
    assert used.rate(start, start + 4) < 0.1
    assert 0.1 < used.rate(start + 7, end) <= 2.1
    assert used.rate(start, end) <= cpu.cpu.rate(start, end) + 0.05  # its vCPUs are part of its QEMU
    assert cpu.windows["cpu_events"].rate(start + 7, end) > 10
    assert [(a.signal, a.rate) for a in net.asked if a.signal == "network_packets.tx"][-1] == (
        "network_packets.tx",
        2000.0,
    )
    assert recording.host_cpu.rate(start, end) <= os.cpu_count() * 1.05  # type: ignore[operator]
    assert 0 < recording.instances_cpu.rate(start, end) <= os.cpu_count() * 1.05  # type: ignore[operator]
    assert recording.receiver_cpu.rate(start, end) < 0.3


def test_guests_lie_where_the_agent_looks(lab: Lab) -> None:
    assert {domain.UUIDString() for domain in lab.hypervisor.connection.listAllDomains()} == {
        guest.uuid for guest in GUESTS
    }
    assert set(lab.qemu_pids.values()) <= processes_below(lab.partition_cgroup)
    listed = lab.spawn(["/usr/sbin/ip", "-o", "link"], stdout=subprocess.PIPE)
    assert lab.tap("net").encode() in listed.communicate(timeout=20)[0]


def test_received_packets_network_disks_thin_uplinks_and_mixed_requests() -> None:
    disk = 200 * 10**6
    some = (
        Guest(name="rx", workloads=(Workload(kind="udp", direction="rx", rate=2000.0),)),
        Guest(name="far", disk=("shared", disk), workloads=(Workload(kind="disk", pattern="read"),)),
        Guest(name="mix", disk=("local", disk), workloads=(Workload(kind="disk", pattern="iometer"),)),
        Guest(name="thin", uplink="thin", workloads=(Workload(kind="udp", packet_bytes=1400),)),
    )
    backends = (Backend("local"), Backend("shared", "nbd", 20e6))
    with Lab(directory=DIRECTORY, uplinks=(Uplink("thin", 1e6),), backends=backends) as made:
        made.boot(some)
        recorder = made.record()
        start, end = whole_seconds(8)
        recording = recorder.finish(start, end)
    found = recording.instances
    assert {name: one.died for name, one in found.items()} == dict.fromkeys(("rx", "far", "mix", "thin"), "")

    def rate(name: str, signal: str) -> float:
        return found[name].windows[signal].rate(start + 2, end)

    assert 500 < rate("rx", "network_packets.rx") < 2200
    assert 2e6 < rate("far", "block_bytes.read") < 26e6
    assert 0.2e6 < rate("thin", "network_bytes.tx") < 1.2e6
    reads, writes = rate("mix", "block_operations.read"), rate("mix", "block_operations.write")
    assert 0.6 < reads / (reads + writes) < 0.95


def test_nothing_is_left_when_a_guest_dies_and_the_lab_closes() -> None:
    with Lab(directory=DIRECTORY) as made:
        made.boot([Guest(name="lone", workloads=(Workload(kind="cpu"),))])
        assert traces(made.name)
        recorder = made.record()
        start, end = whole_seconds(1)
        os.kill(made.qemu_pids["lone"], signal.SIGKILL)
        recording = recorder.finish(start, end)
        assert recording.instances["lone"].died
    assert traces(made.name) == []


PROGRAM = """
import sys, time
from pathlib import Path
from stella.bench.lab import Guest, Lab, Workload
with Lab(directory=Path(sys.argv[1])) as lab:
    lab.boot([Guest(name="lone", workloads=(Workload(kind="udp"),))])
    print(lab.name, flush=True)
    time.sleep(100)
"""


@pytest.mark.parametrize("number", choose(short=[signal.SIGKILL], long=[signal.SIGTERM, signal.SIGKILL]))
def test_nothing_is_left_by_a_bench_that_is_ended(number: signal.Signals) -> None:
    bench = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(DIRECTORY)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert bench.stdout is not None
    name = bench.stdout.readline().decode().strip()
    assert traces(name)
    bench.send_signal(number)
    bench.communicate(timeout=60)
    if number is signal.SIGKILL:
        assert name in sweep()
    assert traces(name) == []
