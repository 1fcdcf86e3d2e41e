"""Whether an AMQP server answers: addresses of oslo.messaging's URLs, and a greeting over a real socket."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from stella.checks import queue

START = b"\x01\x00\x00\x00\x00\x01\x9c" + b"\x00\x0a\x00\x0a" + b"\x00\x09"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("rabbit://u:p@10.0.0.1:5671/vhost", [("10.0.0.1", 5671)]),
        ("rabbit://u:p%40@a:5672,u:p@b:5673/", [("a", 5672), ("b", 5673)]),
        ("rabbit://host", [("host", 5672)]),
        ("rabbit://u:p@[fd00::1]:5672/", [("fd00::1", 5672)]),
        ("rabbit://u:p@[fd00::1]/", [("fd00::1", 5672)]),
        ("rabbit:///vhost", []),
    ],
)
def test_addresses(url: str, expected: list[tuple[str, int]]) -> None:
    assert queue.addresses(url) == expected


@contextmanager
def server(answer: bytes) -> Iterator[int]:
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            assert connection.recv(8) == b"AMQP\x00\x00\x09\x01"
            connection.sendall(answer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield listener.getsockname()[1]
    thread.join(20)
    listener.close()


def test_a_server_that_greets() -> None:
    with server(START) as port:
        assert queue.ask("127.0.0.1", port) == ""


def test_something_else_that_listens() -> None:
    with server(b"HTTP/1.1 400 Bad Request\r\n") as port:
        assert "does not greet" in queue.ask("127.0.0.1", port)


def test_nothing_that_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert "refused" in queue.ask("127.0.0.1", port)
