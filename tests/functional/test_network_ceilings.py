"""Network ceilings on a real kernel: taps on a Linux bridge in network namespaces of the test's own, and traffic through them.

The decisions, the plan, journal, apply and sensing are the agent's. A veth pair stands for a tap and its guest. What gets through is
read from the counters of the other ends, which know nothing of limits.
"""

import contextlib
import ctypes
import fcntl
import json
import os
import re
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from stella.control.capabilities import capabilities, missing, unlimited_link
from stella.control.memory import Memory, Settings
from stella.control.tick import decide
from stella.control.windows import Window
from stella.model.allocation import Intent, Outcome, WriteResult
from stella.model.attainment import Status
from stella.model.slo import parse_slo
from stella.model.snapshot import (
    HostReading,
    InstanceReading,
    LinkLimit,
    LinkReading,
    Role,
    RunState,
    SensorReading,
    Snapshot,
    ThreadReading,
)
from stella.model.target import TargetKind, link_target
from stella.xgos.actuation.actuators import actuators
from stella.xgos.actuation.apply import Apply
from stella.xgos.actuation.audit import Audit
from stella.xgos.actuation.host import HostActuation
from stella.xgos.actuation.journal import Journal
from stella.xgos.host_files import HostFiles, WriteFailed
from stella.xgos.link_limits import LinkLimits
from stella.xgos.sensing.network import NetlinkLinks

TICK_SECONDS = 0.25
SETTLE_SECONDS, MEASURE_SECONDS = 0.5, 1.5
SENDER = """
import socket, sys, time
to, size, each_tick, seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
payload, begin, sent = bytes(size), time.monotonic(), 0
while (now := time.monotonic() - begin) < seconds:
    while sent < now / 0.005 * each_tick:
        try:
            made.sendto(payload, (to, 9))
        except OSError:
            pass
        sent += 1
    time.sleep(0.002)
"""
HEADER_BYTES = 42


def ip(*words: str) -> str:
    return subprocess.run(["ip", *words], check=True, capture_output=True, text=True).stdout


def _enter(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if ctypes.CDLL(None, use_errno=True).setns(descriptor, 0x40000000):
            raise OSError(ctypes.get_errno(), "setns")
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def inside(namespace: str) -> Iterator[None]:
    """This thread in a network namespace."""
    own = f"/proc/self/task/{threading.get_native_id()}/ns/net"
    back = os.open(own, os.O_RDONLY)
    try:
        _enter(f"/run/netns/{namespace}")
        yield
    finally:
        if ctypes.CDLL(None, use_errno=True).setns(back, 0x40000000):
            raise OSError(ctypes.get_errno(), "setns")
        os.close(back)


class Host:
    """A host with two guests behind taps on a bridge, a peer at its uplink, and the agent's parts over it."""

    def __init__(self, name: str, directory: Path) -> None:
        self.name, self.directory = name, directory
        self.guests, self.peer = (f"{name}a", f"{name}b"), f"{name}p"
        self.senders: list[subprocess.Popen[bytes]] = []
        self.intents: dict[str, Intent] = {}
        self.memory, self.windows = Memory(), list[Window]()
        self.reasserted = 0

    def build(self) -> None:
        for namespace in (self.name, *self.guests, self.peer):
            ip("netns", "add", namespace)
            quiet = "echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6"
            subprocess.run(["ip", "netns", "exec", namespace, "sh", "-c", quiet], check=True)
        ip("-n", self.name, "link", "add", "br0", "type", "bridge")
        ip("-n", self.name, "link", "set", "br0", "up")
        for number, namespace in enumerate((*self.guests, self.peer)):
            self.plug(f"tap{number}", namespace, number)

    def plug(self, tap: str, namespace: str, number: int) -> None:
        ip("-n", self.name, "link", "add", tap, "type", "veth", "peer", "name", "eth0", "netns", namespace)
        ip("-n", self.name, "link", "set", tap, "master", "br0", "up")
        ip("-n", namespace, "link", "set", "eth0", "address", f"02:00:00:00:00:0{number}", "up")
        ip("-n", namespace, "addr", "add", f"10.9.0.{number + 1}/24", "dev", "eth0")
        for other in range(3):  # nobody answers at .10x: what is sent there is counted and dropped
            ip(
                "-n",
                namespace,
                "neigh",
                "replace",
                f"10.9.0.10{other}",
                "lladdr",
                f"02:00:00:00:00:0{other}",
                "dev",
                "eth0",
            )

    def open(self) -> None:
        """The agent begins."""
        self.links = NetlinkLinks(limits=LinkLimits())
        journal = Journal.load(str(self.directory / "run" / "journal"))
        audit = Audit(str(self.directory / "state" / "audit.jsonl"))
        self.apply = Apply(actuators(HostFiles("/")), journal, audit)
        self.apply.clear_strays()
        self.actuation = HostActuation(self.apply, None, observe=False)

    def host_reading(self) -> HostReading:
        return HostReading(
            cores=2,
            busy_seconds=0.0,
            idle_seconds=time.monotonic(),
            softirq_seconds=0.0,
            steal_seconds=0.0,
            cgroup_version=2,
            link_limits_lack=self.links.limits_lack,
        )

    def reading(self, uuid: str, *links: LinkReading) -> InstanceReading:
        thread = ThreadReading(
            tid=1, start_ticks=1, role=Role.VCPU, index=0, run_seconds=time.monotonic() / 2, wait_seconds=0.0
        )
        return InstanceReading(
            uuid=uuid,
            name=uuid,
            pid=os.getpid(),
            state=RunState.RUNNING,
            vcpus=1,
            iothreads=0,
            threads=(thread,),
            links=links,
            disks=None,
            disks_monotonic_seconds=None,
            groups=(),
        )

    def sense(self, taps: tuple[str, ...] = ("tap0", "tap1")) -> Snapshot:
        found = self.links.read(frozenset(taps))
        return Snapshot(
            monotonic_seconds=time.monotonic(),
            wall_seconds=time.time(),
            host=self.host_reading(),
            instances=tuple(self.reading(f"vm{tap[3:]}", found[tap]) for tap in taps if tap in found),
            sensors=(SensorReading(name="hypervisor", ok=True, duration_seconds=0.0),),
        )

    def tick(self) -> tuple[Outcome, ...]:
        snapshot = self.actuation.bounds(self.sense())
        decision, closed, self.memory = decide(snapshot, self.intents, self.memory, Settings())
        self.windows += closed
        outcomes, reasserted = self.actuation.act(snapshot, decision)
        self.reasserted += reasserted
        return outcomes

    def begin(self) -> tuple[Outcome, ...]:
        """The first tick sees an instance, the second one knows its rates and limits it."""
        self.tick()
        return self.tick()

    def run(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(left, TICK_SECONDS))
            self.tick()

    def promise(self, uuid: str, **metrics: dict[str, object]) -> None:
        slo = parse_slo(metrics)
        assert missing(slo, capabilities(self.host_reading())) is None
        self.intents[uuid] = Intent(uuid=uuid, slo=slo, generation=1, reserved_cpu_cores=0.0, estimated=False)

    def send(self, namespace: str, to: int, *, size: int, packets: int) -> None:
        """``packets`` a second of ``size`` bytes with all headers, for longer than is measured."""
        words = [f"10.9.0.10{to}", str(size - HEADER_BYTES), str(packets // 200), "6"]
        argv = ["ip", "netns", "exec", namespace, sys.executable, "-S", "-E", "-c", SENDER, *words]
        self.senders.append(subprocess.Popen(argv))

    def received(self, namespace: str) -> tuple[int, int]:
        """Packets and bytes that came in at the other end."""
        (link,) = json.loads(ip("-n", namespace, "-j", "-s", "link", "show", "eth0"))
        return link["stats64"]["rx"]["packets"], link["stats64"]["rx"]["bytes"]

    def measure(self, *namespaces: str) -> list[tuple[float, float]]:
        """Mean packets/s and bytes/s at each other end, once the load runs."""
        self.run(SETTLE_SECONDS)
        begin, before = time.monotonic(), [self.received(each) for each in namespaces]
        self.run(MEASURE_SECONDS)
        seconds, after = time.monotonic() - begin, [self.received(each) for each in namespaces]
        return [
            ((new[0] - old[0]) / seconds, (new[1] - old[1]) / seconds) for new, old in zip(after, before, strict=True)
        ]

    def knobs(self) -> str:
        """All that limits anything here, as the tools of an administrator show it."""
        shown = [["nft", "list", "ruleset"], ["tc", "qdisc", "show"], ["ip", "-br", "link"]]
        text = "".join(subprocess.run(each, check=True, capture_output=True, text=True).stdout for each in shown)
        return re.sub(
            r" packets \d+ bytes \d+|(?:[0-9a-f]{2}:){5}[0-9a-f]{2}", "", text
        )  # counters and made-up addresses

    def close(self) -> None:
        for each in self.senders:
            each.kill()
            each.wait()
        for namespace in (self.name, *self.guests, self.peer):
            subprocess.run(["ip", "netns", "del", namespace], check=False, capture_output=True)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(f"stnet{os.getpid() % 10000}", tmp_path)
    try:
        made.build()
        with inside(made.name):
            made.open()
            yield made
            made.apply.audit.close()
    finally:
        made.close()


def statuses(host: Host, uuid: str) -> list[Status]:
    """Of its first objective in each window that was seen whole."""
    found = [each.objectives[0].status for w in host.windows for each in w.instances if each.uuid == uuid]
    return [status for status in found if status not in (Status.PENDING, Status.UNKNOWN)]


def test_what_a_guest_sends_is_limited_in_packets_and_in_bytes_and_its_neighbour_is_not(host: Host) -> None:
    host.promise("vm0", network_packets={"ceiling": 2000, "direction": "tx"})
    host.promise("vm1", network_bytes={"ceiling": 3e6, "direction": "tx"})
    host.begin()
    host.send(host.guests[0], 2, size=64, packets=6000)
    ((packets, _),) = host.measure(host.peer)
    assert packets == pytest.approx(2000, rel=0.05)
    host.senders[0].kill()
    host.send(host.guests[1], 2, size=1000, packets=6000)
    ((_, octets),) = host.measure(host.peer)
    assert octets == pytest.approx(3e6, rel=0.05)
    host.send(host.guests[0], 2, size=64, packets=1000)
    ((packets, octets),) = host.measure(host.peer)
    assert packets == pytest.approx(4000, rel=0.05), (
        "beside the one that is held by its ceiling the other has all it sends"
    )
    seen = statuses(host, "vm1")
    assert seen and set(seen) == {Status.MET}
    usage = host.windows[-1].instances[1].objectives[0].usage
    assert usage is not None and usage == pytest.approx(3e6, rel=0.06), "what got through, not what was sent"


def test_what_a_guest_receives_is_limited_in_packets_and_in_bytes(host: Host) -> None:
    host.promise("vm0", network_packets={"ceiling": 2000, "direction": "rx"})
    host.promise("vm1", network_bytes={"ceiling": 3e6, "direction": "rx"})
    host.begin()
    host.send(host.peer, 0, size=64, packets=6000)
    host.send(host.peer, 1, size=1000, packets=6000)
    (packets, _), (_, octets) = host.measure(*host.guests)
    assert packets == pytest.approx(2000, rel=0.05)
    assert octets == pytest.approx(3e6, rel=0.05)
    link = host.sense().instances[0].links
    assert link is not None and link[0].rx_limited_packets > 4000


@pytest.mark.parametrize(("metric", "ceiling", "size"), [("network_packets", 2000, 64), ("network_bytes", 3e6, 1000)])
def test_a_ceiling_of_both_directions_is_shared_by_them(host: Host, metric: str, ceiling: float, size: int) -> None:
    which = metric == "network_bytes"
    host.promise("vm0", **{metric: {"ceiling": ceiling}})
    host.begin()
    host.send(host.guests[0], 2, size=size, packets=6000)
    (sent,) = host.measure(host.peer)
    assert 0.94 * ceiling <= sent[which] <= 1.05 * ceiling
    host.send(host.peer, 0, size=size, packets=6000)
    host.run(2 * TICK_SECONDS)
    sent, received = host.measure(host.peer, host.guests[0])
    assert sent[which] + received[which] == pytest.approx(ceiling, rel=0.05)
    assert received[which] > 0.4 * ceiling


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
    assert host.knobs() == before
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
        frame = bytes.fromhex("02000000000202000000000988b5") + bytes(86)
        for limit, passes in ((LinkLimit(), 500), (LinkLimit(packets=100.0), 16), (LinkLimit(bytes=1e5), 160)):
            LinkLimits().set("tap9", "tx", limit)
            before = host.received(host.peer)[0]
            for _ in range(500):
                os.write(descriptor, frame)
            time.sleep(0.02)
            through = host.received(host.peer)[0] - before
            assert passes <= through <= passes * 1.2 + 5
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
