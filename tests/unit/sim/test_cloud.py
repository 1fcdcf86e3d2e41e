"""`stella-sim cloud`: the same day for the same seed, the parts that are real, and the coarse host beside the one that ticks."""

import sys
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from stella.cmd import stella_sim
from stella.control.admission import InstanceShape, fits
from stella.control.capacity import sellable_cores
from stella.control.cost import Prior
from stella.control.cpu import CpuClaim
from stella.control.memory import Settings, fresh_costs
from stella.control.relief_view import Kind, Mode, State
from stella.model.slo import Metric, Objective, Slo
from stella.sim import chance
from stella.sim.cases import Case, Event, slo_of
from stella.sim.closed_loop import ClosedLoop
from stella.sim.cloud import table as columns
from stella.sim.cloud.cloud import Cloud
from stella.sim.cloud.division import disks, divided
from stella.sim.cloud.ledger import Ledger
from stella.sim.cloud.relief import Relief
from stella.sim.cloud.run import Figures, lines, run_cloud
from stella.sim.cloud.scenario import Shape, Tenant, arrivals, deaths, initial
from stella.sim.cloud.waves import Bursts, daily, units
from stella.sim.instance import InstanceSpec
from stella.sim.loads import Load, Wave, block, compute, network
from stella.sim.measure import needed

SMALL = Shape(hosts=6, hours=1.0, seed=7)
BUSY = Shape(hosts=16, hours=2.0, seed=7, instances_per_host=18)
DYING = Shape(hosts=20, hours=2.0, seed=2, deaths_per_day=0.6, instances_per_host=8)
ALL_DIE = replace(DYING, hosts=10, deaths_per_day=500.0)
CPU_FLOOR = Slo((Objective(metric=Metric.CPU, floor=1.5),))


@pytest.fixture(scope="module")
def busy() -> dict[Mode, Figures]:
    return {mode: run_cloud(BUSY, mode) for mode in (Mode.OFF, Mode.ACT)}


# --- the same seed, the same day --------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_figures_and_another_one_does_not() -> None:
    first = run_cloud(SMALL, Mode.ACT)
    assert run_cloud(SMALL, Mode.ACT) == first
    assert "\n".join(lines(run_cloud(replace(SMALL, seed=8), Mode.ACT))) != "\n".join(lines(first))


def test_what_happens_does_not_depend_on_what_is_decided() -> None:
    assert list(initial(SMALL)) == list(initial(SMALL))
    later = list(arrivals(SMALL))
    assert later == list(arrivals(SMALL))
    assert all(a.arrives_at <= b.arrives_at for a, b in pairwise(later))
    assert len({tenant.uuid for tenant in (*initial(SMALL), *later)}) == len(later) + 6 * 16
    died = deaths(DYING)
    assert died
    assert all(0 <= death.at < death.repaired_at for death in died)


def test_chance_and_waves_are_those_of_the_hosts_that_tick() -> None:
    seeds = np.array([chance.derived(n, "x") for n in range(50)], np.uint64)
    assert units(seeds, np.full(50, 3, np.uint64)).tolist() == [chance.unit(int(seed), 3) for seed in seeds]
    wave = Wave(period_seconds=700.0, awake_ratio=0.6, low=0.0)
    for at in (0.0, 350.0, 12_345.0):
        awake = Bursts(seeds, np.full(50, 700.0), np.full(50, 0.6)).awake(at)
        assert awake.tolist() == [wave.level(int(seed), at) == 1.0 for seed in seeds]


def test_a_daily_pattern_is_highest_at_its_hour() -> None:
    depth, peak = np.array([0.5]), np.array([12.0])
    assert daily(0.0, depth=depth, peak_hour=peak)[0] == pytest.approx(1.0)
    assert daily(12 * 3600.0, depth=depth, peak_hour=peak)[0] == pytest.approx(0.5)


# --- relief -----------------------------------------------------------------------------------------------------------


def test_with_relief_fewer_minutes_are_violated_and_none_moves_twice(busy: dict[Mode, Figures]) -> None:
    without, having = busy[Mode.OFF], busy[Mode.ACT]
    assert without.moves == {"done": 0, "failed": 0}
    assert having.moves["done"] > 0
    assert having.most_moves_of_one == 1
    assert having.helped > 0
    assert having.violated < without.violated * 0.8
    assert having.asked == without.asked


def test_the_figures_are_those_of_the_reports(busy: dict[Mode, Figures]) -> None:
    found = busy[Mode.OFF]
    missed = sum(one.missed_seconds for one in found.classes.values())
    assert missed == found.violated + found.unknown_seconds
    assert sum(one.credit for one in found.classes.values()) > 0
    said = "\n".join(lines(found))
    for word in ("attainment", "violated minutes", "credited", "SLOs refused", "moves", "budget"):
        assert word in said


def test_a_dead_host_is_fenced_first_and_its_guaranteed_instances_run_elsewhere() -> None:
    having, without = run_cloud(DYING, Mode.ACT), run_cloud(DYING, Mode.OFF)
    assert without.deaths == having.deaths > 0
    assert without.evacuated == 0
    assert having.evacuated > 0
    assert 0 < having.unknown_seconds < without.unknown_seconds / 2


def test_nothing_is_evacuated_while_many_hosts_look_dead() -> None:
    found = run_cloud(ALL_DIE, Mode.ACT)
    assert found.deaths >= ALL_DIE.hosts
    assert found.evacuated == 0


def test_moves_hold_their_place_on_both_hosts_and_let_it_go() -> None:
    cloud = Cloud(BUSY)
    relief = Relief(cloud, Mode.ACT)
    seen: Counter[State] = Counter()
    for _ in range(240):
        cloud.begin()
        relief.follow()
        cloud.serve()
        relief.act()
        moving = [m for m in relief.past if m.state is State.MOVING and m.kind is Kind.RELIEF]
        seen.update(m.state for m in moving)
        for move in moving:
            row = cloud.row_of[move.instance]
            slo = cloud.table.tenant(row).slo
            held = [cloud.ledger.held_cores(int(h), row) > 0 for h in (move.source, move.destination)]
            assert held == [slo is not None] * 2
            assert cloud.table.host[row] == int(move.source)
        expected = {(int(m.destination), cloud.row_of[m.instance]) for m in relief.past if m.state is State.MOVING}
        for host in range(BUSY.hosts):
            there = {row for where, row in expected if where == host}
            assert cloud.ledger.rows(host) == {*cloud.rows_on(host), *there}
    assert seen[State.MOVING] > 0
    for move in relief.past:
        if move.state is State.DONE and move.instance in cloud.row_of:
            assert cloud.ledger.held_cores(int(move.source), cloud.row_of[move.instance]) == 0.0


# --- hosts ------------------------------------------------------------------------------------------------------------


def test_no_host_gives_more_than_it_has_and_admission_sells_no_more() -> None:
    def look(cloud: Cloud) -> None:
        room = BUSY.cores - cloud.ledger.overhead
        assert (cloud.used <= room + 1e-6).all()
        assert (cloud.table.got <= cloud.table.want + 1e-9).all()
        assert (cloud.ledger.reserved <= sellable_cores(BUSY.cores - cloud.settings.host_reserved_cores) + 1e-6).all()
        disk = np.where(cloud.table.is_block & cloud.table.up, cloud.table.rate, 0.0)
        assert (columns.per_host(cloud.table.host, disk, BUSY.hosts) <= BUSY.device_bytes * (1 + 1e-9)).all()

    run_cloud(replace(BUSY, hours=1.0), Mode.ACT, look=look)


def test_the_ledger_answers_as_admission_does_and_forgets_what_is_released() -> None:
    ledger = Ledger(hosts=2, cores=4, settings=Settings(), device_bytes=1e9)
    costs = fresh_costs(Prior(), CPU_FLOOR)
    shape = InstanceShape(vcpus=2, iothreads=1, links=1, disks=1)
    held = 0
    while ledger.fits(CPU_FLOOR, {}, 2, 0):
        assert fits(CPU_FLOOR, costs, shape=shape, margin=1.1, capacity=ledger.capacity(0))
        ledger.hold(0, held, CPU_FLOOR, {}, 2)
        held += 1
    assert held == 2
    assert not fits(CPU_FLOOR, costs, shape=shape, margin=1.1, capacity=ledger.capacity(0))
    assert ledger.place(CPU_FLOOR, {}, 2) == 1
    ledger.release(0, 0)
    assert ledger.fits(CPU_FLOOR, {}, 2, 0)
    for row in range(2, 10):
        ledger.hold(1, row, None, {}, 2)
    assert not ledger.fits(None, {}, 1, 1)  # Nova: four vCPUs on a CPU
    ledger.takes[0] = False
    assert ledger.place(CPU_FLOOR, {}, 2) is None


def test_floors_for_disks_are_bounded_by_placements_total() -> None:
    ledger = Ledger(hosts=1, cores=16, settings=Settings(), device_bytes=500e6)
    slo = Slo((Objective(metric=Metric.BLOCK_BYTES, floor=300e6, unit_bytes=65536.0),))
    assert ledger.fits(slo, {}, 2, 0)
    ledger.hold(0, 0, slo, {}, 2)
    assert not ledger.fits(slo, {}, 2, 0)
    assert ledger.refusal(slo, {}, 2) == "placement"


def test_disks_are_shared_evenly() -> None:
    assert disks(10.0, [2.0, 9.0, 9.0]) == [2.0, 4.0, 4.0]


def test_what_is_missed_has_its_cause() -> None:
    cloud = Cloud(replace(BUSY, device_bytes=0.5e9))
    causes: Counter[int] = Counter()
    for _ in range(60):
        cloud.begin()
        cloud.serve()
        for missing in cloud.missing.values():
            for one in missing:
                tenant = cloud.table.tenant(one.row)
                causes[one.cause] += 1
                if one.cause == columns.BLOCK:
                    assert tenant.floor > 0
                    assert one.disk_offender is not None
                    assert cloud.table.is_block[[one.row, one.disk_offender]].all()
    assert causes[columns.BLOCK] > 0


def test_reservations_follow_what_noise_makes_of_costs() -> None:
    cloud = Cloud(SMALL)
    row = next(r for r in range(len(cloud.table.tenants)) if cloud.table.has_floor[r] and cloud.table.is_io[r])
    host = int(cloud.table.host[row])
    for _ in range(4):
        cloud.begin()
        cloud.serve()
    before = cloud.ledger.held_cores(host, row)
    cloud.table.cost_vcpu[row] *= 1.6
    cloud._soon.add(host)
    cloud.begin()
    cloud.serve()
    more = cloud.ledger.held_cores(host, row)
    assert more > before * 1.1 or cloud.table.short[row]


def _without_jitter(load: Load) -> Load:
    return replace(load, jitter_ratio=0.0)


HERE = (
    InstanceSpec(uuid="web", name="web", vcpus=2, loads=(_without_jitter(network(45_000)),)),
    InstanceSpec(uuid="db", name="db", vcpus=2, loads=(_without_jitter(block(400e6)),)),
    InstanceSpec(uuid="compute", name="compute", vcpus=2, loads=(compute(2, busy_ratio=0.9),)),
    InstanceSpec(uuid="best", name="best", vcpus=2, loads=(_without_jitter(network(30_000)),)),
    InstanceSpec(uuid="batch", name="batch", vcpus=2, loads=(compute(2),)),
    InstanceSpec(uuid="hog", name="hog", vcpus=4, loads=(compute(4),)),
)
FLOORS = {"web": 0.7, "db": 0.8, "compute": 0.6}


@pytest.mark.parametrize("cores", [3, 4])
def test_a_full_host_divides_its_cpu_as_the_host_that_ticks_does(cores: int) -> None:
    asks = tuple(
        Event(at_seconds=1.0, what="asks", uuid=spec.uuid, slo=slo_of(spec, FLOORS[spec.uuid]))
        for spec in HERE
        if spec.uuid in FLOORS
    )
    loop = ClosedLoop(Case(seed=3, cores=cores, seconds=30.0, tick_seconds=0.25, instances=HERE, events=asks))

    def sums() -> dict[str, tuple[float, float]]:
        here = loop.machine.instances.items()
        return {u: (sum(thread.run_seconds for thread in i.threads), i.wanted_seconds) for u, i in here}

    while loop.seconds < 15.0:
        loop.tick()
    before, began = sums(), loop.seconds
    while loop.seconds < 30.0:
        loop.tick()
    assert set(loop.intents) == set(FLOORS)
    seconds, after = loop.seconds - began, sums()
    claims = []
    for uuid, (_, wanted) in after.items():
        intent = loop.intents.get(uuid)
        need = needed(loop.machine.instances[uuid], intent).cores * loop.settings.margin if intent else 0.0
        claims.append(
            CpuClaim(
                uuid=uuid,
                reserved_cores=intent.reserved_cpu_cores if intent else 0.0,
                floor_cores=need,
                needed_cores=need,
                active=True,
                demand_cores=(wanted - before[uuid][1]) / seconds,
            )
        )
    for_floors = cores - loop.settings.host_reserved_cores
    found = divided(claims, for_floors=for_floors, room=cores - loop.machine.services_cores)
    for claim, got in zip(claims, found.got, strict=True):
        ticked = (after[claim.uuid][0] - before[claim.uuid][0]) / seconds
        assert got == pytest.approx(ticked, abs=0.06), claim.uuid


# --- the command ------------------------------------------------------------------------------------------------------


def test_the_command_prints_figures_and_wall_time(capsys: pytest.CaptureFixture[str]) -> None:
    assert stella_sim.main(["cloud", "--hosts", "2", "--hours", "1", "--seed", "1", "--relief", "off"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("2 hosts of 16 CPUs for 1 h, seed 1, relief off")
    assert said[-1].startswith("wall time: ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "--hosts"),
        (["--hosts", "0"], "--hosts"),
        (["--hosts", "2", "--hours", "0"], "--hours"),
        (["--hosts", "2", "--relief", "maybe"], "--relief"),
        (["--hosts", "2", "--cores", "1"], "--cores"),
    ],
)
def test_wrong_usage_is_refused_in_one_line(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        stella_sim.main(["cloud", *arguments])
    assert ended.value.code == stella_sim.USAGE
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1


def test_without_numpy_one_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in sys.modules if name.startswith("stella.sim.cloud")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "numpy", None)
    assert stella_sim.main(["cloud", "--hosts", "1"]) == stella_sim.USAGE
    assert capsys.readouterr().err == "stella-sim: cloud needs numpy: pip install 'stella[sim]'\n"


def test_an_instance_without_an_slo_has_no_floor() -> None:
    tenants = list(initial(SMALL))
    assert any(tenant.slo is None for tenant in tenants)
    assert all((tenant.floor > 0) == (tenant.slo is not None) == (tenant.sla != "") for tenant in tenants)
    assert isinstance(tenants[0], Tenant)
