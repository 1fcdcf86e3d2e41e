"""With Keystone: keystonemiddleware asks an emulated Keystone v3 over HTTP, and only what that confirms counts."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from falcon import testing

from stella import conf
from stella.api.app import build
from stella.db import hosts, migrations
from stella.db.database import Database
from tests.functional.conftest import Agent, Clock, error, uuid

VM = uuid(1)
_USERS = {"token-ann": ("ann", "p1", ["member", "reader"]), "token-eve": ("eve", "p2", ["member", "reader"])}


def _token(user: str, project: str, roles: list[str], url: str) -> dict[str, Any]:
    domain = {"id": "default", "name": "Default"}
    endpoints = [
        {"id": kind, "interface": kind, "region": "one", "region_id": "one", "url": url}
        for kind in ("public", "internal", "admin")
    ]
    return {
        "token": {
            "methods": ["password"],
            "user": {"id": user, "name": user, "domain": domain},
            "project": {"id": project, "name": project, "domain": domain},
            "roles": [{"id": role, "name": role} for role in roles],
            "issued_at": "2026-11-24T00:00:00.000000Z",
            "expires_at": "2999-01-01T00:00:00.000000Z",
            "audit_ids": ["a"],
            "catalog": [{"type": "identity", "name": "keystone", "id": "k", "endpoints": endpoints}],
        }
    }


class _Keystone(BaseHTTPRequestHandler):
    """Discovery, a token for the service, and what a user's token stands for."""

    def log_message(self, *_: object) -> None:
        pass

    def _send(self, status: int, body: object, **headers: str) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(data)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)

    @property
    def _url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/v3/"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._send(201, _token("stella", "service", ["service"], self._url), X_Subject_Token="token-of-the-service")

    def do_GET(self) -> None:
        if self.path.startswith("/v3/auth/tokens"):
            known = _USERS.get(self.headers["X-Subject-Token"])
            self._send(200, _token(*known, self._url)) if known else self._send(404, {"error": {"code": 404}})
            return
        version = {"id": "v3.14", "status": "stable", "links": [{"rel": "self", "href": self._url}], "media-types": []}
        self._send(200, {"version": version} if self.path.startswith("/v3") else {"versions": {"values": [version]}})


@pytest.fixture
def client(tmp_path: Path) -> Iterator[tuple[testing.TestClient, Agent]]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Keystone)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    path = tmp_path / "stella.conf"
    path.write_text(
        f"[database]\nconnection = sqlite:///{tmp_path}/stella.sqlite\n[auth]\nstrategy = keystone\n"
        "[api]\nresponse_validation = error\n"
        f"[keystone_authtoken]\nauth_type = password\nauth_url = {url}/v3\nwww_authenticate_uri = {url}/v3\n"
        "username = stella\npassword = secret\nproject_name = service\n"
        "user_domain_name = Default\nproject_domain_name = Default\n"
    )
    config, clock = conf.load([str(path)]), Clock()
    database = Database(config.database.connection, connect_retries=0)
    migrations.sync(database)
    made = testing.TestClient(build(config, database, clock=clock))
    credential = database.write(lambda session: hosts.enroll(session, "host1", mode="enforce", now=clock.now))
    host = Agent("host1", credential, made, clock)
    host.add(VM)
    yield made, host
    database.close()
    server.shutdown()
    server.server_close()
    thread.join()


def test_what_keystone_confirms_counts(client: tuple[testing.TestClient, Agent]) -> None:
    api, host = client
    assert host.report().status_code == 200, "a host needs its own credential, not Keystone"
    assert api.simulate_get("/healthcheck").status_code == 200
    path, slo = f"/v1/instances/{VM}/slo", {"objectives": {"cpu": {"floor": 0.2}}}
    ann, eve = {"X-Auth-Token": "token-ann"}, {"X-Auth-Token": "token-eve"}
    assert api.simulate_put(path, json=slo, headers=ann).status_code == 201
    assert api.simulate_get(path, headers=ann).json["state"] == "pending"
    error(api.simulate_get(path, headers=eve), 404)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Auth-Token": "token-of-nobody"},
        {"X-Identity-Status": "Confirmed", "X-User-Id": "ann", "X-Project-Id": "p1", "X-Roles": "admin"},
    ],
)
def test_what_it_does_not_confirm_is_401_in_json(
    client: tuple[testing.TestClient, Agent], headers: dict[str, str]
) -> None:
    api, _ = client
    assert error(api.simulate_get("/v1/instances", headers=headers), 401)["code"] == "stella.request.unauthenticated"
