"""A Placement of the test's own, the real one: SQLite, loopback, its own virtual environment (scripts/placement-venv.sh)."""

import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from keystoneauth1.adapter import Adapter
from keystoneauth1.session import Session
from keystoneauth1.token_endpoint import Token

from stella.clouds.openstack.session import PLACEMENT_MICROVERSION
from tests.functional.process import free_port, wait

REPOSITORY = Path(__file__).parents[2]
TOKEN = "admin"
"""What Placement's noauth2 takes for an administrator's."""

NOVA_MICROVERSION = "1.36"
"""What Nova 34 allocates with: its consumers have no type."""

_CONFIG = """
[placement_database]
connection = sqlite:///{directory}/placement.sqlite
[api]
auth_strategy = noauth2
"""


class Placement:
    """`start` and `stop` as often as wanted; the port stays."""

    def __init__(self, directory: Path) -> None:
        """Make its database."""
        made = subprocess.run(
            [str(REPOSITORY / "scripts" / "placement-venv.sh")],
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        assert made.returncode == 0, made.stderr[-3000:]
        self._programs = REPOSITORY / ".venv" / "placement" / "bin"
        self._log = directory / "placement.log"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None
        config = directory / "placement.conf"
        config.write_text(_CONFIG.format(directory=directory))
        self._environment = {"OS_PLACEMENT_CONFIG_DIR": str(directory), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
        sync = [str(self._programs / "placement-manage"), "--config-file", str(config), "db", "sync"]
        done = subprocess.run(sync, capture_output=True, text=True, check=False, timeout=120, env=self._environment)
        assert done.returncode == 0, done.stderr[-3000:]

    def adapter(self, *, timeout_seconds: float = 30.0) -> Adapter:
        """What `stella.clouds.openstack` asks it with."""
        session = Session(auth=Token(self.url, TOKEN), timeout=timeout_seconds)
        return Adapter(session, service_type="placement", default_microversion=PLACEMENT_MICROVERSION)

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = [str(self._programs / "gunicorn"), "--bind", f"127.0.0.1:{self.port}", "--no-control-socket"]
        command += ["--worker-class", "gthread", "--threads", "2", "placement.wsgi.api:application"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, start_new_session=True, env=self._environment
            )
        if not wait(self._answers, 60):
            self.stop()
            pytest.fail(self._log.read_text()[-3000:])

    def _answers(self) -> bool:
        try:
            return self.adapter(timeout_seconds=5).get("/", raise_exc=False).status_code == 200
        except Exception:
            return False

    def stop(self) -> None:
        """Kill it."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(30)
            self._process = None

    def ask(
        self, method: str, path: str, body: object = None, *, status: int = 200, microversion: str = NOVA_MICROVERSION
    ) -> Any:
        """The decoded body of one answer, whose status is checked; asked as Nova asks."""
        more = {} if body is None else {"json": body}
        answer = self.adapter().request(path, method, raise_exc=False, microversion=microversion, **more)
        assert answer.status_code == status, (method, path, answer.status_code, answer.text)
        return answer.json() if answer.content else None

    def compute_node(self, name: str, *, inventories: Mapping[str, Mapping[str, int]] | None = None) -> str:
        """Make a compute node's provider, as nova-compute does; its uuid."""
        uuid = str(uuid4())
        self.ask("POST", "/resource_providers", {"uuid": uuid, "name": name})
        body = {
            "resource_provider_generation": 0,
            "inventories": inventories or {"VCPU": {"total": 8}, "MEMORY_MB": {"total": 8192}},
        }
        self.ask("PUT", f"/resource_providers/{uuid}/inventories", body)
        return uuid

    def allocate(self, provider: str, resources: Mapping[str, int], *, status: int = 204) -> str:
        """Take so much of a provider, as a server of Nova does; the consumer's uuid."""
        consumer = str(uuid4())
        body = {
            "allocations": {provider: {"resources": dict(resources)}},
            "project_id": "p1",
            "user_id": "ann",
            "consumer_generation": None,
        }
        self.ask("PUT", f"/allocations/{consumer}", body, status=status)
        return consumer

    def allocations(self, consumer: str) -> dict[str, Any]:
        """All that Placement tells of a consumer."""
        found: dict[str, Any] = self.ask("GET", f"/allocations/{consumer}", microversion=PLACEMENT_MICROVERSION)
        return found

    def give(self, consumer: str, resources: Mapping[str, Mapping[str, int]]) -> None:
        """Set what a consumer of Nova's holds, by provider."""
        body = {
            "allocations": {provider: {"resources": dict(one)} for provider, one in resources.items()},
            "project_id": "p1",
            "user_id": "ann",
            "consumer_generation": self.allocations(consumer).get("consumer_generation"),
        }
        self.ask("PUT", f"/allocations/{consumer}", body, status=204)

    def move(self, source: str, target: str) -> None:
        """Give all that ``source`` holds to ``target``, in one request, as Nova does when it moves a server."""
        held = self.allocations(source)
        taken = {"project_id": held["project_id"], "user_id": held["user_id"]}
        given = {provider: {"resources": one["resources"]} for provider, one in held["allocations"].items()}
        body = {
            source: {**taken, "allocations": {}, "consumer_generation": held["consumer_generation"]},
            target: {**taken, "allocations": given, "consumer_generation": None},
        }
        self.ask("POST", "/allocations", body, status=204)
