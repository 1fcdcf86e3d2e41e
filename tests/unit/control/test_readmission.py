"""Reservations follow learned costs: up at once, down only after minutes of I/O."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stella.control.cost import Prior
from stella.control.memory import fresh_costs
from stella.control.readmission import LOWER_FOR_SECONDS, Lower, Need, need_of, readmit
from stella.control.reservation import reserve
from stella.model.slo import Metric, parse_slo


def a_need(needed: float, seconds: float, *, reserved: float = 1.0, least: float = 0.0, priority: int = 0) -> Need:
    return Need(
        reserved_cores=reserved,
        needed_cores=needed,
        conservative_cores=least,
        learned_seconds=seconds,
        priority=priority,
    )


def test_what_cheap_io_frees_for_a_moment_stays_reserved() -> None:
    lower: dict[str, Lower] = {}
    for second in range(10, 10 + int(LOWER_FOR_SECONDS), 5):
        found = readmit({"vm": a_need(0.4, second)}, lower, free_cores=0.0)
        lower = dict(found.lower)
        assert found.reserved_cores["vm"] == 1.0
    found = readmit({"vm": a_need(0.99, 10 + LOWER_FOR_SECONDS)}, lower, free_cores=0.0)
    assert found.reserved_cores["vm"] == 1.0 and not found.lower  # dear once: the minutes begin again


def test_it_shrinks_after_minutes_to_the_most_that_was_needed_in_them() -> None:
    lower: dict[str, Lower] = {}
    for second in (10, 100, 200, 10 + LOWER_FOR_SECONDS):
        found = readmit({"vm": a_need(0.6 if second == 100 else 0.4, second)}, lower, free_cores=0.0)
        lower = dict(found.lower)
    assert found.reserved_cores["vm"] == 0.6
    assert not found.lower and not found.degraded


def test_time_without_io_teaches_nothing() -> None:
    lower: dict[str, Lower] = {}
    for _ in range(1000):
        found = readmit({"vm": a_need(0.4, 10)}, lower, free_cores=0.0)
        lower = dict(found.lower)
    assert found.reserved_cores["vm"] == 1.0


def test_another_slo_begins_the_minutes_again() -> None:
    lower = {"vm": Lower(reserved_cores=2.0, since_learned_seconds=10, highest_cores=0.7)}
    found = readmit({"vm": a_need(0.1, 1000)}, lower, free_cores=0.0)
    assert found.reserved_cores["vm"] == 1.0
    assert found.lower["vm"] == Lower(reserved_cores=1.0, since_learned_seconds=1000, highest_cores=0.1)


def test_it_never_shrinks_below_the_conservative_estimate() -> None:
    lower = {"vm": Lower(reserved_cores=1.0, since_learned_seconds=10, highest_cores=0.7)}
    found = readmit({"vm": a_need(0.1, 1000, least=0.7)}, lower, free_cores=0.0)
    assert found.reserved_cores["vm"] == 0.7


def test_it_grows_at_once_and_is_degraded_where_there_is_no_room() -> None:
    needs = {"low": a_need(1.5, 10), "high": a_need(1.5, 10, priority=1)}
    found = readmit(needs, {}, free_cores=0.6)
    assert found.reserved_cores == pytest.approx({"high": 1.5, "low": 1.1})
    assert found.degraded == pytest.approx({"low": 0.4})
    assert readmit(needs, {}, free_cores=2.0).degraded == {}
    assert readmit(needs, {}, free_cores=-1.0).reserved_cores == {"high": 1.0, "low": 1.0}


def test_estimates_and_nonsense_are_not_followed() -> None:
    needs = {"new": a_need(5.0, 1.0), "odd": a_need(float("nan"), 100.0)}
    assert readmit(needs, {}, free_cores=9.0).reserved_cores == {}
    state = {
        "new": Lower(reserved_cores=1.0, since_learned_seconds=0.0, highest_cores=1.0),
        "gone": Lower(reserved_cores=1.0, since_learned_seconds=0, highest_cores=1),
    }
    assert set(readmit(needs, state, free_cores=9.0).lower) == {"new"}


@given(
    st.dictionaries(
        st.text("abc", min_size=1, max_size=2),
        st.builds(a_need, st.floats(0, 3), st.floats(0, 1000), reserved=st.floats(0.01, 2), least=st.floats(0, 2)),
        max_size=6,
    ),
    st.floats(-1, 4),
)
def test_never_more_is_held_than_there_is(needs: dict[str, Need], free: float) -> None:
    lower = {
        uuid: Lower(reserved_cores=n.reserved_cores, since_learned_seconds=0.0, highest_cores=n.reserved_cores * 0.3)
        for uuid, n in needs.items()
    }
    found = readmit(needs, lower, free_cores=free)
    grown = sum(cores - needs[uuid].reserved_cores for uuid, cores in found.reserved_cores.items())
    assert grown <= max(0.0, free) + 1e-9
    for uuid, cores in found.reserved_cores.items():
        assert cores >= min(needs[uuid].reserved_cores, needs[uuid].conservative_cores)


def test_the_conservative_estimate_is_half_of_the_prior_or_what_was_learned() -> None:
    prior = Prior()
    slo = parse_slo({"network_packets": {"floor": "20kpps"}})
    fresh = fresh_costs(prior, slo)
    by_prior = reserve(slo, fresh, vcpus=1, margin=1.1).cores
    for factor, expected in ((0.1, 0.5), (0.8, 0.8), (2.0, 2.0)):
        packets = fresh[Metric.NETWORK_PACKETS]
        learned = replace(packets, vcpu=packets.vcpu * factor, io=packets.io * factor, seconds=60.0)
        costs = {**fresh, Metric.NETWORK_PACKETS: learned}
        one = need_of(slo, costs, prior, vcpus=1, margin=1.1, reserved_cores=0.5)
        assert one.needed_cores == pytest.approx(by_prior * factor)
        assert one.conservative_cores == pytest.approx(by_prior * expected)
        assert one.learned_seconds == 60.0
