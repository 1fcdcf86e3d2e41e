"""Whatever stands at the endpoint: one line that says what is wrong and what would work."""

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from client_shell import Shell, connect
from keystoneauth1 import session, token_endpoint
from openstack.connection import Connection
from osc_lib.exceptions import CommandError
from stellaclient import sdk
from stellaclient.osc import instances, slo, watch

from tests.functional.conftest import Cloud, User, uuid


@contextmanager
def answering(status: int, body: bytes, headers: dict[str, str]) -> Iterator[str]:
    """A server that gives the same answer to everything; its URL."""

    class _Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(15)


def at(url: str) -> Shell:
    auth = token_endpoint.Token(url, "a-token")
    return Shell(sdk.connect(Connection(session=session.Session(auth=auth))))


def line(shell: Shell, *command: object) -> str:
    with pytest.raises(CommandError) as error:
        shell.run(*command)  # type: ignore[arg-type]
    text = str(error.value)
    assert text and "\n" not in text and "Traceback" not in text and "a-token" not in text
    return text


@pytest.mark.parametrize(
    ("status", "body", "headers", "expected"),
    [
        (401, b"", {}, "the API answered 401: the token is not valid; sign in anew"),
        (403, b"<html>no</html>", {"Content-Type": "text/html"}, "the API answered 403: your roles do not allow this"),
        (404, b"<html>no</html>", {}, "The endpoint has no API at its root; it must be that of stella-api"),
        (429, b"slow", {"Retry-After": "7"}, "the API answered 429: too many requests; try again in 7 s"),
        (502, b"", {}, "the API answered 502: the load balancer reaches no stella-api"),
        (503, b"", {}, "the API answered 503: the service is not available"),
        (
            503,
            b'{"errors": [{"code": "stella.server.database_unreachable", "status": 503,'
            b' "detail": "The database cannot be reached; try again."}]}',
            {"Content-Type": "application/json"},
            "The database cannot be reached; try again; nothing was changed",
        ),
        (200, b"<html>hello</html>", {"Content-Type": "text/html"}, "The endpoint does not answer as stella-api does"),
        (200, b'{"versions": [{"min_version": "9.0", "max_version": "9.9"}]}', {}, "The server offers versions 9.0 to"),
    ],
)
def test_other_answers(status: int, body: bytes, headers: dict[str, str], expected: str) -> None:
    with answering(status, body, headers) as url:
        assert line(at(url), instances.List).startswith(expected)


def test_nobody_listens() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    assert re.match(r"(Unable to establish connection to|.*refused)", line(at(url), instances.List))
    assert url in line(at(url), instances.List)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/v1", "no-url", "http://stella.invalid:8791"])
def test_endpoints_that_cannot_be(url: str) -> None:
    assert line(at(url), instances.List)


def test_a_token_that_is_not(cloud: Cloud) -> None:
    shell = Shell(connect(User("no-such-token", cloud.client)))
    assert line(shell, instances.List).endswith("printed, or sign in anew")


def test_conflict_and_not_found(shell: Shell, cloud: Cloud) -> None:
    host = cloud.host("compute-1", mode="observe")
    host.add(uuid(1), name="web-1")
    host.report()
    assert "in mode observe; an operator sets it with" in line(shell, slo.Set, "--server", "web-1", "--cpu", "20%")
    for command in (slo.Show, slo.Unset, instances.Explain, instances.History, watch.Watch):
        assert "no instance is named 'web-9'" in line(shell, command, "--server", "web-9")
