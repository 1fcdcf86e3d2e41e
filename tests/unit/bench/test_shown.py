"""What a form is told, and what a page showed, second by second, against what was measured outside."""

import pytest

from stella.bench.measure import Window
from stella.bench.openstack.dashboard import fields_of
from stella.bench.openstack.shown import parse_table
from stella.bench.policies.tenant import NoSuchOption
from stella.bench.results import ShownSeconds, on_page
from stella.bench.verdict import ObjectiveVerdict
from stella.model.attainment import Status
from stella.model.slo import Direction, Metric, Objective, Slo

HEAD = "time,metric,unit,usage,demand,met_seconds,missed_seconds,unknown_seconds,cause"
START = 1_764_324_000


def test_quantities_are_written_as_people_write_them() -> None:
    packets = Objective(metric=Metric.NETWORK_PACKETS, floor=20_000.0, direction=Direction.TX)
    slo = Slo((Objective(metric=Metric.CPU, floor=0.2, ceiling=0.5), packets))
    assert fields_of(slo) == {
        "cpu-floor": "20%",
        "cpu-ceiling": "50%",
        "network_packets-floor": "20 kpps",
        "network-direction": "tx",
    }


def test_what_the_form_would_round_is_refused() -> None:
    slo = Slo((Objective(metric=Metric.NETWORK_PACKETS, floor=20_001.5),))
    with pytest.raises(NoSuchOption, match=r"network_packets\.floor: 20001\.5 has too many digits"):
        fields_of(slo)


def test_the_table_of_a_page() -> None:
    lines = [
        HEAD,
        "2025-11-28T10:00:00+00:00,cpu,cores,0.2,0.4,1,0,0,",
        "2025-11-28T10:00:01+00:00,cpu,cores,0.1,0.4,0,1,0,cpu",
        "2025-11-28T10:00:02+00:00,cpu,cores,,,0,0,1,",
        "2025-11-28T10:00:03+00:00,cpu,cores,0,0,0,0,0,",
        "2025-11-28T10:00:00+00:00,block_bytes,bytes/s,1,1,1,0,0,",
    ]
    cpu, block = parse_table(lines, "vm1")
    assert (cpu.instance, cpu.metric, block.metric) == ("vm1", "cpu", "block_bytes")
    assert dict(cpu.statuses) == {
        START: Status.MET,
        START + 1: Status.VIOLATED,
        START + 2: Status.UNKNOWN,
        START + 3: Status.NO_DEMAND,
    }


@pytest.mark.parametrize("lines", [["<html>", "sign in"], [HEAD, "yesterday,cpu,cores,1,1,1,0,0,"], [HEAD, "short"]])
def test_what_is_no_table_is_refused(lines: list[str]) -> None:
    with pytest.raises(ValueError):
        parse_table(lines, "vm1")


def test_seconds_that_agree_and_seconds_shown_as_met_that_were_not() -> None:
    met = Window(value=1.0, usage=1.0, demand=True, met_95=True, met_100=True)
    missed = Window(value=1.0, usage=0.5, demand=True, met_95=False, met_100=False)
    idle = Window(value=1.0, usage=0.0, demand=False, met_95=False, met_100=False)
    objective = ObjectiveVerdict(
        instance="vm1",
        metric="cpu",
        kind="floor",
        unit="cores",
        value=1.0,
        objective=Objective(metric=Metric.CPU, floor=1.0),
        windows=(met, missed, missed, met, idle),
    )
    shown = {START: Status.MET, START + 1: Status.VIOLATED, START + 2: Status.MET, START + 4: Status.MET}
    rows = on_page([ShownSeconds(instance="vm1", metric="cpu", statuses=shown)], [objective], START)
    assert rows == [{"instance": "vm1", "metric": "cpu", "seconds": 4, "agreed": 2, "green_when_broken": 1}], (
        "a second that the page lacks agrees with nothing, and is not shown as met"
    )
    assert on_page([ShownSeconds(instance="vm9", metric="cpu", statuses=shown)], [objective], START) == []
