"""Which instance is to leave a host that cannot keep its floors, and where it goes: one move, the cheapest that frees enough.

*Frees enough*: what the instance uses, or what is set aside for it, covers the CPU that the floors of the others lack. The instance
whose floor is missed may move itself: its own need goes with it. Where the lack is not one of CPU, only the instance itself or the
offender is a choice, since nobody else is known to be in its way.

*Cheapest*: best-effort instances before guaranteed ones, then by `Guest.move_cost`; of two alike the offender. None of a higher
priority than the highest that is missed moves, but the one that is missed itself. Where no one frees enough, the one that frees the
largest part is taken, if it is still worth a move.

*Where*: a host that takes it by admission, misses nothing itself, and has as much CPU neither set aside nor used as the instance uses;
of these the one with the most left.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from stella.control.capacity import EPSILON_CORES
from stella.control.incurable import missed_per_hour
from stella.control.relief_view import Fits, Guest, HostView, Limits, Miss, Mode
from stella.model.attainment import Cause

_OF_CPU = frozenset({Cause.CPU, Cause.CAPACITY})
_LARGEST_TRIED = 8
"""So many instances are tried at most: each asks admission about several hosts."""

Refusal = Callable[[Guest], str]
"""Why this instance may not be moved now; empty where it may."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One move. ``effect``: violated seconds an hour that should end; ``freed_cores``: on the host that it leaves."""

    guest: Guest
    destination: str
    freed_cores: float
    effect: float
    is_enough: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    guest: Guest
    part: float
    is_offender: bool


def choose(
    source: HostView,
    misses: Sequence[Miss],
    destinations: Sequence[HostView],
    *,
    fits: Fits,
    refusal: Refusal,
    limits: Limits,
) -> Choice | str:
    """The move that ends most of ``misses``, all of them on ``source``; why there is none, as a sentence.

    ``destinations`` are those that a move to may begin now; ``fits`` is asked of guaranteed instances only.
    """
    lost = missed_per_hour(misses, limits)
    candidates, kept = _candidates(source, misses, refusal)
    worth = [one for one in candidates if lost * one.part >= limits.least_effect]
    if not worth:
        return _why_none(candidates, kept, limits)
    for one in sorted(worth, key=_cost)[:_LARGEST_TRIED]:
        host = _place(one.guest, source, destinations, fits)
        if host is not None:
            return Choice(
                guest=one.guest,
                destination=host.name,
                freed_cores=one.guest.freed_cores,
                effect=lost * one.part,
                is_enough=one.part >= 1.0,
            )
    return "no other host can take an instance that would help"


def _candidates(source: HostView, misses: Sequence[Miss], refusal: Refusal) -> tuple[list[_Candidate], list[str]]:
    """Those that may move and would help, and why others that would help may not."""
    missed = {miss.instance for miss in misses}
    offenders = {miss.offender for miss in misses if miss.offender is not None}
    highest = max((one.priority or 0 for one in source.guests if one.uuid in missed), default=0)
    found, kept = [], []
    for guest in source.guests:
        if guest.uuid not in missed and (guest.priority or 0) > highest:
            continue
        part = _part(guest, misses)
        if part <= 0.0:
            continue
        because = guest.kept_because or refusal(guest)
        if because:
            kept.append(because)
        else:
            found.append(_Candidate(guest=guest, part=part, is_offender=guest.uuid in offenders))
    return found, kept


def _part(guest: Guest, misses: Sequence[Miss]) -> float:
    """The part of the missed seconds that end when ``guest`` leaves, 0 to 1."""
    seconds = sum(miss.missed_seconds for miss in misses)
    others = [miss for miss in misses if miss.instance != guest.uuid]
    ends = seconds - sum(miss.missed_seconds for miss in others)
    by_cpu = [miss for miss in others if miss.cause in _OF_CPU and miss.short_cores is not None]
    short = sum(miss.short_cores or 0.0 for miss in by_cpu)
    covered = 1.0 if short <= EPSILON_CORES else min(1.0, guest.freed_cores / short)
    if guest.freed_cores > EPSILON_CORES:
        ends += covered * sum(miss.missed_seconds for miss in by_cpu)
    ends += sum(miss.missed_seconds for miss in others if miss not in by_cpu and miss.offender == guest.uuid)
    return ends / seconds if seconds > 0.0 else 0.0


def _cost(one: _Candidate) -> tuple[bool, float, bool, float, int, bool, str]:
    """Those that free enough first, the cheapest of them; of those that do not, the one that frees the largest part."""
    guest, is_short = one.guest, one.part < 1.0 - 1e-9
    return (
        is_short,
        -one.part if is_short else 0.0,
        guest.priority is not None,
        guest.move_cost,
        guest.priority or 0,
        not one.is_offender,
        guest.uuid,
    )


def _place(guest: Guest, source: HostView, destinations: Sequence[HostView], fits: Fits) -> HostView | None:
    able = [
        host
        for host in destinations
        if host.name != source.name
        and host.takes
        and not host.is_silent
        and host.mode is not Mode.OFF
        and not any(miss.lasts for miss in host.misses)
        and host.room_cores >= guest.freed_cores - EPSILON_CORES
    ]
    for host in sorted(able, key=lambda one: (-one.room_cores, one.name)):
        if guest.priority is None or fits(guest.uuid, host.name):
            return host
    return None


def _why_none(candidates: Sequence[_Candidate], kept: Sequence[str], limits: Limits) -> str:
    if candidates:
        return f"no move would end {limits.least_effect:.0f} violated seconds an hour"
    if kept:
        return f"the instances that would help may not be moved: {kept[0]}"
    return "no instance on the host would help by leaving it"
