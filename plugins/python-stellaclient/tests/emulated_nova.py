"""Nova's flavors over HTTP, as microversion 2.96 answers, behind a Keystone catalogue of one more service."""

import io
import json
import re
from dataclasses import dataclass, field
from typing import Any

import requests
from keystoneauth1 import session, token_endpoint
from openstack.connection import Connection
from requests.adapters import BaseAdapter

NOVA = "http://nova.test"


@dataclass
class Nova(BaseAdapter):
    """Flavors by id, with their extra specs. ``refuse`` is a status with which every change is answered."""

    flavors: dict[str, dict[str, Any]] = field(default_factory=dict)
    refuse: int | None = None
    changes: list[tuple[str, str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def add(self, name: str, *, vcpus: int = 1, **extra_specs: str) -> None:
        """One more flavor; its id is ``id-NAME``."""
        flavor = {"id": f"id-{name}", "name": name, "vcpus": vcpus, "ram": 64, "disk": 1, "swap": 0, "links": []}
        self.flavors[f"id-{name}"] = {**flavor, "os-flavor-access:is_public": True, "extra_specs": extra_specs}

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        path = str(request.path_url).partition("?")[0].removeprefix("/v2.1")
        body = json.loads(request.body) if request.body else None
        status, answer = self._answer(str(request.method), path, body)
        response = requests.Response()
        response.status_code = status
        response.headers["Content-Type"] = "application/json"
        response.raw = io.BytesIO(json.dumps(answer).encode() if answer is not None else b"")
        response.url, response.request = str(request.url), request
        return response

    def _answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        if path in ("", "/"):
            version = {"id": "v2.1", "status": "CURRENT", "version": "2.96", "min_version": "2.1"}
            return 200, {"version": {**version, "links": [{"rel": "self", "href": f"{NOVA}/v2.1/"}]}}
        if path in ("/flavors", "/flavors/detail"):
            return 200, {"flavors": list(self.flavors.values())}
        found = re.fullmatch(r"/flavors/([^/]+)(/os-extra_specs(?:/(.+))?)?", path)
        flavor = self.flavors.get(found[1]) if found else None
        if found is None or flavor is None:
            return 404, {"itemNotFound": {"message": "Flavor could not be found.", "code": 404}}
        specs = flavor["extra_specs"]
        if method == "GET":
            return 200, {"extra_specs": specs} if found[2] else {"flavor": flavor}
        if self.refuse is not None:
            return self.refuse, {"error": {"message": "Policy does not allow it.", "code": self.refuse}}
        self.changes.append((method, found[3] or "", body))
        if method == "POST":
            specs.update(body["extra_specs"])
            return 200, {"extra_specs": specs}
        return (200, None) if specs.pop(found[3], None) is not None else (404, {"itemNotFound": {"message": "no"}})

    def close(self) -> None:
        """Nothing is open."""


def connect(nova: Nova) -> Connection:
    """A connection whose compute service is this one."""
    transport = requests.Session()
    transport.mount(NOVA, nova)
    auth = token_endpoint.Token(f"{NOVA}/v2.1", "token")
    return Connection(session=session.Session(auth=auth, session=transport))
