"""Minutes to hours, pure."""

from hypothesis import given
from hypothesis import strategies as st

from stella.control import rollup
from stella.control.rollup import Quantity, Stretch, Total
from stella.model.report import StatusCounts

QUANTITIES = st.builds(
    lambda seconds, mean, more: Quantity(seconds=seconds, mean=mean, least=mean, most=mean + more),
    st.integers(1, 60),
    st.floats(0, 1e9),
    st.floats(0, 10),
)
TOTALS = st.builds(
    lambda met, missed, usage: Total(
        counts=StatusCounts(met=met, violated=missed), causes={"cpu": missed, "host": 1}, usage=usage
    ),
    st.integers(0, 60),
    st.integers(0, 60),
    QUANTITIES,
)


@given(st.lists(TOTALS, min_size=1, max_size=20), st.randoms())
def test_a_sum_does_not_depend_on_the_order(parts: list[Total], chance: object) -> None:
    shuffled = list(parts)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    whole = rollup.add(parts)
    assert whole == rollup.add(shuffled)
    assert whole.counts.met == sum(part.counts.met for part in parts)
    assert whole.causes == {"cpu": whole.counts.violated, "host": len(parts)}
    assert whole.usage.least is not None and whole.usage.mean is not None and whole.usage.most is not None
    slack = 1e-9 * whole.usage.most
    assert whole.usage.least - slack <= whole.usage.mean <= whole.usage.most + slack


STRETCHES = st.builds(
    lambda start, span, unknown: Stretch(start=start * 60, span_seconds=span, unknown_seconds=min(unknown, span)),
    st.integers(0, 200),
    st.integers(60, 30_000),
    st.integers(1, 30_000),
)


@given(STRETCHES)
def test_a_stretch_cut_at_the_hours_keeps_every_second(stretch: Stretch) -> None:
    pieces = rollup.by_hour(stretch)
    assert sum(piece.unknown_seconds for piece in pieces) == stretch.unknown_seconds
    for piece in pieces:
        assert piece.start // 3600 == (piece.start + piece.span_seconds - 1) // 3600
        assert 0 < piece.unknown_seconds <= piece.span_seconds
        assert rollup.by_hour(piece) == [piece]


@given(st.lists(STRETCHES, max_size=4), st.sets(st.integers(0, 500)), st.integers(0, 700))
def test_unknown_seconds_add_up_and_never_exceed_the_minutes_without_a_row(
    stretches: list[Stretch], rows: set[int], middle: int
) -> None:
    starts = {60 * row for row in rows}
    end, cut = 60 * 700, 60 * middle
    whole = rollup.unknown_seconds(stretches, starts, start=0, end=end)
    first = rollup.unknown_seconds(stretches, starts, start=0, end=cut)
    assert whole == first + rollup.unknown_seconds(stretches, starts, start=cut, end=end)
    assert rollup.unknown_seconds([*stretches, *stretches], starts, start=0, end=end) == whole, "each minute once"
    assert first <= 60 * (middle - sum(start < cut for start in starts))
    every = set(range(0, end, 60))
    assert rollup.unknown_seconds(stretches, every, start=0, end=end) == 0


def test_a_stretch_stands_for_what_has_no_row() -> None:
    stretch = Stretch(start=0, span_seconds=600, unknown_seconds=600)
    assert rollup.unknown_seconds([stretch], {0, 300}, start=0, end=3600) == 480
    assert rollup.unknown_seconds([stretch], {0, 300}, start=300, end=420) == 60
    half = Stretch(start=0, span_seconds=600, unknown_seconds=305)
    assert rollup.unknown_seconds([half], (), start=0, end=600) == 305
    assert rollup.unknown_seconds([half, stretch], (), start=0, end=600) == 600, "the one with more"


def test_what_was_not_known_has_no_mean() -> None:
    assert rollup.add([Total(usage=Quantity(seconds=60))]).usage == Quantity()
    assert rollup.add([]).counts == StatusCounts()
