"""Rows and bounds: what a figure is, what is required of it, and how it is shown."""

from typing import Any

import pytest

from stella.bench.figures.row import FALLS_SHORT, INVALID, PASS, REPORTED, Bound, Facts, Row, row_of, show


def row(values: tuple[float | None, ...], bound: Bound, **keys: Any) -> Row:
    return Row(name="r", title="a figure", bound=bound, kind=keys.pop("kind", "ratio"), values=values, **keys)


@pytest.mark.parametrize(
    ("values", "bound", "status"),
    [
        ((0.97, 0.99), Bound(least=0.97), PASS),
        ((0.9699, 0.99), Bound(least=0.97), FALLS_SHORT),  # every repeat must keep it
        ((0.5,), Bound(more_than=0.5), FALLS_SHORT),
        ((0.01,), Bound(less_than=0.01), FALLS_SHORT),
        ((1.0,), Bound(least=0.97, most=1.03), PASS),
        ((1.04,), Bound(least=0.97, most=1.03), FALLS_SHORT),
        ((None, 0.1), Bound(most=2.0), FALLS_SHORT),  # what never came about keeps no bound
        ((), Bound(most=2.0), INVALID),
        ((0.3,), Bound(), REPORTED),
    ],
)
def test_status(values: tuple[float | None, ...], bound: Bound, status: str) -> None:
    assert row(values, bound).status == status


def test_a_row_with_a_missing_repeat_is_invalid_and_says_why() -> None:
    found = row((1.0,), Bound(least=0.9), missing="stella-2: steal")
    assert found.status == INVALID
    assert "stella-2: steal" in found.line()


def test_figure_is_the_median_with_the_spread() -> None:
    assert row((0.9, 0.8, 1.0), Bound()).figure == "90.0 % [80.0 % to 100 %, n=3]"
    assert row((0.9,), Bound()).figure == "90.0 %"
    assert row((None, 1.0), Bound(), kind="seconds").figure == "never in 1 of 2, else 1.00 s to 1.00 s"


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (None, "seconds", "never"),
        (0.9994, "ratio", "99.9 %"),
        (1.0, "ratio", "100 %"),
        (0.0123, "ratio", "1.23 %"),
        (0.03, "cores", "3.0 % of a core"),
        (100 * 2**20, "bytes", "100 MiB"),
        (2.0, "factor", "2.00 x"),
        (1.0, "count", "1"),
    ],
)
def test_show(value: float | None, kind: str, text: str) -> None:
    assert show(value, kind) == text


def test_a_show_never_rounds_a_shortfall_away() -> None:
    assert show(0.9996, "ratio") == "99.96 %"


def test_row_of_takes_the_rounds_of_one_policy() -> None:
    parts: dict[str, Facts] = {
        "round-1": {"policies": {"none": {"x": 5.0}, "stella": {"x": 1.0}}},
        "round-2": {"policies": {"none": {"x": 6.0}, "stella": {"invalid": "the agent does not start"}}},
    }
    assert row_of(parts, "none", lambda f: float(f["x"]), name="n", title="t").values == (5.0, 6.0)
    broken = row_of(parts, "stella", lambda f: float(f["x"]), name="n", title="t")
    assert (broken.values, broken.status) == ((1.0,), INVALID)
    assert "round-2: the agent does not start" in broken.missing
    assert (
        row_of({"round-1": {"invalid": "died"}}, "gos", lambda f: 0.0, name="n", title="t").missing == "round-1: died"
    )
    assert row_of({}, "gos", lambda f: 0.0, name="n", title="t").missing == "not run"


def test_an_aim_decides_nothing_but_is_told() -> None:
    found = row((0.9,), Bound(least=0.85), aim=Bound(least=0.97))
    assert found.status == PASS
    assert found.document()["aim"] == ">= 97.0 %"
