"""What admission accepts is granted whole; what it offers instead is accepted; each kind of floor that cannot be is refused."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stella.control.admission import Answer, InstanceShape, admit
from stella.control.capacity import Held, HostCapacity
from stella.control.cost import Prior
from stella.control.cpu import CpuClaim, divide
from stella.control.memory import fresh_costs
from stella.control.reservation import Reservation, reserve
from stella.model.slo import Direction, Metric, Objective, Slo

PRIOR = Prior()
MARGIN = 1.1


def need(slo: Slo, shape: InstanceShape) -> Reservation:
    return reserve(slo, fresh_costs(PRIOR, slo), vcpus=shape.vcpus, margin=MARGIN)


def ask(slo: Slo, shape: InstanceShape, capacity: HostCapacity) -> Answer:
    return admit(slo, fresh_costs(PRIOR, slo), shape=shape, margin=MARGIN, capacity=capacity)


def host(cpus: int, ratio: float = 1.0, held: Sequence[Held] = ()) -> HostCapacity:
    """A host of which ``ratio`` is left for instances."""
    return HostCapacity(capacity_cores=cpus * ratio, cpus=tuple(range(cpus)), one_cpu_cores=ratio, held=tuple(held))


def scaled(slo: Slo, metric: Metric, floor: float) -> Slo:
    return Slo(tuple(replace(o, floor=floor) if o.metric is metric else o for o in slo.objectives))


shapes = st.builds(
    InstanceShape,
    vcpus=st.integers(1, 8),
    iothreads=st.integers(0, 1),
    links=st.just(1),
    disks=st.just(1),
    allowed_cpus=st.sampled_from([None, None, (0,), (0, 1), (1, 2, 3)]),
)


@st.composite
def slos(draw: st.DrawFn) -> Slo:
    floors = draw(
        st.dictionaries(
            st.sampled_from(
                [Metric.CPU, Metric.NETWORK_PACKETS, Metric.NETWORK_BYTES, Metric.BLOCK_BYTES, Metric.BLOCK_OPERATIONS]
            ),
            st.floats(1e-3, 1.2),
            min_size=1,
            max_size=3,
        )
    )
    units = {
        Metric.CPU: (1.0, 0.0),
        Metric.NETWORK_PACKETS: (8e4, 64.0),
        Metric.NETWORK_BYTES: (1e8, 64.0),
        Metric.BLOCK_BYTES: (8e8, 65536.0),
        Metric.BLOCK_OPERATIONS: (2e4, 16384.0),
    }
    return Slo(
        tuple(Objective(metric=m, floor=units[m][0] * floors[m], unit_bytes=units[m][1]) for m in Metric if m in floors)
    )


@given(st.lists(st.tuples(slos(), shapes), min_size=1, max_size=14), st.integers(1, 6), st.floats(0.01, 1.0))
def test_what_is_accepted_is_granted_whole(asked: list[tuple[Slo, InstanceShape]], cpus: int, ratio: float) -> None:
    held: list[Held] = []
    for slo, shape in asked:
        answer = ask(slo, shape, host(cpus, ratio, held))
        if answer.accepted:
            held.append(
                Held(
                    cores=answer.reserved_cpu_cores,
                    vcpus=shape.vcpus,
                    io_ratio=need(slo, shape).io_ratio,
                    allowed_cpus=shape.allowed_cpus,
                )
            )
    claims = [
        CpuClaim(uuid=str(n), reserved_cores=h.cores, floor_cores=h.cores, needed_cores=h.cores, active=True)
        for n, h in enumerate(held)
    ]
    for order in (claims, claims[::-1]):
        assert all(share.fits for share in divide(cpus * ratio, order).values())


@given(st.floats(0.001, 1.0), st.floats(0.1, 64))
def test_the_whole_host_is_sold_and_no_more(part: float, capacity: float) -> None:
    """From 0.1 to 100 % of what can be granted; on so many CPUs that each piece finds one."""
    room = HostCapacity(capacity_cores=capacity, cpus=tuple(range(256)), one_cpu_cores=1.0)
    costs = fresh_costs(PRIOR)
    one = reserve(Slo((Objective(metric=Metric.CPU, floor=1.0),)), costs, vcpus=128, margin=MARGIN).cores
    floor = room.sellable_cores * part / one
    shape = InstanceShape(vcpus=128)
    answer = ask(Slo((Objective(metric=Metric.CPU, floor=floor),)), shape, room)
    assert answer.accepted
    left = replace(room, held=(Held(cores=answer.reserved_cpu_cores, vcpus=128),))
    rest = room.sellable_cores * (1 - part) / one
    if rest > 1e-3:
        assert ask(Slo((Objective(metric=Metric.CPU, floor=rest * 0.9999),)), shape, left).accepted
    assert not ask(Slo((Objective(metric=Metric.CPU, floor=rest + 0.001),)), shape, left).accepted


@given(slos(), shapes, st.integers(2, 6), st.floats(0.01, 1.0), st.lists(st.floats(0.01, 1.0), max_size=8))
def test_the_largest_offered_is_accepted_and_a_bit_more_is_refused(
    slo: Slo, shape: InstanceShape, cpus: int, ratio: float, others: list[float]
) -> None:
    room = host(cpus, ratio, [Held(cores=cores * ratio) for cores in others])
    answer = ask(slo, shape, room)
    if answer.accepted:
        assert answer.reserved_cpu_cores == pytest.approx(need(slo, shape).cores)
        assert not answer.largest
        return
    assert answer.message and answer.field
    for metric, largest in answer.largest:
        assert 0 < largest < slo.floor(metric)
        assert ask(scaled(slo, metric, largest), shape, room).accepted
        assert not ask(scaled(slo, metric, min(slo.floor(metric), largest * 1.005)), shape, room).accepted


@given(slos(), shapes, st.integers(1, 4))
def test_what_an_instance_holds_already_is_not_refused_on_an_overfull_host(
    slo: Slo, shape: InstanceShape, cpus: int
) -> None:
    empty = host(64)
    if not ask(slo, replace(shape, allowed_cpus=None), empty).accepted:
        return
    room = host(cpus, held=[Held(cores=2.0)] * cpus)
    before = need(slo, shape).cores
    answer = admit(slo, fresh_costs(PRIOR, slo), shape=shape, margin=MARGIN, capacity=room, held_before_cores=before)
    assert answer.accepted


@given(st.floats(1e3, 1e6), st.sampled_from(list(Direction)[:2]))
def test_a_one_way_floor_never_costs_less_than_both_ways(floor: float, direction: Direction) -> None:
    both = Slo((Objective(metric=Metric.NETWORK_BYTES, floor=floor, unit_bytes=64),))
    one_way = Slo((replace(both.objectives[0], direction=direction),))
    shape = InstanceShape(vcpus=2)
    assert need(one_way, shape).cores >= need(both, shape).cores
