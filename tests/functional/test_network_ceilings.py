"""Network ceilings on a real kernel (`network_host`)."""

import fcntl
import os
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from stella.control.capabilities import capabilities, unlimited_link
from stella.model.allocation import WriteResult
from stella.model.attainment import Status
from stella.model.slo import parse_slo
from stella.model.snapshot import LinkLimit
from stella.model.target import TargetKind, link_target
from stella.xgos.host_files import WriteFailed
from stella.xgos.link_limits import LinkLimits

from .network_host import PEER, TICK_SECONDS, Host, ip, running, statuses


def held(rate: float, limit: float) -> bool:
    """Whether a sender that wants more gets its limit and no more. On a busy machine senders stall, which is not the limit's work."""
    return 0.8 * limit <= rate <= 1.05 * limit


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with running(tmp_path) as made:
        yield made


def test_what_a_guest_sends_is_limited_in_packets_and_in_bytes_and_its_neighbour_is_not(host: Host) -> None:
    host.promise("vm0", network_packets={"ceiling": 2000, "direction": "tx"})
    host.promise("vm1", network_bytes={"ceiling": 3e6, "direction": "tx"})
    host.begin()
    host.send(host.guests[0], PEER, size=64, packets=6000)
    ((packets, _),) = host.measure(host.peer)
    assert held(packets, 2000)
    host.senders[0].kill()
    host.send(host.guests[1], PEER, size=1000, packets=6000)
    ((_, octets),) = host.measure(host.peer)
    assert held(octets, 3e6)
    host.send(host.guests[0], PEER, size=64, packets=1000)
    ((packets, octets),) = host.measure(host.peer)
    assert held(packets, 4000), "beside the one that is held by its ceiling the other has all it sends"
    seen = statuses(host, "vm1")
    assert seen and set(seen) == {Status.MET}
    usage = host.windows[-1].instances[1].objectives[0].usage
    assert usage is not None and held(usage, 3e6), "what got through, not what was sent"


def test_what_a_guest_receives_is_limited_in_packets_and_in_bytes(host: Host) -> None:
    host.promise("vm0", network_packets={"ceiling": 2000, "direction": "rx"})
    host.promise("vm1", network_bytes={"ceiling": 3e6, "direction": "rx"})
    host.begin()
    host.send(host.peer, 0, size=64, packets=6000)
    host.send(host.peer, 1, size=1000, packets=6000)
    (packets, _), (_, octets) = host.measure(*host.guests[:2])
    assert held(packets, 2000)
    assert held(octets, 3e6)
    link = host.sense().instances[0].links
    assert link is not None and link[0].rx_limited_packets > 4000


@pytest.mark.parametrize(("metric", "ceiling", "size"), [("network_packets", 2000, 64), ("network_bytes", 3e6, 1000)])
def test_a_ceiling_of_both_directions_is_shared_by_them(host: Host, metric: str, ceiling: float, size: int) -> None:
    which = metric == "network_bytes"
    host.promise("vm0", **{metric: {"ceiling": ceiling}})
    host.begin()
    host.send(host.guests[0], PEER, size=size, packets=6000)
    if which:
        (sent,) = host.measure(host.peer)
        assert held(sent[which], ceiling), "what the other direction does not want"
    host.send(host.peer, 0, size=size, packets=6000)
    host.run(2 * TICK_SECONDS)
    sent, received = host.measure(host.peer, host.guests[0])
    assert held(sent[which] + received[which], ceiling)
    assert received[which] > 0.3 * ceiling


def test_a_limit_that_was_removed_or_changed_is_set_again_and_release_leaves_the_host_as_it_was(host: Host) -> None:
    before = host.knobs()
    host.promise(
        "vm0", network_packets={"ceiling": 2000, "direction": "tx"}, network_bytes={"ceiling": 3e6, "direction": "tx"}
    )
    host.promise("vm1", network_bytes={"ceiling": 3e6, "direction": "rx"})
    first = host.begin()
    assert {each.result for each in first} == {WriteResult.WRITTEN} and len(first) == 2
    assert not any(each.write.temporary for each in first), "a ceiling that was asked for stays when the agent dies"
    limited = host.knobs()
    assert host.tick() == () and host.reasserted == 0
    for command in (
        "nft delete table netdev stella",
        "nft flush chain netdev stella tap0.tx",
        f"ip link del stella{socket.if_nametoindex('tap0')}",
        "tc qdisc del dev tap1 root",
        "tc qdisc replace dev tap1 root handle 5e11: tbf rate 1gbit burst 20000 limit 90000",
    ):
        subprocess.run(command.split(), check=True)
        host.reasserted = 0
        assert host.tick() and host.reasserted > 0, command
        assert host.knobs() == limited, command
    assert all(not each.error for each in host.apply.release(time.time()))
    assert host.knobs() == before


def test_what_a_killed_agent_left_is_removed_or_taken_over(host: Host) -> None:
    before = host.knobs()
    host.promise("vm0", network_bytes={"ceiling": 3e6})
    host.begin()
    limited = host.knobs()
    host.open()  # the next agent has the journal, and decides the same
    host.begin()
    assert host.knobs() == limited
    host.die()
    (host.directory / "run" / "journal").unlink()
    host.open()
    assert host.knobs() == before, "without a journal it is removed, and set anew"
    host.begin()
    assert host.knobs() == limited


def test_a_limit_ends_with_its_ceiling_and_with_its_tap(host: Host) -> None:
    before = host.knobs()
    host.promise("vm0", network_packets={"ceiling": 2000}, network_bytes={"ceiling": 3e6})
    host.begin()
    del host.intents["vm0"]
    host.tick()
    idle = [line for line in host.knobs().splitlines() if "stella" not in line]
    assert idle == before.splitlines(), "but for a device without traffic, which goes with the tap or at release"
    host.promise("vm0", network_packets={"ceiling": 2000}, network_bytes={"ceiling": 3e6})
    host.begin()
    ip("-n", host.name, "link", "del", "tap0")
    host.tick()
    left = host.knobs()
    assert "tap0" not in left and "stella0" not in left and not [n for _, n in socket.if_nameindex() if "stella" in n]
    assert host.apply.journal.entries == ()


def test_a_queue_of_another_program_is_left_alone_and_the_ceiling_refused(host: Host) -> None:
    subprocess.run(["tc", "qdisc", "add", "dev", "tap0", "root", "handle", "7:", "pfifo", "limit", "100"], check=True)
    links = host.sense().instances[0].links
    received, sent = (parse_slo({"network_bytes": {"ceiling": 3e6, "direction": way}}) for way in ("rx", "tx"))
    lacking = unlimited_link(received, links)
    assert lacking is not None and lacking[0] == "network_bytes.ceiling" and "pfifo" in lacking[2]
    assert unlimited_link(sent, links) is None
    target = link_target("tap0", "rx")
    actuator = host.apply.actuators[TargetKind.LINK]
    with pytest.raises(WriteFailed, match="pfifo"):
        actuator.write(target, "bytes 3000000", actuator.identity(target))


def test_a_real_tap_is_limited_as_well(host: Host) -> None:
    """What a guest writes to its tap, here as 500 frames at once: the burst passes and no more."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR)
    try:
        fcntl.ioctl(descriptor, 0x400454CA, struct.pack("16sH22x", b"tap9", 0x1002))  # TUNSETIFF: a tap, bare frames
        ip("-n", host.name, "link", "set", "tap9", "master", "br0", "up")
        frame = bytes.fromhex("02000000000302000000000988b5") + bytes(86)
        for limit, burst, rate in (
            (LinkLimit(), 500, 0),
            (LinkLimit(packets=100.0), 16, 100),
            (LinkLimit(bytes=1e5), 160, 1000),
        ):
            LinkLimits().set("tap9", "tx", limit)
            begin, before = time.monotonic(), host.received(host.peer)[0]
            for _ in range(500):
                os.write(descriptor, frame)
            time.sleep(0.02)
            through, seconds = host.received(host.peer)[0] - before, time.monotonic() - begin
            assert burst <= through <= burst + rate * seconds + 10
        LinkLimits().set("tap9", "tx", LinkLimit())
    finally:
        os.close(descriptor)


def test_a_tap_in_no_bridge_is_told_from_a_port(host: Host) -> None:
    assert LinkLimits().is_port(socket.if_nametoindex("tap0"))
    ip("-n", host.name, "link", "set", "tap0", "nomaster")
    assert not LinkLimits().is_port(socket.if_nametoindex("tap0"))
    found = host.links.read(frozenset(("tap0", "tap1")), {"tap0": "openvswitch", "tap1": "openvswitch"})
    lacking = unlimited_link(parse_slo({"network_packets": {"ceiling": 5}}), (found["tap0"],))
    assert lacking is not None and "userspace datapath" in lacking[2]
    assert found["tap1"].unlimited_because == ()


def test_the_probe_changes_nothing_and_tells_what_is_missing(host: Host) -> None:
    before = host.knobs()
    assert LinkLimits().lack() == ()
    assert host.knobs() == before
    found = capabilities(replace(host.host_reading(), link_limits_lack=(("bytes", "no sch_tbf"),)))
    assert found["network_packets_ceiling"] == "" and found["network_bytes_ceiling"].endswith("no sch_tbf")
