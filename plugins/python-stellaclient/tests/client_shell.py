"""The commands in this process, against the real API over WSGI; no socket, no sleep."""

import io
import json
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import requests
from falcon import testing
from keystoneauth1 import identity, session, token_endpoint
from openstack.connection import Connection
from requests.adapters import BaseAdapter
from stellaclient import sdk
from stellaclient.sdk.proxy import Proxy

from tests.functional.conftest import User

ENDPOINT = "http://stella.test"


class _Wsgi(BaseAdapter):
    """Hands requests to a WSGI application."""

    def __init__(self, client: testing.TestClient) -> None:
        super().__init__()
        self._client = client

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        path, _, query = str(request.path_url).partition("?")
        body = request.body.encode() if isinstance(request.body, str) else request.body
        answer = self._client.simulate_request(
            request.method or "GET",
            path,
            query_string=query,
            headers=dict(request.headers),
            body=body,
            host="stella.test",
        )
        response = requests.Response()
        response.status_code = answer.status_code
        response.headers.update(dict(answer.headers))
        response.raw = io.BytesIO(answer.content)
        response.url, response.request = str(request.url), request
        return response

    def close(self) -> None:
        """Nothing is open."""


def connect(user: User) -> Proxy:
    """The SDK as this user."""
    transport = requests.Session()
    transport.mount(ENDPOINT, _Wsgi(user.client))
    auth = token_endpoint.Token(ENDPOINT, user.token)
    return sdk.connect(Connection(session=session.Session(auth=auth, session=transport)))


class _Keystone(BaseAdapter):
    """Answers every request with the user's token and a catalogue of one service."""

    def __init__(self, token: str, service_type: str) -> None:
        super().__init__()
        self._token = token
        endpoint = {"id": "e", "interface": "public", "url": ENDPOINT, "region": "R", "region_id": "R"}
        service = {"id": "s", "name": "any", "type": service_type, "endpoints": [endpoint]}
        self._body = {
            "token": {
                "expires_at": "2100-01-01T00:00:00.000000Z",
                "issued_at": "2026-01-01T00:00:00.000000Z",
                "methods": ["password"],
                "user": {"id": "ann", "name": "ann", "domain": {"id": "default", "name": "Default"}},
                "catalog": [service],
            }
        }

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        response = requests.Response()
        response.status_code = 201
        response.headers["X-Subject-Token"] = self._token
        response.raw = io.BytesIO(json.dumps(self._body).encode())
        response.url, response.request = str(request.url), request
        return response

    def close(self) -> None:
        """Nothing is open."""


def connect_with_keystone(user: User, *, service_type: str) -> Proxy:
    """The SDK as this user, through a catalogue that has the API as a service of this type."""
    transport = requests.Session()
    transport.mount(ENDPOINT, _Wsgi(user.client))
    transport.mount("http://keystone.test", _Keystone(user.token, service_type))
    auth = identity.V3Password("http://keystone.test/v3", username="ann", password="x", project_id="p1")
    return sdk.connect(Connection(session=session.Session(auth=auth, session=transport)))


@dataclass
class Shell:
    """Runs command classes as one user."""

    stella: Proxy
    sdk_connection: Any = None
    status: int = 0
    stderr: io.StringIO = field(default_factory=io.StringIO)

    def run(self, command: type, *arguments: str) -> str:
        """What the command prints."""
        stdout = io.StringIO()
        manager = SimpleNamespace(slo=self.stella, sdk_connection=self.sdk_connection)
        app = SimpleNamespace(client_manager=manager, stdout=stdout, stderr=self.stderr)
        made = command(app, None)
        self.status = made.run(made.get_parser("openstack").parse_args(list(arguments)))
        return stdout.getvalue()

    def json(self, command: type, *arguments: str) -> Any:
        """The same, from JSON."""
        return json.loads(self.run(command, *arguments, "--format", "json"))
