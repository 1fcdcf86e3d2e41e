"""Nova, Neutron, Cinder and a Keystone's catalogue of them over HTTP, as far as what limits servers is read from them."""

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

_TYPES = {"compute": "nova", "network": "neutron", "volumev3": "cinder"}


@dataclass
class Services:
    """What they have. ``silent`` services answer 503; those not ``offered`` are not in the catalogue."""

    servers: list[dict[str, Any]] = field(default_factory=list)
    ports: list[dict[str, Any]] = field(default_factory=list)
    policies: list[dict[str, Any]] | None = field(default_factory=list)
    qos_specs: list[dict[str, Any]] = field(default_factory=list)
    types_of_specs: dict[str, list[str]] = field(default_factory=dict)
    volumes: list[dict[str, Any]] = field(default_factory=list)
    offered: set[str] = field(default_factory=lambda: {"nova", "neutron", "cinder"})
    silent: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)

    def server(
        self, uuid: str, *, vcpus: int = 1, image: bool = True, volumes: tuple[str, ...] = (), **specs: str
    ) -> None:
        """One more server, with ports of its own added by `port`."""
        flavor = {"vcpus": vcpus, "ram": 64, "disk": 1, "ephemeral": 0, "swap": 0, "original_name": "small"}
        self.servers.append(
            {
                "id": uuid,
                "status": "ACTIVE",
                "flavor": {**flavor, "extra_specs": specs},
                "image": {"id": "image"} if image else "",
                "os-extended-volumes:volumes_attached": [{"id": one} for one in volumes],
            }
        )

    def port(self, name: str, uuid: str, *, own: str | None = None, of_network: str | None = None) -> None:
        """One more port of a server, with the ids of its own and its network's policy."""
        self.ports.append({"id": name, "device_id": uuid, "qos_policy_id": own, "qos_network_policy_id": of_network})

    def policy(self, name: str, *rules: dict[str, Any]) -> None:
        """One more QoS policy."""
        self.policies = [*(self.policies or []), {"id": name, "name": name, "rules": list(rules)}]

    def specs(self, name: str, *, consumer: str = "front-end", volume_type: str, **keys: str) -> None:
        """One more QoS specs of Cinder, associated with a volume type."""
        self.qos_specs.append({"id": name, "name": name, "consumer": consumer, "specs": keys})
        self.types_of_specs[name] = [volume_type]

    def volume(self, name: str, *, volume_type: str | None, size: int = 1) -> None:
        """One more volume."""
        self.volumes.append({"id": name, "volume_type": volume_type, "size": size})

    def answer(self, service: str, path: str, query: dict[str, list[str]]) -> tuple[int, Any]:
        """Status and body."""
        if service in self.silent:
            return 503, {"error": "no"}
        if service == "nova" and path == "/servers/detail":
            return _page("servers", self.servers, query)
        if service == "neutron" and path == "/v2.0/qos/policies" and self.policies is not None:
            return 200, {"policies": self.policies}
        if service == "neutron" and path == "/v2.0/ports":
            assert {"id", "device_id", "qos_policy_id", "qos_network_policy_id"} == set(query["fields"])
            return 200, {"ports": [one for one in self.ports if one["device_id"] in query["device_id"]]}
        if service == "cinder" and path == "/qos-specs":
            return 200, {"qos_specs": self.qos_specs}
        if service == "cinder" and path.endswith("/associations"):
            types = self.types_of_specs[path.split("/")[2]]
            kind = "volume_type"
            return 200, {"qos_associations": [{"association_type": kind, "name": one, "id": one} for one in types]}
        if service == "cinder" and path == "/volumes/detail":
            return _page("volumes", self.volumes, query)
        return 404, {"itemNotFound": {"code": 404}}


def _page(name: str, found: list[dict[str, Any]], query: dict[str, list[str]]) -> tuple[int, Any]:
    assert query["all_tenants"] == ["1"]
    ids = [one["id"] for one in found]
    first = 0
    if "marker" in query:
        if query["marker"][0] not in ids:
            return 400, {"badRequest": {"message": "marker not found"}}
        first = ids.index(query["marker"][0]) + 1
    shown = found[first : first + int(query["limit"][0])]
    more = first + len(shown) < len(found)
    return 200, {name: shown, f"{name}_links": [{"rel": "next", "href": ""}] if more else []}


class EmulatedOpenStack:
    """`services` behind one port of the loopback; `stop` ends it."""

    def __init__(self) -> None:
        self.services = Services()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self._answer(201, {"token": outer.token()}, {"X-Subject-Token": "secret"})

            def do_GET(self) -> None:
                outer.services.asked.append(self.path)
                url = urlsplit(self.path)
                _, service, path = url.path.split("/", 2)
                if service == "identity":
                    link = {"rel": "self", "href": f"{outer.url}/identity/v3/"}
                    self._answer(200, {"version": {"id": "v3.14", "status": "stable", "links": [link]}}, {})
                else:
                    self._answer(*outer.services.answer(service, f"/{path}", parse_qs(url.query)), {})

            def _answer(self, status: int, body: Any, headers: dict[str, str]) -> None:
                content = json.dumps(body).encode()
                self.send_response(status)
                headers = {"Content-Type": "application/json", "Content-Length": str(len(content)), **headers}
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *words: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        """Its root."""
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    @property
    def section(self) -> str:
        """``[cloud]`` and ``[openstack]`` of a configuration that logs in to it."""
        return (
            f"[cloud]\nkind = openstack\n[openstack]\nauth_type = v3password\nauth_url = {self.url}/identity/v3\n"
            "username = stella\npassword = secret\nuser_domain_id = default\nproject_name = service\nproject_domain_id = default\n"
        )

    def token(self) -> dict[str, Any]:
        """A token with the catalogue of what is offered."""
        catalog = [
            {
                "type": kind,
                "name": name,
                "id": name,
                "endpoints": [
                    {
                        "interface": "public",
                        "region": "one",
                        "region_id": "one",
                        "id": name,
                        "url": f"{self.url}/{name}",
                    }
                ],
            }
            for kind, name in _TYPES.items()
            if name in self.services.offered
        ]
        user = {"id": "u", "name": "stella", "domain": {"id": "default", "name": "Default"}}
        times = {"issued_at": "2026-11-01T00:00:00.000000Z", "expires_at": "2099-01-01T00:00:00.000000Z"}
        project = {"id": "p", "name": "service", "domain": {"id": "default", "name": "Default"}}
        return {"methods": ["password"], "user": user, "project": project, "roles": [], "catalog": catalog, **times}

    def stop(self) -> None:
        """End it."""
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(20)
