"""As much of Keystone as Horizon's sign-in asks for: passwords, projects of a user, tokens. The tokens are stella-api's own.

And as much of Nova as a live migration asks for: its version, and an action that is kept and not done.
"""

import json
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PASSWORD = "secret"
_NOVA = "/compute/v2.1"
_DOMAIN = {"id": "default", "name": "Default"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A user with a role in one project. ``token`` is what stella-api takes."""

    name: str
    project: str
    roles: tuple[str, ...]
    token: str


class EmulatedKeystone:
    """On loopback until `stop`. ``accounts`` by name; ``stella`` is the address that the service catalogue gives.

    ``actions`` are those that Nova was asked for: uuid of the server, and the request.
    """

    def __init__(self, stella: str) -> None:
        self.accounts: dict[str, Account] = {}
        self.stella = stella
        self.actions: list[tuple[str, dict[str, Any]]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.root = f"http://127.0.0.1:{self._server.server_port}"
        self.url = f"{self.root}/v3"
        self.nova = f"{self.root}{_NOVA}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def add(self, name: str, project: str, roles: tuple[str, ...], token: str) -> Account:
        """One user more."""
        self.accounts[name] = Account(name=name, project=project, roles=roles, token=token)
        return self.accounts[name]

    def stop(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()

    def version(self) -> dict[str, Any]:
        """What it tells of itself."""
        return {"id": "v3.14", "status": "stable", "links": [{"rel": "self", "href": f"{self.url}/"}]}

    def sign_in(self, asked: dict[str, Any]) -> tuple[int, dict[str, Any], str]:
        """Status, body and token of the answer to a request for a token."""
        identity, scope = asked["auth"]["identity"], asked["auth"].get("scope") or {}
        if "password" in identity:
            user = identity["password"]["user"]
            account = self.accounts.get(user["name"]) if user["password"] == PASSWORD else None
        else:
            account = self.known(identity["token"]["id"])
        wants_project = isinstance(scope, dict) and "project" in scope
        if account is None or (isinstance(scope, dict) and scope and not wants_project):
            return 401, {"error": {"code": 401, "title": "Unauthorized", "message": "Not these credentials."}}, ""
        told: dict[str, Any] = {
            "methods": ["password"],
            "user": {"id": account.name, "name": account.name, "domain": _DOMAIN, "password_expires_at": None},
            "audit_ids": ["a"],
            "issued_at": "2026-01-01T00:00:00.000000Z",
            "expires_at": "2099-01-01T00:00:00.000000Z",
        }
        if wants_project:
            told["project"] = {"id": account.project, "name": account.project, "domain": _DOMAIN}
            told["roles"] = [{"id": role, "name": role} for role in account.roles]
            told["catalog"] = [
                _service("identity", self.url),
                _service("stella", self.stella),
                _service("compute", self.nova),
            ]
        return 201, {"token": told}, account.token if wants_project else f"unscoped-{account.token}"

    def known(self, token: str) -> Account | None:
        """Whose token it is."""
        found = (one for one in self.accounts.values() if one.token == token.removeprefix("unscoped-"))
        return next(found, None)

    def projects(self, user: str) -> dict[str, Any]:
        """Those of a user."""
        project = self.accounts[user].project
        shown = {"id": project, "name": project, "domain_id": "default", "enabled": True, "links": {}}
        return {"projects": [shown], "links": {}}

    def show(self, path: str) -> tuple[int, dict[str, Any]]:
        """Status and body of the answer to GET."""
        if path == "/v3":
            return 200, {"version": self.version()}
        if path == _NOVA:
            versions = {"version": "2.96", "min_version": "2.1", "links": [{"rel": "self", "href": self.nova}]}
            return 200, {"version": {"id": "v2.1", "status": "CURRENT", **versions}}
        if path == "":
            return 300, {"versions": {"values": [self.version()]}}
        if path.startswith("/v3/users/") and path.endswith("/projects"):
            return 200, self.projects(path.split("/")[3])
        if path in ("/v3/auth/domains", "/v3/auth/system"):
            return 200, {path.rpartition("/")[2]: [], "links": {}}
        return 404, {"error": {"code": 404, "title": "Not Found", "message": path}}


def _service(kind: str, url: str) -> dict[str, Any]:
    endpoints = [
        {"id": f"{kind}-{name}", "interface": name, "region": "RegionOne", "region_id": "RegionOne", "url": url}
        for name in ("public", "internal", "admin")
    ]
    return {"id": kind, "type": kind, "name": kind, "endpoints": endpoints}


def _handler(keystone: EmulatedKeystone) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.answer(*keystone.show(self.path.partition("?")[0].rstrip("/")))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)))
            if self.path.startswith(f"{_NOVA}/servers/"):
                keystone.actions.append((self.path.split("/")[4], body))
                return self.answer(202, None)
            status, told, token = keystone.sign_in(body)
            self.answer(status, told, token)

        def do_DELETE(self) -> None:
            self.answer(204, None)

        def answer(self, status: int, told: object, token: str = "") -> None:
            content = b"" if told is None else json.dumps(told).encode()
            self.send_response(status)
            if token:
                self.send_header("X-Subject-Token", token)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    return Handler
