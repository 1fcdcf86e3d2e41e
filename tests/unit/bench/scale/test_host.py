"""What is made of the agent's cost beside few and many instances."""

from dataclasses import replace

import pytest

from stella.bench.scale.host import Cost, musts, quantile

FEW = Cost(
    instances=20,
    cpu_ratio=0.005,
    resident_bytes=40 << 20,
    ticks=60,
    p99_tick_seconds=0.01,
    longest_tick_seconds=0.025,
    mean_tick_seconds=0.006,
)
MANY = replace(FEW, instances=200, cpu_ratio=0.049, p99_tick_seconds=0.1)


def test_a_quantile_is_the_bound_of_the_bucket_in_which_it_lies() -> None:
    buckets = {0.01: 0, 0.05: 98, 0.1: 99, float("inf"): 100}
    assert quantile(buckets, 0.99) == 0.1 and quantile(buckets, 0.5) == 0.05 and quantile(buckets, 1.0) == float("inf")
    assert quantile({}, 0.99) == float("inf"), "no tick is no good tick"


@pytest.mark.parametrize(
    ("changed", "kept"),
    [
        ({}, [True] * 4),
        ({"cpu_ratio": 0.051}, [False, True, True, True]),
        ({"p99_tick_seconds": 0.25}, [True, False, True, True]),
        ({"resident_bytes": 201 << 20}, [True, True, False, True]),
        ({"cpu_ratio": 0.061}, [False, True, True, False]),
    ],
)
def test_each_must_is_judged_by_itself(changed: dict[str, float], kept: list[bool]) -> None:
    assert [must.kept for must in musts(FEW, replace(MANY, **changed))] == kept  # type: ignore[arg-type]
