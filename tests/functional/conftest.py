"""stella-api in this process, on a database of its own: hosts report with the real routes, users ask with real tokens."""

import copy
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from falcon import testing

from stella import conf
from stella.api.app import build
from stella.api.identity import new_token
from stella.control.capabilities import Capability
from stella.db import hosts, migrations
from stella.db.database import Database
from tests.functional import mariadb

NOW = 1_795_600_000.0
BOTH_DATABASES = pytest.mark.parametrize("cloud", ["sqlite", "mariadb"], indirect=True)


@dataclass
class Clock:
    """Time that the test moves."""

    now: float = NOW

    def __call__(self) -> float:
        return self.now


@dataclass
class Agent:
    """A host's agent as far as the API sees it."""

    name: str
    credential: str
    client: testing.TestClient
    clock: Clock
    cpus: int = 2
    epoch: str = "epoch-1"
    sequence: int = 0
    instances: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.credential}"}

    def add(self, uuid: str, project: str = "p1", vcpus: int = 1, **more: Any) -> None:
        self.instances[uuid] = {
            "uuid": uuid,
            "project": project,
            "name": f"vm-{uuid[:4]}",
            "state": "running",
            "shape": {"vcpus": vcpus},
            **more,
        }

    def body(self, **more: Any) -> dict[str, Any]:
        self.sequence += 1
        report = {
            "agent": "xgos",
            "epoch": self.epoch,
            "sequence": self.sequence,
            "sent_at": self.clock.now,
            "host": {
                "capacity": {"cpu_cores": self.cpus * 0.9, "one_cpu_cores": 0.9, "cpus": list(range(self.cpus))},
                "capabilities": {c.value: True for c in Capability} | {"block_latency_target": "not in this release"},
                "versions": {"xgos": "0.1"},
            },
            "instances": list(self.instances.values()),
        }
        return copy.deepcopy({**report, **more})

    def report(self, body: Mapping[str, Any] | None = None, **more: Any) -> testing.Result:
        return self.client.simulate_post(
            f"/v1/hosts/{self.name}/reports", json=self.body(**more) if body is None else body, headers=self.headers
        )

    def intent(self, etag: str | None = None) -> testing.Result:
        headers = self.headers | ({"If-None-Match": etag} if etag else {})
        return self.client.simulate_get(f"/v1/hosts/{self.name}/intent", headers=headers)

    def acknowledge(self, state: str = "enforced", **more: Any) -> testing.Result:
        slos = self.intent().json["slos"]
        states = {uuid: {"revision": slo["revision"], "state": state, **more} for uuid, slo in slos.items()}
        return self.report(states=states)


@dataclass
class User:
    """Somebody with a token."""

    token: str
    client: testing.TestClient

    def ask(self, method: str, path: str, **more: Any) -> testing.Result:
        headers = {"X-Auth-Token": self.token, **more.pop("headers", {})}
        return self.client.simulate_request(method, path, headers=headers, **more)

    def get(self, path: str, **more: Any) -> testing.Result:
        return self.ask("GET", path, **more)

    def put_slo(self, uuid: str, objectives: object, *, query: str = "", **body: Any) -> testing.Result:
        return self.ask("PUT", f"/v1/instances/{uuid}/slo", json={"objectives": objectives, **body}, query_string=query)


class Cloud:
    """An API, its database, its users and hosts."""

    def __init__(self, directory: Path, url: str, *, clock: Clock | None = None) -> None:
        self.clock = clock or Clock()
        self.tokens = directory / "tokens.toml"
        path = directory / "stella.conf"
        path.write_text(
            f"[database]\nconnection = {url}\nconnect_retries = 0\n[auth]\ntoken_file = {self.tokens}\n"
            "[api]\nresponse_validation = error\n"
        )
        self.config = conf.load([str(path)])
        self.config_path = path
        self.database = Database(url, connect_retries=0)
        migrations.sync(self.database)
        self.client = testing.TestClient(build(self.config, self.database, clock=self.clock))
        self.admin = self.user("admin", "operators", "admin")
        self.member = self.user("ann", "p1", "member")
        self.reader = self.user("bob", "p1", "reader")
        self.stranger = self.user("eve", "p2", "member")
        self.service = self.user("engine", "services", "service")

    def user(self, name: str, project: str, *roles: str) -> User:
        token = new_token(self.tokens, user_id=name, project_id=project, roles=roles)
        return User(token, self.client)

    def host(self, name: str, *, mode: str = "enforce", cpus: int = 2) -> Agent:
        credential = self.database.write(lambda session: hosts.enroll(session, name, mode=mode, now=self.clock.now))
        return Agent(name, credential, self.client, self.clock, cpus=cpus)


def uuid(number: int) -> str:
    """A uuid that tells which it is."""
    return f"00000000-0000-4000-8000-{number:012d}"


def holds_nothing(result: testing.Result) -> bool:
    """Whether a list is empty, and a summary counts nothing."""
    assert result.status_code == 200, result.text
    if "rollups" in result.json:
        return not any(result.json[key] for key in ("rollups", "results", "exclusions", "corrections"))
    if "open_violations" not in result.json:
        return next(iter(result.json.values())) == []
    counted = (*result.json["instances"].values(), result.json["open_violations"])
    return not any(counted) and result.json["attainment"] == {"today": {}, "month": {}} and result.json["hosts"] is None


def error(result: testing.Result, status: int) -> dict[str, Any]:
    """The one error in an answer, whose form is checked."""
    assert result.status_code == status, result.text
    (found,) = json.loads(result.text)["errors"]
    assert found["status"] == status
    assert found["request_id"] == result.headers["x-openstack-request-id"]
    assert found["detail"].endswith(".")
    assert isinstance(found, dict)
    return found


@pytest.fixture(scope="session")
def mariadb_socket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One server for all tests that want it."""
    with mariadb.server(tmp_path_factory.mktemp("mariadb")) as server:
        yield server.socket


@pytest.fixture
def cloud(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Cloud]:
    """On SQLite, or on the database that the module is parametrized with."""
    if getattr(request, "param", "sqlite") == "mariadb":
        url = mariadb.fresh_database(request.getfixturevalue("mariadb_socket"))
    else:
        url = f"sqlite:///{tmp_path}/stella.sqlite"
    made = Cloud(tmp_path, url)
    yield made
    made.database.close()
