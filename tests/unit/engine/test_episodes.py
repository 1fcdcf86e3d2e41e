"""Which violations are one, and which have ended, pure."""

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stella.control.episodes import GAP_SECONDS, Circumstances, Episode, ended_at, merge, union


def episode(number: int, opened: float, closed: float | None, **more: object) -> Episode:
    return Episode(id=number, opened_at=opened, closed_at=closed, **more)  # type: ignore[arg-type]


EPISODES = st.lists(
    st.builds(
        lambda opened, lasts, is_open: (opened, None if is_open else opened + lasts, float(lasts)),
        st.integers(0, 100),
        st.integers(1, 30),
        st.booleans(),
    ),
    max_size=12,
).map(lambda found: [episode(n + 1, o, c, missed_seconds=m) for n, (o, c, m) in enumerate(found)])


@given(EPISODES, st.randoms())
def test_what_is_merged_touches_and_what_is_not_does_not(found: list[Episode], chance: object) -> None:
    shuffled = list(found)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    roots = merge(found)
    assert roots == merge(shuffled)
    clusters: dict[int, list[Episode]] = {}
    for one in found:
        clusters.setdefault(roots[one.id] or one.id, []).append(one)
    spans = sorted((union(parts).opened_at, max(part.known_end for part in parts)) for parts in clusters.values())
    for (_, end), (start, _) in itertools.pairwise(spans):
        assert start - end >= GAP_SECONDS
    for first, parts in clusters.items():
        assert roots[first] is None and union(parts).id == first
        reach = float("inf")
        for part in sorted(parts, key=lambda e: (e.opened_at, e.id)):
            assert part.id == first or part.opened_at - reach < GAP_SECONDS
            reach = part.known_end if part.id == first else max(reach, part.known_end)


@pytest.mark.parametrize(("gap", "is_one"), [(4.9, True), (5.0, False), (-3.0, True)])
def test_a_gap_shorter_than_five_seconds_belongs_to_it(gap: float, is_one: bool) -> None:
    found = merge([episode(7, 0.0, 10.0), episode(3, 10.0 + gap, 30.0)])
    assert found == {7: None, 3: 7 if is_one else None}


def test_the_union_names_what_most_of_the_missed_seconds_name() -> None:
    parts = [
        episode(1, 0.0, 60.0, missed_seconds=5.0, cause="cpu", offender="a"),
        episode(2, 62.0, 70.0, missed_seconds=8.0, cause="block", offender="b"),
        episode(3, 71.0, None, missed_seconds=2.0, cause="block", offender="c"),
    ]
    whole = union(parts)
    assert (whole.id, whole.opened_at, whole.closed_at) == (1, 0.0, None)
    assert (whole.missed_seconds, whole.cause, whole.offender) == (15.0, "block", "b")
    untold = union([replace(part, missed_seconds=None) for part in parts[:2]])
    assert (untold.cause, untold.closed_at) == ("cpu", 70.0), "the longest where nothing else tells"
    assert union([episode(1, 0.0, 3.0)]).cause is None


OPEN = episode(1, 100.0, None, missed_seconds=20.0)


@pytest.mark.parametrize(
    ("found", "end"),
    [
        (Circumstances(), None),
        (Circumstances(gone_at=150.0), 150.0),
        (Circumstances(withdrawn_at=140.0), 140.0),
        (Circumstances(withdrawn_at=60.0), None),
        (Circumstances(silent_since=130.0), 130.0),
        (Circumstances(silent_since=90.0), 100.0),
        (Circumstances(next_opened_at=400.0), 120.0),
        (Circumstances(good_minute=180.0), 120.0),
        (Circumstances(gone_at=150.0, silent_since=130.0), 130.0),
    ],
)
def test_an_open_episode_ends_when_nobody_will_close_it(found: Circumstances, end: float | None) -> None:
    assert ended_at(OPEN, found) == end
