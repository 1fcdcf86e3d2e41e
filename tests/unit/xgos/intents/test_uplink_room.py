"""Floors of what instances send are admitted only as far as the uplink carries them."""

from dataclasses import replace

import pytest

from stella.control.memory import Memory, Settings
from stella.model import reasons
from stella.model.allocation import Intent
from stella.model.slo import Metric, parse_slo
from stella.model.snapshot import HostReading, InstanceReading, Snapshot, UplinkReading
from stella.xgos.intents.admission import HostView, Verdict
from tests.unit.xgos.conftest import VM1, VM2, reading

UPLINK = UplinkReading(name="eth0", capacity=10e6, tx_bytes=0)
HOST = HostReading(
    cores=64, busy_seconds=1, idle_seconds=1, softirq_seconds=0, steal_seconds=0, cgroup_version=1, uplinks=(UPLINK,)
)


def on_eth0(instance: InstanceReading) -> InstanceReading:
    return replace(instance, links=tuple(replace(link, uplink="eth0") for link in instance.links or ()))


def ask(keys: dict[str, object], *, held: float, host: HostReading = HOST) -> Verdict:
    snapshot = Snapshot(monotonic_seconds=1, wall_seconds=1, host=host, instances=(on_eth0(reading(VM1, "vm1")),))
    other = parse_slo({"network_bytes": {"floor": held, "direction": "tx"}})
    others = {VM2: Intent(uuid=VM2, slo=other, generation=1, reserved_cpu_cores=0.1, estimated=False)}
    return HostView(snapshot=snapshot, memory=Memory(), settings=Settings()).ask(VM1, parse_slo(keys), others)


@pytest.mark.parametrize(
    ("keys", "field", "largest"),
    [
        ({"network_bytes": {"floor": 4e6}}, "network_bytes.floor", (Metric.NETWORK_BYTES, 3.5e6)),
        (
            {"network_packets": {"floor": 4000, "unit": 1000, "direction": "tx"}},
            "network_packets.floor",
            (Metric.NETWORK_PACKETS, 3500.0),
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_what_would(
    keys: dict[str, object], field: str, largest: tuple[Metric, float]
) -> None:
    found = ask(keys, held=6e6)
    assert not found.accepted and found.field == field and "eth0" in found.message
    ((metric, value),) = found.largest
    assert (metric, value) == (largest[0], pytest.approx(largest[1]))
    assert [one.code for one in reasons.read(found.reason)] == ["uplink_room"]
    assert not ask({"network_bytes": {"floor": 1e6}}, held=9.9e6).largest, "nothing is left"


@pytest.mark.parametrize(
    "keys", [{"network_bytes": {"floor": 3e5}}, {"network_bytes": {"floor": 5e5, "direction": "rx"}}]
)
def test_what_fits_or_comes_in_is_not_refused_for_it(keys: dict[str, object]) -> None:
    assert ask(keys, held=9e6).accepted


def test_without_an_uplink_that_is_shared_nothing_is_counted() -> None:
    assert ask({"network_bytes": {"floor": 1e6}}, held=9e9, host=replace(HOST, uplinks=())).accepted


def test_each_direction_and_each_uplink_has_its_own_room_and_packets_theirs() -> None:
    packets = replace(UPLINK, packets_capacity=10_000.0)
    host = replace(HOST, uplinks=(packets, replace(UPLINK, name="eth1", capacity=1e6)))
    received = ask({"network_bytes": {"floor": 9.6e6, "direction": "rx"}}, held=0.1e6, host=host)
    assert not received.accepted and "to receive" in received.message
    assert ask({"network_bytes": {"floor": 9e6, "direction": "rx"}}, held=0.4e6, host=host).accepted
    small = ask({"network_packets": {"floor": 9_600, "direction": "tx"}}, held=0.1e6, host=host)
    assert not small.accepted and small.largest == ((Metric.NETWORK_PACKETS, pytest.approx(9500.0, rel=0.01)),)
