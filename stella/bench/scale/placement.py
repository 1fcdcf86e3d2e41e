"""openstack-placement beside stella-api, with the same gunicorn settings on the same core; `scripts/placement-venv.sh` installs it."""

import http.client
import subprocess
import uuid
from contextlib import suppress
from pathlib import Path

from sqlalchemy import create_engine, text

from stella.bench.lab.process import free_port
from stella.bench.scale.processes import NotStarted, Process
from stella.bench.scale.users import Request

_THREADS = 8
_KEEP_ALIVE_SECONDS = 75
TOKEN = "admin"  # noqa: S105 (noauth2 takes any token; this one names an administrator)


class Placement:
    """A service with so many resource providers. Users are authenticated by ``noauth2``: no Keystone is asked."""

    def __init__(
        self, directory: Path, venv: Path, database_url: str, *, providers: int, cores: frozenset[int]
    ) -> None:
        """Migrate, fill and start. Raises `NotStarted`."""
        directory.mkdir(parents=True)
        configuration = directory / "placement.conf"
        configuration.write_text(f"[placement_database]\nconnection = {database_url}\n[api]\nauth_strategy = noauth2\n")
        environment = {"OS_PLACEMENT_CONFIG_DIR": str(directory), "PYTHONPATH": "", "PATH": "/usr/sbin:/usr/bin"}
        migrate = [str(venv / "bin/placement-manage"), "--config-file", str(configuration), "db", "sync"]
        try:
            done = subprocess.run(migrate, capture_output=True, text=True, check=False, env=environment, timeout=120)
        except OSError:
            raise NotStarted(f"{venv} has no openstack-placement: run scripts/placement-venv.sh") from None
        if done.returncode != 0:
            raise NotStarted(done.stderr[-2000:])
        _fill(database_url, providers)
        self.port = free_port()
        command = [str(venv / "bin/gunicorn"), "--bind", f"127.0.0.1:{self.port}", "--worker-class", "gthread"]
        command += ["--workers", "1", "--threads", str(_THREADS), "--keep-alive", str(_KEEP_ALIVE_SECONDS)]
        command.append("placement.wsgi.api:application")
        self.process = Process(command, log=directory / "log", cores=cores, environment=environment)
        try:
            self.process.wait_until(self._answers)
        except BaseException:
            self.process.stop()
            raise
        self.request = Request(
            kind="resource_providers",
            method="GET",
            path="/resource_providers",
            headers=f"X-Auth-Token: {TOKEN}\r\nAccept: application/json\r\nOpenStack-API-Version: placement latest\r\n",
        )

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        with suppress(OSError, http.client.HTTPException):
            connection.request("GET", "/")
            return connection.getresponse().status == 200
        return False


def _fill(url: str, providers: int) -> None:
    statement = text(
        "INSERT INTO resource_providers (id, uuid, name, generation, root_provider_id, created_at, updated_at)"
        " VALUES (:id, :uuid, :name, 1, :id, NOW(), NOW())"
    )
    rows = [{"id": n, "uuid": str(uuid.uuid4()), "name": f"host{n:05d}"} for n in range(1, providers + 1)]
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(statement, rows)
    engine.dispose()
