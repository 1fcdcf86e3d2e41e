"""What must hold of every placement, whatever wants to run."""

from dataclasses import replace
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from stella.control.placement import FULL_RATIO, IDLE_RATIO, Item, Placement, Stage, full, place
from stella.model.snapshot import Role

TOLERANCE = 1e-4  # loads are compared to six digits
KEPT_IF_WITHIN_CORES = 0.07


@st.composite
def an_item(draw: st.DrawFn, uuid: str) -> Item:
    vcpus = draw(st.integers(0, 4))
    stages: list[Stage] = [(Role.VCPU, n) for n in range(vcpus)]
    stages += draw(st.sampled_from([[(Role.EMULATOR, 0)], [(Role.EMULATOR, 0), (Role.IOTHREAD, 1)]]))
    parts = draw(st.lists(st.floats(0.01, 1.0), min_size=len(stages), max_size=len(stages)))
    return Item(
        uuid=uuid,
        cores=draw(st.floats(0.03, 3.0)),
        guaranteed=draw(st.booleans()),
        stages={stage: part / sum(parts) for stage, part in zip(stages, parts, strict=True)},
    )


@st.composite
def some_items(draw: st.DrawFn) -> list[Item]:
    """At least one of them is guaranteed something: else nothing is placed."""
    first, *others = [draw(an_item(f"i{n}")) for n in range(draw(st.integers(1, 6)))]
    return [replace(first, guaranteed=True), *others]


hosts = st.sets(st.integers(0, 20), min_size=2, max_size=8).map(sorted)


def loads(cpus: list[int], items: list[Item], placement: Placement) -> dict[int, float]:
    """An instance with one vCPU stays whole and so cannot use more than one CPU."""
    load = dict.fromkeys(cpus, 0.0)
    for item in items:
        whole = sum(1 for stage in item.stages if stage[0] is Role.VCPU) < 2
        for stage, part in item.stages.items():
            load[placement[item.uuid][stage]] += (min(item.cores, 1.0) if whole else item.cores) * part
    return load


@given(hosts, some_items())
def test_every_stage_has_one_of_the_cpus(cpus: list[int], items: list[Item]) -> None:
    placement = place(cpus, items, {})
    assert set(placement) == {item.uuid for item in items}
    for item in items:
        assert set(placement[item.uuid]) == set(item.stages)
        assert set(placement[item.uuid].values()) <= set(cpus)


@given(hosts, some_items())
def test_no_cpu_is_fuller_than_the_mean_by_more_than_one_piece(cpus: list[int], items: list[Item]) -> None:
    fullest = max(loads(cpus, items, place(cpus, items, {})).values())
    mean = sum(item.cores for item in items) / len(cpus)
    assert fullest <= mean + max(item.cores for item in items) + TOLERANCE


@given(hosts, some_items(), st.randoms())
def test_the_order_of_instances_does_not_matter(cpus: list[int], items: list[Item], chance: Random) -> None:
    shuffled = list(items)
    chance.shuffle(shuffled)
    assert place(cpus, shuffled, {}) == place(cpus, items, {})


@given(hosts, some_items(), st.lists(st.floats(0.98, 1.02), min_size=6, max_size=6))
def test_a_placement_stays_while_it_is_about_as_even(cpus: list[int], items: list[Item], noise: list[float]) -> None:
    before = place(cpus, items, {})
    assert place(cpus, items, before) == before
    later = [replace(item, cores=item.cores * by) for item, by in zip(items, noise, strict=False)]
    kept, anew = place(cpus, later, before), place(cpus, later, {})
    best = max(loads(cpus, later, anew).values())
    assert max(loads(cpus, later, kept).values()) <= best + KEPT_IF_WITHIN_CORES
    if max(loads(cpus, later, before).values()) <= best:
        assert kept == before


@given(hosts, some_items())
def test_a_placement_on_a_cpu_that_went_off_line_is_not_kept(cpus: list[int], items: list[Item]) -> None:
    before = place([*cpus, 99], items, {})
    after = place(cpus, items, before)
    assert all(cpu in cpus for item in items for cpu in after[item.uuid].values())


def test_a_small_promised_instance_stays_whole_beside_its_neighbours() -> None:
    stages: dict[Stage, float] = {(Role.VCPU, 0): 0.5, (Role.EMULATOR, 0): 0.5}
    items = [Item(uuid=u, cores=0.6, guaranteed=True, stages=stages) for u in "ab"]
    hog = Item(uuid="hog", cores=0.8, guaranteed=False, stages={(Role.VCPU, n): 0.5 for n in range(2)})
    placement = place((0, 1), [hog, *items], {})
    assert [set(placement[u].values()) for u in "ab"] == [{0}, {1}]
    assert set(placement["hog"].values()) == {0, 1}


def test_nothing_is_placed_where_there_is_no_choice_or_no_promise() -> None:
    item = Item(uuid="a", cores=0.5, guaranteed=True, stages={(Role.VCPU, 0): 1.0})
    assert place((3,), [item], {}) == {} and place((), [item], {}) == {}
    assert place((0, 1), [replace(item, guaranteed=False)], {"a": {(Role.VCPU, 0): 1}}) == {}


def test_full_has_hysteresis() -> None:
    between = (FULL_RATIO + IDLE_RATIO) / 2
    assert (full(False, between), full(True, between)) == (False, True)
    assert full(False, FULL_RATIO) and not full(True, IDLE_RATIO - 0.01)
