"""Link counters from a kernel that stands in for the real one."""

import socket
import struct
from typing import cast

import pytest

from stella.linux import rtnetlink
from stella.xgos.host_files import Unavailable
from stella.xgos.sensing.network import NetlinkLinks


class Kernel:
    """Answers each request with the counters of ``links``; the first ``interruptions`` answers say that links came or went."""

    def __init__(self) -> None:
        self.links = {index: rtnetlink.LinkCounters(*[index] * 8) for index in (5, 6)}
        self.interruptions = 0
        self.requests = 0
        self.broken = False
        self.queue: list[bytes] = []

    def send(self, request: bytes) -> None:
        self.requests += 1
        (sequence,) = struct.unpack_from("=I", request, 8)
        interrupted = self.interruptions > 0
        self.interruptions -= interrupted
        links = {} if interrupted else self.links
        self.queue = [rtnetlink.show_stats(sequence, links), rtnetlink.show_done(sequence, interrupted=interrupted)]

    def recv(self, _size: int) -> bytes:
        if self.broken:
            raise TimeoutError("timed out")
        return self.queue.pop(0)

    def close(self) -> None:
        pass


@pytest.fixture
def kernel() -> Kernel:
    return Kernel()


@pytest.fixture
def indexes(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    known = {"tap0": 5, "tap1": 6}

    def look_up(name: str) -> int:
        if name not in known:
            raise OSError(19, "No such device")
        return known[name]

    monkeypatch.setattr(socket, "if_nametoindex", look_up)
    return known


def links(kernel: Kernel) -> NetlinkLinks:
    return NetlinkLinks(open_socket=lambda: cast(socket.socket, kernel))


def test_an_interrupted_answer_is_asked_for_again(kernel: Kernel, indexes: dict[str, int]) -> None:
    found = links(kernel)
    kernel.interruptions = 2
    assert found.read(frozenset(indexes)).keys() == {"tap0", "tap1"} and kernel.requests == 3
    kernel.interruptions = 9
    assert found.read(frozenset(indexes)) == {} and kernel.requests == 6, "not for ever"


def test_a_socket_that_fails_is_opened_again(kernel: Kernel, indexes: dict[str, int]) -> None:
    found = links(kernel)
    kernel.broken = True
    with pytest.raises(Unavailable, match="netlink"):
        found.read(frozenset(indexes))
    kernel.broken = False
    assert len(found.read(frozenset(indexes))) == 2


def test_a_name_that_was_given_to_another_device(kernel: Kernel, indexes: dict[str, int]) -> None:
    found = links(kernel)
    assert found.read(frozenset(("tap0",)))["tap0"].tx_packets == 5
    indexes["tap0"] = 6  # the old one was renamed and is still there
    assert found.read(frozenset(("tap0",)))["tap0"].tx_packets == 6
    del indexes["tap0"]
    assert found.read(frozenset(("tap0",))) == {}


def test_names_of_devices_that_are_gone_are_forgotten(kernel: Kernel, indexes: dict[str, int]) -> None:
    found = links(kernel)
    for number in range(10_000):
        indexes[f"vm{number}"] = 5
        assert found.read(frozenset((f"vm{number}", "tap0"))).keys() == {f"vm{number}", "tap0"}
        del indexes[f"vm{number}"]
    assert len(found._indexes) <= 3
