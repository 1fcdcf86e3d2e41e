"""How figures of SLAs are shown to people: never rounded up."""

import pytest
from stellaclient.osc.columns import Credits, Minutes, Money, Percent, Rates


@pytest.mark.parametrize(
    ("ratio", "shown"),
    [
        ("0.999", "99.9%"),
        ("0.999999", "99.9999%"),
        ("1", "100%"),
        ("1.000000", "100%"),
        ("0.5", "50%"),
        ("0.005", "0.5%"),
        ("0.000000", "0%"),
        ("0", "0%"),
        (None, "-"),
    ],
)
def test_percent(ratio: str | None, shown: str) -> None:
    assert Percent(ratio).human_readable() == shown
    assert Percent(ratio).machine_readable() == ratio


def test_credits() -> None:
    table = [{"below_ratio": "0.999", "credit_ratio": "0.1"}, {"below_ratio": "0.99", "credit_ratio": "0.25"}]
    assert Credits(table).human_readable() == "below 99.9%: 10%\nbelow 99%: 25%"
    assert Credits(table).machine_readable() == table and Credits([]).human_readable() == "-"


def test_minutes_rates_and_money() -> None:
    assert [Minutes(seconds).human_readable() for seconds in (None, 0, 90, -6)] == [
        "-",
        "0.0 min",
        "1.5 min",
        "-0.1 min",
    ]
    assert Rates({"5m": 50.0, "1h": None, "6h": 0.694}).human_readable() == "5m 50x, 6h 0.694x"
    assert Rates({}).human_readable() == Rates({"5m": None}).human_readable() == "-"
    assert Money(("4.99", "EUR")).human_readable() == "4.99 EUR" and Money((None, None)).human_readable() == "-"
    assert Money(("4.99", "EUR")).machine_readable() == "4.99"
