"""`stella-sim run` as a process beside a real stella-api: linked, killed, started again, ended."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from stella.xgos.local_api.client import Client

REPOSITORY = Path(__file__).parents[2]
HOSTS = 2
DEADLINE_SECONDS = 40.0


def module(name: str, *words: object) -> list[str]:
    """The command line of one of this repository's commands."""
    return [sys.executable, "-m", f"stella.cmd.{name}", *map(str, words)]


def output(argv: list[str], code: int = 0) -> str:
    """What a command prints, to its end."""
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, cwd=REPOSITORY)
    assert done.returncode == code, done.stderr
    return (done.stdout if code == 0 else done.stderr).strip()


def wait_until(true: Callable[[], object], seconds: float = DEADLINE_SECONDS) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if true():
            return True
        time.sleep(0.1)
    return False


class Cloud:
    """stella-api on SQLite, on loopback, and what it takes to run simulated hosts beside it."""

    def __init__(self, directory: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self.directory = directory
        config = directory / "stella.conf"
        config.write_text(
            f"[database]\nconnection = sqlite:///{directory}/stella.sqlite\n[auth]\ntoken_file = {directory}/tokens.toml\n"
            f"[api]\nbind_port = {self.port}\nthreads = 4\nworkers = 1\n"
        )
        output(module("stella_manage", "--config-file", config, "db", "sync"))
        (directory / "credentials").mkdir()
        for n in range(1, HOSTS + 1):
            enroll = module("stella_manage", "--config-file", config, "host", "enroll", f"sim{n}", "--mode", "enforce")
            path = directory / "credentials" / f"sim{n}"
            path.touch(mode=0o600)
            path.write_text(output(enroll) + "\n")
        words = ("token", "create", "--user", "ann", "--project", "demo", "--roles", "member")
        self.token = output(module("stella_manage", "--config-file", config, *words)).splitlines()[-1]
        self.api = self._start("api", module("stella_api", "--config-file", config))
        self.sim: subprocess.Popen[bytes] | None = None

    def _start(self, name: str, argv: list[str]) -> subprocess.Popen[bytes]:
        with (self.directory / f"{name}.log").open("ab") as log:
            return subprocess.Popen(argv, stdout=log, stderr=log, cwd=REPOSITORY, start_new_session=True)

    def arguments(self, **more: object) -> list[str]:
        words: dict[str, object] = {
            "hosts": HOSTS,
            "api-url": f"http://127.0.0.1:{self.port}",
            "credentials-dir": self.directory / "credentials",
            "state-dir": self.directory / "state",
            "instances-per-host": 4,
            **more,
        }
        return module("stella_sim", "run", *(w for key, value in words.items() for w in (f"--{key}", value)))

    def start_hosts(self) -> subprocess.Popen[bytes]:
        self.sim = self._start("sim", self.arguments())
        return self.sim

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            headers = {"X-Auth-Token": self.token, "Content-Type": "application/json"}
            connection.request(method, path, json.dumps(body) if body is not None else None, headers)
            answer = connection.getresponse()
            text = answer.read()
            return answer.status, json.loads(text) if text else None
        finally:
            connection.close()

    def instances(self) -> dict[str, dict[str, Any]]:
        """By name; none while the API does not answer."""
        with suppress(OSError, http.client.HTTPException):
            status, shown = self.ask("GET", "/v1/instances?limit=100")
            if status == 200:
                return {one["name"]: one for one in shown["instances"]}
        return {}

    def agents(self) -> list[str]:
        """Who reports, and in which epoch, by the state that the hosts keep."""
        found = (self.directory / "state").glob("sim*/outbox/outbox.json")
        states = [json.loads(path.read_text()) for path in sorted(found)]
        return [f"{one['agent']} {one['epoch']}" for one in states]

    def log(self) -> str:
        return "".join(path.read_text()[-4000:] for path in self.directory.glob("*.log"))

    def close(self) -> None:
        for process in (self.sim, self.api):
            if process is not None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait(20)


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    made = Cloud(tmp_path)
    yield made
    made.close()


def test_hosts_keep_an_slo_over_a_kill(cloud: Cloud) -> None:
    process = cloud.start_hosts()
    assert wait_until(lambda: len(cloud.instances()) == 6), cloud.log()
    assert set(cloud.instances()) == {"web-1", "web-2", "db-1", "db-2", "batch-1", "batch-2"}, (
        "those of another project are not seen"
    )
    uuid = cloud.instances()["web-2"]["uuid"]
    status, answer = cloud.ask(
        "PUT", f"/v1/instances/{uuid}/slo", {"objectives": {"network_packets": {"floor": "30kpps"}}}
    )
    assert status == 201, answer

    def state() -> str:
        return str(cloud.ask("GET", f"/v1/instances/{uuid}/slo")[1]["state"])

    assert wait_until(lambda: state() == "enforced"), (state(), cloud.log())
    host = Client(cloud.directory / "state" / "sim2" / "run" / "xgos.sock").status()
    assert (host["mode"], host["instances"], host["failed_ticks"]) == ("enforce", 4, 0)
    agents = cloud.agents()
    assert len(agents) == HOSTS
    process.send_signal(signal.SIGKILL)
    process.wait(20)

    process = cloud.start_hosts()
    assert wait_until(lambda: cloud.log().count("hosts with 4 instances each") == 2), cloud.log()
    reported = cloud.instances()["web-2"]["reported_at"]
    assert wait_until(lambda: cloud.instances().get("web-2", {}).get("reported_at", "") > reported), cloud.log()
    assert state() == "enforced"
    assert cloud.agents() == agents

    begun = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0, cloud.log()
    assert time.monotonic() - begun < 5.0
    assert "Traceback" not in cloud.log()


def test_it_ends_soon_although_the_api_does_not_answer(cloud: Cloud) -> None:
    process = cloud.start_hosts()
    assert wait_until(cloud.instances), cloud.log()
    os.killpg(cloud.api.pid, signal.SIGSTOP)
    try:
        time.sleep(2.0)  # its threads wait for an answer now
        begun = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0, cloud.log()
        assert time.monotonic() - begun < 5.0
    finally:
        os.killpg(cloud.api.pid, signal.SIGCONT)


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"credentials-dir": "/nowhere"}, "--credentials-dir"),
        ({"hosts": 0}, "--hosts"),
        ({"tick-milliseconds": 10}, "--tick-milliseconds"),
        ({"api-url": "http://192.0.2.1:1"}, "api_url"),
        ({"api-url": "127.0.0.1"}, "api_url"),
    ],
)
def test_a_wrong_argument_is_one_line_that_names_it(tmp_path: Path, more: dict[str, object], field: str) -> None:
    (tmp_path / "sim1").touch(mode=0o600)
    (tmp_path / "sim1").write_text("credential\n")
    words = {
        "hosts": 1,
        "api-url": "http://127.0.0.1:1",
        "credentials-dir": tmp_path,
        "state-dir": tmp_path / "state",
        **more,
    }
    argv = module("stella_sim", "run", *(w for key, value in words.items() for w in (f"--{key}", value)))
    text = output(argv, code=2)
    assert text.startswith("stella-sim: ")
    assert field in text
    assert "\n" not in text
    assert not (tmp_path / "state").exists()
