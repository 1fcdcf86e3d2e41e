"""Costs before there is history are priced for what an SLO guarantees."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stella.control.cost import HISTORY_SECONDS, Prior, UnitCost, at_size, both_per_unit, learn, learn_all
from stella.control.memory import Memory, Settings, capacity_for_floors, capacity_of_one_cpu, fresh_costs, priced
from stella.control.rates import BlockRates, CpuRates, InstanceRates, NetworkRates, StageRate
from stella.control.reservation import reserve
from stella.model.slo import Direction, Metric, parse_slo
from stella.model.snapshot import Role

PRIOR = Prior()
SMALL = parse_slo({"block_bytes": {"floor": "30MB/s", "unit": "4KiB"}})


def test_a_byte_in_small_requests_is_dearer_than_in_large_ones() -> None:
    small, usual = fresh_costs(PRIOR, SMALL)[Metric.BLOCK_BYTES], fresh_costs(PRIOR)[Metric.BLOCK_BYTES]
    assert small.unit_bytes == 4096
    assert small.io == pytest.approx(PRIOR.io_per_operation / 4096 + PRIOR.io_per_byte)
    assert small.io + small.vcpu > 5 * (usual.io + usual.vcpu)


def test_an_slo_that_comes_later_prices_what_rests_on_the_prior_only() -> None:
    before = fresh_costs(PRIOR)
    assert priced(before, PRIOR, SMALL) == fresh_costs(PRIOR, SMALL)
    learned = replace(before[Metric.BLOCK_BYTES], seconds=HISTORY_SECONDS, io=1e-9)
    costs = {**before, Metric.BLOCK_BYTES: learned}
    again = priced(costs, PRIOR, SMALL)[Metric.BLOCK_BYTES]
    assert again.unit_bytes == 4096 and 10e-9 < again.io < 15e-9  # a byte in 4 KiB requests, though 64 KiB were seen
    assert priced({**costs, Metric.BLOCK_BYTES: again}, PRIOR, None)[Metric.BLOCK_BYTES].io == pytest.approx(1e-9)
    assert priced(before, PRIOR, None) is before


def seen(
    *,
    tx: float = 0.0,
    rx: float = 0.0,
    packet_bytes: float = 106.0,
    read: float = 0.0,
    write: float = 0.0,
    request_bytes: float = 65536.0,
    vcpu: float = 0.0,
    io: float = 0.0,
) -> InstanceRates:
    """One tick of traffic: packets/s and operations/s by direction, and what they cost in cores."""
    return InstanceRates(
        start_seconds=0.0,
        end_seconds=0.25,
        vcpus=1,
        cpu=CpuRates(
            stages=(
                StageRate(role=Role.VCPU, index=0, run_ratio=vcpu, wait_ratio=0.0),
                StageRate(role=Role.EMULATOR, index=0, run_ratio=io, wait_ratio=0.0),
            )
        ),
        network=NetworkRates(
            tx_packets=tx, tx_bytes=tx * packet_bytes, tx_drops=0.0,
            rx_packets=rx, rx_bytes=rx * packet_bytes, rx_drops=0.0,
        ),
        block=BlockRates(
            read_operations=read, read_bytes=read * request_bytes, read_seconds=0.0,
            write_operations=write, write_bytes=write * request_bytes, write_seconds=0.0,
        ),
    )  # fmt: skip


def learned(cost: UnitCost, rates: InstanceRates, ticks: int = 40) -> UnitCost:
    for _ in range(ticks):
        cost = learn(cost, rates)
    return cost


def cost_of(keys: dict[str, dict[str, object]], rates: InstanceRates) -> float:
    """What the floors of an SLO need once these rates were seen for ten seconds, without margin."""
    slo = parse_slo(keys)
    costs = {m: learned(c, rates) if m is not Metric.CPU else c for m, c in fresh_costs(PRIOR, slo).items()}
    return reserve(slo, costs, vcpus=8, margin=1.0).cores


def test_the_demonstration_s_traffic_is_priced_as_it_was() -> None:
    packets = seen(tx=25e3, rx=2.0, vcpu=0.3, io=0.25)
    tx = cost_of({"network_packets": {"floor": "20kpps", "direction": "tx"}}, packets)
    assert tx == pytest.approx(0.55 * 20 / 25, rel=0.01)
    reads = seen(read=6e3, write=1.0, vcpu=0.3, io=0.3)
    for direction in ("both", "read"):
        one = cost_of({"block_bytes": {"floor": "300MB/s", "direction": direction}}, reads)
        assert one == pytest.approx(0.6 * 300e6 / (6e3 * 65536), rel=0.01)


@pytest.mark.parametrize("request_bytes", [4096.0, 16384.0, 131072.0, 1048576.0])
def test_a_learned_cost_is_that_of_the_size_that_the_floor_names(request_bytes: float) -> None:
    """A guest whose I/O costs just what the prior says shows it at any size, for bytes and for operations."""
    each = request_bytes * 0.55e-9 + 90e-6
    rates = seen(read=4e3, request_bytes=request_bytes, vcpu=4e3 * each * 0.5, io=4e3 * each * 0.5)
    for unit in (4096.0, 65536.0):
        need = cost_of({"block_bytes": {"floor": 1e8, "unit": unit}}, rates)
        assert need == pytest.approx(1e8 * (90e-6 / unit + 0.55e-9), rel=1e-6)
        need = cost_of({"block_operations": {"floor": 1e3, "unit": unit}}, rates)
        assert need == pytest.approx(1e3 * (90e-6 + unit * 0.55e-9), rel=1e-6)


def test_an_envelope_learned_on_large_requests_does_not_make_small_ones_cheap() -> None:
    def tick(size: float) -> InstanceRates:
        busy = 3e3 * (size * 0.55e-9 + 90e-6) / 2
        return seen(read=3e3, request_bytes=size, vcpu=busy, io=busy)

    cost = learned(fresh_costs(PRIOR)[Metric.BLOCK_BYTES], tick(1048576.0))
    before = cost.vcpu
    for size in (4096.0, 262144.0, 8192.0):
        cost = learned(cost, tick(size))
    assert cost.vcpu == pytest.approx(before, rel=1e-6)


def test_a_one_way_floor_costs_what_comes_the_other_way_too() -> None:
    acknowledged = seen(tx=20e3, rx=10e3, packet_bytes=1000.0, vcpu=0.3, io=0.3)
    both = cost_of({"network_packets": {"floor": "10kpps"}}, acknowledged)
    assert both == pytest.approx(0.2)
    for direction, ratio in (("tx", 1.5), ("rx", 3.0)):
        one_way = cost_of({"network_packets": {"floor": "10kpps", "direction": direction}}, acknowledged)
        assert one_way == pytest.approx(0.2 * ratio)
    silent = seen(tx=0.0, rx=10e3, vcpu=0.3, io=0.3)
    tx = cost_of({"network_packets": {"floor": "10kpps", "direction": "tx"}}, silent)
    assert tx == pytest.approx(0.6 * 3)  # of what only comes the other way, so much counts and no more


def test_before_traffic_is_seen_bytes_in_one_direction_are_taken_for_tcp() -> None:
    fresh = fresh_costs(PRIOR)
    assert both_per_unit(fresh[Metric.NETWORK_BYTES], Direction.TX) == 1.5
    assert both_per_unit(fresh[Metric.NETWORK_BYTES], Direction.BOTH) == 1.0
    assert both_per_unit(fresh[Metric.NETWORK_PACKETS], Direction.TX) == 1.0
    assert both_per_unit(fresh[Metric.BLOCK_BYTES], Direction.READ) == 1.0


def test_what_a_release_without_sizes_and_directions_wrote_is_learned_anew() -> None:
    packets = fresh_costs(PRIOR)[Metric.NETWORK_PACKETS]
    old = replace(packets, vcpu=1e-9, seconds=60.0, sum_x=1e5, sum_vcpu=1.0, sum_io=1.0, sum_forward=None)
    assert both_per_unit(old, Direction.TX) == 1.0
    again = learned(old, seen(tx=9e3, rx=1e3, vcpu=0.1, io=0.1))
    assert again.vcpu == pytest.approx(1e-5) and again.io == pytest.approx(1e-5)
    assert both_per_unit(again, Direction.TX) == pytest.approx(10 / 9)


def test_a_few_small_requests_teach_nothing() -> None:
    cost = fresh_costs(PRIOR)[Metric.BLOCK_BYTES]
    assert learn(cost, seen(read=200.0, request_bytes=4096.0, vcpu=0.1, io=0.1)) == cost
    assert learn(cost, seen(read=2000.0, request_bytes=4096.0, vcpu=0.1, io=0.1)) != cost


@given(
    st.floats(allow_nan=True, allow_infinity=True),
    st.floats(allow_nan=True, allow_infinity=True),
    st.floats(allow_nan=True, allow_infinity=True),
    st.floats(allow_nan=True, allow_infinity=True),
    st.floats(allow_nan=True, allow_infinity=True),
)
def test_no_reading_can_spoil_a_cost(tx: float, read: float, size: float, vcpu: float, end: float) -> None:
    rates = replace(seen(tx=tx, read=read, request_bytes=size, vcpu=vcpu, io=vcpu), end_seconds=end)
    costs = fresh_costs(PRIOR)
    for _ in range(3):
        costs = dict(learn_all(costs, rates))
    assert all(cost.usable for cost in costs.values())


@pytest.mark.parametrize("margin", [0.0, -1.0, 0.5, float("nan")])
def test_a_margin_below_one_takes_nothing_off(margin: float) -> None:
    slo = parse_slo({"cpu": {"floor": 1}, "network_packets": {"floor": 1e4}})
    costs = fresh_costs(PRIOR, slo)
    assert reserve(slo, costs, vcpus=2, margin=margin) == reserve(slo, costs, vcpus=2, margin=1.0)


def test_what_a_damaged_file_holds_is_replaced_by_the_prior() -> None:
    fresh = fresh_costs(PRIOR)
    for damaged in ({"io": float("nan")}, {"vcpu": -1.0}, {"sum_x": float("inf"), "seconds": 9.0}):
        costs = {**fresh, Metric.BLOCK_BYTES: replace(fresh[Metric.BLOCK_BYTES], **damaged)}  # type: ignore[arg-type]  # by name
        assert priced(costs, PRIOR, None) == fresh
    assert priced({}, PRIOR, SMALL) == fresh_costs(PRIOR, SMALL)


def test_the_prior_s_own_ratio_is_what_sizes_are_scaled_by() -> None:
    for unit in (4096.0, 1048576.0):
        scaled = at_size(fresh_costs(PRIOR)[Metric.BLOCK_BYTES], unit)
        assert sum((scaled.vcpu, scaled.io)) == pytest.approx(sum(PRIOR.unit_costs(Metric.BLOCK_BYTES, unit)))


def test_a_host_without_cpus_has_no_capacity() -> None:
    assert capacity_of_one_cpu(Memory(), 0, Settings()) == 0.9
    assert capacity_for_floors(Memory(), 0, Settings()) == 0.0


def test_other_work_that_may_be_held_up_takes_nothing_from_what_is_guaranteed() -> None:
    busy = Memory(overhead_cores=1.9)
    assert capacity_for_floors(busy, 2, Settings(host_reserved_cores=0.3)) == pytest.approx(0.1)
    reserved = Settings(host_reserved_cores=0.3, overhead_is_measured=False)
    assert capacity_for_floors(busy, 2, reserved) == pytest.approx(1.7)
    assert capacity_of_one_cpu(busy, 2, reserved) == pytest.approx(0.85)
