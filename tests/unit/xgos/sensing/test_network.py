"""Link counters from a kernel that stands in for the real one."""

import socket
import struct
from pathlib import Path
from typing import cast

import pytest

from stella.linux import nftables, rtnetlink, traffic_control
from stella.linux.link_topology import Device, neighbours, reached
from stella.xgos.host_files import HostFiles, Unavailable
from stella.xgos.link_limits import LinkLimits
from stella.xgos.sensing.network import NetlinkLinks
from stella.xgos.sensing.uplinks import NamedUplink, Uplink, uplinks_of


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


class Limits(LinkLimits):
    """Chains as a test says; no kernel is asked."""

    def __init__(self) -> None:
        self.here: dict[str, nftables.Chain] = {}
        self.queues: dict[int, traffic_control.Root] = {}

    def lack(self) -> tuple[tuple[str, str], ...]:
        return ()

    def chains(self) -> dict[str, nftables.Chain]:
        return dict(self.here)

    def roots(self) -> dict[int, traffic_control.Root]:
        return dict(self.queues)

    def is_port(self, index: int) -> bool:
        return index == 6


def counters(packets: int, octets: int) -> rtnetlink.LinkCounters:
    return rtnetlink.LinkCounters(packets, packets, octets, octets, 0, 0, 0, 0)


def test_what_a_limit_dropped_is_not_what_got_through(kernel: Kernel, indexes: dict[str, int]) -> None:
    limits = Limits()
    found = NetlinkLinks(open_socket=lambda: cast(socket.socket, kernel), limits=limits)
    through = []
    for packets, dropped in ((1000, None), (2000, 0), (3000, 400), (4000, 900), (5000, None), (6000, 100), (6050, 900)):
        kernel.links[5] = counters(packets, packets * 100)
        chain = nftables.Chain(packets=500.0, dropped_packets=dropped or 0, dropped_bytes=86 * (dropped or 0))
        limits.here = {} if dropped is None else {"tap0.tx": chain}
        link = found.read(frozenset(indexes))["tap0"]
        assert link.tx_bytes == 100 * link.tx_packets, "the Ethernet header that a chain does not see is counted"
        assert link.tx_packets + link.tx_limited_packets == packets and link.rx_packets == packets
        through.append(link.tx_packets)
    assert through == [1000, 2000, 2600, 3100, 4100, 5000, 5000], "monotone, though a new limit counts from 0"
    assert link.tx_limit.packets == 500.0


def test_what_a_new_limit_dropped_counts_whole_though_it_is_more_than_the_last_one_had(
    kernel: Kernel, indexes: dict[str, int]
) -> None:
    limits = Limits()
    found = NetlinkLinks(open_socket=lambda: cast(socket.socket, kernel), limits=limits)
    for packets, number, dropped in ((1000, 3, 0), (2000, 3, 500), (3000, 4, 800)):
        kernel.links[5] = counters(packets, packets * 100)
        chain = nftables.Chain(number=number, packets=500.0, dropped_packets=dropped, dropped_bytes=86 * dropped)
        limits.here = {"tap0.tx": chain}
        link = found.read(frozenset(indexes))["tap0"]
    assert link.tx_limited_packets == 1300


def test_a_bucket_s_drops_count_as_long_as_its_frames_are_in_the_mean(kernel: Kernel, indexes: dict[str, int]) -> None:
    limits = Limits()
    found = NetlinkLinks(open_socket=lambda: cast(socket.socket, kernel), limits=limits)
    limits.here = {"tap0.tx": nftables.Chain(forward=9), "tap0.rx": nftables.Chain()}
    for packets, dropped in ((0, 0), (100, 40)):
        kernel.links[5] = counters(packets, packets * 1000)
        bucket = traffic_control.Root(bytes_per_second=6e4, dropped_packets=dropped)
        limits.queues = {9: bucket, 5: bucket}
        link = found.read(frozenset(indexes))["tap0"]
    assert (link.tx_packets, link.tx_bytes, link.tx_limited_bytes) == (60, 60_000, 40_000)
    assert (link.rx_packets, link.rx_limited_packets, link.rx_limited_bytes) == (100, 40, 40_000)
    assert link.tx_limit.bytes == link.rx_limit.bytes == 6e4
    assert link.unlimited_because == ()


def test_a_queue_of_another_program_is_told(kernel: Kernel, indexes: dict[str, int]) -> None:
    limits = Limits()
    limits.queues = {6: traffic_control.Root(kind="htb")}
    links = NetlinkLinks(open_socket=lambda: cast(socket.socket, kernel), limits=limits).read(frozenset(indexes))
    assert links["tap0"].unlimited_because == ()
    ((part, why),) = links["tap1"].unlimited_because
    assert part == "rx_bytes" and "htb" in why


def test_how_a_link_is_plugged_tells_where_no_limit_can_act(kernel: Kernel, indexes: dict[str, int]) -> None:
    links = NetlinkLinks(open_socket=lambda: cast(socket.socket, kernel), limits=Limits())
    found = links.read(frozenset(indexes), {"tap0": "openvswitch", "tap1": "openvswitch"})
    assert {part for part, _ in found["tap0"].unlimited_because} == {"tx_packets", "tx_bytes"}
    assert found["tap1"].unlimited_because == (), "a port of the kernel's datapath"
    links = NetlinkLinks(open_socket=lambda: cast(socket.socket, kernel), limits=Limits())
    found = links.read(frozenset(indexes), {"tap0": "direct"})
    assert len(found["tap0"].unlimited_because) == 4 and found["tap1"].unlimited_because == ()


def test_an_uplink_is_read_once_its_speed_is_known(kernel: Kernel, indexes: dict[str, int], tmp_path: Path) -> None:
    files = HostFiles(str(tmp_path))
    speed = tmp_path / "sys/class/net/tap1/speed"
    named = uplinks_of(files, [NamedUplink(device="tap1")])
    links = NetlinkLinks(open_socket=lambda: cast(socket.socket, kernel), uplinks=named)
    links.read(frozenset(("tap0",)))
    assert links.uplinks == () and "tap1" in links.uplink_lack
    speed.parent.mkdir(parents=True)
    speed.write_text("-1\n")
    links.read(frozenset(("tap0",)))
    assert links.uplinks == (), "a virtual device does not tell"
    speed.write_text("1000\n")
    found = links.read(frozenset(("tap0",)))
    (uplink,) = links.uplinks
    assert (uplink.capacity, uplink.packets_capacity, uplink.tx_bytes, uplink.rx_packets) == (125e6, None, 6, 6)
    assert found["tap0"].uplink == "tap1", "one uplink serves all"
    (named_one,) = uplinks_of(files, [NamedUplink(device="tap1", capacity_mbit_per_second=200)])
    assert links.uplink_lack == "" and named_one.capacity() == 25e6
    assert "not set" in NetlinkLinks().uplink_lack


class Topology(Limits):
    """A bridge for each of two uplinks: eth0 itself is a port of br0, eth1 carries a VLAN that is one of br1. tap9 is alone."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0

    def topology(self) -> dict[int, Device]:
        self.reads += 1
        return {
            1: Device(name="eth0", master=10),
            2: Device(name="eth1"),
            3: Device(name="eth1.7", master=11, beside=2),
            5: Device(name="tap0", master=10),
            6: Device(name="tap1", master=11),
            7: Device(name="tap9"),
            10: Device(name="br0"),
            11: Device(name="br1"),
        }


def test_each_link_is_of_the_uplink_that_its_bridge_reaches(kernel: Kernel, indexes: dict[str, int]) -> None:
    indexes |= {"eth0": 1, "eth1": 2, "tap9": 7}
    kernel.links |= {index: rtnetlink.LinkCounters(*[index] * 8) for index in (1, 2, 7)}
    named = [Uplink(device=name, capacity=lambda: 1e6) for name in ("eth0", "eth1")]
    limits = Topology()
    links = NetlinkLinks(open_socket=lambda: cast(socket.socket, kernel), limits=limits, uplinks=named)
    for _ in range(10):
        found = links.read(frozenset(("tap0", "tap1", "tap9")))
    assert [found[name].uplink for name in ("tap0", "tap1", "tap9")] == ["eth0", "eth1", ""]
    assert [one.name for one in links.uplinks] == ["eth0", "eth1"] and limits.reads == 1
    assert "none" in found["tap9"].uplink_lack and found["tap0"].uplink_lack == ""


def test_a_bridge_that_leads_to_both_is_of_the_one_that_names_it() -> None:
    devices = {**Topology().topology(), 2: Device(name="eth1", master=10)}
    beside = neighbours(devices)
    assert reached(5, devices, beside, {"eth0": "eth0", "eth1": "eth1"}) == {"eth0", "eth1"}
    assert reached(5, devices, beside, {"eth0": "eth0", "eth1": "eth1", "br0": "eth1"}) == {"eth1"}
    assert reached(6, devices, beside, {"eth0": "eth0", "eth1": "eth1"}) == {"eth1"}
    assert reached(99, devices, beside, {"eth0": "eth0"}) == frozenset(), "one that is gone"
