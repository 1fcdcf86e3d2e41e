"""How far a move has come, told from what the cloud shows of the instance. Pure.

A move is done when the cloud has the instance at the destination, at rest, and the host there reports it to Stella: from then on its
SLO is held by the instance being there. A move that the cloud does not begin within `BEGIN_SECONDS` has failed. What the cloud does is
never cut short.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from stella.control.relief_view import Kind, State

BEGIN_SECONDS = 60.0
ARRIVE_SECONDS = 120.0
"""So long after the cloud is done the destination's report is waited for; without an agent there it never comes."""

CLOCK_SECONDS = 30.0
"""The clocks of the cloud and of Stella may differ by so much."""

_FAILED = frozenset({"error", "failed", "cancelled", "aborted"})
_GONE = frozenset({"DELETED", "SHELVED_OFFLOADED"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One migration of an instance, in Nova's words. ``created_at`` is in Unix seconds."""

    kind: str
    status: str
    source: str
    destination: str
    created_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Movement:
    """Where the cloud has an instance, and what it does with it. ``migrations``: all that it knows, the oldest first."""

    host: str | None
    status: str
    task_state: str | None = None
    migrations: Sequence[Migration] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class UnderWay:
    """A move as Stella keeps it; ``since`` is when its state was set. ``has_arrived``: the destination reports the instance."""

    kind: Kind
    state: State
    source: str
    destination: str
    decided_at: float
    since: float
    has_arrived: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """The state that a move has now. ``asks``: the cloud is to be asked for it. ``reason``: why it failed."""

    state: State
    reason: str = ""
    asks: bool = False


def progress(move: UnderWay, found: Movement, now: float) -> Progress:
    """What became of a move."""
    if found.status in _GONE:
        return Progress(state=State.FAILED, reason=f"the instance is {found.status} now")
    if found.task_state:
        return Progress(state=State.MOVING)
    if found.host == move.destination:
        is_late = now - move.since >= ARRIVE_SECONDS
        return Progress(state=State.DONE if move.has_arrived or is_late else State.MOVING)
    if found.host != move.source:
        where = f"the instance went to {found.host}" if found.host else "the instance went to no host"
        return Progress(state=State.FAILED, reason=where)
    own = [one for one in found.migrations if one.created_at >= move.decided_at - CLOCK_SECONDS]
    if own and own[-1].status in _FAILED:
        return Progress(
            state=State.FAILED, reason=f"the cloud calls the {own[-1].kind or 'migration'} {own[-1].status}"
        )
    if move.state is State.RESERVED and not own:
        return Progress(state=State.RESERVED, asks=True)
    if found.status == "ERROR" and move.kind is Kind.RELIEF:
        return Progress(state=State.FAILED, reason="the instance is in status ERROR")
    if move.state is State.MOVING and not own and now - move.since >= BEGIN_SECONDS:
        return Progress(state=State.FAILED, reason=f"the cloud did not begin it within {BEGIN_SECONDS:.0f} s")
    return Progress(state=State.MOVING)
