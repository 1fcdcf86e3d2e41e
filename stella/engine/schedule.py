"""Which duty is next, pure."""

from collections.abc import Iterable, Mapping

from stella.engine.duty import Duty

Due = Mapping[str, float]
"""For each duty the monotonic seconds from which on it is to run."""


def first(duties: Iterable[Duty], now: float) -> Due:
    """All of them, at once."""
    return {duty.name: now for duty in duties}


def next_duty(duties: Iterable[Duty], due: Due, now: float) -> Duty | None:
    """The one that has waited longest, then one that was given a hint; None while none is due."""
    waiting = [duty for duty in duties if due[duty.name] <= now or (duty.is_hinted is not None and duty.is_hinted())]
    return min(waiting, key=lambda duty: due[duty.name], default=None)


def after(due: Due, duty: Duty, now: float, *, more: bool) -> Due:
    """The duty ran until ``now``. One that has more to do is due again, behind those that wait."""
    return {**due, duty.name: now if more else now + duty.interval_seconds}


def pause_seconds(due: Due, now: float, *, longest: float = 1.0) -> float:
    """How long nothing is due, ``longest`` seconds at most."""
    return max(0.0, min(longest, min(due.values(), default=now + longest) - now))
