"""Totals of Placement: never more than the host has, never below what is used, steady under noise."""

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from stella.control.cost import Prior
from stella.control.inventory import NOISE_RATIO, settle, totals_of
from stella.model.resources import BY_METRIC, CLASSES, CPU_MILLICORES, LARGEST_AMOUNT, NAMES
from stella.model.slo import Metric

CORES = st.floats(0, 1e5)
LIMITS = st.dictionaries(st.sampled_from(sorted(BY_METRIC)), st.floats(0, 1e12))
AMOUNTS = st.dictionaries(st.sampled_from(NAMES), st.integers(1, 10**6))


@given(cores=CORES, limits=LIMITS)
def test_no_total_is_more_than_there_is(cores: float, limits: Mapping[Metric, float]) -> None:
    totals = totals_of(cores, limits=limits)
    by_name = {one.name: one for one in CLASSES}
    assert all(isinstance(total, int) and 0 < total <= LARGEST_AMOUNT for total in totals.values())
    assert by_name[CPU_MILLICORES.name].value(totals.get(CPU_MILLICORES.name, 0)) <= cores * (1 + 1e-12)
    for metric, one in BY_METRIC.items():
        value = one.value(totals.get(one.name, 0))
        assert value <= limits.get(metric, value)
        unit_bytes = {Metric.BLOCK_BYTES: 65_536.0, Metric.BLOCK_OPERATIONS: 16_384.0}.get(metric, 0.0)
        assert value * sum(Prior().unit_costs(metric, unit_bytes)) <= cores * (1 + 1e-9)


@given(cores=CORES, limits=LIMITS)
def test_one_more_of_a_class_would_be_too_much(cores: float, limits: Mapping[Metric, float]) -> None:
    totals = totals_of(cores, limits=limits)
    more = totals.get(CPU_MILLICORES.name, 0) + 1
    assert CPU_MILLICORES.value(more) > cores * (1 - 1e-12)
    for metric, limit in limits.items():
        one = BY_METRIC[metric]
        unlimited = totals_of(cores).get(one.name, 0)
        total = totals.get(one.name, 0)
        assert total == unlimited or (one.value(total) <= limit < one.value(total + 1))


@given(one=CORES, other=CORES, limits=LIMITS)
def test_more_cpu_is_never_less_of_anything(one: float, other: float, limits: Mapping[Metric, float]) -> None:
    less, more = (totals_of(cores, limits=limits) for cores in sorted((one, other)))
    assert all(more.get(name, 0) >= total for name, total in less.items())


def test_what_is_not_a_number_is_nothing() -> None:
    for cores in (float("nan"), float("inf"), -1.0, 0.0):
        assert totals_of(cores) == {}


@given(wanted=AMOUNTS, current=AMOUNTS, used=AMOUNTS)
def test_totals_hold_what_is_used_and_are_settled_after_one_step(
    wanted: Mapping[str, int], current: Mapping[str, int], used: Mapping[str, int]
) -> None:
    settled = settle(wanted, current=current, used=used)
    assert all(settled.totals[name] >= amount for name, amount in used.items())
    assert set(settled.totals) == set(wanted) | set(used), "what the host has no more goes, unless it is in use"
    for name, total in settled.totals.items():
        floor = max(wanted.get(name, 0), used.get(name, 0))
        assert total == floor or abs(total - wanted[name]) <= NOISE_RATIO * current[name]
    assert settled.short == {n: a - wanted.get(n, 0) for n, a in used.items() if a > wanted.get(n, 0)}
    assert settle(wanted, current=settled.totals, used=used) == settled


@given(capacity=st.floats(5, 500), noise=st.lists(st.floats(-0.009, 0.009), max_size=20))
def test_noise_of_one_percent_writes_nothing(capacity: float, noise: list[float]) -> None:
    # on a smaller host rounding by one unit of thousand packets/s is a change of more than a percent itself
    written = totals_of(capacity)
    for part in noise:
        assert settle(totals_of(capacity * (1 + part)), current=written, used={}).totals == written


@given(capacity=st.floats(1, 500), change=st.sampled_from([-0.5, -0.05, 0.05, 0.5]))
def test_a_change_of_five_percent_is_written(capacity: float, change: float) -> None:
    wanted = totals_of(capacity * (1 + change))
    settled = settle(wanted, current=totals_of(capacity), used={}).totals
    assert settled[CPU_MILLICORES.name] == wanted[CPU_MILLICORES.name]
