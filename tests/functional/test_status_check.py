"""`stella-status upgrade check` of a whole emulated OpenStack, over HTTP: Keystone, Nova and Placement as it asks them."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from stella.clouds.openstack.placement import Root
from stella.cmd import stella_status
from stella.db import hosts, leases, migrations
from stella.db.database import Database, Session
from stella.db.models import Stream
from stella.engine import leader
from stella.model.check import Code
from stella.model.resources import NAMES
from tests.functional.conftest import uuid

ROOT = Root(uuid=uuid(1), name="compute1")


class EmulatedCloud:
    """One server for all three; a test changes `answers` and `roles`."""

    def __init__(self) -> None:
        self.roles = ["service", "admin"]
        self.is_open = True
        self.answers: dict[str, tuple[int, Any]] = {
            "/compute/": (200, {"version": {"id": "v2.1", "version": "2.104", "min_version": "2.1"}}),
            "/compute/servers": (200, {"servers": []}),
            "/compute/os-services": (200, {"services": [{"host": "compute1", "state": "up", "status": "enabled"}]}),
            "/placement/": (200, {"versions": [{"id": "v1.0", "max_version": "1.39", "min_version": "1.0"}]}),
            "/placement/resource_providers": (
                200,
                {
                    "resource_providers": [
                        {"uuid": ROOT.uuid, "name": ROOT.name, "generation": 3, "parent_provider_uuid": None},
                        {
                            "uuid": ROOT.child_uuid,
                            "name": ROOT.child_name,
                            "generation": 1,
                            "parent_provider_uuid": ROOT.uuid,
                        },
                    ]
                },
            ),
            f"/placement/resource_providers/{ROOT.child_uuid}/inventories": (
                200,
                {"resource_provider_generation": 1, "inventories": {name: {"total": 5} for name in NAMES}},
            ),
        }
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = urlsplit(self.path).path
                if path.startswith("/v3"):
                    version = {"id": "v3.14", "status": "stable", "links": [{"rel": "self", "href": f"{outer.url}/v3"}]}
                    return self._answer(200, {"version": version})
                return self._answer(*outer.answers.get(path, (404, {"itemNotFound": {}})))

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                if not outer.is_open:
                    return self._answer(401, {"error": {"code": 401, "message": "The request needs authentication."}})
                return self._answer(201, outer.token(), {"X-Subject-Token": "a-token"})

            def _answer(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
                content = json.dumps(body).encode()
                self.send_response(status)
                for name, value in {
                    "Content-Type": "application/json",
                    "Content-Length": str(len(content)),
                    **(headers or {}),
                }.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *words: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()

    def token(self) -> Any:
        def entry(kind: str) -> dict[str, Any]:
            endpoint = {"interface": "public", "region_id": "R", "region": "R", "url": f"{self.url}/{kind}", "id": kind}
            return {"type": kind, "name": kind, "id": kind, "endpoints": [endpoint]}

        return {
            "token": {
                "methods": ["password"],
                "user": {"id": "u", "name": "stella", "domain": {"id": "default", "name": "Default"}},
                "project": {"id": "p", "name": "service", "domain": {"id": "default", "name": "Default"}},
                "roles": [{"id": role, "name": role} for role in self.roles],
                "catalog": [entry(kind) for kind in ("compute", "placement", "stella")],
                "issued_at": "2026-11-28T00:00:00.000000Z",
                "expires_at": "2099-01-01T00:00:00.000000Z",
            }
        }


@pytest.fixture
def emulated() -> Iterator[EmulatedCloud]:
    made = EmulatedCloud()
    yield made
    made.server.shutdown()
    made.server.server_close()
    made.thread.join(20)


LOG_IN = """auth_type = password
auth_url = {url}/v3
username = stella
password = the-secret
project_name = service
user_domain_name = Default
project_domain_name = Default
"""
NOVA_CONF = """[filter_scheduler]
available_filters = nova.scheduler.filters.all_filters
available_filters = stella_nova.filter.StellaFilter
enabled_filters = StellaFilter
weight_classes = stella_nova.weigher.StellaWeigher
[stella]
auth_type = password
"""


@pytest.fixture
def config(tmp_path: Path, emulated: EmulatedCloud) -> list[str]:
    """A database with one enrolled host that reports, an engine that leads, and the command's arguments."""
    path = tmp_path / "stella.conf"
    log_in = LOG_IN.format(url=emulated.url)
    path.write_text(
        f"[database]\nconnection = sqlite:///{tmp_path}/stella.sqlite\n[auth]\nstrategy = keystone\n[cloud]\nkind = openstack\n"
        f"[openstack]\n{log_in}[keystone_authtoken]\nmemcached_servers = 127.0.0.1:11211\n{log_in}"
    )
    (tmp_path / "nova.conf").write_text(NOVA_CONF)
    database = Database(f"sqlite:///{tmp_path}/stella.sqlite")
    migrations.sync(database)

    def fill(session: Session) -> None:
        now = time.time()
        hosts.enroll(session, "compute1", mode="enforce", now=now)
        host = hosts.find(session, "compute1")
        assert host is not None
        host.capacity_cpu_cores, host.reported_at, host.agent, host.epoch = 1.8, now, "xgos", "e"
        host.reported = '{"versions": {"xgos": "0.1.0"}}'
        stream = {"host_id": host.id, "agent": "xgos", "sequence": 1, "first_reported_at": now}
        session.add(Stream(epoch="before", sent_at=now - 9999, **stream))
        session.add(Stream(epoch="e", sent_at=now, **stream))
        leases.take(session, leader.NAME, leases.read(session, leader.NAME), holder="h", now=now)

    database.write(fill)
    database.close()
    return ["--config-file", str(path), "upgrade", "check", "--nova-conf", str(tmp_path / "nova.conf")]


def run(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, str]]:
    code = stella_status.main(arguments)
    out = capsys.readouterr().out
    assert "the-secret" not in out and "a-token" not in out
    return code, dict(line.split(": ", 1) for line in out.splitlines())


def test_all_is_well_but_nobody_listens(config: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    code, lines = run(config, capsys)
    told = {name: text for name, text in lines.items() if not text.startswith("Success.")}
    assert code == Code.WARNING and set(told) == {"Notifications"}, told


def test_a_database_of_another_release(config: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    path = Path(config[1])
    path.write_text(path.read_text().replace("stella.sqlite", "empty.sqlite"))
    code, lines = run(config, capsys)
    assert code == Code.FAILURE and "stella-manage db sync" in lines["Database"]
    assert "Hosts" not in lines and "is not known" in lines["Nova"] and "is not known" in lines["Placement"]


def test_a_message_queue_that_is_away(config: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    path = Path(config[1])
    path.write_text(path.read_text() + "[notifications]\ntransport_url = rabbit://stella:the-secret@127.0.0.1:1/\n")
    code, lines = run(config, capsys)
    assert code == Code.FAILURE
    assert lines["Message queue"].startswith("Failure. No server answers: 127.0.0.1:1 (")
    assert lines["Notifications"] == (
        "Warning. Nova sends none: set [oslo_messaging_notifications] driver = messagingv2 in nova.conf."
    )


def test_a_user_who_may_not_check_tokens(
    config: list[str], emulated: EmulatedCloud, capsys: pytest.CaptureFixture[str]
) -> None:
    emulated.roles = ["reader"]
    emulated.answers["/compute/servers"] = (403, {})
    emulated.answers["/placement/resource_providers"] = (403, {})
    code, lines = run(config, capsys)
    assert code == Code.FAILURE
    for name in ("Authentication", "Nova", "Placement"):
        assert lines[name].startswith("Failure."), lines
    assert "HTTP 403" in lines["Nova"]


def test_a_keystone_that_refuses_is_said_once(
    config: list[str], emulated: EmulatedCloud, capsys: pytest.CaptureFixture[str]
) -> None:
    emulated.is_open = False
    code, lines = run(config, capsys)
    assert code == Code.FAILURE
    assert lines["Authentication"].startswith("Failure.") and lines["Keystone"].startswith("Failure.")
    assert "Nova" not in lines and "Placement" not in lines


def test_a_keystone_that_is_away(config: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    path = Path(config[1])
    path.write_text(path.read_text().replace("auth_url = http://127.0.0.1", "auth_url = http://127.0.0.1:1/x"))
    code, lines = run(config, capsys)
    assert code == Code.FAILURE and lines["Keystone"].startswith("Failure.")


def test_a_host_without_provider_or_inventories(
    config: list[str], emulated: EmulatedCloud, capsys: pytest.CaptureFixture[str]
) -> None:
    path = f"/placement/resource_providers/{ROOT.child_uuid}/inventories"
    emulated.answers[path] = (200, {"resource_provider_generation": 1, "inventories": {}})
    assert run(config, capsys)[1]["Placement"].startswith("Warning.")
    del emulated.answers[path]
    assert run(config, capsys)[1]["Placement"].startswith("Warning.")
    emulated.answers["/placement/resource_providers"] = (200, {"resource_providers": []})
    emulated.answers["/compute/os-hypervisors/detail"] = (200, {"hypervisors": []})
    assert "no compute node for compute1" in run(config, capsys)[1]["Placement"]


def test_answers_that_are_not_openstack(
    config: list[str], emulated: EmulatedCloud, capsys: pytest.CaptureFixture[str]
) -> None:
    emulated.answers["/compute/"] = (200, ["a proxy's page"])
    emulated.answers["/placement/"] = (200, {})
    _, lines = run(config, capsys)
    assert lines["Nova"].startswith("Failure.") and lines["Placement"].startswith("Failure.")


def test_wrong_usage_is_no_failure_of_what_is_checked(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["upgrade"], ["upgrade", "check", "--smell"]):
        assert stella_status.main(arguments) == Code.BROKEN
    capsys.readouterr()
    assert stella_status.main(["--config-file", "/no/such.conf", "upgrade", "check"]) == Code.BROKEN
