"""The agent's own code on the model of a host, at virtual time: pauses, counters that fall, CPUs and demand that go."""

from pathlib import Path

from stella.control.rates import BlockRates, InstanceRates, usage
from stella.model.attainment import TOLERANCE_RATIO, Status
from stella.model.slo import Direction, Metric
from stella.sim.host import SimulatedHost
from stella.sim.instance import InstanceSpec
from stella.sim.loads import compute, network
from tests.unit.sim.test_host import HOGS, ask, moved, simulated, spec, uuid_of

_TICK = 0.25
_FLOOR = 30_000.0
_SLO = {"web": {"network_packets": {"floor": _FLOOR}}}


def _web(packets_per_second: float) -> InstanceSpec:
    return spec("web", network(packets_per_second))


def _rates(host: SimulatedHost, ticks: int) -> list[float]:
    """Packets/s of ``web`` in each tick, as the model counts them."""
    found = []
    for _ in range(ticks):
        before = moved(host, "web")
        host.step(_TICK)
        found.append((moved(host, "web") - before) / _TICK)
    return found


def _weight(host: SimulatedHost, name: str = "web") -> int:
    return host.machine.instances[uuid_of(host, name)].own.weight


def _seconds(host: SimulatedHost) -> dict[str, int]:
    """Of all minutes that ended: seconds by status."""
    found: dict[str, int] = {}
    for row in host.outbox.batch(500).minutes:
        for status in ("met", "violated", "degraded", "no_demand", "self_limited", "unknown"):
            found[status] = found.get(status, 0) + getattr(row.counts, status)
    return found


def test_thirty_seconds_without_a_tick(tmp_path: Path) -> None:
    """The elapsed time is clamped: the next tick steps no further than any other, and the pause is UNKNOWN, not violated."""
    with simulated(tmp_path, instances=(_web(45_000), *HOGS)) as host:
        ask(host, _SLO)
        host.step(60.0)
        before = _weight(host)
        missed = _seconds(host).get("violated", 0)
        host.unix_seconds += 30.0  # it was stopped; the guests went on
        host.step(_TICK)
        after = [_weight(host)]
        for _ in range(40):
            host.step(_TICK)
            after.append(_weight(host))
        host.step(70.0)
        assert before / 1.5 <= min(after) <= max(after) <= before * 1.5, (before, after)
        counted = _seconds(host)
        assert counted["violated"] == missed and 28 <= counted["unknown"] <= 33, counted


def test_counters_that_fall(tmp_path: Path) -> None:
    """A device made anew begins at 0: the negative difference is dropped, and no violation comes of it."""
    with simulated(tmp_path, instances=(_web(45_000), *HOGS)) as host:
        ask(host, _SLO)
        host.step(60.0)
        counters = host.machine.instances[uuid_of(host, "web")].counters
        before, missed = _weight(host), _seconds(host).get("violated", 0)
        for _ in range(5):
            for name in ("tx_packets", "rx_packets", "tx_bytes", "rx_bytes"):
                setattr(counters, name, 0.0)
            host.step(7.0)
            assert before / 1.5 <= _weight(host) <= before * 1.5
        host.step(70.0)
        assert _seconds(host)["violated"] == missed, _seconds(host)


def test_without_demand_the_share_is_lent_and_comes_back_within_two_periods(tmp_path: Path) -> None:
    with simulated(tmp_path, instances=(_web(100.0), *HOGS)) as host:
        ask(host, _SLO)
        host.step(20.0)
        busy, idle_from = host.machine.busy_seconds, host.unix_seconds
        host.step(20.0)
        lent = (host.machine.busy_seconds - busy) / (host.unix_seconds - idle_from)
        assert lent >= 0.97 * host.machine.cores, "neighbours use what the floor does not"
        tick = host.published()
        assert tick is not None
        web = next(one for one in tick.decision.instances if one.uuid == uuid_of(host, "web"))
        (objective,) = web.objectives
        assert objective.status is Status.NO_DEMAND
        host.machine.set_load(uuid_of(host, "web"), 0, network(45_000))
        rates = _rates(host, 20)
        assert min(rates[2:]) >= _FLOOR * TOLERANCE_RATIO, rates


def test_tiny_packets_take_nothing_from_another(tmp_path: Path) -> None:
    """A tenant has a floor in bytes, priced for 1500 B, and sends 64 B packets: the CPU of that is not taken from another's floor."""
    cheat = spec("cheat", network(400_000, packet_bytes=64))
    with simulated(tmp_path, instances=(_web(45_000), cheat, *HOGS)) as host:
        ask(host, {**_SLO, "cheat": {"network_bytes": {"floor": 30e6, "unit": 1500}}})
        host.step(20.0)
        tick = host.published()
        assert tick is not None
        admitted = tick.intents[uuid_of(host, "cheat")].reserved_cpu_cores
        rates = [sum(_rates(host, 4)) / 4 for _ in range(60)]
        assert sum(rate >= _FLOOR * TOLERANCE_RATIO for rate in rates) >= 58, rates
        tick = host.published()
        assert tick is not None
        assert tick.intents[uuid_of(host, "cheat")].reserved_cpu_cores <= admitted * 1.05, "no more is set aside for it"


def test_huge_requests_count_by_their_size() -> None:
    """An operation of 1 MiB counts as 64 of 16 KiB, on all disks together: neither size nor number of disks inflates a promise."""
    block = BlockRates(
        read_operations=100.0,
        read_bytes=100.0 * 2**20,
        read_seconds=0.0,
        write_operations=50.0,
        write_bytes=50.0 * 2**12,
        write_seconds=0.0,
    )
    rates = InstanceRates(start_seconds=0.0, end_seconds=1.0, vcpus=1, cpu=None, network=None, block=block)
    assert usage(Metric.BLOCK_OPERATIONS, Direction.READ, rates, 16_384.0) == 6400.0
    assert usage(Metric.BLOCK_OPERATIONS, Direction.WRITE, rates, 16_384.0) == 50.0
    assert usage(Metric.BLOCK_OPERATIONS, Direction.READ, rates) == 100.0


def test_floors_exceed_a_capacity_that_dropped(tmp_path: Path) -> None:
    """Of three that fitted four CPUs two are MET on two CPUs, by priority; the third is DEGRADED, and nothing oscillates."""
    guests = tuple(spec(name, compute(1), vcpus=1) for name in ("high", "middle", "low"))
    slos = {
        name: {"cpu": {"floor": 0.8, "priority": priority}}
        for name, priority in (("high", 30), ("middle", 20), ("low", 10))
    }
    with simulated(tmp_path, instances=guests, cores=4) as host:
        ask(host, slos)
        host.step(20.0)
        assert set(_statuses(host).values()) == {Status.MET}
        later = host.unix_seconds
    with simulated(tmp_path, instances=guests, cores=2, unix_seconds=later + 60.0) as host:
        host.step(10.0)
        seen = []
        for _ in range(60):
            host.step(1.0)
            seen.append(_statuses(host))
        assert all(one == seen[0] for one in seen), "nothing oscillates"
        assert seen[0] == {"high": Status.MET, "middle": Status.MET, "low": Status.DEGRADED}


def _statuses(host: SimulatedHost) -> dict[str, Status]:
    tick = host.published()
    assert tick is not None
    names = {uuid_of(host, name): name for name in ("high", "middle", "low")}
    return {names[one.uuid]: one.objectives[0].status for one in tick.decision.instances}
