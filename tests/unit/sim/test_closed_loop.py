"""Cases and the closed loop: from a seed alone, and with the agent's own admission and writes."""

from dataclasses import replace

import pytest

from stella.model.slo import Metric, Objective, Slo
from stella.sim.cases import Case, Event, case, demonstration
from stella.sim.closed_loop import ClosedLoop
from stella.sim.instance import InstanceSpec
from stella.sim.loads import compute
from stella.sim.measure import Recorder, work_of

SLO = Slo((Objective(metric=Metric.CPU, floor=0.6),))
TOO_MUCH = Slo((Objective(metric=Metric.CPU, floor=3.0),))


def two(*events: Event, seconds: float = 8.0) -> Case:
    """One that computes on one vCPU, and a hog, on one CPU."""
    here = (
        InstanceSpec(uuid="a", name="a", vcpus=1, loads=(compute(1),)),
        InstanceSpec(uuid="hog", name="hog", vcpus=4, loads=(compute(4),)),
    )
    return Case(seed=1, cores=1, seconds=seconds, tick_seconds=0.25, instances=here, events=events)


ASKS = Event(at_seconds=1.0, what="a asks", uuid="a", slo=SLO)


def ran(loop: ClosedLoop) -> ClosedLoop:
    while loop.seconds < loop.case.seconds:
        loop.tick()
    return loop


@pytest.mark.parametrize("cores", [2, 16, 128])
def test_a_case_is_a_function_of_its_seed(cores: int) -> None:
    assert case(3, cores) == case(3, cores)
    assert case(3, cores) != case(4, cores)
    found = case(3, cores)
    assert [e.at_seconds for e in found.events] == sorted(e.at_seconds for e in found.events)
    assert any(e.slo for e in found.events)
    uuid = next(e.uuid for e in found.events if e.slo)
    assert not [e for e in found.without_slo(uuid).events if e.uuid == uuid and e.slo]


def test_a_run_is_a_function_of_its_case() -> None:
    short = replace(case(5, 2), seconds=4.0)
    assert _works(ran(ClosedLoop(short))) == _works(ran(ClosedLoop(short)))


def _works(loop: ClosedLoop) -> list[float]:
    return [work_of(each) for each in loop.machine.instances.values()]


def test_a_floor_is_admitted_and_held() -> None:
    without, having = ran(ClosedLoop(two())), ran(ClosedLoop(two(ASKS)))
    assert "a" in having.intents
    assert work_of(having.machine.instances["a"]) > work_of(without.machine.instances["a"]) * 1.2


def test_without_enforcement_nothing_is_written() -> None:
    observed, without = ran(ClosedLoop(two(ASKS), enforce=False)), ran(ClosedLoop(two(), enforce=False))
    assert observed.intents
    assert observed.writes
    assert _works(observed) == _works(without)


def test_a_floor_that_does_not_fit_is_refused_in_words() -> None:
    loop = ClosedLoop(two(Event(at_seconds=0.0, what="a asks for much", uuid="a", slo=TOO_MUCH)))
    loop.tick()
    assert loop.happened[0] == "a asks for much"
    assert loop.happened[1].startswith("refused: a: ")
    assert not loop.intents


def test_instances_arrive_and_loads_change() -> None:
    late = InstanceSpec(uuid="late", name="late", loads=(compute(1),))
    loop = ClosedLoop(
        two(
            Event(at_seconds=0.25, what="late arrives", uuid="late", arrives=late),
            Event(at_seconds=0.25, what="a pauses", uuid="a", load=(0, compute(1, busy_ratio=0.0))),
        )
    )
    loop.tick()
    before = work_of(loop.machine.instances["a"])
    loop.tick()
    assert loop.happened == ["late arrives", "a pauses"]
    assert "late" in loop.machine.instances
    assert work_of(loop.machine.instances["a"]) == before


def test_a_floor_that_nobody_enforces_is_missed_in_the_measure() -> None:
    measured = []
    for enforce in (True, False):
        loop = ClosedLoop(two(ASKS, seconds=16.0), enforce=enforce)
        recorder = Recorder(loop)
        while loop.seconds < loop.case.seconds:
            loop.tick()
            recorder.look()
        measured.append(recorder.measured)
    held, missed = measured
    assert held.windows == missed.windows > 0
    assert held.held_ratio == 1.0
    assert missed.held_ratio == 0.0
    assert missed.wasted_ratio == 0.0


def test_the_demonstration_is_admitted_whole() -> None:
    loop = ran(ClosedLoop(demonstration(seconds=2.0)))
    assert set(loop.intents) == {"vm1", "vm2", "vm3"}
