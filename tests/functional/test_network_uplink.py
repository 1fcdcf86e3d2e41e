"""A shared uplink that is full, on a real kernel (`network_host`): floors first, the rest by weight, nothing outlives the agent."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from stella.model.allocation import Intent
from stella.model.attainment import Cause, Status
from stella.model.slo import parse_slo
from stella.model.snapshot import LinkLimit
from stella.xgos.sensing.uplinks import Uplink

from .network_host import PEER, UPLINK, Host, running, statuses

CAPACITY = 2.5e6  # bytes/s: 20 Mbit/s


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with running(tmp_path) as made:
        words = f"tc qdisc add dev {UPLINK} root handle 1: tbf rate 20mbit burst 20000 limit 40000"
        subprocess.run(words.split(), check=True)
        made.count_sources()
        made.open(Uplink(device=UPLINK, capacity=lambda: CAPACITY))
        yield made


def measured(host: Host, seconds: float = 1.0) -> list[float]:
    return host.measure_sources(seconds, 1)


def want(host: Host, uuid: str, **metrics: dict[str, object]) -> None:
    host.intents[uuid] = Intent(
        uuid=uuid, slo=parse_slo(metrics), generation=1, reserved_cpu_cores=0.0, estimated=False
    )


def test_a_floor_is_kept_beside_two_floods_and_what_it_leaves_is_used(host: Host) -> None:
    want(host, "vm0", network_bytes={"floor": 1.2e6, "direction": "tx"})
    host.begin()
    host.send(host.guests[0], PEER, size=1000, packets=1200)
    for flood in host.guests[1:]:
        host.send(flood, PEER, size=1000, packets=4000)
    host.run(0.8)
    got = measured(host)
    assert got[0] >= 0.9 * 1.2e6
    assert sum(got) >= 0.75 * CAPACITY and got[1] == pytest.approx(got[2], rel=0.3)
    host.senders[0].kill()
    host.run(1.3)  # a whole window without it
    assert sum(measured(host, 0.7)) >= 0.75 * CAPACITY, "a floor that is idle is lent"
    assert statuses(host, "vm0")[-1] is not Status.VIOLATED


def test_packets_of_a_floor_pass_beside_a_flood_of_small_packets(host: Host) -> None:
    want(host, "vm0", network_packets={"floor": 1000, "direction": "tx"})
    host.begin()
    host.send(host.guests[0], PEER, size=500, packets=1000)
    host.send(host.guests[1], PEER, size=100, packets=30_000)
    host.run(0.8)
    got = measured(host)
    assert got[0] >= 0.9 * 1000 * 500


def test_weights_share_what_there_is(host: Host) -> None:
    for number, weight in enumerate((1, 2, 4)):
        want(host, f"vm{number}", network_bytes={"weight": weight})
        host.send(host.guests[number], PEER, size=1000, packets=4000)
    host.run(1.2)
    got = measured(host)
    assert [one / sum(got) for one in got] == pytest.approx([1 / 7, 2 / 7, 4 / 7], rel=0.3)


def test_a_floor_that_is_lost_on_the_uplink_is_violated_by_the_network(host: Host) -> None:
    """Nothing is restrained (the guard is gone), so that the uplink drops from all alike."""
    want(host, "vm0", network_bytes={"floor": 1.2e6, "direction": "tx"})
    host.actuation.observe = True
    host.begin()
    host.send(host.guests[0], PEER, size=1000, packets=1300)
    host.send(host.guests[1], PEER, size=1000, packets=6000)
    host.run(2.7)
    reports = [i.objectives[0] for w in host.windows[-1:] for i in w.instances]
    assert {(r.status, r.cause) for r in reports} == {(Status.VIOLATED, Cause.NETWORK)}
    assert reports[-1].usage is not None and reports[-1].usage < 0.6e6


def test_restraints_go_with_the_agent_and_leave_the_ceiling_that_was_asked_for(host: Host) -> None:
    want(host, "vm0", network_bytes={"floor": 1.2e6, "direction": "tx"})
    want(host, "vm1", network_bytes={"ceiling": 2e6, "direction": "tx"})
    host.begin()
    for number, packets in ((0, 1200), (1, 4000), (2, 4000)):
        host.send(host.guests[number], PEER, size=1000, packets=packets)
    host.run(1.2)
    held = [instance.links[0].tx_limit.bytes for instance in host.sense().instances if instance.links]
    assert held[0] is None and held[1] is not None and held[1] < 1e6 and held[2] is not None
    host.die()
    after = [instance.links[0].tx_limit for instance in host.sense().instances if instance.links]
    assert after == [LinkLimit(), LinkLimit(bytes=2e6), LinkLimit()]
