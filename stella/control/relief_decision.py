"""What is decided for each host that cannot keep its floors: a move, a suggestion, or why nothing is moved. One decision a host.

Hosts with the most violated seconds come first. A destination that was given away in this run is not given again.
"""

from collections.abc import Sequence

from stella.control import move_limits
from stella.control.incurable import incurable, missed_per_hour
from stella.control.move_choice import Choice, choose
from stella.control.relief_view import Fits, Guest, HostView, Kind, Limits, Miss, Mode, MoveDecision, PastMove, State

_STATES = {Mode.ACT: State.RESERVED, Mode.SUGGEST: State.SUGGESTED}


def decide(
    hosts: Sequence[HostView],
    past: Sequence[PastMove],
    *,
    fits: Fits,
    limits: Limits,
    now: float,
    silent_hosts: int,
    all_hosts: int,
) -> tuple[MoveDecision, ...]:
    """The decisions of this run. RESERVED is to be carried out: reserve at the destination, then ask the cloud.

    None is made about a host that an instance moves from or to, or while as many move in the cloud as may.

    ``hosts`` are those with misses, and those where an instance could go; ``past`` the moves of the last hours. ``silent_hosts`` of
    ``all_hosts`` in the cloud do not report.
    """
    wanting = []
    for host in hosts:
        concerns = host.takes and not host.is_silent and host.mode is not Mode.OFF
        misses = incurable(host.misses, limits) if concerns else ()
        if misses:
            wanting.append((host, misses))
    wanting.sort(key=lambda pair: (-missed_per_hour(pair[1], limits), pair[0].name))
    found: list[MoveDecision] = []
    ahead = list(past)
    for host, misses in wanting:
        if move_limits.too_many_silent(silent_hosts, all_hosts, limits):
            reason = f"{silent_hosts} of {all_hosts} hosts are silent at once: nothing is moved"
            found.append(_nothing(host, misses, State.REFUSED, reason))
            continue
        if move_limits.is_cloud_busy(ahead, limits) or move_limits.is_busy(host.name, ahead, limits, now):
            continue
        made = _decide(host, misses, hosts, ahead, fits=fits, limits=limits, now=now)
        found.append(made)
        if made.state is State.RESERVED:
            ahead.append(_begun(made, host, now))
    return tuple(found)


def _decide(
    host: HostView,
    misses: Sequence[Miss],
    hosts: Sequence[HostView],
    past: Sequence[PastMove],
    *,
    fits: Fits,
    limits: Limits,
    now: float,
) -> MoveDecision:
    because = move_limits.cloud_stopped(past, limits, now) or move_limits.stopped(host.name, past, limits, now)
    if because:
        return _nothing(host, misses, State.STOPPED, because)
    because = move_limits.cloud_refusal(past, limits, now) or move_limits.host_refusal(host.name, past, limits, now)
    if because:
        return _nothing(host, misses, State.REFUSED, because)

    def refusal(guest: Guest) -> str:
        return move_limits.instance_refusal(guest.uuid, guest.project, past, limits, now)

    free = [
        one
        for one in hosts
        if not move_limits.is_busy(one.name, past, limits, now)
        and not move_limits.host_refusal(one.name, past, limits, now)
    ]
    choice = choose(host, misses, free, fits=fits, refusal=refusal, limits=limits)
    if isinstance(choice, str):
        return _nothing(host, misses, State.REFUSED, choice)
    return _move(host, misses, choice)


def _move(host: HostView, misses: Sequence[Miss], choice: Choice) -> MoveDecision:
    victims = _victims(misses)
    missed = f"the floors of {len(victims)} instances are missed on {host.name}"
    if len(victims) == 1:
        is_own = victims[0] == choice.guest.uuid
        missed = (
            f"its own floor is missed on {host.name}"
            if is_own
            else f"the floor of another instance is missed on {host.name}"
        )
    enough = "" if choice.is_enough else ", which is not all that is lacking"
    return MoveDecision(
        kind=Kind.RELIEF,
        state=_STATES[host.mode],
        source=host.name,
        instance=choice.guest.uuid,
        destination=choice.destination,
        freed_cores=choice.freed_cores,
        predicted_effect=choice.effect,
        victims=victims,
        reason=f"{missed}; moving it to {choice.destination} frees {choice.freed_cores:.3f} cores{enough}",
    )


def _nothing(host: HostView, misses: Sequence[Miss], state: State, reason: str) -> MoveDecision:
    return MoveDecision(kind=Kind.RELIEF, state=state, source=host.name, reason=reason, victims=_victims(misses))


def _victims(misses: Sequence[Miss]) -> tuple[str, ...]:
    return tuple(sorted({miss.instance for miss in misses}))


def _begun(made: MoveDecision, host: HostView, now: float) -> PastMove:
    project = next(guest.project for guest in host.guests if guest.uuid == made.instance)
    return PastMove(
        instance=made.instance,
        project=project,
        source=made.source,
        destination=made.destination,
        state=State.RESERVED,
        began_at=now,
    )
