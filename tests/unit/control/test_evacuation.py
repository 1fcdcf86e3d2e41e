"""A dead host: nothing is rebuilt elsewhere before it is certain that nothing runs there."""

from dataclasses import replace

import pytest

from stella.control.evacuation import DEAD_SECONDS, DeadHost, Fence, Stranded, acts_elsewhere, evacuate, fence
from stella.control.relief_view import HostView, Kind, Limits, Mode, MoveDecision, State
from stella.model import reasons


def stranded(uuid: str, priority: int = 0, cores: float = 0.5, **more: object) -> Stranded:
    made = Stranded(uuid=uuid, priority=priority, reserved_cores=cores, host="dead", status="ACTIVE")
    return replace(made, **more)  # type: ignore[arg-type]


DEAD = DeadHost(
    name="dead",
    silent_seconds=60.0,
    is_fenced=True,
    is_down=True,
    mode=Mode.ACT,
    instances=(stranded("low", 1), stranded("high", 9), stranded("middle", 5)),
)
HOSTS = (
    HostView(name="big", capacity_cores=4.0, reserved_cores=0.0),
    HostView(name="small", capacity_cores=3.8, reserved_cores=0.0),
    HostView(name="dead", capacity_cores=9.0, reserved_cores=0.0),
    HostView(name="resting", capacity_cores=9.0, reserved_cores=0.0, takes=False),
)


def run(dead: DeadHost, *, silent: int = 1, full: tuple[str, ...] = (), largest: int = 9) -> tuple[MoveDecision, ...]:
    made = evacuate(
        dead,
        HOSTS,
        take=lambda uuid, host: host not in full,
        silent_hosts=silent,
        all_hosts=4,
        limits=Limits(),
        largest=largest,
    )
    assert all(reasons.read(one.reason) for one in made), "what it says has a code"
    return made


def test_the_highest_priority_goes_first_to_where_most_is_free() -> None:
    made = run(DEAD)
    assert [(one.instance, one.destination) for one in made] == [("high", "big"), ("middle", "small"), ("low", "big")]
    assert {(one.kind, one.state, one.source) for one in made} == {(Kind.EVACUATION, State.RESERVED, "dead")}
    assert [one.instance for one in run(DEAD, largest=1)] == ["high"] and run(DEAD, largest=0) == ()


def test_suggest_and_off() -> None:
    assert {one.state for one in run(replace(DEAD, mode=Mode.SUGGEST))} == {State.SUGGESTED}
    assert run(replace(DEAD, mode=Mode.OFF)) == ()


@pytest.mark.parametrize("mode", [Mode.SUGGEST, Mode.ACT])
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"is_fenced": False}, "not fenced: 3 instances with an SLO wait"),
        ({"is_down": False}, "the cloud does not call it down yet"),
    ],
)
def test_not_fenced_or_not_down_is_a_recommendation(mode: Mode, change: dict[str, object], reason: str) -> None:
    (made,) = run(replace(DEAD, mode=mode, **change))  # type: ignore[arg-type]
    assert made.state is State.SUGGESTED and not made.instance and reason in made.reason


def test_many_that_look_dead_at_once_are_left_alone() -> None:
    (made,) = run(DEAD, silent=2)
    assert made.state is State.REFUSED and made.reason == "2 of 4 hosts are silent at once: nothing is evacuated"


def test_a_host_that_is_silent_for_a_moment_or_empty_is_left_alone() -> None:
    assert run(replace(DEAD, silent_seconds=DEAD_SECONDS - 1)) == () == run(replace(DEAD, instances=()))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"host": "big"}, "it is on big already"),
        ({"host": None}, "it is on no host already"),
        ({"task_state": "rebuilding"}, "the cloud works on it already: rebuilding"),
        ({"migrations": ("done", "pre-migrating")}, "the cloud moves it already: pre-migrating"),
        ({"status": "SHELVED_OFFLOADED"}, "its status SHELVED_OFFLOADED"),
        ({"status": "DELETED"}, "its status DELETED"),
    ],
)
def test_what_others_act_on_is_never_evacuated_twice(change: dict[str, object], reason: str) -> None:
    one = stranded("high", **change)
    assert reason in acts_elsewhere(one, "dead")
    assert [made.instance for made in run(replace(DEAD, instances=(one, stranded("low"))))] == ["low"]
    assert acts_elsewhere(stranded("a", migrations=("error", "done")), "dead") == ""


def test_without_room_it_says_so_for_each() -> None:
    made = run(DEAD, full=("big", "small"))
    assert {(one.state, one.destination, one.reason) for one in made} == {
        (State.REFUSED, "", "no other host can take it")
    }


def test_the_fencing_command_runs_only_where_evacuation_follows() -> None:
    ready = replace(DEAD, is_fenced=False, has_fencing_command=True)

    def asked(dead: DeadHost, silent: int = 1) -> Fence:
        return fence(dead, silent_hosts=silent, all_hosts=4, limits=Limits())

    assert asked(ready) is Fence.RUN
    for change in (
        {"is_fenced": True},
        {"has_fencing_command": False},
        {"mode": Mode.SUGGEST},
        {"is_down": False},
        {"instances": ()},
        {"silent_seconds": 10.0},
    ):
        assert asked(replace(ready, **change)) is Fence.NO, change  # type: ignore[arg-type]
    assert asked(ready, silent=2) is Fence.NO
