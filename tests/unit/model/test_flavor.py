"""Extra specs and resource classes, by example."""

import pytest

from stella.model.flavor import extra_specs_of, slo_of
from stella.model.resources import CLASSES, LARGEST_AMOUNT, resources_of
from stella.model.slo import InvalidSlo, parse_slo

_SLO = parse_slo(
    {
        "cpu": {"floor": "20%", "priority": 10},
        "network_packets": {"floor": "20kpps", "direction": "tx", "priority": 10},
        "block_bytes": {"floor": "300MB/s", "priority": 10},
    }
)
_SPECS = {
    "stella:slo_priority": "10",
    "stella:slo_cpu_floor": "0.2",
    "stella:slo_network_packets_floor": "20000",
    "stella:slo_network_packets_direction": "tx",
    "stella:slo_block_bytes_floor": "300000000",
    "resources:CUSTOM_STELLA_CPU_MILLICORES": "1234",
    "resources:CUSTOM_STELLA_NET_KPPS": "20",
    "resources:CUSTOM_STELLA_BLOCK_MBPS": "300",
}


def test_what_a_flavor_says() -> None:
    assert extra_specs_of(_SLO, resources_of(_SLO, 1.2331)) == _SPECS
    assert slo_of({**_SPECS, "hw:cpu_policy": "shared", "quota:cpu_shares": "x"}) == _SLO
    assert slo_of({"hw:cpu_policy": "shared", "resources:CUSTOM_STELLA_NET_KPPS": "1"}) is None


def test_own_priorities_stay() -> None:
    slo = parse_slo({"cpu": {"floor": 0.1, "priority": 3}, "block_bytes": {"floor": 1e6}})
    specs = extra_specs_of(slo, {})
    assert specs["stella:slo_cpu_priority"] == "3" and "stella:slo_priority" not in specs
    assert slo_of(specs) == slo
    assert slo_of({**specs, "stella:slo_priority": "9"}).objectives[1].priority == 9  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("specs", "field", "message"),
    [
        ({"stella:slo_gpu_floor": "1"}, "stella:slo_gpu_floor", "no such extra spec"),
        ({"stella:slo_cpu_flor": "1"}, "stella:slo_cpu_flor", "no such extra spec"),
        ({"stella:slo_": "1"}, "stella:slo_", "no such extra spec"),
        ({"stella:slo_cpu_floor": "20%"}, "stella:slo_cpu_floor", "must be a number"),
        ({"stella:slo_cpu_floor": "-1"}, "stella:slo_cpu_floor", "must be a number"),
        ({"stella:slo_cpu_floor": "nan"}, "stella:slo_cpu_floor", "must be a number"),
        ({"stella:slo_cpu_floor": "1e3"}, "stella:slo_cpu_floor", "must be a number"),
        ({"stella:slo_cpu_floor": "1\n"}, "stella:slo_cpu_floor", "must be a number"),
        ({"stella:slo_cpu_floor": "\u0663"}, "stella:slo_cpu_floor", "must be a number"),
        ({"stella:slo_cpu_floor": "0"}, "stella:slo_cpu_floor", "must be greater than zero"),
        (
            {"stella:slo_cpu_floor": "2", "stella:slo_cpu_ceiling": "1"},
            "stella:slo_cpu_floor",
            "is above the ceiling",
        ),
        (
            {"stella:slo_cpu_floor": "1", "stella:slo_cpu_direction": "tx"},
            "stella:slo_cpu_direction",
            "must be one of both",
        ),
        ({"stella:slo_cpu_direction": "both"}, "stella:slo_cpu_direction", "needs a floor, a ceiling or a weight"),
        ({"stella:slo_block_latency_floor": "1"}, "stella:slo_block_latency_floor", "latency takes a target only"),
        ({"stella:slo_cpu_floor": "1", "stella:slo_priority": "101"}, "stella:slo_priority", "from 0 to 100"),
        ({"stella:slo_cpu_floor": "1", "stella:slo_cpu_priority": "101"}, "stella:slo_cpu_priority", "from 0 to 100"),
        ({"stella:slo_priority": "1"}, "stella:slo_priority", "needs an objective"),
    ],
)
def test_extra_specs_that_cannot_be(specs: dict[str, str], field: str, message: str) -> None:
    with pytest.raises(InvalidSlo, match=message) as error:
        slo_of(specs)
    assert error.value.field == field and str(error.value).startswith(f"{field}: ")


def test_amounts_are_rounded_up_as_they_are_written() -> None:
    slo = parse_slo(
        {
            "network_packets": {"floor": 1},
            "network_bytes": {"floor": "500Mbit/s"},
            "block_bytes": {"floor": "300.0001MB/s"},
            "block_operations": {"floor": 7999.5},
        }
    )
    assert list(resources_of(slo, 0.3).values()) == [300, 1, 500, 301, 8000]
    assert resources_of(parse_slo({"cpu": {"ceiling": 1}}), 0.0) == {}
    assert [one.name for one in CLASSES if not one.name.startswith("CUSTOM_STELLA_")] == []


def test_what_placement_cannot_count() -> None:
    with pytest.raises(InvalidSlo, match="more than Placement can count") as error:
        resources_of(parse_slo({"block_operations": {"floor": LARGEST_AMOUNT + 1}}), 1.0)
    assert error.value.field == "block_operations.floor"
