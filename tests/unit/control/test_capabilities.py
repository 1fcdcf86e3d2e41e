"""What a host cannot enforce is named, with the reason."""

import pytest

from stella.control.capabilities import Capability, capabilities, missing
from stella.model.slo import parse_slo
from stella.model.snapshot import HostReading


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
        ("network_bytes", {"ceiling": "1GB/s"}, "network_bytes.ceiling", "network_bytes_ceiling"),
        ("network_packets", {"floor": "1kpps", "weight": 2}, "network_packets.weight", "network_packets_weight"),
        ("block_bytes", {"floor": "1MB/s", "ceiling": "2MB/s"}, "block_bytes.ceiling", "block_bytes_ceiling"),
        ("block_operations", {"ceiling": "2kiops"}, "block_operations.ceiling", "block_operations_ceiling"),
        ("block_latency", {"target": "5ms"}, "block_latency.target", "block_latency_target"),
    ],
)
def test_what_this_release_does_not_enforce_is_named(
    metric: str, keys: dict[str, object], field: str, capability: str
) -> None:
    slo = parse_slo({"cpu": {"floor": "20%", "ceiling": "50%"}, metric: keys})
    found = missing(slo, capabilities(host()))
    assert found is not None
    assert found[:2] == (field, capability)
    assert found[2].startswith("this release")


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
