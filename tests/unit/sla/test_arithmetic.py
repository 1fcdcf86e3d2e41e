"""Ratios, terms, tallies, budgets: every figure here was computed by hand."""

from decimal import Decimal
from fractions import Fraction

import pytest

from stella.model.report import StatusCounts
from stella.sla import exact, terms
from stella.sla.budget import BURN_SPANS, budget, burn_rate
from stella.sla.tally import Tally, move, subtract, tally
from stella.sla.terms import Unknown

GOLD = {
    "attainment_target_ratio": "0.999",
    "credits": [
        {"below_ratio": "0.999", "credit_ratio": "0.1"},
        {"below_ratio": "0.99", "credit_ratio": "0.25"},
        {"below_ratio": "0.95", "credit_ratio": "1"},
    ],
    "price": {"amount": "49.90", "currency": "EUR"},
}
TERMS = terms.parse(GOLD)


@pytest.mark.parametrize(
    ("given", "ppm"),
    [("0.999", 999_000), (0.999, 999_000), (1, 1_000_000), ("1.0", 1_000_000), (0.000001, 1), (1e-06, 1), (0, 0)],
)
def test_ratios(given: object, ppm: int) -> None:
    assert exact.parse_ratio(given) == ppm
    assert exact.parse_ratio(exact.show_ratio(ppm)) == ppm


@pytest.mark.parametrize(
    "given", ["99.9", "1.1", "-0.1", "0.9999999", ".5", "nan", True, None, 2, "0,9", "1e-3", "\u0660.\u0665", "0.9\n"]
)
def test_ratios_that_cannot_be(given: object) -> None:
    with pytest.raises(ValueError, match="is not a ratio from 0 to 1"):
        exact.parse_ratio(given)


@pytest.mark.parametrize("given", [49.9, "49,90", "-1", "1e3", "0.12345", "9999999999999", "", None, "007"])
def test_amounts_that_cannot_be(given: object) -> None:
    with pytest.raises(ValueError, match="is not an amount"):
        exact.parse_amount(given)


def test_what_is_measured_is_cut_off_and_money_is_rounded_half_up() -> None:
    assert exact.show_share(9_989_999, 10_000_000) == "0.998999"
    assert exact.show_share(5, 5) == "1.000000" and exact.show_share(0, 0) is None
    assert exact.share_of(Decimal("49.90"), 100_000) == Decimal("4.99")
    assert exact.share_of(Decimal("0.05"), 100_000) == Decimal("0.01"), "0.005"
    assert str(exact.share_of(Decimal("30"), 250_000)) == "7.50"
    assert str(exact.share_of(Decimal("1.0001"), 1_000_000)) == "1.0001"


def test_canonical_json_has_no_floats() -> None:
    assert exact.canonical({"b": [1, "é"], "a": None}) == '{"a":null,"b":[1,"é"]}'.encode()
    with pytest.raises(TypeError, match="is a float"):
        exact.canonical({"a": [{"b": 0.5}]})


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"attainment_target_ratio": "99.9"}, "attainment_target_ratio"),
        ({"attainment_target_ratio": 0}, "attainment_target_ratio"),
        ({"unknown": "met"}, "unknown"),
        ({"credits": [{"below_ratio": "0.9995", "credit_ratio": "0.1"}]}, "credits[0].below_ratio"),
        ({"credits": [GOLD["credits"][1], GOLD["credits"][0]]}, "credits[1].below_ratio"),  # type: ignore[index]
        ({"credits": [GOLD["credits"][0], {"below_ratio": "0.9", "credit_ratio": "0.1"}]}, "credits[1].credit_ratio"),  # type: ignore[index]
        ({"credits": [{"below_ratio": "0.9", "credit_ratio": 0}]}, "credits[0].credit_ratio"),
        ({"credits": [{"below_ratio": "0.9", "credit_ratio": "0.1"}] * 21}, "credits"),
        ({"price": {"amount": "1.23456", "currency": "EUR"}}, "price.amount"),
        ({"price": {"amount": "1", "currency": "euro"}}, "price.currency"),
    ],
)
def test_terms_that_cannot_be(changes: dict[str, object], field: str) -> None:
    with pytest.raises(terms.InvalidTerms) as error:
        terms.parse({**GOLD, **changes})
    assert error.value.field == field and "\n" not in str(error.value)


def test_terms_there_and_back() -> None:
    assert terms.parse(terms.show(TERMS)) == TERMS
    assert terms.show(TERMS) == {**GOLD, "unknown": "missed"}


def test_only_seconds_with_demand_count() -> None:
    counts = StatusCounts(met=900, violated=60, degraded=30, no_demand=5000, self_limited=700, unknown=10, pending=99)
    assert tally(counts, Unknown.MISSED) == Tally(met=900, missed=100)
    assert tally(counts, Unknown.IGNORED) == Tally(met=900, missed=90)
    assert tally(StatusCounts(no_demand=86_400), Unknown.MISSED).attainment is None
    assert tally(StatusCounts(unknown=86_400), Unknown.MISSED).attainment == "0.000000"


@pytest.mark.parametrize(
    ("met", "missed", "credit"),
    [
        (0, 0, 0),
        (999, 1, 0),
        (998_999, 1_001, 100_000),
        (99_000, 1_000, 100_000),
        (98_999, 1_001, 250_000),
        (95, 5, 250_000),
        (949, 51, 1_000_000),
        (0, 1, 1_000_000),
    ],
)
def test_the_gravest_step_that_applies_is_owed(met: int, missed: int, credit: int) -> None:
    assert TERMS.credit_ppm(met, met + missed) == credit
    assert Tally(met=met, missed=missed).is_met(TERMS) == (credit == 0)


def test_parts_are_taken_out_and_moved_but_never_more_than_there_are() -> None:
    counts = StatusCounts(met=100, violated=20)
    assert subtract(counts, [StatusCounts(met=1), StatusCounts(violated=20)]) == StatusCounts(met=99)
    with pytest.raises(ValueError, match="more violated seconds"):
        subtract(counts, [StatusCounts(violated=15), StatusCounts(violated=6)])
    assert move(counts, seconds=5, source="violated", target="met") == StatusCounts(met=105, violated=15)
    assert move(counts, seconds=999, source="violated", target="no_demand") == StatusCounts(met=100, no_demand=20)


def _recent(**by_span: Tally) -> dict[str, Tally]:
    return {name: by_span.get(f"in_{name}", Tally(met=0, missed=0)) for name in BURN_SPANS}


def test_a_budget_by_hand() -> None:
    """10 days of full demand, 600 s of the 864 were missed; in the last 6 hours 108 s of 21 600 were: 5 times too fast."""
    recent = _recent(in_5m=Tally(met=300, missed=0), in_6h=Tally(met=21_492, missed=108))
    now, end = 1_000_000, 1_000_000 + 20 * 86_400
    found = budget(Tally(met=863_400, missed=600), recent, TERMS, now=now, end=end)
    assert (found.allowed, found.left) == (864, 264)
    assert found.burn_rates == {"5m": Fraction(0), "1h": None, "6h": Fraction(5), "3d": None}
    # each second 108/21600 - 0.001 = 0.004 of the 264 s goes: 66 000 s
    assert found.exhausted_at == now + 66_000
    assert (found.credit_ppm, found.credit(TERMS)) == (0, Decimal("0.00"))
    assert found.next_step is not None
    # k more missed seconds: 863400 / (864000 + k) >= 0.999 up to k = 264
    assert (found.next_step.credit_ppm, found.next_step.left_seconds) == (100_000, 264)


def test_a_budget_that_is_used_up() -> None:
    found = budget(Tally(met=9_900, missed=100), _recent(), TERMS, now=50, end=100)
    assert (found.allowed, found.left, found.exhausted_at) == (10, -90, 50)
    assert found.credit_ppm == 100_000 and found.credit(TERMS) == Decimal("4.99")
    assert found.next_step is not None and found.next_step.left_seconds == 0, "0.99 is not below 0.99 yet"
    assert budget(Tally(met=1, missed=99), _recent(), TERMS, now=50, end=100).next_step is None


def test_an_idle_instance_neither_earns_nor_burns() -> None:
    found = budget(Tally(met=0, missed=0), _recent(), TERMS, now=50, end=100)
    assert (found.allowed, found.left, found.credit_ppm, found.exhausted_at) == (0, 0, 0, None)
    assert set(found.burn_rates.values()) == {None}


def test_a_slow_or_late_burn_ends_no_budget() -> None:
    slow = _recent(in_6h=Tally(met=21_590, missed=10))
    assert budget(Tally(met=864_000, missed=0), slow, TERMS, now=0, end=10**9).exhausted_at is None
    fast = _recent(in_6h=Tally(met=21_492, missed=108))
    assert budget(Tally(met=863_400, missed=600), fast, TERMS, now=0, end=66_000).exhausted_at is None


def test_a_target_of_all_has_no_budget() -> None:
    strict = terms.parse({"attainment_target_ratio": 1})
    assert burn_rate(Tally(met=5, missed=5), strict) is None
    found = budget(Tally(met=9, missed=1), _recent(), strict, now=7, end=9)
    assert (found.allowed, found.left, found.exhausted_at, found.credit(strict)) == (0, -1, 7, None)
