"""Figures of a full uplink and a full back end: what was delivered, of how much, and how far off weights and ceilings are."""

import math

import pytest

from stella.bench.figures.contention import CEILINGS, FAMILY, FLOORS, WEIGHTS, capacity, ceiling_errors, weight_errors
from stella.bench.figures.session import scenario_file


def test_what_is_shared_is_the_uplink_or_the_back_end() -> None:
    assert capacity(scenario_file("figures/uplink")) == 25e6
    assert capacity(scenario_file("figures/backend")) == 400e6
    assert capacity(scenario_file(f"figures/{CEILINGS}")) == math.inf


def test_parts_are_compared_with_what_the_weights_say() -> None:
    scenario = scenario_file(f"figures/{WEIGHTS}")
    assert weight_errors(scenario, {"one": 1e6, "two": 2e6, "four": 4e6}) == pytest.approx([0.0, 0.0, 0.0])
    assert weight_errors(scenario, {"one": 2e6, "two": 2e6, "four": 3e6})[0] == pytest.approx(1.0)


def test_means_are_compared_with_ceilings_in_their_own_unit() -> None:
    got = {"packets": 5000 * 106, "bytes": 2.4e6, "reads": 44e6, "operations": 990 * 16384, "free": 1e6}
    errors = ceiling_errors(scenario_file(f"figures/{CEILINGS}"), got)
    assert errors == pytest.approx({"packets": 0.0, "bytes": -0.04, "reads": 0.1, "operations": -0.01})


def test_rows_are_judged_by_their_own_part() -> None:
    def facts(met: float, **delivered: float) -> dict[str, object]:
        return {"policies": {"stella": {"result": {"all_met_95_ratio": met}, "delivered": delivered}}}

    rows = {r.name: r for r in FAMILY.judge({"uplink": facts(0.97, promised=13e6, flood=9e6)})}
    assert rows["contention.uplink.stella"].status == rows["contention.uplink.used.stella"].status == "pass"
    assert rows["contention.uplink.used.stella"].values == (0.88,)
    assert rows["contention.backend.stella"].status == "INVALID"
    assert {f"contention.{name}.none" for name in FLOORS} <= rows.keys()
