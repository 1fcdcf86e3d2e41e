"""Relief over two hours of whatever load: the limits hold, whichever hosts miss what, and however long moves take or fail."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from stella.control.relief_decision import decide
from stella.control.relief_view import OPEN, Guest, HostView, Limits, Miss, Mode, PastMove, State
from stella.model.attainment import Cause

_STEP_SECONDS, _STEPS = 20.0, 360
_HOUR_SECONDS = 3600.0
LIMITS = Limits(largest_of_host=4, largest_of_project=5, largest_of_cloud=8)
HOSTS, GUESTS = ("a", "b", "c", "d"), 12


def guest(number: int) -> Guest:
    priority = number % 4 or None
    reserved = 0.3 if priority else 0.0
    project = f"p{number % 3}"
    return Guest(
        uuid=f"vm{number:02}",
        project=project,
        priority=priority,
        reserved_cores=reserved,
        used_cores=0.4,
        move_cost=1.0,
    )


def view(name: str, there: list[Guest], *, lacks: bool) -> HostView:
    misses = [
        Miss(instance=one.uuid, metric="cpu", cause=Cause.CPU, missed_seconds=60.0, short_cores=0.2)
        for one in there
        if one.priority
    ]
    return HostView(
        name=name,
        capacity_cores=3.0,
        reserved_cores=sum(one.reserved_cores for one in there),
        used_cores=sum(one.used_cores or 0.0 for one in there),
        mode=Mode.ACT,
        misses=tuple(misses[:2]) if lacks else (),
        guests=tuple(there),
    )


@settings(max_examples=25, deadline=None)
@given(st.randoms(use_true_random=False), st.floats(0.05, 0.9), st.floats(0.0, 0.5), st.booleans())
def test_limits_hold_over_time(chance, lacking: float, failing: float, helps: bool) -> None:  # type: ignore[no-untyped-def]
    where = {guest(n).uuid: HOSTS[n % 2] for n in range(GUESTS)}
    past: list[PastMove] = []
    for step in range(_STEPS):
        now = step * _STEP_SECONDS
        for n, move in enumerate(past):
            if move.state in OPEN and chance.random() < 0.5:
                state = State.FAILED if chance.random() < failing else State.DONE
                past[n] = replace(move, state=state, ended_at=now, helped=helps if state is State.DONE else None)
                where[move.instance] = move.destination if state is State.DONE else move.source
        found = [guest(n) for n in range(GUESTS)]
        views = [
            view(name, [one for one in found if where[one.uuid] == name], lacks=chance.random() < lacking)
            for name in HOSTS
        ]
        made = decide(
            views, past, fits=lambda uuid, host: True, limits=LIMITS, now=now, silent_hosts=0, all_hosts=len(HOSTS)
        )
        for one in made:
            if one.state is State.RESERVED:
                project = next(g.project for g in found if g.uuid == one.instance)
                begun = PastMove(
                    instance=one.instance,
                    project=project,
                    source=one.source,
                    destination=one.destination,
                    state=State.MOVING,
                    began_at=now,
                )
                _check(begun, past, now)
                past.append(begun)


def _check(begun: PastMove, past: list[PastMove], now: float) -> None:
    under_way = [one for one in past if one.state in OPEN]
    hosts = {begun.source, begun.destination}
    assert len(under_way) < LIMITS.largest_at_once
    assert not [one for one in under_way if hosts & {one.source, one.destination}], "one at a time for each host"
    own = [one for one in past if one.instance == begun.instance]
    assert all(one.ended_at is not None and now - one.ended_at >= LIMITS.hold_seconds for one in own)
    hour = [one for one in past if now - one.began_at < _HOUR_SECONDS]
    assert len(hour) < LIMITS.largest_of_cloud
    assert sum(one.project == begun.project for one in hour) < LIMITS.largest_of_project
    for host in hosts:
        assert sum(host in (one.source, one.destination) for one in hour) < LIMITS.largest_of_host
    last = [one for one in past if one.source == begun.source and one.helped is not None]
    last.sort(key=lambda one: (one.ended_at or 0.0, one.instance))
    vain = last[-LIMITS.stop_after :]
    if len(vain) == LIMITS.stop_after and not any(one.helped for one in vain):
        assert now - (vain[-1].ended_at or 0.0) >= LIMITS.stop_seconds, "what did not help stops"
