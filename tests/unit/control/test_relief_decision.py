"""Which instance leaves a host that cannot keep its floors, where it goes, and when nothing moves."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stella.control import relief_decision
from stella.control.incurable import incurable, missed_per_hour, short_cores
from stella.control.relief_news import AGAIN_SECONDS, PAUSE_SECONDS, Told, is_news
from stella.control.relief_view import (
    Guest,
    HostView,
    Kind,
    Limits,
    Miss,
    Mode,
    MoveDecision,
    PastMove,
    State,
)
from stella.model import reasons
from stella.model.attainment import Cause
from stella.model.reasons import OTHER

NOW, LIMITS = 1_000_000.0, Limits()


def guest(uuid: str, *, priority: int | None = None, reserved: float = 0.0, used: float = 0.5, **more: object) -> Guest:
    made = Guest(uuid=uuid, project="p1", priority=priority, reserved_cores=reserved, used_cores=used, move_cost=1.0)
    return replace(made, **more)  # type: ignore[arg-type]


def miss(instance: str = "victim", *, seconds: float = 60.0, short: float | None = 0.4, **more: object) -> Miss:
    made = Miss(instance=instance, metric="cpu", cause=Cause.CPU, missed_seconds=seconds, short_cores=short)
    return replace(made, **more)  # type: ignore[arg-type]


VICTIM = guest("victim", priority=5, reserved=0.6, used=0.3)
FULL = HostView(
    name="full",
    capacity_cores=1.8,
    reserved_cores=0.6,
    used_cores=1.8,
    mode=Mode.ACT,
    misses=(miss(offender="hog"),),
    guests=(VICTIM, guest("hog", used=0.9), guest("small", used=0.2)),
)
EMPTY = HostView(name="empty", capacity_cores=1.8, reserved_cores=0.0, used_cores=0.1, mode=Mode.ACT)


def decide(
    *hosts: HostView,
    past: Sequence[PastMove] = (),
    limits: Limits = LIMITS,
    silent: int = 0,
    unfit: tuple[str, ...] = (),
) -> tuple[MoveDecision, ...]:
    made = relief_decision.decide(
        hosts or (FULL, EMPTY),
        past,
        fits=lambda uuid, host: host not in unfit,
        limits=limits,
        now=NOW,
        silent_hosts=silent,
        all_hosts=20,
    )
    for one in made:  # whatever it says, a page can say it in another language
        codes = [part.code for part in reasons.read(one.reason)]
        assert codes and OTHER not in codes, one.reason
    return made


def past(instance: str = "other", **more: object) -> PastMove:
    made = PastMove(
        instance=instance,
        project="p2",
        source="full",
        destination="empty",
        state=State.DONE,
        began_at=NOW - 700.0,
        ended_at=NOW - 690.0,
    )
    return replace(made, **more)  # type: ignore[arg-type]


def test_the_cheapest_that_frees_enough_moves() -> None:
    (made,) = decide()
    assert (made.state, made.instance, made.source, made.destination) == (State.RESERVED, "hog", "full", "empty")
    assert (made.freed_cores, made.predicted_effect, made.victims) == (0.9, 1800.0, ("victim",))
    assert made.reason == "the floor of another instance is missed on full; moving it to empty frees 0.900 cores"


def test_a_guaranteed_one_moves_only_where_no_best_effort_one_frees_enough() -> None:
    beside = replace(FULL, guests=(VICTIM, guest("small", used=0.2), guest("cheap", priority=1, reserved=0.5)))
    assert decide(beside, EMPTY)[0].instance == "cheap"
    higher = replace(FULL, guests=(VICTIM, guest("small", used=0.2), guest("gold", priority=6, reserved=0.5)))
    (made,) = decide(higher, EMPTY)
    assert (made.instance, made.predicted_effect) == ("victim", 1800.0), "never one of a higher priority"
    assert "its own floor is missed" in made.reason


def test_of_two_alike_the_offender_moves() -> None:
    alike = replace(FULL, guests=(VICTIM, guest("also", used=0.9), guest("hog", used=0.9)))
    assert decide(alike, EMPTY)[0].instance == "hog"
    cheaper = replace(FULL, guests=(VICTIM, guest("also", used=0.9, move_cost=0.5), guest("hog", used=0.9)))
    assert decide(cheaper, EMPTY)[0].instance == "also"


def test_what_frees_a_part_moves_where_nothing_frees_enough() -> None:
    kept = replace(VICTIM, kept_because="it is opted out of relief")
    part = replace(FULL, guests=(kept, guest("small", used=0.2), guest("tiny", used=0.1)))
    (made,) = decide(part, EMPTY)
    assert (made.instance, made.predicted_effect) == ("small", 900.0) and made.reason.endswith(
        "not all that is lacking"
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"guests": (replace(VICTIM, kept_because="it is opted out of relief"),)}, "may not be moved: it is opted out"),
        ({"guests": (guest("gold", priority=9),)}, "no instance on the host would help"),
        (
            {"misses": (miss(seconds=20.0),), "guests": (guest("tiny", used=0.01),)},
            "no move would end 60 violated seconds",
        ),
    ],
)
def test_why_nothing_moves(change: dict[str, object], reason: str) -> None:
    (made,) = decide(replace(FULL, **change), EMPTY)  # type: ignore[arg-type]
    assert made.state is State.REFUSED and reason in made.reason and not made.instance


@pytest.mark.parametrize(
    "change",
    [
        {"takes": False},
        {"is_silent": True},
        {"mode": Mode.OFF},
        {"misses": (miss("another", seconds=3.0),)},
        {"used_cores": 1.7},
        {"reserved_cores": 1.7},
    ],
)
def test_a_host_in_maintenance_silent_off_troubled_or_busy_is_no_destination(change: dict[str, object]) -> None:
    (made,) = decide(FULL, replace(EMPTY, **change))  # type: ignore[arg-type]
    assert made.state is State.REFUSED and "no other host can take" in made.reason


def test_a_guaranteed_instance_goes_only_where_admission_takes_it() -> None:
    alone = replace(FULL, guests=(VICTIM,))
    assert decide(alone, EMPTY, unfit=("empty",))[0].state is State.REFUSED
    assert decide(FULL, EMPTY, unfit=("empty",))[0].instance == "hog", "a best-effort one has nothing to admit"


@pytest.mark.parametrize(
    "change",
    [
        {"misses": (miss(seconds=14.0),)},
        {"misses": (miss(lasts=False),)},
        {"misses": (miss(cause=Cause.HOST),)},
        {"misses": (miss(cause=Cause.SENSOR),)},
        {"misses": (miss(cause=None),)},
        {"mode": Mode.OFF},
        {"takes": False},
        {"is_silent": True},
    ],
)
def test_what_ends_by_itself_or_nowhere_is_no_reason_to_move(change: dict[str, object]) -> None:
    assert decide(replace(FULL, **change), EMPTY) == ()  # type: ignore[arg-type]


def test_suggest_changes_the_state_alone() -> None:
    (acts,), (suggests,) = decide(), decide(replace(FULL, mode=Mode.SUGGEST), EMPTY)
    assert suggests == replace(acts, state=State.SUGGESTED)


def test_without_lack_of_cpu_only_the_offender_or_the_instance_itself_moves() -> None:
    slow = replace(FULL, misses=(miss(cause=Cause.BLOCK, short=None, offender=None),))
    assert decide(slow, EMPTY)[0].instance == "victim"
    named = replace(FULL, misses=(miss(cause=Cause.BLOCK, short=None, offender="small"),))
    assert decide(named, EMPTY)[0].instance == "small", "best-effort before guaranteed"


@pytest.mark.parametrize(
    ("before", "reason"),
    [
        (past("hog", ended_at=NOW - 599.0), None),
        (past(state=State.FAILED, ended_at=NOW - 59.0), "waits 60 s after a move that failed"),
    ],
)
def test_hold_time_and_back_off(before: PastMove, reason: str | None) -> None:
    (made,) = decide(past=[before])
    if reason is None:
        assert made.instance == "victim", "the hog moved a moment ago"
    else:
        assert made.state is State.REFUSED and reason in made.reason


def test_the_pause_after_failures_doubles() -> None:
    failed = [past(state=State.FAILED, ended_at=NOW - age) for age in (700.0, 400.0, 200.0)]
    assert "waits 240 s" in decide(past=failed)[0].reason
    assert decide(past=[replace(one, ended_at=(one.ended_at or 0) - 41.0) for one in failed])[0].state is State.RESERVED


def test_limits_of_host_project_and_cloud() -> None:
    six = [past(str(n)) for n in range(6)]
    assert "full has had its 6 moves" in decide(past=six)[0].reason
    ten = [past(str(n), project="p1", source="x", destination="y") for n in range(10)]
    assert "its project has had its 10 moves" in decide(past=ten)[0].reason
    thirty = [past(str(n), project=str(n), source=f"x{n}", destination=f"y{n}") for n in range(30)]
    assert "the cloud has had its 30 moves" in decide(past=thirty)[0].reason
    assert decide(past=[replace(one, began_at=NOW - 3601.0) for one in thirty])[0].state is State.RESERVED


def test_one_at_a_time_for_each_host_and_some_in_the_cloud() -> None:
    moving = past(state=State.MOVING, ended_at=None)
    assert decide(past=[moving]) == ()
    assert decide(past=[past(ended_at=NOW - 29.0)]) == (), "it has to settle"
    elsewhere = replace(moving, source="x", destination="y")
    assert decide(past=[elsewhere])[0].state is State.RESERVED
    assert decide(past=[elsewhere, replace(elsewhere, source="z", destination="w")]) == ()


def test_a_destination_is_given_once_the_worst_host_first() -> None:
    worse = replace(FULL, name="worse", misses=(miss(seconds=100.0, offender="hog"),))
    first, second = decide(FULL, worse, EMPTY)
    assert (first.source, first.state) == ("worse", State.RESERVED)
    assert (second.source, second.state) == ("full", State.REFUSED)


def test_moves_that_do_not_help_stop_further_ones() -> None:
    vain = [past(str(n), helped=False, ended_at=NOW - 800.0 + n) for n in range(2)]
    (made,) = decide(past=vain)
    assert (made.state, made.reason) == (State.STOPPED, "the last 2 moves from full did not help")
    assert decide(past=[vain[0], replace(vain[1], helped=True)])[0].state is State.RESERVED
    assert decide(past=[replace(one, ended_at=NOW - 3601.0) for one in vain])[0].state is State.RESERVED
    others = [past(str(n), source=f"x{n % 2}", destination="y", helped=False) for n in range(4)]
    assert decide(past=others)[0].reason == "the last 4 moves in the cloud did not help"
    assert decide(past=[replace(one, source="x0") for one in others])[0].state is State.RESERVED, "one host's alone"


def test_nothing_moves_while_many_hosts_look_dead() -> None:
    assert decide(silent=2)[0].state is State.RESERVED
    (made,) = decide(silent=3)
    assert (made.state, made.reason) == (State.REFUSED, "3 of 20 hosts are silent at once: nothing is moved")


def test_what_is_short() -> None:
    assert short_cores(1000.0, usage=400.0, demand=800.0, cost=0.001) == pytest.approx(0.4)
    assert short_cores(1000.0, usage=400.0, demand=None, cost=0.001) == pytest.approx(0.6)
    assert short_cores(1.0, usage=2.0, demand=3.0, cost=1.0) == 0.0
    assert missed_per_hour([miss(seconds=60.0), miss(seconds=500.0)], LIMITS) == 1800.0 + 3600.0
    assert incurable([miss(seconds=15.0)], LIMITS)


def test_news() -> None:
    made = MoveDecision(kind=Kind.RELIEF, state=State.REFUSED, source="full", reason="2 of 3 hosts")
    before = Told(
        source="full", kind=Kind.RELIEF, state=State.REFUSED, instance="", reason="1 of 3 hosts", at=NOW - 3000.0
    )
    assert is_news(made, [], NOW) and not is_news(made, [before], NOW), "figures alone are no news"
    assert AGAIN_SECONDS > 3000.0
    assert is_news(made, [replace(before, source="other")], NOW)
    assert is_news(made, [replace(before, state=State.STOPPED)], NOW)
    other = replace(before, reason="another", at=NOW - PAUSE_SECONDS)
    assert is_news(made, [other], NOW) and not is_news(made, [replace(other, at=NOW - 599.0)], NOW)
    evacuated = replace(made, kind=Kind.EVACUATION, instance="a", reason="dead")
    assert is_news(evacuated, [replace(other, kind=Kind.EVACUATION, instance="b", reason="dead", at=NOW)], NOW)


cores = st.floats(0.0, 2.0)
guests = st.lists(
    st.builds(
        Guest,
        uuid=st.uuids().map(str),
        project=st.sampled_from(["p1", "p2"]),
        priority=st.none() | st.integers(0, 9),
        reserved_cores=cores,
        used_cores=st.none() | cores,
        move_cost=st.floats(0.1, 9.0),
        kept_because=st.sampled_from(["", "it is opted out of relief"]),
    ),
    max_size=6,
    unique_by=lambda one: one.uuid,
)


@given(guests, st.lists(st.tuples(cores, cores, st.booleans(), st.booleans()), max_size=4), st.data())
def test_what_moves_may_move_fits_and_goes_where_nothing_is_missed(
    found: list[Guest], others: list[tuple[float, float, bool, bool]], data: st.DataObject
) -> None:
    missed = [miss(one.uuid, short=data.draw(cores)) for one in found if one.priority is not None][:2]
    source = replace(FULL, guests=tuple(found), misses=tuple(missed))
    hosts = [
        HostView(
            name=f"h{n}",
            capacity_cores=capacity,
            reserved_cores=used,
            used_cores=used,
            takes=takes,
            misses=(miss("x"),) if troubled else (),
        )
        for n, (capacity, used, takes, troubled) in enumerate(others)
    ]
    for made in decide(source, *hosts):
        if made.state is not State.RESERVED or made.source != "full":
            continue
        moved = next(one for one in found if one.uuid == made.instance)
        there = next(one for one in hosts if one.name == made.destination)
        highest = max(one.priority or 0 for one in found if one.uuid in {m.instance for m in missed})
        assert not moved.kept_because and there.takes and not there.misses
        assert there.room_cores >= moved.freed_cores - 1e-6
        assert moved.uuid in {m.instance for m in missed} or (moved.priority or 0) <= highest
        assert made.predicted_effect >= LIMITS.least_effect
        assert decide(replace(source, guests=tuple(reversed(found))), *reversed(hosts))[0] == made, "whatever the order"
