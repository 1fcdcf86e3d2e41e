"""The command as operators run it: gunicorn, a socket, and kill -9 under writes."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from stella.db.models import SloChange, SloRow
from tests.functional.conftest import Cloud, uuid

_KILLS = 4
_INSTANCES = 6


class _Server:
    """stella-api in a process group of its own."""

    def __init__(self, cloud: Cloud) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self._path = cloud.config_path
        self._path.write_text(self._path.read_text() + f"bind_port = {self.port}\nthreads = 4\n")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "stella.cmd.stella_api", "--config-file", str(self._path)]
        log = self._path.with_name("log").open("ab")
        self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        log.close()
        end = time.monotonic() + 60
        while time.monotonic() < end:
            with suppress(OSError, http.client.HTTPException):
                if self.ask("GET", "/healthcheck")[0] == 200:
                    return
            time.sleep(0.05)
        pytest.fail(self._path.with_name("log").read_text()[-2000:])

    def stop(self, number: signal.Signals) -> None:
        assert self._process is not None
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)
        self._process.wait(30)

    def ask(self, method: str, path: str, token: str = "", body: object = None) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            headers = {"X-Auth-Token": token, "Content-Type": "application/json"}
            connection.request(method, path, json.dumps(body) if body is not None else None, headers)
            answer = connection.getresponse()
            text = answer.read()
            return answer.status, json.loads(text) if text else None
        finally:
            connection.close()


@pytest.fixture
def server(cloud: Cloud) -> Iterator[_Server]:
    made = _Server(cloud)
    made.start()
    yield made
    made.stop(signal.SIGTERM)


def test_no_accepted_slo_is_lost_or_half_applied_when_the_api_is_killed(cloud: Cloud, server: _Server) -> None:
    host = cloud.host("host1", cpus=8)
    for number in range(_INSTANCES):
        host.add(uuid(number))
    assert host.report().status_code == 200
    accepted: dict[str, int] = {}
    unforeseen: list[Any] = []
    stop = threading.Event()

    def write(number: int) -> None:
        path, generation = f"/v1/instances/{uuid(number)}/slo", 0
        while not stop.is_set():
            objectives = {"cpu": {"floor": 0.1 + generation % 5 / 50}}
            try:
                status, answer = server.ask(
                    "PUT", path, cloud.member.token, {"objectives": objectives, "generation": generation}
                )
            except (OSError, http.client.HTTPException, ValueError):
                stop.wait(0.05)
                continue
            if status in (200, 201):
                generation = accepted[uuid(number)] = answer["generation"]
            elif status == 409:
                generation = answer["errors"][0].get("generation", generation)
            else:
                unforeseen.append(answer)

    writers = [threading.Thread(target=write, args=(number,)) for number in range(_INSTANCES)]
    for writer in writers:
        writer.start()
    for _ in range(_KILLS):
        time.sleep(0.5)
        server.stop(signal.SIGKILL)
        server.start()
    stop.set()
    for writer in writers:
        writer.join(30)
    assert not unforeseen
    with cloud.database.reader() as session:
        rows = session.scalars(select(SloRow)).all()
        history = session.scalars(select(SloChange)).all()
    shown = cloud.admin.get("/v1/hosts/host1").json
    assert len(rows) == len(accepted) == _INSTANCES
    assert sum(row.reserved_cpu_cores for row in rows) == pytest.approx(shown["reserved_cpu_cores"])
    for row in rows:
        changes = [change for change in history if change.instance_id == row.instance_id]
        assert [change.generation for change in changes] == list(range(1, row.generation + 1)), (
            "each change once, none half"
        )
        assert changes[-1].after == row.objectives
    for number in range(_INSTANCES):
        generation = cloud.member.get(f"/v1/instances/{uuid(number)}/slo").json["generation"]
        assert generation >= accepted[uuid(number)], "what was answered was kept"


def test_it_refuses_to_start_on_a_database_of_another_version(tmp_path: Path) -> None:
    path = tmp_path / "stella.conf"
    path.write_text(f"[database]\nconnection = sqlite:///{tmp_path}/stella.sqlite\n")
    command = [sys.executable, "-m", "stella.cmd.stella_api", "--config-file", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1 and "run stella-manage db sync" in done.stderr
