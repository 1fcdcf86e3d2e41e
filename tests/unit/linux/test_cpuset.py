"""Lists of CPUs, as the kernel writes them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stella.linux.cgroup import InvalidText
from stella.linux.cpuset import parse_cpus, show_cpus


@pytest.mark.parametrize(
    ("text", "cpus"),
    [("", ()), ("\n", ()), ("0", (0,)), ("0-3,8\n", (0, 1, 2, 3, 8)), ("7,2-3,2", (2, 3, 7)), ("0-0", (0,))],
)
def test_lists_are_read(text: str, cpus: tuple[int, ...]) -> None:
    assert parse_cpus(text) == cpus


def test_lists_are_as_short_as_can_be() -> None:
    assert [show_cpus(cpus) for cpus in ((), (5,), (3, 0, 1, 1), (0, 2, 3, 4))] == ["", "5", "0-1,3", "0,2-4"]


@given(st.sets(st.integers(0, 4095), max_size=40))
def test_round_trip(cpus: set[int]) -> None:
    assert parse_cpus(show_cpus(cpus)) == tuple(sorted(cpus))


@pytest.mark.parametrize("text", ["a", "0-", "-", "-3", "1-2-3", "0x1", "1;2", "0-9999999999"])
def test_what_is_no_list_is_refused(text: str) -> None:
    with pytest.raises(InvalidText):
        parse_cpus(text)
