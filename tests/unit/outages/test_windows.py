"""Windows of one second from a counter, and what is told of them."""

from tests.openstack.outages.state import State, differences
from tests.openstack.outages.windows import Kept, at, kept

FLOOR = 100.0


def samples(rates: list[float], step: float = 0.1) -> list[tuple[float, float]]:
    """A counter that grows by each of these rates for a second."""
    found, moment, count = [(0.0, 0.0)], 0.0, 0.0
    for rate in rates:
        for _ in range(round(1 / step)):
            moment, count = moment + step, count + rate * step
            found.append((moment, count))
    return found


def test_a_counter_between_its_samples() -> None:
    read = [(1.0, 10.0), (3.0, 30.0)]
    assert [at(read, t) for t in (0.0, 1.0, 2.0, 3.0, 9.0)] == [10.0, 10.0, 20.0, 30.0, 30.0]


def test_seconds_below_the_floor() -> None:
    read = samples([130, 96, 90, 90, 130, 50, 130])
    assert kept(read, FLOOR, 0.0, 7.0) == Kept(windows=7, missed=3, longest_seconds=2)
    assert kept(read, FLOOR, 0.0, 2.0).missed == 0
    assert kept(read, FLOOR, 2.0, 4.5) == Kept(windows=2, missed=2, longest_seconds=2)
    assert kept(read, FLOOR, 3.0, 3.4).windows == 0


def test_a_counter_that_stops_is_missed() -> None:
    assert kept(samples([130, 130]), FLOOR, 0.0, 6.0) == Kept(windows=6, missed=4, longest_seconds=4)


BEFORE = State(
    servers={"u": "ACTIVE"},
    objectives={"network_packets": {"floor": 3000.0}},
    slo_state="enforced",
    reserved_cpu_cores=0.0805,
    holdings={"u": {"VCPU": 1}, "own": {"CUSTOM_STELLA_NET_KPPS": 3, "CUSTOM_STELLA_CPU_MILLICORES": 80}},
    leaked=frozenset(),
    decisions={1: "slo_accepted"},
)


def changed(**values: object) -> State:
    return State(**{**{name: getattr(BEFORE, name) for name in State.__slots__}, **values})  # type: ignore[arg-type]


def test_nothing_lost_nothing_leaked() -> None:
    assert differences(BEFORE, BEFORE) == []
    learned = {"u": {"VCPU": 1}, "own": {"CUSTOM_STELLA_NET_KPPS": 3, "CUSTOM_STELLA_CPU_MILLICORES": 95}}
    assert differences(BEFORE, changed(holdings=learned, decisions={1: "slo_accepted", 2: "slo_accepted"})) == []


def test_each_loss_is_told() -> None:
    for values, word in (
        ({"servers": {"u": "gone"}}, "servers"),
        ({"objectives": {}}, "objectives"),
        ({"slo_state": "pending"}, "pending"),
        ({"holdings": {"u": {"VCPU": 1}}}, "Placement"),
        ({"reserved_cpu_cores": 0.2}, "millicores"),
        ({"leaked": frozenset(("x",))}, "leaked"),
        ({"decisions": {}}, "lost decisions"),
        ({"decisions": {1: "slo_accepted", 2: "instance_gone"}}, "instance_gone"),
    ):
        found = differences(BEFORE, changed(**values))
        assert len(found) == 1 and word in found[0], (values, found)
