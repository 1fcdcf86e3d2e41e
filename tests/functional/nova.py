"""A Nova of the test's own over HTTP: servers, what is done to them, and the ways in which it tells of them."""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

from tests.functional.conftest import uuid

NOT_FOUND = {"itemNotFound": {"code": 404, "message": "Instance could not be found."}}


@dataclass(frozen=True)
class FakeServer:
    """A server as Nova's database has it; ``changed_at`` counts what was done."""

    uuid: str
    status: str
    host: str | None
    flavor: str
    extra_specs: dict[str, str]
    task_state: str | None = None
    changed_at: str = "2026-11-28T00:00:00Z"
    old: tuple[str, dict[str, str]] | None = None

    def shown(self) -> dict[str, Any]:
        """What the API shows of it."""
        return {
            "id": self.uuid,
            "name": f"vm-{self.uuid[-2:]}",
            "status": self.status,
            "tenant_id": "p1",
            "OS-EXT-SRV-ATTR:host": self.host,
            "OS-EXT-STS:task_state": self.task_state,
            "flavor": {
                "original_name": self.flavor,
                "vcpus": 1,
                "ram": 64,
                "disk": 20,
                "extra_specs": self.extra_specs,
            },
        }


@dataclass
class Servers:
    """Nova's own side: what an administrator or a user does."""

    known: dict[str, FakeServer] = field(default_factory=dict)
    deleted: dict[str, FakeServer] = field(default_factory=dict)
    hidden: set[str] = field(default_factory=set)
    page_size: int = 1000
    migrations: list[dict[str, str]] = field(default_factory=list)
    down: set[str] = field(default_factory=set)
    refuses: str = ""
    """What it says of every move; empty where it agrees."""

    now: Callable[[], float] = time.time

    def create(self, one: str, *, host: str | None, flavor: str, extra_specs: dict[str, str]) -> None:
        self.known[one] = FakeServer(one, "ACTIVE", host, flavor, extra_specs)

    def set(self, one: str, **changes: Any) -> None:
        self.known[one] = replace(self.known[one], **changes)

    def delete(self, one: str) -> None:
        self.deleted[one] = replace(self.known.pop(one), status="DELETED", host=None)

    def resize(self, one: str, flavor: str, extra_specs: dict[str, str]) -> None:
        server = self.known[one]
        self.set(
            one, status="VERIFY_RESIZE", flavor=flavor, extra_specs=extra_specs, old=(server.flavor, server.extra_specs)
        )

    def confirm(self, one: str) -> None:
        self.set(one, status="ACTIVE", old=None)

    def revert(self, one: str) -> None:
        old = self.known[one].old
        assert old is not None
        self.set(one, status="ACTIVE", flavor=old[0], extra_specs=old[1], old=None)

    def shelve(self, one: str) -> None:
        self.set(one, status="SHELVED_OFFLOADED", host=None)

    def unshelve(self, one: str, host: str) -> None:
        self.set(one, status="ACTIVE", host=host)

    def act(self, one: str, body: dict[str, Any]) -> tuple[int, Any]:
        """An action on a server: it begins, and ends with `finish`."""
        (action, given), server = next(iter(body.items())), self.known.get(one)
        if server is None:
            return 404, NOT_FOUND
        kinds = {"os-migrateLive": ("live-migration", "migrating"), "evacuate": ("evacuation", "rebuilding")}
        assert set(given) == ({"host", "block_migration"} if action == "os-migrateLive" else {"host"}), given
        if self.refuses or server.task_state is not None:
            return 409, {"conflictingRequest": {"code": 409, "message": self.refuses or "task_state"}}
        if action == "evacuate" and server.host not in self.down:
            return 400, {"badRequest": {"code": 400, "message": f"Compute service of {server.host} is still in use."}}
        kind, task = kinds[action]
        self.migrations.append(
            {
                "uuid": str(uuid4()),
                "instance_uuid": one,
                "migration_type": kind,
                "status": "running",
                "source_compute": server.host or "",
                "dest_compute": given["host"],
                "created_at": datetime.fromtimestamp(self.now(), UTC).strftime("%Y-%m-%dT%H:%M:%S.000000"),
            }
        )
        self.set(one, task_state=task)
        return 202, None

    def finish(self, one: str, *, status: str = "completed") -> None:
        """The move of a server ends: it is there, or with another status where it was."""
        last = next(row for row in reversed(self.migrations) if row["instance_uuid"] == one)
        last["status"] = status
        self.set(one, task_state=None, **({"host": last["dest_compute"]} if status == "completed" else {}))

    def listed(self, query: dict[str, list[str]]) -> dict[str, Any]:
        """A page of the list of all, as Nova makes it."""
        with_deleted = self.deleted if "changes-since" in query else {}
        shown = [one for name, one in sorted({**self.known, **with_deleted}.items()) if name not in self.hidden]
        marker = query.get("marker", [""])[0]
        rest = [one for one in shown if one.uuid > marker]
        size = min(self.page_size, int(query.get("limit", ["1000"])[0]))
        page = [one.shown() for one in rest[:size]]
        links = [{"rel": "next", "href": "http://unused"}] if len(page) == size else []
        return {"servers": page, "servers_links": links}


class EmulatedNova:
    """Answers what `answers` says for a path, else what `servers` have; every request is kept with its headers."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, Any]] = {"/servers": (200, {"servers": []})}
        self.servers = Servers()
        self.asked: list[tuple[str, dict[str, str]]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append((self.path, dict(self.headers)))
                self._send(*outer.answer(self.path))

            def do_POST(self) -> None:
                outer.asked.append((self.path, dict(self.headers)))
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self._send(*outer.servers.act(self.path.split("/")[-2], body))

            def _send(self, status: int, body: Any) -> None:
                content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *words: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.thread.start()

    def answer(self, path: str) -> tuple[int, Any]:
        split = urlsplit(path)
        name = split.path.removeprefix("/v2.1")
        if name in self.answers:
            return self.answers[name]
        if name == "/servers/detail":
            return 200, self.servers.listed(parse_qs(split.query))
        query = parse_qs(split.query)
        if name == "/os-migrations":
            own = [one for one in self.servers.migrations if one["instance_uuid"] == query["instance_uuid"][0]]
            return 200, {"migrations": own[::-1]}
        if name == "/os-services":
            assert query["binary"] == ["nova-compute"]
            host = query["host"][0]
            return 200, {"services": [{"host": host, "state": "down" if host in self.servers.down else "up"}]}
        one = self.servers.known.get(name.removeprefix("/servers/"))
        return (200, {"server": one.shown()}) if one is not None else (404, NOT_FOUND)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/v2.1"

    def has(self, number: int, status: str = "ACTIVE") -> None:
        self.answers[f"/servers/{uuid(number)}"] = (200, {"server": {"id": uuid(number), "status": status}})

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(20)


def config_file(directory: Path, url: str, more: str = "") -> Path:
    path = directory / "stella.conf"
    path.write_text(
        f"[database]\nconnection = sqlite:///{directory}/stella.sqlite\n[cloud]\nkind = openstack\nnova_endpoint = {url}\n"
        f"[openstack]\nauth_type = admin_token\nendpoint = {url}\ntoken = secret-token\n{more}"
    )
    return path
