"""A host for tests of network limits, in network namespaces of its own: guests behind taps on a Linux bridge, a peer at its uplink.

The decisions, the plan, journal, apply and sensing are the agent's. A veth pair stands for a tap and its guest. What gets through is
read from the counters of the other ends, which know nothing of limits.
"""

import contextlib
import ctypes
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

from stella.control.capabilities import capabilities, missing
from stella.control.memory import Memory, Settings
from stella.control.tick import decide
from stella.control.windows import Window
from stella.model.allocation import Intent, Outcome
from stella.model.attainment import Status
from stella.model.slo import parse_slo
from stella.model.snapshot import (
    HostReading,
    InstanceReading,
    LinkReading,
    Role,
    RunState,
    SensorReading,
    Snapshot,
    ThreadReading,
)
from stella.xgos.actuation.actuators import actuators
from stella.xgos.actuation.apply import Apply
from stella.xgos.actuation.audit import Audit
from stella.xgos.actuation.guard_process import Guard
from stella.xgos.actuation.host import HostActuation
from stella.xgos.actuation.journal import Journal
from stella.xgos.host_files import HostFiles
from stella.xgos.link_limits import LinkLimits
from stella.xgos.sensing.network import NetlinkLinks
from stella.xgos.sensing.uplinks import Uplink

TICK_SECONDS = 0.25
PEER, UPLINK = 3, "tap3"
SETTLE_SECONDS, MEASURE_SECONDS = 0.5, 0.8
SENDER = """
import ctypes, socket, struct, sys, time
to, size, each_tick, seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
made.connect((to, 9))
payload, many = ctypes.create_string_buffer(size), 64
part = struct.pack("PN", ctypes.addressof(payload), size)
vector = ctypes.create_string_buffer(part)
message = struct.pack("PIxxxxPNPNixxxxIxxxx", 0, 0, ctypes.addressof(vector), 1, 0, 0, 0, 0)  # struct mmsghdr
messages = ctypes.create_string_buffer(message * many)
send = ctypes.CDLL(None, use_errno=True).sendmmsg
print("ready", flush=True)
begin, sent = time.monotonic(), 0
while (now := time.monotonic() - begin) < seconds:
    while (due := int(now / 0.005 * each_tick) - sent) > 0:
        sent += max(1, send(made.fileno(), messages, min(due, many), 0))
    time.sleep(0.002)
"""
HEADER_BYTES = 42
COUNTERS = """
table netdev seen { %s
    chain in { type filter hook ingress device "eth0" priority 0; policy accept;
        %s
    }
}
"""


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


T = TypeVar("T")


def stamped(read: Callable[[], T]) -> tuple[float, T]:
    """What was read, and the middle of the time that took: on a busy machine a program takes a while."""
    begin = time.monotonic()
    found = read()
    return (begin + time.monotonic()) / 2, found


class Host:
    """A host with two guests behind taps on a bridge, a peer at its uplink, and the agent's parts over it."""

    def __init__(self, name: str, directory: Path) -> None:
        self.name, self.directory = name, directory
        self.guests, self.peer = tuple(f"{name}{letter}" for letter in "abc"), f"{name}p"
        self.senders: list[subprocess.Popen[bytes]] = []
        self.intents: dict[str, Intent] = {}
        self.memory, self.windows = Memory(), list[Window]()
        self.reasserted = 0
        self.guard: Guard | None = None

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
        for other in range(4):  # nobody answers at .10x: what is sent there is counted and dropped
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

    def open(self, *uplinks: Uplink) -> None:
        """The agent begins."""
        self.links = NetlinkLinks(limits=LinkLimits(), uplinks=uplinks)
        journal = Journal.load(str(self.directory / "run" / "journal"))
        audit = Audit(str(self.directory / "state" / "audit.jsonl"))
        self.apply = Apply(actuators(HostFiles("/")), journal, audit)
        self.apply.clear_strays()
        if self.guard is not None:
            self.guard.close()  # the agent before this one ends
        self.guard = Guard("/", journal.path, journal.lines)
        journal.told = self.guard.tell
        self.actuation = HostActuation(self.apply, self.guard, observe=False)

    def die(self) -> None:
        """As when the agent is killed: its end of the guard's pipe closes."""
        if self.guard is not None:
            self.guard.close()

    def host_reading(self) -> HostReading:
        return HostReading(
            cores=2,
            busy_seconds=0.0,
            idle_seconds=time.monotonic(),
            softirq_seconds=0.0,
            steal_seconds=0.0,
            cgroup_version=2,
            link_limits_lack=self.links.limits_lack,
            uplinks=self.links.uplinks,
            uplink_lack=self.links.uplink_lack,
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

    def sense(self, taps: tuple[str, ...] = ("tap0", "tap1", "tap2")) -> Snapshot:
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
        """``packets`` a second of ``size`` bytes with all headers, for longer than is measured. Returns once it sends."""
        words = [f"10.9.0.10{to}", str(size - HEADER_BYTES), str(packets // 200), "20"]
        argv = ["ip", "netns", "exec", namespace, sys.executable, "-S", "-E", "-c", SENDER, *words]
        self.senders.append(subprocess.Popen(argv, stdout=subprocess.PIPE))
        assert self.senders[-1].stdout is not None and self.senders[-1].stdout.readline() == b"ready\n"

    def received(self, namespace: str) -> tuple[int, int]:
        """Packets and bytes that came in at the other end."""
        (link,) = json.loads(ip("-n", namespace, "-j", "-s", "link", "show", "eth0"))
        return link["stats64"]["rx"]["packets"], link["stats64"]["rx"]["bytes"]

    def count_sources(self) -> None:
        """From now on the peer counts what it gets from each guest."""
        count = "\n".join(f"counter c{n} {{ }}" for n in range(3))
        rules = "\n".join(f"ip saddr 10.9.0.{n + 1} counter name c{n}" for n in range(3))
        argv = ["ip", "netns", "exec", self.peer, "nft", "-f", "-"]
        subprocess.run(argv, input=COUNTERS % (count, rules), text=True, check=True)

    def counted(self) -> list[tuple[int, int]]:
        """Packets, and bytes with Ethernet headers, from each guest that came out of the uplink."""
        argv = ["ip", "netns", "exec", self.peer, "nft", "-j", "list", "counters"]
        listed = json.loads(subprocess.run(argv, capture_output=True, check=True, text=True).stdout)["nftables"]
        found = {each["counter"]["name"]: each["counter"] for each in listed if "counter" in each}
        counters = [found[f"c{n}"] for n in range(3)]
        return [(one["packets"], one["bytes"] + 14 * one["packets"]) for one in counters]

    def measure_sources(self, seconds: float, which: int) -> list[float]:
        """Packets/s (0) or bytes/s (1) of each guest over some seconds."""
        begin, before = stamped(self.counted)
        self.run(seconds)
        end, after = stamped(self.counted)
        return [(new[which] - old[which]) / (end - begin) for new, old in zip(after, before, strict=True)]

    def measure(self, *namespaces: str) -> list[tuple[float, float]]:
        """Mean packets/s and bytes/s at each other end, once the load runs."""
        self.run(SETTLE_SECONDS)
        before = [stamped(partial(self.received, each)) for each in namespaces]
        self.run(MEASURE_SECONDS)
        after = [stamped(partial(self.received, each)) for each in namespaces]
        return [
            ((new[0] - old[0]) / (end - begin), (new[1] - old[1]) / (end - begin))
            for (begin, old), (end, new) in zip(before, after, strict=True)
        ]

    def knobs(self) -> str:
        """All that limits anything here, as the tools of an administrator show it."""
        shown = [["nft", "list", "ruleset"], ["tc", "qdisc", "show"], ["ip", "-br", "link"]]
        text = "".join(subprocess.run(each, check=True, capture_output=True, text=True).stdout for each in shown)
        # counters, made-up addresses, and a size that the kernel keeps as a time and tc rounds
        return re.sub(r" packets \d+ bytes \d+|(?:[0-9a-f]{2}:){5}[0-9a-f]{2}| burst \d+b", "", text)

    def close(self) -> None:
        for each in self.senders:
            each.kill()
            each.wait()
        for namespace in (self.name, *self.guests, self.peer):
            subprocess.run(["ip", "netns", "del", namespace], check=False, capture_output=True)


@contextlib.contextmanager
def running(directory: Path) -> Iterator[Host]:
    """A host, and this thread in its namespace."""
    made = Host(f"stnet{os.getpid() % 10000}", directory)
    try:
        made.build()
        with inside(made.name):
            made.open()
            yield made
            made.apply.release(time.time())
            made.die()
            made.apply.audit.close()
    finally:
        made.close()


def statuses(host: Host, uuid: str) -> list[Status]:
    """Of its first objective in each window that was seen whole."""
    found = [each.objectives[0].status for w in host.windows for each in w.instances if each.uuid == uuid]
    return [status for status in found if status not in (Status.PENDING, Status.UNKNOWN)]
