"""An SLO set through a real stella-api is enforced by the real agent and acknowledged, also after the API was killed."""

import http.client
import json
import os
import re
import shutil
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

from .conftest import HOSTS, REPOSITORY
from .test_kill import HOST, WEIGHT, read_knob, wait_until

pytest.importorskip("falcon", reason="stella-api's dependencies are not installed")

NAME = "vm1"


def run(*words: str | Path) -> str:
    """A command of this repository, to its end."""
    argv = [sys.executable, "-m", *map(str, words)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, cwd=REPOSITORY)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


class Api:
    """stella-api on SQLite, on loopback."""

    def __init__(self, directory: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self.log = directory / "api.log"
        self.config = directory / "stella.conf"
        tokens = directory / "tokens.toml"
        self.config.write_text(
            f"[database]\nconnection = sqlite:///{directory}/stella.sqlite\n[auth]\ntoken_file = {tokens}\n"
            f"[api]\nbind_port = {self.port}\nthreads = 4\nworkers = 1\n"
        )
        run("stella.cmd.stella_manage", "--config-file", self.config, "db", "sync")
        manage = ("stella.cmd.stella_manage", "--config-file", self.config)
        self.credential = run(*manage, "host", "enroll", "host1", "--mode", "enforce")
        create = ("token", "create", "--user", "ann", "--project", "p", "--roles", "admin")
        self.token = run(*manage, *create).splitlines()[-1]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        argv = [sys.executable, "-m", "stella.cmd.stella_api", "--config-file", str(self.config)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(argv, stdout=log, stderr=log, cwd=REPOSITORY, start_new_session=True)
        assert wait_until(self.is_up, 30.0), self.log.read_text()

    def is_up(self) -> bool:
        with suppress(OSError, http.client.HTTPException):
            return self.ask("GET", "/healthcheck")[0] == 200
        return False

    def stop(self, number: signal.Signals) -> None:
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)
            self.process.wait(20)

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            headers = {"X-Auth-Token": self.token, "Content-Type": "application/json"}
            connection.request(method, path, json.dumps(body) if body is not None else None, headers)
            answer = connection.getresponse()
            text = answer.read()
            return answer.status, json.loads(text) if text else None
        finally:
            connection.close()

    def instance(self) -> str:
        """The uuid of the instance, once its host reported it; empty before."""
        found = self.ask("GET", "/v1/instances")[1]["instances"]
        return next((str(one["uuid"]) for one in found if one["name"] == NAME), "")


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    one = Api(tmp_path)
    one.start()
    yield one
    one.stop(signal.SIGTERM)


@pytest.fixture
def agent(tmp_path: Path, api: Api, configured: Callable[..., Path]) -> Iterator[Path]:
    """The copied host's tree, in the hands of an agent."""
    root = Path(shutil.copytree(HOSTS / HOST, tmp_path / "host"))
    credential = tmp_path / "credential"
    credential.touch(mode=0o600)
    credential.write_text(api.credential + "\n")
    config = configured(
        tick_milliseconds=100,
        api_url=f"http://127.0.0.1:{api.port}",
        api_host_name="host1",
        api_credential_file=str(credential),
    )
    argv = [sys.executable, "-m", "stella.cmd.xgos", "run", "--root", str(root), "--config", str(config)]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(argv, stderr=log, cwd=REPOSITORY)
    yield root
    process.terminate()
    try:
        assert process.wait(10) == 0, (tmp_path / "log").read_text()
    finally:
        process.kill()
        process.wait()


def test_an_slo_is_enforced_acknowledged_and_outlives_the_api(api: Api, agent: Path, tmp_path: Path) -> None:
    def log() -> str:
        return (tmp_path / "log").read_text() + api.log.read_text()[-3000:]

    def weight() -> int:
        return int(read_knob(agent / WEIGHT))

    def state() -> str:
        status, shown = api.ask("GET", path)
        return str(shown["state"]).lower() if status == 200 else f"HTTP {status}"

    assert wait_until(lambda: bool(api.instance()), 15.0), log()
    before = weight()
    path = f"/v1/instances/{api.instance()}/slo"
    status, answer = api.ask("PUT", path, {"objectives": {"cpu": {"floor": "20%"}}})
    assert status == 201, answer
    asked = time.monotonic()
    assert wait_until(lambda: state() == "enforced", 10.0), (state(), log())
    print(f"enforced {time.monotonic() - asked:.2f} s after the answer")
    assert wait_until(lambda: weight() != before, 5.0), log()
    floor = weight()

    api.stop(signal.SIGKILL)
    time.sleep(1.5)
    assert weight() == floor, "it goes on without the API"
    api.start()
    assert state() == "enforced"
    told = run("stella.cmd.xgos", "status", "--socket", tmp_path / "run" / "s")
    assert re.search(r"API http://127\.0\.0\.1:\d+ as host host1: .*revision \d", told)
    print(told)
    assert api.ask("DELETE", f"{path}?generation={answer['generation']}")[0] == 204
    assert wait_until(lambda: weight() != floor, 15.0), log()
    assert api.credential not in log()


def test_the_agent_obeys_the_apis_mode_also_while_the_api_is_away(api: Api, agent: Path, tmp_path: Path) -> None:
    def log() -> str:
        return (tmp_path / "log").read_text() + api.log.read_text()[-3000:]

    def weight() -> int:
        return int(read_knob(agent / WEIGHT))

    def set_mode(mode: str) -> None:
        assert api.ask("PATCH", "/v1/hosts/host1", {"mode": mode})[0] == 200

    def slo() -> Any:
        return api.ask("GET", path)[1]

    def status() -> str:
        return run("stella.cmd.xgos", "status", "--socket", tmp_path / "run" / "s")

    assert wait_until(lambda: bool(api.instance()), 15.0), log()
    uuid, before = api.instance(), int(read_knob(HOSTS / HOST / WEIGHT))
    path = f"/v1/instances/{uuid}/slo"
    assert api.ask("PUT", path, {"objectives": {"cpu": {"floor": "20%"}}})[0] == 201
    assert wait_until(lambda: weight() != before and slo()["state"] == "enforced", 15.0), log()

    set_mode("observe")
    assert wait_until(lambda: weight() == before, 15.0), log()
    assert wait_until(lambda: slo()["state"] == "pending", 15.0), log()
    assert "mode observe" in slo()["reason"]
    assert "SLOs are evaluated and reported, nothing is enforced" in status()
    assert api.ask("PUT", path, {"objectives": {"cpu": {"floor": "10%"}}, "generation": 1})[0] == 409
    reported = api.ask("GET", f"/v1/instances/{uuid}")[1]
    assert reported["objectives"], "it is still evaluated and reported"
    api.stop(signal.SIGKILL)
    time.sleep(1.0)
    assert weight() == before, "the last mode stays while the API is away"
    api.start()

    set_mode("maintenance")
    assert wait_until(lambda: weight() != before and slo()["state"] == "enforced", 20.0), log()
    assert wait_until(lambda: "mode maintenance" in status(), 15.0)
    assert api.ask("PUT", path, {"objectives": {"cpu": {"floor": "10%"}}, "generation": 1})[0] == 409
    set_mode("enforce")
    assert wait_until(lambda: "maintenance" not in status(), 15.0), log()
    assert weight() != before and slo()["state"] == "enforced"


def test_seconds_of_a_watched_instance_arrive(api: Api, agent: Path, tmp_path: Path) -> None:
    def points(step: int = 1) -> list[Any]:
        found: list[Any] = api.ask("GET", f"/v1/instances/{uuid}/usage?step={step}")[1]["points"]
        return found

    assert wait_until(lambda: bool(api.instance()), 15.0)
    uuid = api.instance()
    path = f"/v1/instances/{uuid}/slo"
    assert api.ask("PUT", path, {"objectives": {"cpu": {"floor": "20%"}}})[0] == 201
    assert points() == []
    assert wait_until(lambda: len(points()) >= 4, 20.0), (tmp_path / "log").read_text()
    moments = [point["at"] for point in points()]
    assert moments == sorted(set(moments))
    assert {one["metric"] for point in points() for one in point["objectives"]} == {"cpu"}
