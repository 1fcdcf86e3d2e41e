"""Limits from outside Stella in base units, and floors above them, by example."""

from collections.abc import Mapping

import pytest

from stella.model.limits import (
    MOST_OF_A_METRIC,
    Limit,
    Source,
    contradictions,
    from_text,
    of_flavor,
    of_port,
    of_volume,
    to_text,
)
from stella.model.slo import Direction, Metric, Slo, parse_slo


def slo(**objectives: Mapping[str, object]) -> Slo:
    return parse_slo(objectives)


def shown(limits: list[Limit]) -> list[tuple[str, str, str, float, str, int]]:
    return [(o.name, o.metric.value, o.direction.value, o.value, o.device, o.devices) for o in limits]


@pytest.mark.parametrize(
    ("specs", "vcpus", "cores"),
    [
        ({"quota:cpu_quota": "50000", "quota:cpu_period": "100000"}, 1, 0.5),
        ({"quota:cpu_quota": "25000", "quota:cpu_period": "50000"}, 4, 2.0),
        ({"quota:cpu_quota": "20000"}, 2, 0.4),
        ({"quota:cpu_quota": "20000", "quota:cpu_period": "0"}, 1, 0.2),
    ],
)
def test_cpu_quotas_are_of_each_vcpu(specs: Mapping[str, str], vcpus: int, cores: float) -> None:
    (limit,) = of_flavor({**specs, "quota:cpu_shares": "2048"}, vcpus=vcpus)
    assert (limit.metric, limit.direction, limit.value) == (Metric.CPU, Direction.BOTH, pytest.approx(cores))


def test_nics_and_disks_of_a_flavor() -> None:
    specs = {
        "quota:vif_inbound_average": "1000",
        "quota:vif_outbound_average": "12500",
        "quota:vif_outbound_peak": "99999",
        "quota:disk_read_bytes_sec": "10485760",
        "quota:disk_total_iops_sec": "500",
        "quota:memory_limit": "1",
        "hw:cpu_policy": "shared",
    }
    assert shown(of_flavor(specs, vcpus=1)) == [
        ("quota:vif_inbound_average", "network_bytes", "rx", 1e6, "", 1),
        ("quota:vif_outbound_average", "network_bytes", "tx", 12.5e6, "", 1),
        ("quota:disk_read_bytes_sec", "block_bytes", "read", 10485760.0, "", 1),
        ("quota:disk_total_iops_sec", "block_operations", "both", 500.0, "", 1),
    ]
    found = of_flavor(specs, vcpus=1, nics=["port a", "port b"], disks=["root disk"], volumes=2)
    assert [(o.device, o.devices) for o in found] == [("port a", 2), ("port b", 2)] * 2 + [("root disk", 3)] * 2


@pytest.mark.parametrize("text", ["0", "-1", "", "much", "nan", "inf", "-0"])
def test_what_is_no_positive_number_is_no_limit(text: str) -> None:
    names = ("quota:cpu_quota", "quota:vif_inbound_average", "quota:disk_total_iops_sec")
    assert of_flavor(dict.fromkeys(names, text), vcpus=1) == []
    assert of_volume({"total_iops_sec": text, "read_bytes_sec_per_gb": text}, size_gb=1, device="", disks=1) == []
    assert of_port([{"type": "bandwidth_limit", "max_kbps": text}], device="", nics=1) == []


def test_rules_of_neutron() -> None:
    rules = [
        {"type": "bandwidth_limit", "max_kbps": 10_000, "max_burst_kbps": 1, "direction": "ingress"},
        {"type": "bandwidth_limit", "max_kbps": 8},
        {"type": "packet_rate_limit", "max_kpps": 20, "direction": "egress"},
        {"type": "minimum_bandwidth", "min_kbps": 80, "direction": "egress"},
        {"type": "minimum_packet_rate", "min_kpps": 1, "direction": "any"},
        {"type": "dscp_marking", "dscp_mark": 10},
    ]
    found = of_port(rules, device="port a", nics=2)
    assert shown(found) == [
        ("bandwidth_limit", "network_bytes", "rx", 1.25e6, "port a", 2),
        ("bandwidth_limit", "network_bytes", "tx", 1000.0, "port a", 2),
        ("packet_rate_limit", "network_packets", "tx", 20_000.0, "port a", 2),
        ("minimum_bandwidth", "network_bytes", "tx", 10_000.0, "port a", 2),
        ("minimum_packet_rate", "network_packets", "both", 1000.0, "port a", 2),
    ]
    assert [one.is_floor for one in found] == [False, False, False, True, True]
    assert contradictions(slo(network_packets={"floor": 2000}), found[4:]) == [], "a floor of Neutron is not compared"


@pytest.mark.parametrize(
    ("specs", "name", "value"),
    [
        ({"total_iops_sec": "500"}, "total_iops_sec", 500),
        ({"total_iops_sec": "500", "size_iops_sec": "4096"}, "total_iops_sec", 125),
        ({"total_iops_sec": "500", "size_iops_sec": "65536"}, "total_iops_sec", 500),
        ({"read_bytes_sec": 1e6, "read_bytes_sec_max": 9e6}, "read_bytes_sec", 1e6),
        ({"write_bytes_sec_per_gb": "1048576"}, "write_bytes_sec_per_gb", 10 * 1048576),
        ({"total_iops_sec_per_gb": "30", "total_iops_sec_per_gb_min": "400"}, "total_iops_sec_per_gb", 400),
        ({"total_iops_sec_per_gb": "30", "total_iops_sec_max": "200"}, "total_iops_sec_per_gb", 200),
    ],
)
def test_specs_of_cinder(specs: Mapping[str, object], name: str, value: float) -> None:
    (limit,) = of_volume(specs, size_gb=10, device="volume a", disks=2)
    assert (limit.source, limit.name, limit.value, limit.devices) == (Source.CINDER, name, value, 2)


def network(value: float, device: str = "", devices: int = 1, direction: Direction = Direction.BOTH) -> Limit:
    return Limit(
        source=Source.NEUTRON,
        name="bandwidth_limit",
        metric=Metric.NETWORK_BYTES,
        direction=direction,
        value=value,
        device=device,
        devices=devices,
    )


_TX, _RX = Direction.TX, Direction.RX


@pytest.mark.parametrize(
    ("floor", "direction", "limits", "reachable"),
    [
        (10, "tx", [network(10, direction=_TX)], []),
        (11, "tx", [network(10, direction=_TX)], [False]),
        (11, "tx", [network(10, direction=_RX)], []),
        (11, "tx", [network(10)], [False]),
        (11, "both", [network(10, direction=_TX)], [True]),
        (11, "both", [network(10, direction=_TX), network(10, direction=_RX)], [True, True]),
        (21, "both", [network(10, direction=_TX), network(10, direction=_RX)], [False, False]),
        (11, "tx", [network(10, "a", 2)], [True]),
        (11, "tx", [network(10, "a", 2), network(10, "b", 2)], [True, True]),
        (21, "tx", [network(10, "a", 2), network(15, "b", 2)], [True, True]),
        (26, "tx", [network(10, "a", 2), network(15, "b", 2)], [False, False]),
        (12, "tx", [network(10, "a"), network(11, "a")], [False, False]),
    ],
)
def test_devices_and_directions_add_up(
    floor: float, direction: str, limits: list[Limit], reachable: list[bool]
) -> None:
    asked = slo(network_bytes={"floor": floor, "direction": direction})
    assert [one.is_reachable for one in contradictions(asked, limits)] == reachable


def test_only_floors_contradict_and_each_names_its_limit() -> None:
    limits = of_flavor({"quota:cpu_quota": "20000", "quota:vif_outbound_average": "1000"}, vcpus=1)
    asked = slo(cpu={"floor": "50%"}, network_bytes={"ceiling": "5MB/s"}, block_latency={"target": "5ms"})
    (found,) = contradictions(asked, limits)
    assert (found.field, found.floor, found.limit.name) == ("cpu.floor", 0.5, "quota:cpu_quota")
    assert found.message == "50% is above the limit quota:cpu_quota of its flavor, 20%"
    (found,) = contradictions(slo(network_bytes={"floor": "5MB/s"}), limits)
    assert found.message == (
        "5 MB/s is above the limit quota:vif_outbound_average of its flavor, 1 MB/s tx; "
        "only other devices or the other direction can make up for it"
    )


def test_the_text_has_room_in_its_column() -> None:
    """Of very many volumes the smallest limits are kept; what is left out leaves the sum open, and so nothing is refused."""
    specs = dict.fromkeys(("read_bytes_sec", "write_bytes_sec", "total_iops_sec", "read_iops_sec"), "1000")
    many = [
        limit
        for number in range(500)
        for limit in of_volume(specs, size_gb=1, device=f"volume {number:036d}", disks=500)
    ]
    kept = from_text(to_text(many))
    assert len(kept) == 2 * MOST_OF_A_METRIC and len(to_text(many)) < 2**15
    (found, *_) = contradictions(slo(block_bytes={"floor": 10**9}), kept)
    assert found.is_reachable


def test_what_another_release_wrote_is_left_out() -> None:
    limits = of_flavor({"quota:cpu_quota": "20000", "quota:disk_total_iops_sec": "9"}, vcpus=1)
    text = to_text(limits)
    assert to_text(reversed(limits)) == text and set(from_text(text)) == set(limits)
    later = text.replace("block_operations", "gpu").replace('"name":', '"more":1,"name":')
    assert [one.name for one in from_text(later)] == ["quota:cpu_quota"]
    assert from_text("[]") == from_text("{}") == ()
