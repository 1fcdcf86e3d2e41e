"""What must hold of every placement, whatever wants to run."""

from dataclasses import replace
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from stella.control.cpu_sets import Placement, place
from stella.control.placement import FEW_CPUS, FULL_RATIO, IDLE_RATIO, Homes, Item, Stage, full, homes
from stella.model.snapshot import Role

KEPT_IF_WITHIN_CORES = 0.07
CPUS = 20


@st.composite
def an_item(draw: st.DrawFn, uuid: str) -> Item:
    vcpus = draw(st.integers(0, 4))
    stages: list[Stage] = [(Role.VCPU, n) for n in range(vcpus)]
    stages += draw(st.sampled_from([[(Role.EMULATOR, 0)], [(Role.EMULATOR, 0), (Role.IOTHREAD, 1)]]))
    parts = draw(st.lists(st.floats(0.01, 1.0), min_size=len(stages), max_size=len(stages)))
    allocation = draw(st.floats(0.03, 3.0))
    guaranteed = draw(st.booleans())
    return Item(
        uuid=uuid,
        allocation_cores=allocation,
        reserved_cores=draw(st.floats(0.01, 1.0)) * allocation if guaranteed else 0.0,
        best_effort_cores=draw(st.floats(0.0, 1.0)) * allocation,
        guaranteed=guaranteed,
        stages={stage: part / sum(parts) for stage, part in zip(stages, parts, strict=True)},
        demand_cores={stage: draw(st.floats(0.0, 1.0)) for stage in stages},
    )


@st.composite
def some_items(draw: st.DrawFn) -> list[Item]:
    """At least one of them is guaranteed something: else nothing is placed."""
    first, *others = [draw(an_item(f"i{n}")) for n in range(draw(st.integers(1, 6)))]
    return [replace(first, guaranteed=True, reserved_cores=0.5 * first.allocation_cores), *others]


@st.composite
def bounded_items(draw: st.DrawFn) -> list[Item]:
    """Some of them with stages that libvirt or an administrator confines, perhaps to CPUs that this host does not have."""
    confined = st.lists(st.integers(0, CPUS + 4), max_size=6).map(tuple)
    return [
        replace(item, allowed={s: draw(confined) for s in item.stages if draw(st.booleans())})
        for item in draw(some_items())
    ]


hosts = st.sets(st.integers(0, CPUS), min_size=2, max_size=8).map(sorted)


def is_whole(item: Item, placed: Homes) -> bool:
    return bool(placed.was_whole(item.uuid))


def loads(cpus: list[int], items: list[Item], placed: Homes) -> dict[int, float]:
    """What each CPU counts for: of a guaranteed instance that is whole, its reservation."""
    load = dict.fromkeys(cpus, 0.0)
    for item in items:
        cores = item.allocation_cores
        if is_whole(item, placed):
            cores = min(max(item.reserved_cores, item.best_effort_cores) if item.guaranteed else cores, 1.0)
        for stage, cpu in placed.at[item.uuid].items():
            load[cpu] += cores * item.stages[stage]
    return load


@given(hosts, bounded_items(), bounded_items())
def test_every_stage_has_a_home_and_a_set_within_what_is_allowed(
    cpus: list[int], earlier: list[Item], items: list[Item]
) -> None:
    before = place(cpus, earlier, Placement(), 0.0)
    placement = place(cpus, items, before, 0.25)
    for item in items:
        usable = {s: set(item.allowed.get(s, cpus)) & set(cpus) for s in item.stages}
        placed = placement.homes.at.get(item.uuid, {})
        assert placed.keys() == {s for s in item.stages if usable[s]}
        assert placement.sets.get(item.uuid, {}).keys() == placed.keys()
        for stage, cpu in placed.items():
            assert cpu in placement.sets[item.uuid][stage]
            assert set(placement.sets[item.uuid][stage]) <= usable[stage]


@given(hosts, some_items())
def test_reservations_are_carried_where_pieces_as_admission_counts_them_fit(cpus: list[int], items: list[Item]) -> None:
    pieces = []
    for item in items:
        vcpus = [part for stage, part in item.stages.items() if stage[0] is Role.VCPU]
        if len(vcpus) < 2:
            pieces.append(item.reserved_cores)
        else:
            pieces += [item.reserved_cores * part for part in [*vcpus, 1 - sum(vcpus)]]
    promised = dict.fromkeys(cpus, 0.0)
    for size in sorted(pieces, reverse=True):
        promised[min(cpus, key=lambda c: promised[c])] += size
    carried = dict.fromkeys(cpus, 0.0)
    placed = homes(cpus, items, Homes())
    for item in items:
        for stage, cpu in placed.at[item.uuid].items():
            carried[cpu] += min(item.reserved_cores, 1.0 if is_whole(item, placed) else 9.0) * item.stages[stage]
    if max(promised.values()) <= 1.0:
        assert max(carried.values()) <= 1.0 + 1e-4


@given(hosts, an_item("same"), some_items(), st.floats(0.01, 0.9))
def test_an_slo_takes_no_cpus_away(cpus: list[int], item: Item, others: list[Item], floor: float) -> None:
    without = replace(item, guaranteed=False, reserved_cores=0.0)
    allocation = item.allocation_cores + floor  # what is divided: the floor, and as much of the rest
    having = replace(item, guaranteed=True, reserved_cores=floor, allocation_cores=allocation)
    before, after = (homes(cpus, [one, *others], Homes()) for one in (without, having))
    assert after.was_whole("same") <= before.was_whole("same")


@given(hosts, some_items(), st.randoms())
def test_the_order_of_instances_does_not_matter(cpus: list[int], items: list[Item], chance: Random) -> None:
    shuffled, mixed = list(items), list(cpus)
    chance.shuffle(shuffled)
    chance.shuffle(mixed)
    assert place(mixed, shuffled, Placement(), 0.0) == place(cpus, items, Placement(), 0.0)


@given(hosts, some_items(), st.lists(st.floats(0.98, 1.02), min_size=6, max_size=6))
def test_a_placement_stays_while_it_is_about_as_even(cpus: list[int], items: list[Item], noise: list[float]) -> None:
    before = homes(cpus, items, Homes())
    assert homes(cpus, items, before) == before
    later = [
        replace(i, allocation_cores=i.allocation_cores * by, reserved_cores=i.reserved_cores * by)
        for i, by in zip(items, noise, strict=False)
    ]
    kept, anew = homes(cpus, later, before), homes(cpus, later, Homes())
    if kept.spread == anew.spread:  # else the shape of one is kept, within its hysteresis
        best = max(loads(cpus, later, anew).values())
        assert max(loads(cpus, later, kept).values()) <= best + KEPT_IF_WITHIN_CORES


@given(hosts, some_items())
def test_a_placement_on_a_cpu_that_went_off_line_is_not_kept(cpus: list[int], items: list[Item]) -> None:
    before = place([*cpus, 99], items, Placement(), 0.0)
    after = place(cpus, items[:1], before, 0.25)
    assert all(after.cpus(uuid) <= set(cpus) for uuid in after.sets)


@given(hosts, some_items())
def test_an_open_cpu_is_one_that_its_own_leave_idle(cpus: list[int], items: list[Item]) -> None:
    placement = place(cpus, items, Placement(), 0.0)
    demand = dict.fromkeys(cpus, 0.0)
    for item in items:
        for stage, cpu in placement.homes.at[item.uuid].items():
            demand[cpu] += item.demand_cores[stage]
    assert placement.open_cpus == {cpu for cpu in cpus if demand[cpu] < 0.8}
    for item in items:
        own = set(placement.homes.at[item.uuid].values())
        extra = placement.cpus(item.uuid) - own
        assert extra in (set(), placement.open_cpus - own)
        if len(cpus) > FEW_CPUS:
            assert len(set(placement.sets[item.uuid].values())) == 1


def test_nothing_is_placed_where_there_is_no_choice_or_no_guarantee() -> None:
    item = Item(uuid="a", allocation_cores=0.5, reserved_cores=0.5, guaranteed=True, stages={(Role.VCPU, 0): 1.0})
    before = Homes(at={"a": {(Role.VCPU, 0): 1}})
    assert homes((3,), [item], before) == homes((), [item], before) == Homes()
    assert homes((0, 1), [replace(item, guaranteed=False, reserved_cores=0.0)], before) == Homes()


def test_full_has_hysteresis() -> None:
    between = (FULL_RATIO + IDLE_RATIO) / 2
    assert (full(False, between), full(True, between)) == (False, True)
    assert full(False, FULL_RATIO) and not full(True, IDLE_RATIO - 0.01)
