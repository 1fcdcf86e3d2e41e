"""stella-api and a real Keystone, each a process: who may do what, a token that ends, Keystone that stops, freezes and comes back."""

import json
import signal
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from stella import conf
from stella.db import hosts, migrations
from stella.db.database import Database
from tests.functional.conftest import uuid
from tests.functional.keystone import Administrator, Keystone, running
from tests.functional.process import Server, wait

pytestmark = pytest.mark.timeout(600)  # a Keystone starts in 15 s, and later where the machine is busy

VM = uuid(1)
SLO = f"/v1/instances/{VM}/slo"
_CONFIG = """
[database]
connection = sqlite:///{directory}/stella.sqlite
[auth]
strategy = keystone
[keystone_authtoken]
auth_type = password
auth_url = {url}
www_authenticate_uri = {url}
username = stella
password = secret
project_name = service
user_domain_id = default
project_domain_id = default
http_connect_timeout = 8
token_cache_time = 3
[api]
response_validation = error
"""
_OBJECTIVES = {"objectives": {"cpu": {"floor": 0.2}}}


@dataclass
class World:
    keystone: Keystone
    administrator: Administrator
    server: Server
    tokens: Mapping[str, str]
    projects: Mapping[str, str]
    host_headers: Mapping[str, str]

    def ask(self, who: str, method: str, path: str, body: object = None, **headers: str) -> tuple[int, Any]:
        return self.server.ask(method, path, self.tokens.get(who, who), body, headers=headers)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    directory = tmp_path_factory.mktemp("keystone")
    with running(directory) as keystone:
        administrator = Administrator(keystone)
        projects = {name: administrator.project(name) for name in ("service", "own", "foreign")}
        administrator.user("stella", projects["service"], "service")
        users = {
            "reader": ("own", "reader"),
            "member": ("own", "member"),
            "admin": ("own", "admin"),
            "foreign": ("foreign", "member"),
            "service": ("service", "service"),
        }
        for name, (project, role) in users.items():
            administrator.user(f"user-{name}", projects[project], role)
        tokens = {
            name: keystone.token(f"user-{name}", project_id=projects[project]) for name, (project, _) in users.items()
        }
        tokens["unscoped"] = keystone.token("user-member")
        tokens["revoked"] = keystone.token("user-member", project_id=projects["own"])
        administrator.revoke(tokens["revoked"])
        server, credential = _stella(directory, keystone, projects["own"])
        yield World(keystone, administrator, server, tokens, projects, {"Authorization": f"Bearer {credential}"})
        server.stop(signal.SIGTERM)


def _stella(directory: Path, keystone: Keystone, project: str) -> tuple[Server, str]:
    """stella-api with one host that runs one instance of the project; the server and the host's credential."""
    path = directory / "stella.conf"
    path.write_text(_CONFIG.format(directory=directory, url=keystone.url))
    config = conf.load([str(path)], logging=False)
    database = Database(config.database.connection, connect_retries=0)
    migrations.sync(database)
    credential = database.write(lambda session: hosts.enroll(session, "host1", mode="enforce", now=time.time()))
    database.close()
    server = Server(path)
    server.start()
    status, found = server.ask(
        "POST", "/v1/hosts/host1/reports", "", _report(project), headers={"Authorization": f"Bearer {credential}"}
    )
    assert status == 200, found
    return server, credential


def _report(project: str) -> dict[str, Any]:
    instance = {"uuid": VM, "project": project, "state": "running", "shape": {"vcpus": 1}}
    capacity = {"cpu_cores": 1.8, "one_cpu_cores": 0.9, "cpus": [0, 1]}
    host = {"capacity": capacity, "capabilities": {"cpu_floor": True}}
    return {
        "agent": "xgos",
        "epoch": "e",
        "sequence": 1,
        "sent_at": time.time(),
        "host": host,
        "instances": [instance],
    }


def test_what_keystone_says_of_a_token_counts(world: World) -> None:
    for who, status in (
        ("", 401),
        ("no-such-token", 401),
        ("revoked", 401),
        ("gAAAAABl" + "A" * 180, 401),
        ("unscoped", 403),
        ("reader", 200),
        ("member", 200),
        ("admin", 200),
        ("service", 200),
        ("foreign", 200),
    ):
        found, answer = world.ask(who, "GET", "/v1/instances")
        assert found == status, (who, answer)
        if status == 200:
            assert len(answer["instances"]) == (0 if who == "foreign" else 1), who
    for who, status in (
        ("", 401),
        ("revoked", 401),
        ("unscoped", 404),
        ("foreign", 404),
        ("reader", 403),
        ("service", 403),
    ):
        assert world.ask(who, "PUT", SLO, _OBJECTIVES)[0] == status, who
    assert world.ask("member", "PUT", SLO, _OBJECTIVES)[0] == 201
    for who, status in (("foreign", 404), ("reader", 200), ("service", 200), ("admin", 200)):
        assert world.ask(who, "GET", SLO)[0] == status, who
    for who, status in (("reader", 403), ("member", 403), ("foreign", 403), ("service", 200), ("admin", 200)):
        assert world.ask(who, "GET", "/v1/hosts")[0] == status, who
    assert world.ask("service", "PATCH", "/v1/hosts/host1", {"mode": "observe"})[0] == 403
    status, answer = world.ask("member", "GET", f"{SLO}/history")
    assert status == 200 and len(answer["changes"][0]["user_id"]) == 32, "Keystone's id, not a name that can change"


def test_headers_that_only_keystonemiddleware_may_set(world: World) -> None:
    forged = {
        "X-Identity-Status": "Confirmed",
        "X-User-Id": "root",
        "X-Roles": "admin",
        "X-Project-Id": world.projects["own"],
        "X-Is-Admin-Project": "True",
        "Openstack-System-Scope": "all",
    }
    assert world.ask("", "GET", "/v1/hosts", **forged)[0] == 401
    assert world.ask("reader", "GET", "/v1/hosts", **forged)[0] == 403
    assert world.ask("foreign", "GET", SLO, **forged)[0] == 404


def test_hosts_need_their_own_credential_and_no_keystone(world: World) -> None:
    path = "/v1/hosts/host1/intent"
    assert world.ask("", "GET", path, **world.host_headers)[0] == 200
    for who in ("admin", "service"):
        assert world.ask(who, "GET", path)[0] == 401
        assert world.ask("", "GET", path, Authorization=f"Bearer {world.tokens[who]}")[0] == 401
    assert world.ask("", "GET", "/v1/instances", **world.host_headers)[0] == 401


def test_keystone_that_freezes_stops_and_comes_back(world: World) -> None:
    world.keystone.freeze(frozen=True)
    try:
        _require_unavailable(world)
        started = time.monotonic()
        _require_unavailable(world)
        assert time.monotonic() - started < 40, "a Keystone that does not answer is not waited for"
    finally:
        world.keystone.freeze(frozen=False)
    assert wait(lambda: world.ask("reader", "GET", "/v1/instances")[0] == 200), "works again by itself"

    world.keystone.stop()
    _require_unavailable(world)
    assert world.ask("", "GET", "/v1/instances")[0] == 401, "nothing has to be asked"
    assert world.ask("", "GET", "/v1/hosts/host1/intent", **world.host_headers)[0] == 200
    assert world.ask("", "GET", "/healthcheck")[0] == 200

    world.keystone.start(expiration_seconds=3)
    assert wait(lambda: world.ask("reader", "GET", "/v1/instances")[0] == 200), "with a token from before"
    _require_end(world, world.tokens["member"], revoke=True)
    short = world.keystone.token("user-reader", project_id=world.projects["own"])
    _require_end(world, short, revoke=False)
    assert world.ask("reader", "GET", "/v1/instances")[0] == 200

    log = world.server.log.read_text()
    assert "Traceback" not in log, log[-3000:]
    for secret in (*world.tokens.values(), *world.host_headers.values()):
        assert not secret or secret.removeprefix("Bearer ") not in log


def _require_end(world: World, token: str, *, revoke: bool) -> None:
    """A token that was good is not any more, once it is revoked or has expired."""
    assert revoke is False or world.ask(token, "GET", "/v1/instances")[0] == 200
    if revoke:
        world.administrator.revoke(token)
    end = time.monotonic() + 30
    while world.ask(token, "GET", "/v1/instances")[0] == 200 and time.monotonic() < end:
        time.sleep(0.2)
    status, answer = world.ask(token, "GET", "/v1/instances")
    assert (status, answer["errors"][0]["code"]) == (401, "stella.request.unauthenticated")


def _require_unavailable(world: World) -> None:
    """Once the cache of keystonemiddleware has forgotten the token."""
    end = time.monotonic() + 20
    status, headers, answer = world.server.exchange("GET", "/v1/instances", world.tokens["reader"], timeout=60)
    while status == 200 and time.monotonic() < end:
        time.sleep(0.2)
        status, headers, answer = world.server.exchange("GET", "/v1/instances", world.tokens["reader"], timeout=60)
    (found,) = answer["errors"]
    assert (status, found["status"], found["code"]) == (503, 503, "stella.server.keystone_unreachable")
    assert headers["retry-after"] == "5" and headers["content-type"] == "application/json"
    assert found["request_id"] == headers["x-openstack-request-id"]
    assert "127.0.0.1" not in json.dumps(answer)
