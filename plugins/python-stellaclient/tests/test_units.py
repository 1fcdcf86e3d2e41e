"""The client's units are the agent's."""

import pytest
from stellaclient import units

from stella.model import units as agent

EXAMPLES = [
    ("20kpps", "packets/s", 20_000),
    ("20k", "packets/s", 20_000),
    ("300MB/s", "bytes/s", 300e6),
    ("500Mbit/s", "bytes/s", 62.5e6),
    ("1MiB/s", "bytes/s", 2**20),
    ("20%", "cores", 0.2),
    ("1.5cores", "cores", 1.5),
    ("250mcores", "cores", 0.25),
    ("5ms", "seconds", 0.005),
    ("8000iops", "operations/s", 8000),
    ("64KiB", "bytes", 65536),
    ("1e3", "packets/s", 1000),
    (7, "packets/s", 7),
]
WRONG = ["", "x", "nan", "inf", "0", "-1", "1e309", "1e16", "5furlongs", "1.2.3", "20kpps; rm", "300mb/s", "9" * 400]


@pytest.mark.parametrize(("text", "unit", "value"), EXAMPLES)
def test_the_same_as_the_agent(text: str, unit: str, value: float) -> None:
    assert units.parse(text, unit) == pytest.approx(value) == agent.parse(text, unit)


@pytest.mark.parametrize("text", WRONG)
@pytest.mark.parametrize("unit", sorted(set(units.UNIT_OF.values())))
def test_what_the_agent_refuses_is_refused(text: str, unit: str) -> None:
    with pytest.raises(agent.InvalidQuantity):
        agent.parse(text, unit)
    with pytest.raises(units.InvalidQuantity) as error:
        units.parse(text, unit)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("text", "unit", "value"), EXAMPLES)
def test_what_is_shown_is_read(text: str, unit: str, value: float) -> None:
    assert agent.parse(units.show(value, unit), unit) == pytest.approx(value, rel=1e-3)


@pytest.mark.parametrize(
    ("value", "rounded"),
    [(37564.9, 37560), (1.19999, 1.199), (0.2, 0.2), (0, 0), (1000, 1000), (62.5e6, 62.5e6), (0.000123456, 0.0001234)],
)
def test_an_offer_is_rounded_down(value: float, rounded: float) -> None:
    assert units.round_down(value) == pytest.approx(rounded, rel=1e-12)
    assert units.round_down(value) <= value
