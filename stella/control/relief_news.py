"""Which decisions that move nothing are worth a record: they are made anew every few seconds, and are told once."""

from collections.abc import Sequence
from dataclasses import dataclass

from stella.control.following import is_same_reason
from stella.control.relief_view import Kind, MoveDecision, State

AGAIN_SECONDS = 3600.0
"""So long the same is not said again of a host."""

PAUSE_SECONDS = 600.0
"""So long nothing else is suggested, or refused, for a host: what is tried changes with every second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A decision that was recorded at ``at`` (Unix seconds) and moved nothing."""

    source: str
    kind: Kind
    state: State
    instance: str
    reason: str
    at: float


def is_news(made: MoveDecision, told: Sequence[Told], now: float) -> bool:
    """Whether a decision is to be recorded, after those within the last `AGAIN_SECONDS`. An evacuation is told of each instance."""
    for one in told:
        if (one.source, one.kind, one.state) != (made.source, made.kind, made.state):
            continue
        if one.instance == made.instance and is_same_reason(one.reason, made.reason):
            return False
        if made.kind is Kind.RELIEF and now - one.at < PAUSE_SECONDS:
            return False
    return True
