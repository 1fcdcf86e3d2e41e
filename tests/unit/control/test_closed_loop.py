"""The control law in closed loop with a tiny host (`host_model`): what an SLO does to an instance on hosts of any size."""

import pytest

from stella.control.instance_state import SETTLING_SECONDS
from stella.model.snapshot import RunState

from .host_model import TICK_SECONDS, Guest, Host

TICKS = 200
TICKS_TO_SETTLE = 20


def a_full_host(count: int, floor: float | None, *, every: int = 2) -> Host:
    """``count`` CPUs, numbered with gaps: one guest with 16 busy vCPUs, a guaranteed one beside it, and the rest filled."""
    guests = [
        Guest(uuid="big", demand=[1.0] * 16, floor=floor),
        Guest(uuid="net", demand=[0.9], emulator=0.3, floor=0.3),
    ]
    guests += [Guest(uuid=f"hog{n}", demand=[1.0] * min(8, count)) for n in range(max(1, count // 8))]
    return Host(cpus=[3 + every * n for n in range(count)], guests=guests)


def run(host: Host, ticks: int) -> tuple[list[float], int]:
    """What the first guest got each tick, in cores, and how many placements changed after the host had settled."""
    got, changes, last = [], 0, None
    for tick in range(ticks):
        host.tick()
        got.append(host.cores_of(host.guests[0].uuid))
        placed = {g.uuid: host.placement_of(g.uuid) for g in host.guests}
        changes += tick >= TICKS_TO_SETTLE and placed != last
        last = placed
    return got, changes


@pytest.mark.parametrize("count", [2, 16, 128])
def test_an_slo_never_makes_an_instance_slower_and_placements_are_steady(count: int) -> None:
    ticks = TICKS if count < 128 else TICKS // 4
    having, moved = run(a_full_host(count, 0.2), ticks)
    without, also_moved = run(a_full_host(count, None), ticks)
    assert moved == also_moved == 0
    late = slice(TICKS_TO_SETTLE, None)
    assert sum(having[late]) >= sum(without[late])
    assert min(having[late]) >= 0.2


def test_an_instance_uses_what_others_leave_and_the_host_does_not_swing() -> None:
    """Placed by a small allocation, it once left the host idle, was freed, filled it, and was placed again."""
    guests = [Guest(uuid="big", demand=[1.0] * 16, floor=0.2)]
    guests += [Guest(uuid=f"half{n}", demand=[0.5], floor=0.3 if n == 0 else None) for n in range(40)]
    host = Host(cpus=list(range(40)), guests=guests)
    got, changes = run(host, TICKS)
    assert host.memory.full and changes == 0
    assert min(got[TICKS_TO_SETTLE:]) >= 15.0


def test_a_guest_stays_within_its_allowed_cpus() -> None:
    shared = tuple(range(2, 16))
    guests = [Guest(uuid="big", demand=[1.0] * 16, floor=0.2, allowed=shared)]
    guests += [
        Guest(uuid="pinned", demand=[1.0, 1.0], allowed=(0,)),
        Guest(uuid="hog", demand=[1.0] * 16, allowed=shared),
    ]
    host = Host(cpus=list(range(16)), guests=guests)
    got, changes = run(host, 60)
    placed = host.placement_of("big")
    assert placed and all(set(cpus) <= set(shared) for cpus in placed.values())
    assert set(host.placement_of("pinned").values()) == {(0,)}
    assert min(got[TICKS_TO_SETTLE:]) >= 6.5 and changes == 0


def test_what_could_not_be_placed_keeps_its_share_of_the_host() -> None:
    guests = [Guest(uuid="big", demand=[1.0] * 16, floor=0.2), Guest(uuid="elsewhere", demand=[1.0], allowed=(70,))]
    host = Host(cpus=[0, 1, 70], guests=guests, host_cpus=(0, 1))
    for _ in range(8):
        decision = host.tick()
    assert host.placement_of("big") and not host.placement_of("elsewhere")
    assert next(i for i in decision.instances if i.uuid == "elsewhere").cpu.allocation_cores > 0.5


@pytest.mark.parametrize("state", [RunState.MIGRATING, RunState.PAUSED])
def test_a_frozen_instance_is_neither_placed_nor_bounded(state: RunState) -> None:
    host = a_full_host(2, 0.2)
    run(host, 8)
    assert host.placement_of("big")
    host.state = state
    decided = host.tick().instances[0]
    assert decided.frozen and not decided.cpu.placement
    assert not decided.cpu.vcpu_ceilings_cores and not decided.cpu.batching
    assert host.placement_of("net"), "the others stay placed"


def test_a_migrated_instance_is_frozen_until_it_has_settled() -> None:
    host = a_full_host(2, 0.2)
    run(host, 8)
    host.state = RunState.MIGRATING
    run(host, 2)
    host.state = RunState.RUNNING
    frozen = [host.tick().instances[0].frozen for _ in range(int(SETTLING_SECONDS / TICK_SECONDS) + 2)]
    assert frozen == sorted(frozen, reverse=True) and frozen.count(True) == SETTLING_SECONDS / TICK_SECONDS - 1
    host.tick()
    assert host.placement_of("big")


def test_an_instance_that_appears_is_frozen_until_its_rates_are_known() -> None:
    host = a_full_host(2, 0.2)
    assert [host.tick().instances[0].frozen for _ in range(2)] == [True, False]


@pytest.mark.parametrize("guests", [[], [Guest(uuid="none", demand=[], emulator=1.0, floor=0.1)]])
@pytest.mark.parametrize("cpus", [[], [7], [0, 511]])
def test_hosts_and_guests_without_anything(cpus: list[int], guests: list[Guest]) -> None:
    host = Host(cpus=cpus, guests=[*guests, Guest(uuid="some", demand=[1.0])] if cpus else [])
    for _ in range(6):
        host.tick()


def test_a_host_of_512_cpus() -> None:
    cpus = list(range(0, 1024, 2))
    guests = [Guest(uuid="big", demand=[1.0] * 64, floor=8.0)]
    guests += [Guest(uuid=f"hog{n}", demand=[1.0] * 64) for n in range(8)]
    host = Host(cpus=cpus, guests=guests)
    for _ in range(4):
        host.tick()
    assert len(set(host.placement_of("big").values())) == 1 and host.cores_of("big") >= 32
