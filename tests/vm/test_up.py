"""`stella-bench up` with a real guest: an SLO set with the client is met under load; `down` leaves nothing (root, two minutes)."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stella.bench.lab.leftovers import HOME
from stella.bench.standalone.paths import Paths
from stella.bench.standalone.processes import recorded

pytestmark = [pytest.mark.vm, pytest.mark.timeout(400)]
REPOSITORY = Path(__file__).parents[2]
PATIENCE_SECONDS = 180.0


def bench(paths: Paths, command: str, *words: str) -> "subprocess.Popen[str]":
    argv = [sys.executable, "-m", "stella.cmd.stella_bench", command, *words, "--directory", str(paths.directory)]
    return subprocess.Popen(argv, cwd=REPOSITORY, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def finished(process: "subprocess.Popen[str]") -> tuple[int, str]:
    out, _ = process.communicate(timeout=PATIENCE_SECONDS)
    return process.returncode, out


def client(paths: Paths, line: str) -> tuple[int, str]:
    done = subprocess.run(
        ["/bin/sh", "-uc", f". {shlex.quote(str(paths.env))}; {line}"],
        text=True,
        capture_output=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    return done.returncode, done.stdout or done.stderr


def until(is_done: Callable[[], bool]) -> None:
    limit = time.monotonic() + PATIENCE_SECONDS
    while not is_done():
        assert time.monotonic() < limit
        time.sleep(0.2)


def traces(directory: Path) -> list[str]:
    """What a laboratory in this directory has left on the host."""
    found = [str(path) for path in (directory, HOME) if path.exists()]
    found += [str(path) for top in Path("/sys/fs/cgroup").iterdir() for path in top.glob("stella-[bx]*")]
    found += [path.name for path in Path("/run/netns").glob("stella-bench-*")]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_text()
        except OSError:
            continue
        if str(directory) in words or str(HOME) in words:
            found.append(words.replace("\0", " ")[:200])
    return found


@pytest.fixture
def paths(tmp_path: Path) -> Iterator[Paths]:
    assert traces(tmp_path / "run") == [], "another laboratory is on this machine"
    found = Paths(tmp_path / "run")
    yield found
    finished(bench(found, "down"))
    assert traces(found.directory) == []


def test_an_slo_is_set_with_the_client_and_met_under_load(paths: Paths) -> None:
    status, out = finished(bench(paths, "up", "--hosts", "lab:1"))
    assert status == 0, out
    status, out = client(paths, "openstack slo host list -f json")
    (host,) = json.loads(out)
    assert (host["name"], host["mode"], host["instances"], host["silent"]) == ("host1", "enforce", 1, False)
    # a machine that is busy with something else has little to guarantee: asked until it has
    until(lambda: client(paths, "openstack slo set --server vm1 --cpu 0.5% --wait")[0] == 0)
    assert finished(bench(paths, "load", "vm1", "cpu")) == (0, "")

    def is_met() -> bool:
        _, out = client(paths, "openstack slo explain --server vm1 -f json")
        return any((o["metric"], o["status"]) == ("cpu", "MET") and o["usage"] > 0.1 for o in json.loads(out))

    until(is_met)
    assert finished(bench(paths, "load", "vm1", "stop")) == (0, "")
    status, out = finished(bench(paths, "load", "vm2", "cpu"))
    assert (status, "instance: 'vm2' is none of vm1" in out) == (3, True)
    status, out = finished(bench(paths, "down"))
    assert status == 0, out
    assert traces(paths.directory) == []


def test_down_after_up_and_laboratory_were_killed_leaves_nothing(paths: Paths) -> None:
    up = bench(paths, "up", "--hosts", "lab:1")
    until(lambda: up.poll() is not None or any(HOME.glob("*/guest1")))  # QEMU has begun
    up.send_signal(signal.SIGKILL)
    finished(up)
    (laboratory,) = [record for record in recorded(paths.processes) if record.name == "hosts"]
    os.kill(laboratory.pid, signal.SIGKILL)
    status, out = finished(bench(paths, "down"))
    assert status == 0, out
    assert traces(paths.directory) == []
