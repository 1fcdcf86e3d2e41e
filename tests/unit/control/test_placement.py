"""Placement by example: who shares a CPU with whom."""

from dataclasses import replace

from stella.control.cpu_sets import (
    STAYS_CLOSED_AFTER_DEBT_SECONDS,
    STAYS_CLOSED_SECONDS,
    Placement,
    place,
)
from stella.control.placement import Homes, Item, Stage, homes
from stella.model.snapshot import Role


def an_item(
    uuid: str, cores: float, *, vcpus: int = 1, serving: float = 0.3, floor: float | None = 0.0, demand: float = 1.0
) -> Item:
    """An instance whose main loop does ``serving`` of its work, its vCPUs the rest in equal parts.

    ``floor``: of ``cores`` what is reserved (0: all); None: best-effort. ``demand``: of each thread.
    """
    stages: dict[Stage, float] = {(Role.VCPU, n): (1 - serving) / vcpus for n in range(vcpus)}
    stages[Role.EMULATOR, 0] = serving
    return Item(
        uuid=uuid,
        allocation_cores=cores,
        reserved_cores=0.0 if floor is None else floor or cores,
        guaranteed=floor is not None,
        stages=stages,
        demand_cores=dict.fromkeys(stages, demand),
    )


def cpus_of(uuid: str, items: list[Item], cpus: tuple[int, ...] = (0, 1)) -> set[int]:
    return set(homes(cpus, items, Homes()).at[uuid].values())


def test_an_instance_with_one_vcpu_stays_whole_on_a_small_host() -> None:
    items = [an_item("net", 0.70), an_item("disk", 0.51), an_item("third", 1.4, floor=0.2)]
    assert all(len(cpus_of(item.uuid, items)) == 1 for item in items)


def test_four_busy_vcpus_with_a_small_allocation_stay_whole() -> None:
    items = [an_item("net", 0.68, floor=0.56), an_item("disk", 0.57, floor=0.45)]
    items += [an_item("cpu", 0.34, vcpus=4, serving=0.02, floor=0.22), an_item("hog", 0.14, vcpus=4, floor=None)]
    items += [an_item("noisy", 0.14, floor=None)]
    placed = homes((0, 1), items, Homes()).at
    assert {uuid: set(stages.values()) for uuid, stages in placed.items()} == {
        "net": {0}, "disk": {1}, "cpu": {1}, "hog": {0}, "noisy": {1},
    }  # fmt: skip


def test_several_busy_vcpus_with_a_larger_allocation_are_spread_guaranteed_or_not() -> None:
    net = an_item("net", 0.5)
    for floor in (0.2, None):
        assert cpus_of("computing", [net, an_item("computing", 0.9, vcpus=4, serving=0.02, floor=floor)]) == {0, 1}
        assert len(cpus_of("computing", [net, an_item("computing", 0.4, vcpus=4, floor=floor)])) == 1


def test_a_serial_pipeline_stays_whole_although_it_has_several_vcpus() -> None:
    serial = an_item("disk", 0.9, vcpus=4)
    serial = replace(
        serial, demand_cores={s: 0.6 if s in ((Role.VCPU, 2), (Role.EMULATOR, 0)) else 0.0 for s in serial.stages}
    )
    assert len(cpus_of("disk", [serial])) == 1
    assert len(cpus_of("disk", [an_item("disk", 0.9, vcpus=4)])) == 2


def test_a_guaranteed_instance_that_no_cpu_has_room_for_is_taken_apart() -> None:
    items = [an_item("a", 0.8), an_item("b", 0.7), an_item("c", 0.45, vcpus=4, serving=0.2)]
    assert cpus_of("c", items) == {0, 1}
    assert len(cpus_of("c", items, (0, 1, 2))) == 1


def test_one_that_was_taken_apart_is_whole_again_when_there_is_room() -> None:
    items = [an_item("a", 0.8), an_item("b", 0.7), an_item("c", 0.35, vcpus=4, serving=0.2)]
    apart = homes((0, 1), items, Homes())
    assert set(apart.at["c"].values()) == {0, 1}
    assert homes((0, 1), items, apart) == apart
    assert len(set(homes((0, 1), items[1:], apart).at["c"].values())) == 1


def test_each_stage_is_placed_within_its_allowed_cpus() -> None:
    pinned = an_item("pinned", 0.4, vcpus=2)
    allowed = {(Role.VCPU, 0): (9,), (Role.VCPU, 1): (12, 70), (Role.EMULATOR, 0): (12, 70)}
    placed = homes((4, 9, 12), [replace(pinned, allowed=allowed), an_item("free", 0.5)], Homes()).at
    assert placed["pinned"] == {(Role.VCPU, 0): 9, (Role.VCPU, 1): 12, (Role.EMULATOR, 0): 12}
    assert set(placed["free"].values()) == {4}


def test_what_has_no_cpu_here_is_not_placed() -> None:
    half = replace(an_item("half", 0.4, vcpus=2), allowed={(Role.VCPU, 0): (70,), (Role.EMULATOR, 0): ()})
    gone = replace(an_item("gone", 0.4), allowed={(Role.VCPU, 0): (70,), (Role.EMULATOR, 0): (70,)})
    placement = place((0, 1), [half, gone, an_item("free", 0.5)], Placement(), 0.0)
    assert set(placement.homes.at["half"]) == {(Role.VCPU, 1)} == set(placement.sets["half"])
    assert "gone" not in placement.homes.at and not placement.cpus("gone")


def test_the_shape_has_hysteresis() -> None:
    def at(cores: float, before: Homes) -> Homes:
        return homes((0, 1), [an_item("net", 0.3), an_item("cpu", cores, vcpus=4, serving=0.02, floor=None)], before)

    whole, apart = at(0.48, Homes()), at(0.52, Homes())
    assert (whole.was_whole("cpu"), apart.was_whole("cpu")) == (True, False)
    assert at(0.56, whole) == whole and at(0.46, apart) == apart
    assert not at(0.65, whole).was_whole("cpu") and at(0.35, apart).was_whole("cpu")


def test_a_cpu_that_others_leave_idle_is_added_to_who_wants_more() -> None:
    light = an_item("light", 0.3, demand=0.2)
    hog = an_item("hog", 0.4, vcpus=4, floor=None)
    placement = place((5, 8), [light, hog], Placement(), 0.0)
    assert placement.open_cpus == {5} and placement.reaching == {"hog"}
    assert placement.cpus("light") == {5} and placement.cpus("hog") == {5, 8}
    within = replace(hog, allowed=dict.fromkeys(hog.stages, (8,)))
    assert place((5, 8), [light, within], Placement(), 0.0).cpus("hog") == {8}


def test_a_host_that_is_full_everywhere_has_no_open_cpu() -> None:
    placement = place((0, 1), [an_item("a", 0.6), an_item("b", 0.6), an_item("hog", 0.4, floor=None)], Placement(), 0.0)
    assert not placement.open_cpus
    assert all(len(cpus) == 1 for stages in placement.sets.values() for cpus in stages.values())


def test_a_cpu_is_not_open_while_a_floor_at_home_there_is_missed() -> None:
    light = an_item("light", 0.3, demand=0.2)
    hog = an_item("hog", 0.4, vcpus=4, floor=None)
    before = place((0, 1), [light, hog], Placement(), 0.0)
    closed = place((0, 1), [replace(light, owed=True, strained=True), hog], before, 1.0)
    assert closed.cpus("hog") == {1}
    soon = place((0, 1), [light, hog], closed, 2.0)
    assert soon.cpus("hog") == {1}, "it stays closed for a while"
    assert place((0, 1), [light, hog], soon, 1.0 + STAYS_CLOSED_AFTER_DEBT_SECONDS).cpus("hog") == {0, 1}
    busy = replace(light, demand_cores=dict.fromkeys(light.stages, 0.5))
    again = place((0, 1), [light, hog], place((0, 1), [busy, hog], before, 1.0), 0.9 + STAYS_CLOSED_SECONDS)
    assert again.cpus("hog") == {1}
    assert place((0, 1), [light, hog], again, 1.0 + STAYS_CLOSED_SECONDS).cpus("hog") == {0, 1}
    assert not place((0, 1), [replace(light, strained=True), hog], Placement(), 0.0).open_cpus


def test_on_many_cpus_the_stages_of_a_spread_instance_share_one_set() -> None:
    cpus = tuple(range(3, 35, 2))
    big = an_item("big", 5.0, vcpus=8, serving=0.05, floor=0.2)
    placement = place(cpus, [big, *(an_item(f"n{n}", 0.7, floor=None) for n in range(11))], Placement(), 0.0)
    sets = set(placement.sets["big"].values())
    assert len(sets) == 1 and len(sets.pop()) >= 5
    assert all(len(placement.cpus(f"n{n}")) == 1 for n in range(11))


def test_on_many_cpus_few_move_where_few_moves_are_enough() -> None:
    cpus = tuple(range(8))
    sizes = [0.3 + 0.01 * n for n in range(24)]
    items = [an_item(f"i{n:02}", size, floor=0.2 if n % 2 else None) for n, size in enumerate(sizes)]
    before = homes(cpus, items, Homes())
    grown = [replace(item, allocation_cores=0.9) if item.uuid == "i02" else item for item in items]
    after = homes(cpus, grown, before)
    moved = [item.uuid for item in items if after.at[item.uuid] != before.at[item.uuid]]
    anew = homes(cpus, grown, Homes())
    assert 1 <= len(moved) <= 3
    assert sum(anew.at[item.uuid] != before.at[item.uuid] for item in items) >= 10, "packed anew, many would move"


def test_one_that_sleeps_stays_where_it_was_unless_that_cpu_is_gone() -> None:
    a, b = an_item("a", 0.6), an_item("b", 0.5)
    before = place((0, 1, 2), [a, b], Placement(), 0.0)
    after = place((0, 1, 2), [a], before, 1.0)
    assert after.sets["b"] == before.sets["b"] and after.homes.at["b"] == before.homes.at["b"]
    assert "b" not in place((0, 2), [a], before, 1.0).sets


def test_what_feedback_adds_takes_nothing_apart() -> None:
    items = [an_item("net", 0.55), an_item("disk", 0.45), an_item("cpu", 0.34, vcpus=4, serving=0.02, floor=0.22)]
    inflated = [
        replace(i, granted_cores=i.reserved_cores * 2, allocation_cores=i.allocation_cores + i.reserved_cores)
        for i in items
    ]
    assert homes((0, 1), inflated, Homes()) == homes((0, 1), items, Homes())
    assert not homes((0, 1), inflated, Homes()).spread


def test_the_io_of_a_spread_instance_has_its_part_of_the_reservation_whatever_its_vcpus_want() -> None:
    busy = an_item("busy", 1.6, vcpus=4, serving=0.1, floor=1.0)
    vcpus = {s: 0.05 for s in busy.stages if s[0] is Role.VCPU}
    busy = replace(busy, reserved_parts={**vcpus, (Role.EMULATOR, 0): 0.8})
    placed = homes((0, 1), [an_item("a", 0.6), busy], Homes()).at
    assert placed["busy"][Role.EMULATOR, 0] not in placed["a"].values(), "0.6 and 0.8 do not fit one CPU"
