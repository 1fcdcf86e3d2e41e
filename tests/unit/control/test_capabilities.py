"""What a host cannot enforce is named, with the reason."""

from dataclasses import replace
from typing import Any

import pytest

from stella.control.capabilities import (
    Capability,
    capabilities,
    missing,
    receiving_note,
    unlimited_disk,
    unlimited_link,
)
from stella.model import reasons
from stella.model.slo import parse_slo
from stella.model.snapshot import BlockBackend, DiskReading, HostReading, LinkReading, UplinkReading

LINK = LinkReading(
    name="tap0", tx_packets=0, tx_bytes=0, tx_drops=0, rx_packets=0, rx_bytes=0, rx_drops=0, uplink="eth0"
)


def host(**keys: object) -> HostReading:
    values: dict[str, object] = {
        "cores": 2,
        "busy_seconds": 0.0,
        "idle_seconds": 0.0,
        "softirq_seconds": 0.0,
        "steal_seconds": 0.0,
        "cgroup_version": 2,
        "cpuset_mount": "/sys/fs/cgroup",
    }
    return HostReading(**(values | keys))  # type: ignore[arg-type]  # fields by name


def test_every_capability_is_available_or_has_a_reason() -> None:
    found = capabilities(host())
    assert set(found) == {c.value for c in Capability}
    available = {name for name, reason in found.items() if not reason}
    assert available == {
        "cpu_floor",
        "cpu_ceiling",
        "cpu_weight",
        "cpu_placement",
        "network_packets_floor",
        "network_bytes_floor",
        "block_bytes_floor",
        "block_operations_floor",
    }


@pytest.mark.parametrize(
    ("metric", "keys", "field", "capability"),
    [
        ("block_bytes", {"floor": "1MB/s", "ceiling": "2MB/s"}, "block_bytes.ceiling", "block_bytes_ceiling"),
        ("block_operations", {"ceiling": "2kiops"}, "block_operations.ceiling", "block_operations_ceiling"),
        ("block_latency", {"target": "5ms"}, "block_latency.target", "block_latency_target"),
    ],
)
def test_what_a_host_without_throttles_does_not_enforce_is_named(
    metric: str, keys: dict[str, object], field: str, capability: str
) -> None:
    slo = parse_slo({"cpu": {"floor": "20%", "ceiling": "50%"}, metric: keys})
    found = missing(slo, capabilities(host()))
    assert found is not None
    assert found[:2] == (field, capability)
    assert found[2] == "this host cannot limit disk traffic: it was not tried here"


def test_floors_and_a_bare_cpu_weight_are_accepted() -> None:
    for keys in (
        {"cpu": {"weight": 3}},
        {"cpu": {"floor": 1, "ceiling": 2}, "network_packets": {"floor": 10}, "block_bytes": {"floor": 10}},
        {"network_bytes": {"floor": 10}, "block_operations": {"floor": 10}},
    ):
        assert missing(parse_slo(keys), capabilities(host())) is None


def test_a_host_that_lacks_something_says_so() -> None:
    assert "cpuset" in capabilities(host(cpuset_mount=""))["cpu_placement"]
    assert "quota" in capabilities(host(), quota=False)["cpu_ceiling"]
    nothing = capabilities(host(cgroup_mount=""))
    assert all(nothing.values())
    assert missing(parse_slo({"cpu": {"floor": 1}}), nothing) == (
        "cpu.floor",
        "cpu_floor",
        nothing["cpu_floor"],
    )
    assert missing(parse_slo({"cpu": {"floor": 1}}), {}) is not None


def test_network_ceilings_need_what_the_kernel_was_found_to_have() -> None:
    slo = parse_slo({"network_packets": {"ceiling": "20kpps"}, "network_bytes": {"ceiling": "1MB/s"}})
    assert missing(slo, capabilities(host(link_limits_lack=()))) is None
    found = missing(slo, capabilities(host(link_limits_lack=(("bytes", "the kernel has no token bucket"),))))
    assert found is not None and found[0] == "network_bytes.ceiling" and found[2].endswith("no token bucket")
    untried = missing(slo, capabilities(host()))
    assert untried is not None and untried[1] == "network_packets_ceiling"


@pytest.mark.parametrize(
    ("keys", "refused"),
    [
        ({"network_bytes": {"ceiling": "1MB/s"}}, True),
        ({"network_bytes": {"ceiling": "1MB/s", "direction": "rx"}}, True),
        ({"network_bytes": {"ceiling": "1MB/s", "direction": "tx"}}, False),
        ({"network_bytes": {"floor": "1MB/s"}}, False),
        ({"network_packets": {"ceiling": "1kpps"}}, False),
    ],
)
def test_a_link_on_which_a_limit_cannot_act_refuses_that_ceiling_alone(keys: dict[str, object], refused: bool) -> None:
    good = LinkReading(name="tap0", tx_packets=0, tx_bytes=0, tx_drops=0, rx_packets=0, rx_bytes=0, rx_drops=0)
    bad = replace(good, name="tap1", unlimited_because=(("rx_bytes", "another program has set its queue (htb)"),))
    found = unlimited_link(parse_slo(keys), (good, bad))
    assert (found is not None) == refused and unlimited_link(parse_slo(keys), (good,)) is None
    if found is not None:
        assert found[0] == "network_bytes.ceiling" and "tap1" in found[2] and "htb" in found[2]


def test_network_weights_need_an_uplink_that_is_known() -> None:
    slo = parse_slo({"network_bytes": {"weight": 2}})
    uplink = UplinkReading(name="eth0", capacity=25e6, tx_bytes=0)
    assert missing(slo, capabilities(host(link_limits_lack=(), uplinks=(uplink,)))) is None
    found = missing(slo, capabilities(host(link_limits_lack=(), uplink_lack="network_uplink is not set")))
    assert found is not None and found[:2] == ("network_bytes.weight", "network_bytes_weight")
    assert found[2].endswith("network_uplink is not set")
    assert missing(slo, capabilities(host(link_limits_lack=(("bytes", "no ifb"),), uplinks=(uplink,)))) is not None


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"unlimited_because": (("tx_bytes", "macvtap"),)}, "macvtap"),
        ({"uplink": "", "uplink_lack": "it reaches eth0 and eth1"}, "eth0 and eth1"),
    ],
)
def test_a_weight_is_refused_where_the_link_cannot_be_limited_or_its_uplink_is_not_known(
    changed: dict[str, Any], why: str
) -> None:
    slo, floor = parse_slo({"network_packets": {"weight": 2}}), parse_slo({"network_packets": {"floor": 2}})
    assert unlimited_link(slo, (LINK,)) is None
    link = replace(LINK, **changed)
    found = unlimited_link(slo, (link,))
    assert found is not None and found[:2] == ("network_packets.weight", "network_packets_weight") and why in found[2]
    assert reasons.read(found[2])[0].code in ("link_not_limited", "link_uplink_unknown")
    assert unlimited_link(floor, (link,)) is None, "a floor is kept by limiting others"


def test_what_no_host_can_do_for_received_floors_is_told_and_refuses_none() -> None:
    uplink = UplinkReading(name="eth0", capacity=25e6, tx_bytes=0)
    found = capabilities(host(link_limits_lack=(), uplinks=(uplink,)))
    assert [one.code for one in reasons.read(found["network_received_floor"])] == ["received_floor"]
    received, sent = (parse_slo({"network_bytes": {"floor": 1e6, "direction": way}}) for way in ("rx", "tx"))
    assert missing(received, found) is None
    assert "UDP" in receiving_note(received, found) and receiving_note(sent, found) == ""


BACKEND = BlockBackend(name="ssd", sources=("/x",), capacity_bytes_per_second=1e9)


def test_block_objectives_need_throttles_and_some_a_back_end() -> None:
    ceiling, target = ({"block_bytes": {"ceiling": "1MB/s"}}, {"block_latency": {"target": "5ms"}})
    able = host(throttles_lack="")
    assert missing(parse_slo(ceiling), capabilities(able)) is None
    found = missing(parse_slo(target), capabilities(able))
    assert found is not None and "block_backends" in found[2]
    assert missing(parse_slo(target), capabilities(host(throttles_lack="", block_backends=(BACKEND,)))) is None


@pytest.mark.parametrize(
    ("slo", "disk", "field"),
    [
        ({"block_bytes": {"ceiling": "1MB/s"}}, {"unlimited_because": "device lun"}, "block_bytes.ceiling"),
        ({"block_operations": {"weight": 2}}, {}, "block_operations.weight"),
        ({"block_latency": {"target": "5ms"}}, {}, "block_latency.target"),
        ({"block_latency": {"target": "5ms"}}, {"backend": "ssd"}, None),
        ({"block_bytes": {"floor": "1MB/s", "ceiling": "2MB/s"}}, {}, None),
    ],
)
def test_what_acts_on_the_disks_of_an_instance(slo: dict[str, object], disk: dict[str, str], field: str | None) -> None:
    seen = DiskReading(
        name="vda", read_operations=0, read_bytes=0, read_seconds=0, write_operations=0, write_bytes=0, write_seconds=0,
        **disk,  # type: ignore[arg-type]
    )  # fmt: skip
    found = unlimited_disk(parse_slo(slo), [seen])
    assert (found[0] if found else None) == field
