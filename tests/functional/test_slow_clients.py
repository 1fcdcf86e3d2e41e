"""Clients that send or read slowly delay nobody but themselves, and are closed in time."""

import http.client
import json
import select
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest

from tests.functional.conftest import Cloud, uuid
from tests.functional.process import Server, serving, wait

READ_SECONDS = 2.0
SLOW = 200
_ANSWER_WITHIN_SECONDS = 2.0
_LATE_SECONDS = 3.0  # the main loop looks each second, and this machine may be busy

_HEADERS = b"GET /v1/instances HTTP/1.1\r\nHost: stella\r\nX-Slow: "
_CUT = uuid(19)
_TOKEN = b"TOKEN"
_BODY = (
    b"PUT /v1/instances/" + _CUT.encode() + b"/slo HTTP/1.1\r\nHost: stella\r\nContent-Type: application/json\r\n"
    b"X-Auth-Token: TOKEN\r\nContent-Length: 5000\r\n\r\n"
    b'{"objectives": {"cpu": {"floor": 0.01}}}'  # with spaces to come: valid as it is, but not all of what was announced
)
_LARGE_BODY = _BODY.replace(b"5000", b"900000") + b" " * 200_000


@pytest.fixture
def server(cloud: Cloud) -> Iterator[Server]:
    cloud.clock.now = time.time()
    host = cloud.host("host1")
    for number in range(20):
        host.add(uuid(number))
    host.report()
    with serving(cloud.config_path, request_read_seconds=READ_SECONDS) as made:
        yield made


@contextmanager
def slow_clients(server: Server, first: bytes, count: int = SLOW) -> Iterator[list[socket.socket]]:
    """So many connections that have sent ``first``, and go on with a byte each half second."""
    stop = threading.Event()
    with ExitStack() as opened:
        clients = []
        for _ in range(count):
            client = opened.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=20))
            client.sendall(first)
            clients.append(client)

        def trickle() -> None:
            while first and not stop.wait(0.5):
                for client in clients:
                    with suppress(OSError):
                        client.send(b" ")

        sender = threading.Thread(target=trickle)
        sender.start()
        try:
            yield clients
        finally:
            stop.set()
            sender.join()


def closed_within(clients: list[socket.socket], seconds: float) -> float:
    """The seconds until the server has closed every one of them; fails after ``seconds``."""
    start, left = time.monotonic(), {client.fileno(): client for client in clients}
    while left and time.monotonic() - start < seconds:
        poll = select.poll()
        for number in left:
            poll.register(number, select.POLLIN)
        for number, _ in poll.poll(200):
            try:
                ended = left[number].recv(65536) == b""
            except OSError:
                ended = True
            if ended:
                del left[number]
    assert not left, f"{len(left)} of {len(clients)} are open after {seconds:g} s"
    return time.monotonic() - start


@pytest.mark.parametrize("first", [b"", _HEADERS, _BODY, _LARGE_BODY], ids=["silent", "headers", "body", "large body"])
def test_slow_clients_delay_nobody_and_are_closed(cloud: Cloud, server: Server, first: bytes) -> None:
    count = SLOW if first is not _LARGE_BODY else 40
    with slow_clients(server, first.replace(_TOKEN, cloud.member.token.encode()), count) as clients:
        slowest, opened = 0.0, time.monotonic()
        for number in range(10):
            started = time.monotonic()
            status, _ = server.ask("GET", "/v1/instances", cloud.member.token)
            assert status == 200
            path = f"/v1/instances/{uuid(number)}/slo"
            assert server.ask("PUT", path, cloud.member.token, {"objectives": {"cpu": {"floor": 0.01}}})[0] == 201
            slowest = max(slowest, time.monotonic() - started)
        assert slowest < _ANSWER_WITHIN_SECONDS
        closed_within(clients, READ_SECONDS + _LATE_SECONDS)
        print(f"slowest pair of requests {slowest:.3f} s, all closed {time.monotonic() - opened:.1f} s after the last")
    assert server.ask("GET", "/healthcheck")[0] == 200
    assert server.ask("GET", f"/v1/instances/{_CUT}/slo", cloud.member.token)[0] == 404, (
        "a body that was cut changes nothing"
    )


def test_who_does_not_take_the_answer_is_closed(cloud: Cloud, server: Server) -> None:
    clients = []
    with ExitStack() as opened:
        for _ in range(20):
            client = opened.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
            client.settimeout(20)
            client.connect(("127.0.0.1", server.port))
            client.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: stella\r\n\r\n" * 200)
            clients.append(client)
        started = time.monotonic()
        while time.monotonic() - started < READ_SECONDS + _LATE_SECONDS:
            asked = time.monotonic()
            assert server.ask("GET", "/v1/instances", cloud.member.token)[0] == 200
            assert time.monotonic() - asked < _ANSWER_WITHIN_SECONDS
            time.sleep(0.2)
        assert wait(lambda: "were shut down" in server.log.read_text()), server.log.read_text()[-2000:]


def _is_refused_beside(server: Server, connections: int) -> bool:
    """Whether one more is refused. A silent one is closed after `READ_SECONDS`: on a busy machine before the last is opened."""
    with ExitStack() as opened:
        for _ in range(connections):
            opened.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=20))
        try:
            server.ask("GET", "/healthcheck")
        except (OSError, http.client.HTTPException):
            return True
    return False


def test_connections_of_one_address_can_be_bounded(cloud: Cloud) -> None:
    with serving(cloud.config_path, connections_per_address=8) as server:
        assert wait(lambda: _is_refused_beside(server, 8))
        assert wait(lambda: healthy(server))


def test_a_connection_is_kept_for_the_next_request(cloud: Cloud, server: Server) -> None:
    connection = server.connect()
    for pause in (0.0, READ_SECONDS + 1.5, 0.0):
        time.sleep(pause)
        connection.request("GET", "/v1/instances", headers={"X-Auth-Token": cloud.member.token})
        answer = connection.getresponse()
        assert answer.status == 200 and len(json.loads(answer.read())["instances"]) == 20
    connection.close()


def test_a_client_may_wait_for_the_server_to_want_its_body(cloud: Cloud, server: Server) -> None:
    body = b'{"objectives": {"cpu": {"floor": 0.01}}}'
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
        head = f"PUT /v1/instances/{uuid(1)}/slo HTTP/1.1\r\nHost: s\r\nX-Auth-Token: {cloud.member.token}\r\n"
        head += f"Content-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: {len(body)}\r\n\r\n"
        client.sendall(head.encode())
        assert client.recv(1000).startswith(b"HTTP/1.1 100 Continue")
        client.sendall(body)
        assert client.recv(1000).startswith(b"HTTP/1.1 201")


_NO_HTTP = (
    (b"hello\r\n\r\n", 400, "stella.request.invalid"),
    (b"GET / HTTP/1.1\r\nHost: s\r\nX A: 1\r\n\r\n", 400, "stella.request.invalid"),
    (b"GET / HTTP/1.1\r\nHost: s\r\nTransfer-Encoding: nothing\r\n\r\n", 400, "stella.request.invalid"),
    (b"GET / HTTP/1.1\r\nHost: s\r\nContent-Length: -5\r\n\r\n", 400, "stella.request.invalid"),
    (b"GET / HTTP/1.1\r\nHost: s\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400, "stella.request.invalid"),
    (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: s\r\n\r\n", 414, "stella.request.uri_too_long"),
    (b"GET / HTTP/1.1\r\nHost: s\r\nX: " + b"a" * 9000 + b"\r\n\r\n", 431, "stella.request.headers_too_large"),
    (b"GET / HTTP/1.1\r\nHost: s\r\n" + b"X: a\r\n" * 100 + b"\r\n", 431, "stella.request.headers_too_large"),
)


def test_what_is_no_http_is_answered_in_json(cloud: Cloud, server: Server) -> None:
    for sent, status, code in _NO_HTTP:
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
            client.sendall(sent)
            answer = http.client.HTTPResponse(client)
            answer.begin()
            (found,) = json.loads(answer.read())["errors"]
        assert (answer.status, found["status"], found["code"]) == (status, status, code), sent[:80]
        assert answer.getheader("Content-Type") == "application/json"
    sent = b"GET / HTTP/1.1\r\nX-Auth-Token: " + cloud.admin.token.encode() + b"\x01\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
        client.sendall(sent)
        assert b" 400 " in client.recv(1000)
    assert cloud.admin.token not in server.log.read_text()


def test_it_stops_at_once_under_slow_clients(cloud: Cloud, server: Server) -> None:
    with slow_clients(server, b"", count=20), slow_clients(server, _HEADERS, count=20):
        started = time.monotonic()
        server.stop(signal.SIGTERM)
        assert time.monotonic() - started < READ_SECONDS + 2 * _LATE_SECONDS


def healthy(server: Server) -> bool:
    with suppress(OSError, http.client.HTTPException):
        return server.ask("GET", "/healthcheck")[0] == 200
    return False
