"""Latency targets: while requests of an instance with a target take longer, the other instances on its back end are held back.

Latency is the congestion signal, and what the others may take together (the *allowance*, as a part of what is usable) follows it as a
congestion window does: multiplicative decrease while a target is exceeded, additive increase while all are met with room, which
converges to a fair and stable division (Chiu and Jain, Analysis of the Increase and Decrease Algorithms for Congestion Avoidance,
1989). Two bounds keep it calm: a decrease waits until the last one can be seen in the readings, and it starts from what the others
really take. The others always keep `LEAST_RATIO`: a target that the back end cannot reach even then does not starve them.
"""

from dataclasses import dataclass

LEAST_RATIO = 0.1
_HIGH_RATIO, _LOW_RATIO = 0.95, 0.8
_STRONGEST, _WEAKEST = 0.5, 0.9
_REACTION_SECONDS = 0.75
_RISE_PER_SECOND, _IDLE_RISE_PER_SECOND = 0.03, 0.25
_SLACK_RATIO = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """What the others may take together, 0 to 1 of what is usable (None: not restrained). Times are monotonic seconds."""

    ratio: float | None = None
    lowered_seconds: float = float("-inf")
    seen_seconds: float = float("-inf")


FREE = Allowance()


def follow(before: Allowance, *, worst_ratio: float | None, others_ratio: float, now_seconds: float) -> Allowance:
    """The allowance for the next tick.

    ``worst_ratio``: the largest latency / target of the instances with a target (None: none of them has a request under way);
    ``others_ratio``: what the others take now, as a part of what is usable.
    """
    seconds = min(1.0, max(0.0, now_seconds - before.seen_seconds))
    if worst_ratio is not None and worst_ratio > _HIGH_RATIO:
        if now_seconds - before.lowered_seconds < _REACTION_SECONDS:
            return Allowance(ratio=before.ratio, lowered_seconds=before.lowered_seconds, seen_seconds=now_seconds)
        start = min(others_ratio, 1.0 if before.ratio is None else before.ratio)
        lower = start * min(_WEAKEST, max(_STRONGEST, _HIGH_RATIO / worst_ratio))
        return Allowance(ratio=max(LEAST_RATIO, lower), lowered_seconds=now_seconds, seen_seconds=now_seconds)
    if before.ratio is None:
        return FREE
    if worst_ratio is not None and worst_ratio >= _LOW_RATIO:
        return Allowance(ratio=before.ratio, lowered_seconds=before.lowered_seconds, seen_seconds=now_seconds)
    idle = (
        worst_ratio is None or others_ratio * _SLACK_RATIO < before.ratio
    )  # what they do not use need not be won slowly
    ratio = before.ratio + (_IDLE_RISE_PER_SECOND if idle else _RISE_PER_SECOND) * seconds
    return (
        FREE
        if ratio >= 1.0
        else Allowance(ratio=ratio, lowered_seconds=before.lowered_seconds, seen_seconds=now_seconds)
    )
