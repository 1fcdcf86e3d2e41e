"""The real Unix socket, and the loop's mailbox."""

import json
import os
import socket
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stella.model.wire import Json
from stella.xgos import supervision
from stella.xgos.local_api.agent_api import Busy, Mailbox
from stella.xgos.local_api.client import Client, RequestRefused, Unreachable
from stella.xgos.local_api.control_socket import ControlSocket, Slots, SocketInUse, encoded, may_ask
from tests.unit.xgos.conftest import NOW, VM1, FakePort, report


@pytest.fixture
def path(port: FakePort, tmp_path: Path) -> Iterator[Path]:
    found = tmp_path / "run" / "xgos.sock"
    server = ControlSocket(found, port, receive_seconds=0.2, clock=lambda: NOW + 5)
    yield found
    server.close()
    assert not found.exists()


def raw(path: Path, data: bytes, *, end: bool = True) -> dict[str, object]:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(str(path))
        try:
            connection.sendall(data)
            if end:
                connection.shutdown(socket.SHUT_WR)
        except BrokenPipeError:
            pass
        received = b""
        while part := connection.recv(65536):
            received += part
    assert received.count(b"\n") == 1
    found: dict[str, object] = json.loads(received)
    return found


def test_a_client_sets_shows_and_withdraws(path: Path) -> None:
    client = Client(path)
    assert client.set_slo("vm1", {"cpu": {"floor": "20%"}})["uuid"] == VM1
    assert client.show(VM1)["slo"] == {"cpu": {"floor": 0.2}}
    with pytest.raises(RequestRefused) as error:
        client.set_slo("vm1", {"cpu": {"floor": 2}})
    assert (error.value.field, error.value.largest) == ("cpu.floor", {"cpu": 1.8})
    assert client.unset_slo("vm1")["slo"] is None
    assert client.windows() == [] and client.violations(open=True) == []
    assert client.status()["ticks"] == 3 and len(client.instances()) == 4


def test_a_long_answer_comes_in_parts(path: Path, port: FakePort, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stella.xgos.accounting.history.LARGEST_ANSWER_BYTES", 1000)
    for second in range(100):
        port.history.record(NOW + second, [(VM1, [report()])])
    client = Client(path)
    assert client.ask("windows", after=0)["more"] is True
    assert [w["start"] for w in client.windows()] == [NOW + second for second in range(100)]


def test_the_socket_is_for_owner_and_group(path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o660


def test_who_may_ask() -> None:
    assert may_ask(0, 0, None) and may_ask(os.geteuid(), 5, None)
    assert not may_ask(65533, 65533, None) and not may_ask(65533, 65533, 1234)
    assert may_ask(65533, 1234, 1234)


@pytest.mark.parametrize("data", [b"", b"\n", b"garbage\n", b"\x00" * 100_000, b"{" * 70_000 + b"\n"])
def test_bad_requests_are_answered(path: Path, data: bytes) -> None:
    found = raw(path, data)
    assert found["ok"] is False
    assert Client(path).status()["ok"] is True


def test_a_slow_client_is_sent_away_and_holds_nobody_up(path: Path) -> None:
    slow = [socket.socket(socket.AF_UNIX) for _ in range(8)]
    for connection in slow:
        connection.connect(str(path))
        connection.sendall(b'{"op":')
    assert Client(path).status()["ok"] is True
    for connection in slow:
        connection.settimeout(5)
        assert b"took too long" in connection.recv(1000)
        connection.close()


def test_too_many_connections_are_refused_not_queued(path: Path) -> None:
    held = [socket.socket(socket.AF_UNIX) for _ in range(20)]
    for connection in held:
        connection.connect(str(path))
        connection.settimeout(5)
    answers = [connection.recv(1000) for connection in held]
    assert sum(b"too many connections" in a for a in answers) >= 4
    for connection in held:
        connection.close()
    for _ in range(100):
        try:
            assert Client(path).status()["ok"] is True
            return
        except (RequestRefused, Unreachable):
            threading.Event().wait(0.02)
    raise AssertionError("the server did not recover")


def test_one_user_cannot_keep_root_or_others_out() -> None:
    slots = Slots()
    assert [slots.take(1000) for _ in range(10)].count(True) == 8
    assert [slots.take(1001) for _ in range(10)].count(True) == 4  # and these two hold all that is not root's
    assert [slots.take(0) for _ in range(10)].count(True) == 4
    slots.give_back(1000)
    assert not slots.take(1002) and slots.take(0)
    for uid in (0,) * 5 + (1000,) * 7 + (1001,) * 4:
        slots.give_back(uid)
    assert [slots.take(0) for _ in range(20)].count(True) == 16


def test_a_connection_without_a_thread_gives_its_slot_back(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_thread(_self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", no_thread)
        for _ in range(20):
            with pytest.raises(Unreachable):
                Client(path).status()
    assert Client(path).status()["ok"] is True and not supervision.restarts().get("control-socket")


@pytest.mark.parametrize(
    "message",
    [{}, {"a": []}, {"a": {}}, {"a": [1, {"b": "ü"}], "c": {"d": [None, 2.5], "e": {"f": "x\ny"}}, "g": True}],
)
def test_answers_are_encoded_in_parts_that_make_one_line(message: dict[str, Json]) -> None:
    line = b"".join(encoded(message))
    assert json.loads(line) == message and b"\n" not in line


def test_a_client_that_leaves_does_not_undo_what_it_asked(path: Path, port: FakePort) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        connection.sendall(b'{"op": "slo.set", "instance": "vm1", "slo": {"cpu": {"floor": 0.5}}}\n')
    for _ in range(200):
        if port.store.intents:
            break
        threading.Event().wait(0.01)
    assert Client(path).show("vm1")["slo"] == {"cpu": {"floor": 0.5}}


def test_two_agents_cannot_share_a_socket_but_a_dead_ones_is_taken(path: Path, port: FakePort, tmp_path: Path) -> None:
    with pytest.raises(SocketInUse):
        ControlSocket(path, port)
    dead = tmp_path / "dead.sock"
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(dead))
    server = ControlSocket(dead, port)
    assert Client(dead).status()["ok"] is True
    server.close()


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match="does xgos run"):
        Client(tmp_path / "none").status()


def test_calls_run_in_the_loops_thread() -> None:
    mailbox = Mailbox()
    seen: list[object] = []

    def fail() -> None:
        raise ValueError("no")

    def ask() -> None:
        seen.append(mailbox.call(threading.get_ident))
        try:
            mailbox.call(fail)
        except ValueError as error:
            seen.append(str(error))

    asker = threading.Thread(target=ask)
    asker.start()
    while asker.is_alive():
        mailbox.run_until(time.monotonic() + 0.01)
    assert seen == [threading.get_ident(), "no"]


def test_a_call_that_was_given_up_never_runs() -> None:
    mailbox = Mailbox(capacity=2)
    ran: list[int] = []
    for _ in range(2):
        with pytest.raises(Busy, match="in time"):
            mailbox.call(lambda: ran.append(1), timeout_seconds=0.001)
    with pytest.raises(Busy, match="too many"):
        mailbox.call(lambda: ran.append(1), timeout_seconds=0.001)
    mailbox.run_until(time.monotonic() + 0.01)
    assert ran == []
