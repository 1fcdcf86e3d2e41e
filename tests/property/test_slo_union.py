"""What a flavor sells and what a user adds, at once."""

import contextlib
from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from stella.model.slo import InvalidSlo, Metric, Slo, parse_slo
from stella.model.slo_union import together

_AMOUNTS = st.floats(0.01, 1e6)
_OBJECTIVE = st.fixed_dictionaries({"floor": _AMOUNTS}, optional={"ceiling": _AMOUNTS, "priority": st.integers(0, 100)})
_FLOORS = [metric.value for metric in Metric if metric is not Metric.BLOCK_LATENCY]
_SLOS = st.dictionaries(st.sampled_from(_FLOORS), _OBJECTIVE, min_size=1)


def _slo(objectives: Mapping[str, object]) -> Slo | None:
    with contextlib.suppress(InvalidSlo):
        return parse_slo(objectives)
    return None


@given(one=_SLOS, other=_SLOS)
def test_no_floor_is_lost_and_no_ceiling_raised(one: Mapping[str, object], other: Mapping[str, object]) -> None:
    mine, theirs = _slo(one), _slo(other)
    if mine is None or theirs is None:
        return
    try:
        both = together(mine, theirs)
    except InvalidSlo:
        return
    for metric in Metric:
        found = both.objective(metric)
        parts = [part for part in (mine.objective(metric), theirs.objective(metric)) if part is not None]
        assert (found is None) == (not parts)
        for part in parts:
            assert found is not None
            assert (found.floor or 0.0) >= (part.floor or 0.0)
            assert part.ceiling is None or (found.ceiling is not None and found.ceiling <= part.ceiling)
            assert found.priority >= part.priority
    assert together(both, theirs) == both, "adding the same again changes nothing"


@given(one=_SLOS)
def test_an_slo_with_itself_is_itself(one: Mapping[str, object]) -> None:
    slo = _slo(one)
    assert slo is None or together(slo, slo) == slo
