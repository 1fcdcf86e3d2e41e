"""`stella-bench up --hosts sim:2` to `down`, with the client between; whatever is killed, nothing is left."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from stella.bench.standalone import processes
from stella.bench.standalone.paths import Paths
from stella.bench.standalone.processes import recorded

pytestmark = pytest.mark.timeout(400)
REPOSITORY = Path(__file__).parents[2]
PATIENCE_SECONDS = 90.0
MARK = "STELLA_TEST_MARK"


class Standalone:
    """One directory, and the commands on it. Its processes are known by a mark in their environment."""

    def __init__(self, directory: Path) -> None:
        self.paths = Paths(directory)
        self.mark = uuid4().hex
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        self.environment = {**os.environ, "PATH": path, MARK: self.mark}

    def start(self, command: str, *words: str) -> "subprocess.Popen[str]":
        argv = [
            sys.executable,
            "-m",
            "stella.cmd.stella_bench",
            command,
            "--directory",
            str(self.paths.directory),
            *words,
        ]
        return subprocess.Popen(
            argv,
            cwd=REPOSITORY,
            env=self.environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def run(self, command: str, *words: str) -> "tuple[int, str, str]":
        process = self.start(command, *words)
        out, err = process.communicate(timeout=PATIENCE_SECONDS)
        return process.returncode, out, err

    def shell(self, line: str) -> "subprocess.CompletedProcess[str]":
        """A line as a person types it after `. .run/env`."""
        script = f". {shlex.quote(str(self.paths.env))}; {line}"
        return subprocess.run(
            ["/bin/sh", "-uc", script],
            env=self.environment,
            cwd=self.paths.directory.parent,
            text=True,
            capture_output=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )

    def processes(self) -> list[str]:
        """What runs of it."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if self.mark.encode() in (entry / "environ").read_bytes():
                    found.append((entry / "cmdline").read_text().replace("\0", " "))
            except OSError:
                continue
        return found


def until(is_done: Callable[[], bool]) -> None:
    limit = time.monotonic() + PATIENCE_SECONDS
    while not is_done():
        assert time.monotonic() < limit
        time.sleep(0.05)


def get(url: str, token: str = "") -> dict[str, Any]:
    with urllib.request.urlopen(urllib.request.Request(url, headers={"X-Auth-Token": token}), timeout=15) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


@pytest.fixture
def standalone(tmp_path: Path) -> Iterator[Standalone]:
    one = Standalone(tmp_path / ".run")
    yield one
    one.run("down")
    assert one.processes() == []


def test_up_is_used_with_the_client_and_down_leaves_nothing(standalone: Standalone) -> None:
    status, out, err = standalone.run("up", "--hosts", "sim:2")
    assert status == 0, err
    commands = [line.strip() for line in out.splitlines() if line.startswith("    ")]
    assert len(commands) == 3
    printed = [standalone.shell(command) for command in commands]
    assert [done.returncode for done in printed] == [0, 0, 0], printed
    assert "sim2" in printed[0].stdout

    (row,) = json.loads(standalone.shell("openstack slo list -f json").stdout)
    server = row["name"]
    assert f"--server {server} " in commands[1]
    shown = json.loads(standalone.shell(f"openstack slo show --server {server} -f json").stdout)
    assert (shown["objectives"], shown["state"]) == ({"cpu": {"floor": 0.2}}, "enforced")
    as_member = json.loads(standalone.shell("OS_TOKEN=$STELLA_MEMBER_TOKEN openstack slo list --all -f json").stdout)
    assert server in {one["name"] for one in as_member}
    endpoint, token = standalone.shell("echo $OS_ENDPOINT $OS_TOKEN").stdout.split()
    everything = get(f"{endpoint}/v1/instances", token)["instances"]
    assert {one["uuid"] for one in as_member} < {one["uuid"] for one in everything}
    assert standalone.shell("OS_TOKEN=$STELLA_MEMBER_TOKEN openstack slo unset --server " + server).returncode == 0
    assert {one["slo_state"] for one in get(f"{endpoint}/v1/instances", token)["instances"]} == {None}
    assert get(f"{endpoint}/openapi.json")["openapi"].startswith("3.1")

    before = recorded(standalone.paths.processes)
    status, out, err = standalone.run("up", "--hosts", "sim:2")
    assert (status, "runs already" in out) == (0, True), err
    assert recorded(standalone.paths.processes) == before
    status, _, err = standalone.run("up", "--hosts", "sim:3")
    assert (status, err.count("stella-bench: up: --hosts: it runs with sim:2")) == (2, 1)

    hosts = next(record for record in before if record.name == "hosts")
    os.kill(hosts.pid, signal.SIGKILL)
    until(lambda: not hosts.runs)
    status, out, err = standalone.run("up", "--hosts", "sim:2")
    assert (status, " runs at " in out) == (0, True), err
    assert not any(record.runs for record in before), "what was left of the one that crashed is gone"

    status, out, err = standalone.run("down")
    assert (status, out) == (0, "Stopped and removed.\n"), err
    assert standalone.processes() == []
    assert not standalone.paths.directory.exists()
    assert standalone.run("down")[0] == 0


@pytest.mark.parametrize("records", [0, 1, 3], ids=["before-the-first-process", "with-the-api", "with-the-hosts"])
def test_down_after_an_up_that_was_killed_leaves_nothing(standalone: Standalone, records: int) -> None:
    up = standalone.start("up", "--hosts", "sim:2")
    paths = standalone.paths
    until(lambda: up.poll() is not None or (paths.state.exists() and len(recorded(paths.processes)) >= records))
    up.send_signal(signal.SIGKILL)
    up.communicate(timeout=PATIENCE_SECONDS)
    status, _, err = standalone.run("down")
    assert status == 0, err
    assert standalone.processes() == []
    assert not paths.directory.exists()


def test_a_start_that_fails_says_why_in_one_line_and_keeps_the_logs_alone(standalone: Standalone) -> None:
    up = standalone.start("up", "--hosts", "sim:2")
    paths = standalone.paths
    until(lambda: up.poll() is not None or any(r.name == "stella-api" for r in recorded(paths.processes)))
    for record in recorded(paths.processes):
        if record.name == "stella-api":
            for pid in processes.session_of(record):
                os.kill(pid, signal.SIGKILL)
    _, err = up.communicate(timeout=PATIENCE_SECONDS)
    assert up.returncode == 3, err
    assert err.splitlines()[-1].startswith("stella-bench: up: stella-api ended with -9: "), err
    assert str(paths.logs) in err.splitlines()[-1]
    assert standalone.processes() == []
    assert [path.name for path in paths.home.iterdir()] == ["logs"]
    assert not paths.env.exists()


def test_an_up_that_is_interrupted_removes_what_it_started(standalone: Standalone) -> None:
    up = standalone.start("up", "--hosts", "sim:2")
    until(lambda: up.poll() is not None or len(recorded(standalone.paths.processes)) >= 2)
    up.send_signal(signal.SIGTERM)
    up.communicate(timeout=PATIENCE_SECONDS)
    assert up.returncode == 130
    assert standalone.processes() == []
    assert not standalone.paths.env.exists()
