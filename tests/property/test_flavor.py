"""Extra specs say exactly what the SLO says; resource amounts never say less than it."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from stella.model.flavor import extra_specs_of, slo_of
from stella.model.resources import BY_METRIC, CPU_MILLICORES, resources_of
from stella.model.slo import Metric, Slo, parse_slo

_DIRECTIONS = {"cpu": ["both"], "network": ["tx", "rx", "both"], "block": ["read", "write", "both"]}


@st.composite
def _slos(draw: st.DrawFn, largest: float = 1e9) -> Slo:
    amounts = st.floats(min_value=1e-6, max_value=largest, allow_nan=False)
    objectives: dict[str, dict[str, object]] = {}
    for metric in draw(st.sets(st.sampled_from(list(Metric)), min_size=1)):
        keys: dict[str, object] = {"priority": draw(st.integers(0, 100))}
        if metric is Metric.BLOCK_LATENCY:
            keys["target"] = draw(amounts)
        else:
            low, high = sorted((draw(amounts), draw(amounts)))
            kinds = draw(st.sets(st.sampled_from(["floor", "ceiling", "weight"]), min_size=1))
            keys |= {"floor": low} if "floor" in kinds else {}
            keys |= {"ceiling": high} if "ceiling" in kinds else {}
            keys |= {"weight": draw(st.floats(1e-3, 10_000))} if "weight" in kinds else {}
            if metric is not Metric.CPU and draw(st.booleans()):
                keys["unit"] = draw(st.floats(1, 1e7))
        keys["direction"] = draw(st.sampled_from(_DIRECTIONS[metric.resource]))
        objectives[metric.value] = keys
    return parse_slo(objectives)


@given(slo=_slos(), cores=st.floats(0, 1000))
def test_there_and_back(slo: Slo, cores: float) -> None:
    specs = extra_specs_of(slo, resources_of(slo, cores))
    assert slo_of(specs) == slo
    assert all(len(name) <= 255 and len(value) <= 255 for name, value in specs.items()), "as long as Nova takes"


@given(slo=_slos(), cores=st.floats(0, 1000))
def test_resources_hold_the_slo_and_not_one_more(slo: Slo, cores: float) -> None:
    found = resources_of(slo, cores)
    wanted = [(CPU_MILLICORES, cores)] + [(one, slo.floor(metric)) for metric, one in BY_METRIC.items()]
    for one, value in wanted:
        amount, exact = found.get(one.name, 0), Decimal(repr(value))
        assert amount * one.base_units >= exact
        assert (amount - 1) * one.base_units < exact or amount == 0
        assert type(amount) is int


@given(slo=_slos(), cores=st.floats(0, 1000), more=st.floats(0, 10))
def test_more_never_holds_less(slo: Slo, cores: float, more: float) -> None:
    less = resources_of(slo, cores)
    assert all(amount <= resources_of(slo, cores + more)[name] for name, amount in less.items())
