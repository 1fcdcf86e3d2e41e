"""``stella-bench scale host``: what the agent costs on a host with many instances, beside the same with a tenth of them.

The agent is the real command, on this kernel's `/proc` and control groups; the instances are processes that sleep (`sleeping`), in
groups as libvirt makes them. What libvirt and the taps would tell stands in files (``hypervisor.json``, ``links.json``): what asking
libvirtd takes is not in it. Half of the instances have an SLO.
"""

import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stella.bench.lab.groups import parse_mounts, remove_tree
from stella.bench.lab.process import free_port
from stella.bench.progress import Progress
from stella.bench.scale import sleeping
from stella.bench.scale.processes import NotStarted, Process
from stella.bench.scale.results import Must, Outcome
from stella.linux.libvirt_groups import parse_inner
from stella.xgos.local_api.client import Client, RequestRefused, Unreachable

_VCPUS = 2
_WARM_SECONDS = 8.0
_TICK_MILLISECONDS = 1000
_HISTOGRAM = "stella_agent_tick_duration_seconds_bucket"
_MOST_CPU_RATIO, _MOST_TICK_SECONDS, _MOST_BYTES = 0.05, 0.1, 200 * 2**20
_MOST_GROWTH = 12.0
"""CPU with ten times the instances, against that with them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How many instances, beside a tenth of them, and for how long each is measured."""

    instances: int = 200
    seconds: int = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What the agent and its guard took. The p99 and the longest tick are bounds of the histogram's part in which they lie."""

    instances: int
    cpu_ratio: float
    resident_bytes: int
    ticks: int
    p99_tick_seconds: float
    longest_tick_seconds: float
    mean_tick_seconds: float


def quantile(buckets: Mapping[float, int], part: float) -> float:
    """The upper bound of the bucket in which so large a part of all ends. ``buckets``: counts up to each bound, rising."""
    total = max(buckets.values(), default=0)
    return next((bound for bound, count in sorted(buckets.items()) if total and count >= part * total), float("inf"))


def _groups(name: str) -> tuple[Path, Path]:
    """The parents of the instances' groups: of CPU and of CPU sets. Raises `NotStarted`."""
    layout = parse_mounts(Path("/proc/self/mounts").read_text())
    if "cpu" not in layout.v1 or "cpuset" not in layout.v1:
        raise NotStarted("the processes are put into control groups of version 1, which are not mounted here")
    return layout.v1["cpu"] / name, layout.v1["cpuset"] / name


def _make(group: Path) -> None:
    group.mkdir()
    for knob in ("cpuset.cpus", "cpuset.mems"):
        if (group / knob).exists():
            (group / knob).write_text((group.parent / knob).read_text())


def _inner(thread: str) -> str:
    if thread.startswith("CPU "):
        return f"vcpu{thread.split('/', maxsplit=1)[0].removeprefix('CPU ')}"
    return thread.removeprefix("IO ") if thread.startswith("IO ") else "emulator"


def _confine(parents: tuple[Path, Path], number: int, threads: Mapping[str, str]) -> None:
    for parent in parents:
        own = parent / f"qemu-{number + 1}-vm{number}.libvirt-qemu"
        _make(own)
        for inner in dict.fromkeys(map(_inner, threads.values())):
            assert parse_inner(inner) is not None
            _make(own / inner)
        for tid, name in threads.items():
            (own / _inner(name) / "tasks").write_text(tid)


def _uuid(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012d}"


def _domain(number: int, told: Mapping[str, Any]) -> dict[str, object]:
    disk = {"name": "vda", "read_seconds": 1.0, "write_seconds": 1.0}
    counters = ("read_operations", "read_bytes", "write_operations", "write_bytes")
    return {
        "uuid": _uuid(number),
        "name": f"vm{number}",
        "pid": told["pid"],
        "start_ticks": told["start_ticks"],
        "vcpus": _VCPUS,
        "iothreads": 1,
        "links": [f"tap{number}"],
        "disks": [{**disk, **dict.fromkeys(counters, 1000)}],
    }


@contextlib.contextmanager
def _instances(count: int, root: Path) -> Iterator[None]:
    """So many sleeping instances, and at ``root`` a host that shows them."""
    parents = _groups(f"stella-scale-{os.getpid()}")
    argv = ["/usr/bin/setpriv", "--pdeathsig", "KILL", "/usr/bin/python3", "-I", "-S", sleeping.__file__]
    process = subprocess.Popen([*argv, str(count), str(_VCPUS)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None and process.stdout is not None
    try:
        for parent in parents:
            _make(parent)
        domains = []
        for number in range(count):
            told = json.loads(process.stdout.readline())
            _confine(parents, number, told["threads"])
            domains.append(_domain(number, told))
        root.mkdir()
        for tree in ("proc", "sys"):
            (root / tree).symlink_to(f"/{tree}")
        (root / "hypervisor.json").write_text(json.dumps({"domains": domains, "shut_off": []}))
        counters = [f"{way}_{what}" for way in ("tx", "rx") for what in ("packets", "bytes", "drops")]
        links = {f"tap{number}": dict.fromkeys(counters, 1000) for number in range(count)}
        (root / "links.json").write_text(json.dumps(links))
        yield
    finally:
        process.stdin.close()
        process.wait(10)
        for parent in parents:
            remove_tree(parent)


def _configure(directory: Path, count: int, port: int) -> Path:
    slo = {"cpu": {"floor": "0.5%"}, "network_packets": {"floor": "50pps"}}
    slos = {"instances": {_uuid(number): slo for number in range(0, count, 2)}}
    (directory / "slos.yaml").write_text(json.dumps(slos))
    keys: dict[str, object] = {
        "mode": "enforce",
        "tick_milliseconds": _TICK_MILLISECONDS,
        "state_directory": str(directory / "state"),
        "run_directory": str(directory / "run"),
        "socket": str(directory / "s"),
        "metrics_listen": f"127.0.0.1:{port}",
        "host_overhead": "reserved",
        "slo_file": str(directory / "slos.yaml"),
    }
    path = directory / "xgos.toml"
    path.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items()))
    return path


def _status(socket: Path) -> Mapping[str, Any]:
    with contextlib.suppress(Unreachable, RequestRefused):
        return Client(socket, timeout_seconds=5.0).status()
    return {}


def _is_ready(status: Mapping[str, Any], count: int) -> bool:
    """Whether all instances are seen whole, and half of them have their SLO in force."""
    if not status or not all(sensor["ok"] for sensor in status["sensors"]):
        return False
    enforced = (status["intent_states"] or {}).get("enforced", 0)
    return bool(status["instances"] == count and enforced == (count + 1) // 2)


def _ticks(port: int) -> tuple[dict[float, int], float]:
    """The histogram of the agent's ticks so far, and their sum in seconds."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    found, total = {}, 0.0
    for line in lines:
        if line.startswith(_HISTOGRAM):
            bound, count = line.split('le="')[1].split('"')[0], float(line.split()[-1])
            found[float(bound)] = int(count)
        elif line.startswith("stella_agent_tick_duration_seconds_sum"):
            total = float(line.split()[-1])
    return found, total


def measure(count: int, seconds: int, directory: Path) -> Cost:
    """What an agent costs beside so many instances. Raises `NotStarted`."""
    directory.mkdir()
    port = free_port()
    with _instances(count, directory / "host"):
        config = _configure(directory, count, port)
        command = [sys.executable, "-m", "stella.cmd.xgos", "run", "--root", str(directory / "host")]
        agent = Process(
            [*command, "--config", str(config)], log=directory / "log", cores=frozenset(os.sched_getaffinity(0))
        )
        try:
            agent.wait_until(lambda: _is_ready(_status(directory / "s"), count))
            time.sleep(_WARM_SECONDS)
            before, spent, began = agent.cpu_seconds, _ticks(port), time.monotonic()
            time.sleep(seconds)
            took = time.monotonic() - began
            cpu, after = agent.cpu_seconds - before, _ticks(port)
            resident = agent.resident_bytes
        finally:
            agent.stop()
    buckets = {bound: number - spent[0].get(bound, 0) for bound, number in after[0].items()}
    ticks = max(buckets.values(), default=0)
    return Cost(
        instances=count,
        cpu_ratio=cpu / took,
        resident_bytes=resident,
        ticks=ticks,
        p99_tick_seconds=quantile(buckets, 0.99),
        longest_tick_seconds=quantile(buckets, 1.0),
        mean_tick_seconds=(after[1] - spent[1]) / max(ticks, 1),
    )


def musts(few: Cost, many: Cost) -> tuple[Must, ...]:
    """What must hold of the two. Pure."""
    growth = many.cpu_ratio / few.cpu_ratio if few.cpu_ratio > 0 else float("inf")
    return (
        Must(
            text=f"agent CPU with {many.instances} instances at most {_MOST_CPU_RATIO:.0%} of a core",
            kept=many.cpu_ratio <= _MOST_CPU_RATIO,
            seen=f"{many.cpu_ratio:.1%}",
        ),
        Must(
            text=f"p99 of a tick at most {_MOST_TICK_SECONDS * 1e3:.0f} ms",
            kept=many.p99_tick_seconds <= _MOST_TICK_SECONDS,
            seen=f"at most {many.p99_tick_seconds * 1e3:g} ms",
        ),
        Must(
            text=f"resident at most {_MOST_BYTES // 2**20} MiB",
            kept=many.resident_bytes <= _MOST_BYTES,
            seen=f"{many.resident_bytes / 2**20:.0f} MiB",
        ),
        Must(
            text=f"CPU with {many.instances} instances at most {_MOST_GROWTH:g} times that with {few.instances}",
            kept=growth <= _MOST_GROWTH * many.instances / few.instances / 10,
            seen=f"{growth:.1f} times",
        ),
    )


def run(options: Options, directory: Path, progress: Progress) -> Outcome:
    """Measure both, the smaller first. Raises `NotStarted`."""
    found = []
    for count in (max(1, options.instances // 10), options.instances):
        progress.note(f"{count} instances for {options.seconds} s")
        found.append(measure(count, options.seconds, directory / str(count)))
    table = [
        {
            "instances": one.instances,
            "cpu_percent_of_a_core": round(one.cpu_ratio * 100, 2),
            "ticks": one.ticks,
            "tick_mean_ms": round(one.mean_tick_seconds * 1e3, 1),
            "tick_p99_below_ms": round(one.p99_tick_seconds * 1e3, 1),
            "tick_max_below_ms": round(one.longest_tick_seconds * 1e3, 1),
            "resident_mib": round(one.resident_bytes / 2**20, 1),
        }
        for one in found
    ]
    return Outcome(
        command="host",
        settings={"instances": options.instances, "seconds": options.seconds, "tick_milliseconds": _TICK_MILLISECONDS},
        tables={"agent": table},
        musts=musts(*found),
        facts={"instances": "processes that sleep", "with_slo": "half", "libvirt_and_taps": "emulated by files"},
    )
