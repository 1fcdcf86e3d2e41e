"""Which instances would have to move: the least effort, lower priorities first, never a higher one."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from stella.control.relief import LARGEST_SET, Movable, Move, relief


def find(
    movables: Sequence[tuple[str, float, int]], short: float, *, priority: int = 5, homeless: str = ""
) -> tuple[Move, ...]:
    cores = {name: size for name, size, _ in movables}
    return relief(
        [Movable(uuid=name, cores=size, priority=p) for name, size, p in movables],
        short_cores=short,
        priority=priority,
        makes_room=lambda uuids: sum(cores[u] for u in uuids) >= short,
        places=lambda uuids: None if set(uuids) & set(homeless) else [f"to-{uuid}" for uuid in uuids],
    )


def moved(*arguments: object, **more: object) -> str:
    return "".join(sorted(move.uuid for move in find(*arguments, **more)))  # type: ignore[arg-type]


def test_the_least_reserved_cpu_that_is_enough_moves() -> None:
    many = [("a", 2.0, 0), ("b", 0.5, 0), ("c", 0.7, 0), ("d", 0.15, 0)]
    assert moved(many, 0.5) == "b" and moved(many, 0.6) == "bd" and moved(many, 0.68) == "c"
    assert moved(many, 1.3) == "bcd" and moved(many, 1.5) == "a" and moved(many, 9.0) == ""
    assert find([("a", 1.0, 0)], 0.5) == (Move(uuid="a", host="to-a"),)


def test_lower_priorities_move_first_and_never_a_higher_one() -> None:
    assert moved([("a", 0.5, 3), ("b", 2.0, 0)], 0.5) == "b"
    assert moved([("a", 0.5, 6), ("b", 2.0, 5)], 0.5) == "b"
    assert moved([("a", 0.5, 6)], 0.5) == ""


def test_what_no_host_takes_does_not_move() -> None:
    assert moved([("a", 0.5, 0), ("b", 0.6, 0)], 0.5, homeless="a") == "b"
    assert moved([("a", 0.5, 0)], 0.5, homeless="a") == ""


def test_where_only_single_cpus_are_too_full_one_is_tried_after_the_other() -> None:
    wanted = [Movable(uuid=name, cores=0.1, priority=0) for name in "abc"]
    found = relief(
        wanted,
        short_cores=-1.0,
        priority=0,
        makes_room=lambda uuids: "c" in uuids,
        places=lambda uuids: ["h"] * len(uuids),
    )
    assert found == (Move(uuid="c", host="h"),)


@given(
    st.lists(st.tuples(st.floats(0.01, 8), st.integers(0, 10)), max_size=80),
    st.floats(-1, 20),
    st.integers(0, 10),
    st.randoms(use_true_random=False),
)
def test_whatever_is_there_the_answer_is_small_and_enough_and_bounded(
    sizes: list[tuple[float, int]], short: float, priority: int, chance: object
) -> None:
    movables = [Movable(uuid=f"{n:03}", cores=c, priority=p) for n, (c, p) in enumerate(sizes)]
    by_uuid, asked = {one.uuid: one for one in movables}, []

    def makes_room(uuids: frozenset[str]) -> bool:
        asked.append(uuids)
        return chance.random() < 0.5  # type: ignore[attr-defined]

    found = relief(
        movables, short_cores=short, priority=priority, makes_room=makes_room, places=lambda u: ["h"] * len(u)
    )
    assert len(asked) <= 8 and len(found) <= LARGEST_SET
    assert all(by_uuid[move.uuid].priority <= priority for move in found)
    if found:
        assert sum(by_uuid[move.uuid].cores for move in found) >= short - 1e-6
        assert frozenset(move.uuid for move in found) == asked[-1]
