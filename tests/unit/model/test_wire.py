"""Values survive the wire."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stella.model import wire
from stella.model.allocation import Decision, ObjectiveReport, Outcome
from stella.model.attainment import Status
from stella.model.slo import Metric
from stella.model.snapshot import Snapshot
from tests.unit.xgos.conftest import make_published


def test_a_whole_tick_comes_back_equal() -> None:
    published = make_published({})
    assert wire.loads(Snapshot, wire.dumps(published.snapshot)) == published.snapshot
    assert wire.loads(Decision, wire.dumps(published.decision)) == published.decision
    assert wire.decode(tuple[Outcome, ...], wire.encode(published.outcomes)) == published.outcomes


@given(
    st.builds(
        ObjectiveReport,
        metric=st.sampled_from(Metric),
        kind=st.text(),
        value=st.floats(allow_nan=False, allow_infinity=False),
        usage=st.none() | st.floats(allow_nan=False, allow_infinity=False),
        demand=st.none() | st.floats(allow_nan=False, allow_infinity=False),
        status=st.sampled_from(Status),
        cause=st.none(),
    )
)
def test_floats_are_exact(report: ObjectiveReport) -> None:
    assert wire.loads(ObjectiveReport, wire.dumps(report)) == report


REPORT = {"metric": "cpu", "kind": "floor", "value": 1, "usage": None, "demand": 2.5, "status": "MET"}


def test_unknown_keys_are_ignored_and_missing_ones_take_defaults() -> None:
    report = wire.decode(ObjectiveReport, {**REPORT, "from_the_future": {"a": 1}})
    assert report.cause is None and report.value == 1.0 and isinstance(report.value, float)
    no_usage = {key: value for key, value in REPORT.items() if key != "usage"}
    assert wire.decode(ObjectiveReport, no_usage).usage is None


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"value": "1"}, "value"),
        ({"value": True}, "value"),
        ({"value": math.nan}, "value"),
        ({"value": 10**400}, "value"),
        ({"metric": "smell"}, "metric"),
        ({"status": None}, "status"),
        ({"kind": 3}, "kind"),
    ],
)
def test_wrong_values_name_their_field(change: dict[str, object], field: str) -> None:
    with pytest.raises(wire.InvalidWire) as error:
        wire.decode(ObjectiveReport, {**REPORT, **change})
    assert error.value.field == field


def test_what_is_missing_or_not_finite_is_refused() -> None:
    with pytest.raises(wire.InvalidWire, match=r"^kind: is missing"):
        wire.decode(ObjectiveReport, {key: value for key, value in REPORT.items() if key != "kind"})
    for value in (math.nan, math.inf):
        with pytest.raises(wire.InvalidWire, match=r"^a\.b: "):
            wire.encode({"a": {"b": value}})
    for text in ('{"a": NaN}', "Infinity", "{", b"\xff", "[" * 100_000, "1" * 5000):
        with pytest.raises(wire.InvalidWire):
            wire.parse(text)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda c: st.lists(c) | st.dictionaries(st.text(), c)
    )
)
def test_whatever_arrives_is_a_value_or_invalid(data: object) -> None:
    for kind in (Snapshot, Decision, ObjectiveReport):
        try:
            wire.loads(kind, json.dumps(data))
        except wire.InvalidWire:
            continue
