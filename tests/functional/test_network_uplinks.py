"""What comes in, packet rates and several uplinks, on a real kernel (`network_host`). Traffic stays in the test's own namespaces."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stella.control.capabilities import unlimited_link
from stella.model.attainment import Cause, Status
from stella.model.slo import parse_slo
from stella.model.snapshot import LinkLimit
from stella.xgos.sensing.uplinks import Uplink

from .network_host import PEER, UPLINK, Host, ip, running, stamped, statuses

MBIT = 125_000.0
CAPACITY = 200 * MBIT
PACKETS_CAPACITY = 20_000
SECONDS = "25"
STREAM = """
import socket, sys, threading, time
def drain(one):
    while one.recv(1 << 16):
        pass
def take(listening):
    while True:
        one, _ = listening.accept()
        threading.Thread(target=drain, args=(one,), daemon=True).start()
def push(one):
    while True:
        one.sendall(bytes(1 << 16))
what, seconds, connections = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
if what == "take":
    each = [(take, socket.create_server(("", 5001)))]
else:
    each = [(push, socket.create_connection((what, 5001), timeout=20)) for _ in range(connections)]
for target, made in each:
    threading.Thread(target=target, args=(made,), daemon=True).start()
print("ready", flush=True)
time.sleep(seconds)
"""


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with running(tmp_path) as made:
        yield made


def begin_stream(host: Host, namespace: str, what: str, connections: int) -> None:
    argv = ["ip", "netns", "exec", namespace, sys.executable, "-S", "-E", "-c", STREAM, what, SECONDS, str(connections)]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE)
    host.senders.append(process)
    assert process.stdout is not None and process.stdout.readline() == b"ready\n"


def stream(host: Host, guest: int, *, connections: int) -> None:
    """TCP from the peer to a guest, as fast as it goes."""
    begin_stream(host, host.guests[guest], "take", 1)
    begin_stream(host, host.peer, f"10.9.0.{guest + 1}", connections)


def got(host: Host, which: int, seconds: float) -> list[float]:
    """Packets/s (0) or bytes/s (1) that each guest received."""
    begin, before = stamped(lambda: [host.received(each)[which] for each in host.guests])
    host.run(seconds)
    end, after = stamped(lambda: [host.received(each)[which] for each in host.guests])
    return [(new - old) / (end - begin) for new, old in zip(after, before, strict=True)]


def known_to_the_bridge(host: Host) -> None:
    """Guests that only receive: the bridge would hand what is for one of them to all."""
    for number in range(3):
        words = f"bridge fdb replace 02:00:00:00:00:0{number} dev tap{number} master static"
        subprocess.run(words.split(), check=True)


def narrow(host: Host) -> None:
    """The peer's end of the uplink sends no more than 200 Mbit/s."""
    words = "tc qdisc add dev eth0 root tbf rate 200mbit burst 64000 limit 300000"
    subprocess.run(["ip", "netns", "exec", host.peer, *words.split()], check=True)


def test_a_received_floor_is_kept_beside_two_tcp_floods(host: Host) -> None:
    narrow(host)
    host.open(Uplink(device=UPLINK, capacity=lambda: CAPACITY))
    for flood in (1, 2):
        stream(host, flood, connections=6)
    stream(host, 0, connections=2)
    host.begin()
    host.run(0.5)
    alone = got(host, 1, 1.0)
    assert alone[0] < 0.7 * 100 * MBIT and sum(alone) > 0.8 * CAPACITY, "the floods take it"
    host.promise("vm0", network_bytes={"floor": 100 * MBIT, "direction": "rx"})
    host.run(1.5)
    shared = got(host, 1, 2.0)
    assert shared[0] >= 0.95 * 100 * MBIT
    assert sum(shared) >= 0.85 * CAPACITY
    limits = [link.rx_limit.bytes for i in host.sense().instances for link in i.links or ()]
    assert limits[1] is not None and limits[2] is not None
    host.die()
    after = [link.rx_limit for i in host.sense().instances for link in i.links or ()]
    assert after == [LinkLimit()] * 3, "a restraint goes with the agent"


def test_what_a_flood_that_does_not_slow_down_takes_is_never_called_no_demand(host: Host) -> None:
    words = "tc qdisc add dev eth0 root tbf rate 20mbit burst 20000 limit 40000"
    subprocess.run(["ip", "netns", "exec", host.peer, *words.split()], check=True)
    known_to_the_bridge(host)
    host.open(Uplink(device=UPLINK, capacity=lambda: 20 * MBIT))
    host.promise("vm0", network_bytes={"floor": 1.2e6, "direction": "rx"})
    host.begin()
    host.send(host.peer, 0, size=1000, packets=1300)
    host.send(host.peer, 1, size=1000, packets=6000)
    host.run(3.0)
    reports = [i.objectives[0] for w in host.windows[-1:] for i in w.instances]
    assert {(r.status, r.cause) for r in reports} == {(Status.UNKNOWN, Cause.SENSOR)}
    assert reports[-1].usage is not None and reports[-1].usage < 0.95 * 1.2e6


def test_a_packet_floor_is_kept_beside_two_floods_of_small_packets(host: Host) -> None:
    narrow_uplink = f"""
table netdev narrow {{
    chain out {{
        type filter hook egress device "{UPLINK}" priority 0; policy accept;
        limit rate over {PACKETS_CAPACITY}/second burst 2000 packets drop
    }}
}}
"""
    subprocess.run(["nft", "-f", "-"], input=narrow_uplink, text=True, check=True)
    host.count_sources()
    host.open(Uplink(device=UPLINK, capacity=lambda: 1000 * MBIT, packets_capacity=PACKETS_CAPACITY))
    host.begin()
    host.send(host.guests[0], PEER, size=64, packets=10_000)
    for flood in host.guests[1:]:
        host.send(flood, PEER, size=64, packets=16_000)
    host.run(0.5)

    assert host.measure_sources(1.0, 0)[0] < 8_500, "the floods take it"
    host.promise("vm0", network_packets={"floor": 10_000, "direction": "tx"})
    host.run(1.0)
    through = host.measure_sources(2.0, 0)
    assert through[0] >= 0.95 * 10_000 and sum(through) >= 0.85 * PACKETS_CAPACITY
    links = host.sense().instances[1].links
    assert links is not None and links[0].tx_limit.packets is not None and links[0].tx_limit.bytes is None
    host.run(0.3)
    assert statuses(host, "vm0")[-1] is Status.MET


def second_uplink(host: Host) -> None:
    """tap2's guest leaves the bridge for another one, which tap4 and a second peer are behind."""
    ip("-n", host.name, "link", "add", "br1", "type", "bridge")
    ip("-n", host.name, "link", "set", "br1", "up")
    ip("-n", host.name, "link", "set", "tap2", "master", "br1")
    ip("-n", host.name, "link", "add", "tap4", "type", "veth", "peer", "name", "out4")
    ip("-n", host.name, "link", "set", "out4", "up")
    ip("-n", host.name, "link", "set", "tap4", "master", "br1", "up")
    ip("-n", host.name, "link", "set", "tap4", "address", "02:00:00:00:00:09")
    ip("-n", host.guests[2], "neigh", "replace", "10.9.0.109", "lladdr", "02:00:00:00:00:08", "dev", "eth0")


def test_each_uplink_is_divided_for_the_instances_behind_it_alone(host: Host) -> None:
    subprocess.run(f"tc qdisc add dev {UPLINK} root tbf rate 20mbit burst 20000 limit 40000".split(), check=True)
    second_uplink(host)
    host.open(Uplink(device=UPLINK, capacity=lambda: 20 * MBIT), Uplink(device="tap4", capacity=lambda: 100 * MBIT))
    host.promise("vm0", network_bytes={"floor": 1.2e6, "direction": "tx"})
    host.begin()
    found = [link.uplink for i in host.sense().instances for link in i.links or ()]
    assert found == [UPLINK, UPLINK, "tap4"]
    host.send(host.guests[0], PEER, size=1000, packets=1200)
    host.send(host.guests[1], PEER, size=1000, packets=4000)
    host.send(host.guests[2], 9, size=1000, packets=4000)
    host.run(1.2)
    limits = [link.tx_limit.bytes for i in host.sense().instances for link in i.links or ()]
    assert limits[0] is None and limits[1] is not None and limits[1] < 1.4e6
    assert limits[2] is None, "its uplink has room"


def test_a_hybrid_plug_of_open_vswitch_is_limited_and_found_behind_its_bridge(host: Host) -> None:
    """As Neutron plugs a tap for security groups: a bridge of its own, and a veth from that to the switch (here br0)."""
    ip("-n", host.name, "link", "add", "qbr0", "type", "bridge")
    ip("-n", host.name, "link", "add", "qvb0", "type", "veth", "peer", "name", "qvo0")
    for port, master in (("tap0", "qbr0"), ("qvb0", "qbr0"), ("qvo0", "br0")):
        ip("-n", host.name, "link", "set", port, "master", master, "up")
    ip("-n", host.name, "link", "set", "qbr0", "up")
    ip("-n", host.name, "link", "add", "other0", "type", "bridge")
    host.open(Uplink(device=UPLINK, capacity=lambda: CAPACITY), Uplink(device="other0", capacity=lambda: CAPACITY))
    host.promise("vm0", network_packets={"ceiling": 2000, "direction": "tx"})
    host.begin()
    links = host.sense().instances[0].links
    assert links is not None and links[0].uplink == UPLINK and links[0].unlimited_because == ()
    assert unlimited_link(parse_slo({"network_bytes": {"weight": 2}}), links) is None
    host.send(host.guests[0], PEER, size=64, packets=6000)
    ((packets, _),) = host.measure(host.peer)
    assert packets == pytest.approx(2000, rel=0.1)
