"""What the service manager is told: the bytes of sd_notify(3), on sockets in the file system and in the abstract namespace."""

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from stella.xgos.process.service_notify import ServiceNotifier


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """A service manager's socket, and its address as NOTIFY_SOCKET has it."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    name = f"stella-test-{os.getpid()}"
    address = str(tmp_path / "notify") if request.param == "path" else f"@{name}"
    listener.bind(address if request.param == "path" else f"\0{name}")
    listener.setblocking(False)
    yield listener, address
    listener.close()


def _notifier(address: str, **more: str) -> ServiceNotifier:
    return ServiceNotifier({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "10000000", **more})


def test_the_life_of_a_service(manager: tuple[socket.socket, str]) -> None:
    listener, address = manager
    notifier = _notifier(address, WATCHDOG_PID=str(os.getpid()))
    assert notifier.watchdog_seconds == 10 and notifier.heartbeat_interval_seconds == 2.5
    assert notifier.ready("mode enforce,\n2 instances")
    assert listener.recv(4096) == b"READY=1\nSTATUS=mode enforce, 2 instances"
    assert notifier.heartbeat(100.0) and listener.recv(4096) == b"WATCHDOG=1"
    assert notifier.stopping() and listener.recv(4096) == b"STOPPING=1"
    notifier.close()
    notifier.close()
    assert not notifier.heartbeat(200.0)
    with pytest.raises(BlockingIOError):
        listener.recv(4096)


def test_the_loop_tells_ready_once_and_then_only_heartbeats(manager: tuple[socket.socket, str]) -> None:
    listener, address = manager
    notifier = _notifier(address)
    for tick in range(12):
        notifier.after_tick(tick / 4)
    assert [listener.recv(4096) for _ in range(3)] == [b"READY=1", b"WATCHDOG=1", b"WATCHDOG=1"]
    with pytest.raises(BlockingIOError):
        listener.recv(4096)
    notifier.close()


def test_heartbeats_come_four_times_a_period_however_short_the_ticks(manager: tuple[socket.socket, str]) -> None:
    listener, address = manager
    notifier = _notifier(address)
    sent = [tick / 4 for tick in range(0, 41) if notifier.heartbeat(1000 + tick / 4)]
    assert sent == [0, 2.5, 5, 7.5, 10]
    for _ in sent:
        assert listener.recv(4096) == b"WATCHDOG=1"
    assert notifier.heartbeat(5.0)  # a clock that starts again is no reason to be silent
    notifier.close()


def test_a_socket_that_is_gone_or_full_neither_blocks_nor_raises(tmp_path: Path) -> None:
    path = tmp_path / "notify"
    notifier = _notifier(str(path))
    assert not notifier.ready() and not notifier.heartbeat(0.0)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(path))
        assert notifier.heartbeat(0.1)  # at once: the one before was not sent
        for _ in range(10_000):
            if not notifier.stopping():
                break
        else:
            raise AssertionError("the socket never filled")
    notifier.close()


@pytest.mark.parametrize("address", ["", "relative", "@", "/" + "x" * 300, "vsock:2:1"])
def test_without_a_service_manager_nothing_is_said(address: str) -> None:
    notifier = _notifier(address)
    assert not notifier.ready("x") and not notifier.heartbeat(0.0) and not notifier.stopping()
    notifier.close()


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "soon"},
        {"WATCHDOG_USEC": "-1"},
        {"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"},
    ],
)
def test_without_a_watchdog_there_is_no_heartbeat(environment: dict[str, str]) -> None:
    notifier = ServiceNotifier(environment)
    assert notifier.watchdog_seconds is None and notifier.heartbeat_interval_seconds is None
    assert not notifier.heartbeat(0.0)


def test_the_socket_is_not_inherited(manager: tuple[socket.socket, str]) -> None:
    """The guard is a child: it must not be able to speak for the agent."""
    before = _sockets()
    notifier = _notifier(manager[1])
    opened = _sockets() - before
    assert opened and not any(os.get_inheritable(descriptor) for descriptor in opened)
    notifier.close()


def _sockets() -> set[int]:
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            if str(entry.readlink()).startswith("socket:"):
                found.add(int(entry.name))
    return found
