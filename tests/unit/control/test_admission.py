"""What is refused, under which field, and what is offered instead."""

from dataclasses import replace

import pytest

from stella.control.admission import Answer, InstanceShape, admit, shape_of
from stella.control.capacity import Held, HostCapacity, pack
from stella.control.cost import Prior
from stella.control.memory import Memory, Settings, capacity_for_floors, capacity_of_one_cpu, fresh_costs
from stella.control.reservation import floors_of, prices
from stella.model.slo import Metric, parse_slo
from stella.model.snapshot import GroupReading, InstanceReading, Quota, Role, RunState

PRIOR = Prior()
SHAPE = InstanceShape(vcpus=2, iothreads=1, links=1, disks=1)
ROOM = HostCapacity(capacity_cores=15.9, cpus=tuple(range(16)), one_cpu_cores=0.99)


def ask(
    keys: dict[str, dict[str, object]], shape: InstanceShape = SHAPE, capacity: HostCapacity = ROOM, held: float = 0.0
) -> Answer:
    slo = parse_slo(keys)
    return admit(slo, fresh_costs(PRIOR, slo), shape=shape, margin=1.1, capacity=capacity, held_before_cores=held)


def test_a_cpu_floor_above_the_vcpus_is_refused() -> None:
    answer = ask({"cpu": {"floor": "3cores"}})
    assert not answer.accepted and answer.field == "cpu.floor"
    assert "2 vCPUs" in answer.message
    ((metric, largest),) = answer.largest
    assert metric is Metric.CPU and 1.6 < largest <= 2.0  # a vCPU cannot have more than a CPU gives


def test_a_cpu_ceiling_below_what_the_floors_need_of_the_guest_is_refused() -> None:
    answer = ask({"cpu": {"ceiling": "10%"}, "network_packets": {"floor": "20kpps"}})
    assert answer.field == "cpu.ceiling" and "0.24 cores" in answer.message
    assert dict(answer.largest)[Metric.NETWORK_PACKETS] == pytest.approx(0.1 / PRIOR.vcpu_per_packet, rel=1e-3)
    assert ask({"cpu": {"ceiling": "25%"}, "network_packets": {"floor": "20kpps"}}).accepted


@pytest.mark.parametrize(
    ("metric", "shape", "what"),
    [
        ("network_packets", replace(SHAPE, links=0), "network interface"),
        ("network_bytes", replace(SHAPE, links=0), "network interface"),
        ("block_bytes", replace(SHAPE, disks=0), "disk"),
        ("block_operations", replace(SHAPE, disks=0), "disk"),
    ],
)
def test_a_floor_for_a_device_that_is_not_there_is_refused(metric: str, shape: InstanceShape, what: str) -> None:
    keys: dict[str, dict[str, object]] = {metric: {"floor": 100}}
    answer = ask(keys, shape)
    assert not answer.accepted and answer.field == f"{metric}.floor" and what in answer.message
    assert not answer.largest
    assert ask(keys).accepted
    assert ask(keys, replace(shape, links=None, disks=None)).accepted  # not known: not refused for it


def test_one_thread_that_serves_network_and_disks_is_counted_once_for_both() -> None:
    keys: dict[str, dict[str, object]] = {
        "network_packets": {"floor": "45kpps"},  # 0.495 core of QEMU
        "block_bytes": {"floor": "500MB/s"},  # 0.455 core of QEMU
    }
    shared = ask(keys, replace(SHAPE, iothreads=0))
    assert not shared.accepted and shared.field == "network_packets.floor"
    assert "main loop" in shared.message and "network and block" in shared.message
    assert set(dict(shared.largest)) == {Metric.NETWORK_PACKETS, Metric.BLOCK_BYTES}
    assert ask(keys).accepted  # an iothread serves the disk
    lone = ask({"network_packets": {"floor": "45kpps"}, "block_bytes": {"floor": "1GB/s"}})
    assert lone.field == "block_bytes.floor" and "iothread" in lone.message
    assert set(dict(lone.largest)) == {Metric.BLOCK_BYTES}


def test_what_is_offered_holds_only_what_helps() -> None:
    full = replace(ROOM, held=tuple(Held(cores=0.99) for _ in range(15)))
    answer = ask({"cpu": {"floor": "1.2cores"}, "network_packets": {"floor": "10kpps"}}, capacity=full)
    assert answer.field == "cpu.floor" and "left to guarantee" in answer.message
    assert set(dict(answer.largest)) == {Metric.CPU}  # without packets 1.2 cores would not fit either
    none = replace(ROOM, held=tuple(Held(cores=0.99) for _ in range(16)))
    assert ask({"cpu": {"floor": "50%"}, "network_packets": {"floor": "1kpps"}}, capacity=none).largest == ()


@pytest.mark.parametrize("beside", [{}, {"cpu": {"floor": "20%"}}, {"block_bytes": {"floor": "1MB/s"}}])
@pytest.mark.parametrize("asked", [9e5, 9e8, 1e15])
def test_what_would_fit_is_offered_however_much_was_asked_for(beside: dict[str, object], asked: float) -> None:
    answer = ask({**beside, "network_packets": {"floor": asked}})  # type: ignore[dict-item]  # mappings of text
    assert answer.field == "network_packets.floor" and answer.metric is Metric.NETWORK_PACKETS
    assert set(dict(answer.largest)) == {Metric.NETWORK_PACKETS}
    largest = dict(answer.largest)[Metric.NETWORK_PACKETS]
    assert 10e3 < largest < 100e3
    keys = {**beside, "network_packets": {"floor": largest}}
    assert ask(keys).accepted  # type: ignore[arg-type]
    assert not ask({**keys, "network_packets": {"floor": largest * 1.01}}).accepted  # type: ignore[dict-item]


def test_where_to_lower_one_floor_does_not_help_the_dearest_is_named() -> None:
    answer = ask({"network_packets": {"floor": "900Mpps"}, "block_bytes": {"floor": "1GB/s"}})
    assert answer.field == "network_packets.floor" and answer.largest == ()
    none = replace(ROOM, held=tuple(Held(cores=0.99) for _ in range(16)))
    full = ask({"cpu": {"floor": "20%"}, "network_packets": {"floor": "900Mpps"}}, capacity=none)
    assert full.field == "network_packets.floor" and full.largest == ()


def test_of_two_floors_that_would_help_the_dearer_is_named() -> None:
    little = HostCapacity(capacity_cores=0.7, cpus=(0, 1), one_cpu_cores=0.95)
    answer = ask({"cpu": {"floor": "20%"}, "network_packets": {"floor": "30kpps"}}, capacity=little)
    assert set(dict(answer.largest)) == {Metric.NETWORK_PACKETS} and answer.field == "network_packets.floor"


def test_a_piece_must_fit_a_cpu() -> None:
    room = HostCapacity(capacity_cores=1.9, cpus=(0, 1), one_cpu_cores=0.95, held=(Held(cores=0.7), Held(cores=0.6)))
    one = ask({"cpu": {"floor": 0.43}}, replace(SHAPE, vcpus=1), room)
    assert not one.accepted and "on one CPU" in one.message
    assert 0.34 < dict(one.largest)[Metric.CPU] < 0.346  # (0.95 x 0.96 x 1.1 - 0.6) / 1.1 / 1.06
    assert ask({"cpu": {"floor": 0.43}}, replace(SHAPE, vcpus=2), room).accepted  # a piece for each vCPU


def test_only_the_allowed_cpus_count() -> None:
    room = replace(ROOM, held=(Held(cores=0.9, allowed_cpus=(3,)), Held(cores=0.2, allowed_cpus=(4,))))
    shape = replace(SHAPE, vcpus=1)
    assert ask({"cpu": {"floor": 0.5}}, replace(shape, allowed_cpus=(3, 4)), room).accepted
    assert not ask({"cpu": {"floor": 0.5}}, replace(shape, allowed_cpus=(3,)), room).accepted
    outside = ask({"cpu": {"floor": 0.5}}, replace(shape, allowed_cpus=(99,)), room)
    assert not outside.accepted and "the CPUs that the instance may use" in outside.message


def test_small_reservations_make_way_when_everything_is_packed_anew() -> None:
    held = tuple(Held(cores=0.25) for _ in range(8))
    room = HostCapacity(capacity_cores=3.96, cpus=(0, 1, 2, 3), one_cpu_cores=0.99, held=held)
    assert ask({"cpu": {"floor": 0.7}}, replace(SHAPE, vcpus=1), room).accepted  # 0.82: beside 0.5 it would not fit


def test_an_instance_keeps_what_it_holds_where_the_host_is_overfull() -> None:
    over = replace(ROOM, capacity_cores=1.0, held=(Held(cores=2.0),))
    assert not ask({"cpu": {"floor": 0.3}}, capacity=over).accepted
    assert ask({"cpu": {"floor": 0.3}}, capacity=over, held=0.4).accepted
    assert not ask({"cpu": {"floor": 0.5}}, capacity=over, held=0.4).accepted


def test_a_guest_that_always_computes_is_not_refused_for_what_its_io_seems_to_cost() -> None:
    slo = parse_slo({"cpu": {"ceiling": "1core"}, "network_packets": {"floor": "20kpps"}})
    costs = fresh_costs(PRIOR, slo)
    packets = replace(costs[Metric.NETWORK_PACKETS], vcpu=1e-3, seconds=60.0)  # two busy vCPUs over 2000 packets/s
    answer = admit(
        slo,
        {**costs, Metric.NETWORK_PACKETS: packets},
        shape=SHAPE,
        margin=1.1,
        capacity=replace(ROOM, one_cpu_cores=1.1),
    )
    assert answer.accepted and answer.reserved_cpu_cores == pytest.approx((2 + 0.22) * 1.1)  # at most its vCPUs


def test_an_slo_without_floors_needs_nothing() -> None:
    answer = ask({"cpu": {"weight": 3, "ceiling": "1core"}}, capacity=replace(ROOM, capacity_cores=0.0))
    assert answer.accepted and answer.reserved_cpu_cores == 0


def test_the_demonstration_fits_its_two_cpus_at_today_s_prices() -> None:
    settings = Settings()
    memory = Memory(overhead_cores=0.1)
    held: list[Held] = []
    for keys, expected in (
        ({"network_packets": {"floor": "20kpps", "direction": "tx"}}, 0.506),
        ({"block_bytes": {"floor": "300MB/s"}}, 0.6347),
        ({"cpu": {"floor": "20%"}}, 0.2332),
    ):
        room = HostCapacity(
            capacity_cores=capacity_for_floors(memory, 2, settings),
            cpus=(0, 1),
            one_cpu_cores=capacity_of_one_cpu(memory, 2, settings),
            held=tuple(held),
        )
        answer = ask(keys, replace(SHAPE, vcpus=1), room)  # type: ignore[arg-type]  # mappings of text
        assert answer.accepted and answer.reserved_cpu_cores == pytest.approx(expected, rel=1e-3)
        held.append(Held(cores=answer.reserved_cpu_cores))


def test_the_heaps_of_overlapping_cpu_sets_see_one_another() -> None:
    loads = pack((0, 1, 2), [(0.5, (0, 1)), (0.4, None), (0.3, (0, 1)), (0.2, (1, 2)), (0.1, (7,))])
    assert loads == pytest.approx({0: 0.5, 1: 0.7, 2: 0.2})


def test_a_shape_is_read_from_what_was_sensed() -> None:
    reading = InstanceReading(
        uuid="u", name="n", pid=1, state=RunState.RUNNING, vcpus=2, iothreads=1, threads=None, links=(), disks=None,
        disks_monotonic_seconds=None, groups=None,
    )  # fmt: skip
    assert shape_of(reading) == InstanceShape(vcpus=2, iothreads=1, links=0, disks=None)
    group = GroupReading(
        path="g", role=Role.VCPU, index=0, weight=100, quota=Quota(quota_us=None, period_us=1), throttled_seconds=None,
        cpus=(1,), allowed_cpus=(1, 2),
    )  # fmt: skip
    both = replace(reading, groups=(group, replace(group, index=1, allowed_cpus=(2, 5))))
    assert shape_of(both).allowed_cpus == (1, 2, 5)
    assert shape_of(replace(reading, groups=(group, replace(group, allowed_cpus=None)))).allowed_cpus is None


def test_a_refusal_on_a_large_host_says_why() -> None:
    """128 CPUs, 150 SLOs. How long it takes is measured by `scripts/bench_tick.py`."""
    sets = (None, tuple(range(64)), tuple(range(128)))
    held = tuple(
        Held(cores=0.4 + 0.05 * (n % 9), vcpus=(1, 2, 4, 8, 16)[n % 5], io_ratio=0.3, allowed_cpus=sets[n % 3])
        for n in range(150)
    )
    free = sum(one.cores for one in held) / 0.96
    asked: list[tuple[dict[str, dict[str, object]], int, float]] = [
        ({"cpu": {"floor": "9cores"}, "network_packets": {"floor": "30kpps"}}, 16, free + 1),
        ({"cpu": {"floor": "85%"}, "block_bytes": {"floor": "300MB/s"}}, 1, 126.0),
    ]
    for keys, vcpus, cores in asked:
        room = HostCapacity(capacity_cores=cores, cpus=tuple(range(128)), one_cpu_cores=0.99, held=held)
        answer = ask(keys, replace(SHAPE, vcpus=vcpus), room)
        assert not answer.accepted and answer.message


def test_prices_name_every_floor() -> None:
    slo = parse_slo({"cpu": {"floor": 1}, "network_bytes": {"floor": 1e6}, "network_packets": {"floor": 1e3}})
    found = prices(slo, fresh_costs(PRIOR, slo))
    assert set(found.io) == {Metric.NETWORK_BYTES, Metric.NETWORK_PACKETS}
    floors = floors_of(slo)
    assert found.network_cores(floors) == pytest.approx(1e3 * PRIOR.io_per_packet)  # the dearer of the two
    assert found.guest_cores(floors) == 1.0
