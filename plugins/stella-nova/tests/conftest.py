"""stella-api behind a socket on the loopback, and ``[stella]`` as nova.conf has it."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from nova_values import load
from oslo_config import cfg

from tests.functional.conftest import Cloud

Answer = tuple[int, bytes]


@dataclass
class Front:
    """What answers HTTP: the real API, or what a test puts in its place. ``bodies`` are those that were asked."""

    answer: Callable[[str, dict[str, str], bytes], Answer]
    bodies: list[Any] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    made = Cloud(tmp_path, f"sqlite:///{tmp_path}/stella.sqlite")
    yield made
    made.database.close()


@pytest.fixture
def front(cloud: Cloud) -> Iterator[Front]:
    """The API of ``cloud`` on a free port."""
    lock = threading.Lock()

    def ask(path: str, headers: dict[str, str], body: bytes) -> Answer:
        with lock:
            found = cloud.client.simulate_post(path, headers=headers, body=body)
        return found.status_code, found.content

    made = Front(ask)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            made.bodies.append(json.loads(body))
            status, content = made.answer(self.path, dict(self.headers), body)
            try:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
            except OSError:
                self.close_connection = True  # the client did not wait so long

        def log_message(self, *args: Any) -> None:
            """Nothing on the terminal."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield made
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def config(front: Front, cloud: Cloud, tmp_path: Path) -> cfg.ConfigOpts:
    """``[stella]`` with the token of a service user."""
    return load(tmp_path, f"auth_type = admin_token\nendpoint = {front.url}\ntoken = {cloud.service.token}\n")
