"""The division of a simulated host's CPUs: nothing is made from nothing, weights count, and no CPU idles beside allowed work."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stella.sim.scheduler import Task, balance, divide, fill

CORES = 4
EVERY = tuple(range(CORES))


def task(instance: int = 0, *, weight: float = 100.0, bound: float = 1.0, cpus: tuple[int, ...] = EVERY) -> Task:
    return Task(instance=instance, weight=weight, bound_cores=bound, cpus=cpus, home=cpus[0])


amounts = st.floats(0, 3)
weights = st.floats(1, 10_000)


@given(st.floats(0, 4), st.lists(st.tuples(amounts, weights), max_size=8))
def test_fill_gives_no_more_than_is_there_or_wanted(room: float, claims: list[tuple[float, float]]) -> None:
    wants = [want for want, _ in claims]
    got = fill(room, wants, [weight for _, weight in claims])
    assert sum(got) <= room + 1e-9
    assert all(0 <= g <= want + 1e-9 for g, want in zip(got, wants, strict=True))
    assert sum(got) == pytest.approx(min(room, sum(wants)), abs=1e-6), "and no less either"


def test_fill_divides_by_weight_what_is_short() -> None:
    assert fill(1.0, [1.0, 1.0, 0.1], [300, 100, 1]) == pytest.approx([0.75, 0.25, 0.0], abs=0.01)
    assert fill(1.0, [0.1, 1.0, 1.0], [100, 100, 100]) == pytest.approx([0.1, 0.45, 0.45])


cpu_sets = st.lists(st.sampled_from(EVERY), min_size=1, unique=True).map(lambda cpus: tuple(sorted(cpus)))
tasks_of = st.lists(
    st.tuples(st.integers(0, 3), st.floats(1, 10_000), st.floats(0.01, 1.0), cpu_sets, st.floats(0, 1)), max_size=16
)


@given(tasks_of, st.lists(weights, min_size=4, max_size=4), st.lists(st.floats(0, 1), min_size=4, max_size=4))
def test_cpus_are_conserved_and_none_idles_beside_work_it_may_run(
    found: list[tuple[int, float, float, tuple[int, ...], float]], instances: list[float], room: list[float]
) -> None:
    tasks = [task(i, weight=w, bound=b, cpus=cpus) for i, w, b, cpus, _ in found]
    wants = [min(want, one.bound_cores) for one, (*_, want) in zip(tasks, found, strict=True)]
    balance(tasks, wants, CORES)
    assert all(one.home in one.cpus for one in tasks)
    got, used = divide(room, instances, tasks, wants)
    assert sum(got) == pytest.approx(sum(used), abs=1e-6)
    assert all(u <= r + 1e-6 for u, r in zip(used, room, strict=True))
    assert all(0 <= g <= want + 1e-6 for g, want in zip(got, wants, strict=True))
    for one, g, want in zip(tasks, got, wants, strict=True):
        if want - g > 1e-5:
            assert all(room[cpu] - used[cpu] < 1e-5 for cpu in one.cpus)


def test_the_weight_of_an_instance_divides_a_queue_however_many_of_its_threads_run_there() -> None:
    tasks = [task(0, cpus=(0,)), *(task(1, cpus=(0,)) for _ in range(3))]
    got, _ = divide([1.0], [300.0, 100.0], tasks, [1.0] * 4)
    assert got[0] == pytest.approx(0.75)
    assert got[1:] == pytest.approx([0.25 / 3] * 3)


def test_weights_inside_an_instance_divide_its_own_part() -> None:
    tasks = [task(0, weight=300, cpus=(0,)), task(0, weight=100, cpus=(0,)), task(1, cpus=(0,))]
    got, _ = divide([1.0], [100.0, 100.0], tasks, [1.0, 1.0, 1.0])
    assert got == pytest.approx([0.375, 0.125, 0.5])


def test_balancing_spreads_what_is_on_one_cpu() -> None:
    tasks = [task(n) for n in range(4)]
    for _ in range(3):
        balance(tasks, [1.0] * 4, CORES)
    assert sorted(one.home for one in tasks) == [0, 1, 2, 3]


def test_balancing_leaves_alone_what_is_about_even() -> None:
    tasks = [task(0, cpus=EVERY), task(1, cpus=EVERY)]
    tasks[1].home = 1
    balance(tasks, [0.5, 0.45], CORES)
    assert [one.home for one in tasks] == [0, 1]


def test_a_thread_that_never_sleeps_overruns_those_that_yield_to_it() -> None:
    tasks = [task(0, cpus=(0,)), task(1, cpus=(0,))]
    heavy = [5000.0, 100.0]
    assert divide([1.0], heavy, tasks, [1.0, 1.0])[0][1] < 0.05
    tasks[0].yields = True
    assert divide([1.0], heavy, tasks, [0.9, 1.0])[0] == pytest.approx([0.6, 0.4]), "whatever its weight"
    assert divide([1.0], heavy, tasks, [0.9, 0.3])[0][1] == pytest.approx(0.1, abs=0.02), "one that sleeps does not"
    tasks[1].bound_cores = 0.05
    assert divide([1.0], heavy, tasks, [0.9, 0.05])[0] == pytest.approx([0.9, 0.05]), "a quota ends it"
