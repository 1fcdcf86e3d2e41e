"""What a class allows and offers, by the size of an instance."""

from typing import Any

import pytest

from stella.model.slo import Metric, parse_slo
from stella.sla import offers
from stella.sla.offers import GIBIBYTE, Size
from stella.sla.terms import InvalidTerms

GIVEN: dict[str, Any] = {
    "block_bytes": {"limit": {"per_disk_gib": "1MB/s"}, "default": {"per_disk_gib": "500kB/s"}},
    "network_packets": {"limit": {"base": "1kpps", "per_vcpu": "5kpps"}, "default": "1kpps"},
    "block_latency": {"limit": "2ms", "default": "5ms"},
    "cpu": {},
}
OFFERS = offers.parse(GIVEN)
SIZE = Size(vcpus=2, disk_bytes=20 * GIBIBYTE)


def test_amounts_grow_with_the_size() -> None:
    assert offers.limits(OFFERS, SIZE) == {"block_bytes": 20e6, "network_packets": 11_000.0, "block_latency": 0.002}
    assert offers.default_slo(OFFERS, SIZE) == {
        "block_bytes": {"floor": 10e6},
        "network_packets": {"floor": 1000.0},
        "block_latency": {"target": 0.005},
    }
    unknown = offers.default_slo(OFFERS, Size(vcpus=1))
    assert "block_bytes" not in unknown, "of disks of which nothing is known nothing comes"
    assert offers.parse(offers.show(OFFERS)) == OFFERS


@pytest.mark.parametrize(
    ("asked", "field", "largest"),
    [
        ({"network_packets": {"floor": "11kpps"}, "cpu": {"floor": 5}}, None, None),
        ({"network_packets": {"floor": "11.1kpps"}}, "network_packets.floor", 11_000.0),
        ({"block_bytes": {"floor": "21MB/s"}}, "block_bytes.floor", 20e6),
        ({"block_latency": {"target": "1ms"}}, "block_latency.target", 0.002),
        ({"block_latency": {"target": "2ms"}}, None, None),
        ({"network_bytes": {"floor": "1MB/s"}}, "network_bytes", None),
        ({"network_packets": {"ceiling": "99kpps"}}, None, None),
    ],
)
def test_what_is_allowed(asked: dict[str, Any], field: str | None, largest: float | None) -> None:
    slo = parse_slo(asked)
    found = offers.refusal(slo, OFFERS, SIZE, before=None)
    assert (found.field if found else None, found.largest if found else None) == (field, largest)
    assert offers.refusal(slo, OFFERS, SIZE, before=slo) is None, "it keeps what it has"
    assert offers.refusal(slo, {}, SIZE, before=None) is None, "a class without objectives allows all"


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"gpu": {}}, "objectives.gpu"),
        ({"cpu": {"limit": "5furlongs"}}, "objectives.cpu.limit"),
        ({"cpu": {"limit": {}}}, "objectives.cpu.limit"),
        ({"cpu": {"limit": {"per_vcpu": "-1"}}}, "objectives.cpu.limit.per_vcpu"),
        ({"cpu": {"limit": [1]}}, "objectives.cpu.limit"),
        ({"block_latency": {"limit": {"per_vcpu": "1ms"}}}, "objectives.block_latency.limit"),
        ({"cpu": {"limit": "1cores", "default": "2cores"}}, "objectives.cpu.default"),
        ({"cpu": {"limit": "9cores", "default": {"per_vcpu": "1cores"}}}, "objectives.cpu.default"),
        ({"block_latency": {"limit": "2ms", "default": "1ms"}}, "objectives.block_latency.default"),
    ],
)
def test_offers_that_cannot_be(given: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidTerms) as error:
        offers.parse(given)
    assert error.value.field == field and "\n" not in str(error.value)


def test_metrics_are_all_of_the_model() -> None:
    assert set(OFFERS) < set(Metric)
