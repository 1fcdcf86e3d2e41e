"""Carrying out moves: asking the cloud, and following what becomes of it, which `stella.control.move_progress` tells."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from stella.admission import reservations
from stella.clouds.port import Impossible, Mover, NoRoom, Unanswered
from stella.control.move_progress import UnderWay, progress
from stella.control.relief_view import Kind, MoveDecision, State
from stella.db import moves
from stella.db.database import Session
from stella.db.models import Host, Instance, SloRow
from stella.db.moves import Move
from stella.db.slos import system_origin
from stella.engine.duty import Work
from stella.model.slo import InvalidSlo

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a decision is about, as it was read; None where there is none."""

    source: Host
    destination: Host | None
    instance: Instance | None
    row: SloRow | None


def record(work: Work, made: MoveDecision, parts: Parts) -> None:
    """Keep a decision that moves nothing."""

    def keep(session: Session) -> None:
        origin = system_origin(work.clock())
        moves.open_(
            session, made, source=parts.source, destination=parts.destination, instance=parts.instance, origin=origin
        )

    work.store.write(keep)
    _LOG.info("%s of %s: %s: %s", made.kind.value, made.source, made.state.value, made.reason)


class NoPlace(Exception):
    """The cloud's ledger has no room at the destination; the message says of what."""


def begin(work: Work, mover: Mover, made: MoveDecision, parts: Parts) -> bool:
    """Reserve, then ask the cloud. False where nothing began, since others took the place meanwhile.

    Raises `NoPlace`, and `Unanswered` where the ledger does not answer.
    """
    assert parts.instance is not None and parts.destination is not None
    try:
        number = reservations.hold(
            work.store,
            mover,
            made,
            instance=parts.instance,
            row=parts.row,
            source=parts.source,
            destination=parts.destination,
            origin=system_origin(work.clock()),
        )
    except (NoRoom, InvalidSlo) as error:
        _LOG.warning("instance %s is not moved to %s: %s", made.instance, made.destination, error)
        raise NoPlace(str(error)) from error
    if number is None:
        return False
    _LOG.info("instance %s goes from %s to %s: %s", made.instance, made.source, made.destination, made.reason)
    _ask(work, mover, number, made.kind, parts.instance, parts.destination)
    return True


def _ask(work: Work, mover: Mover, number: int, kind: Kind, instance: Instance, destination: Host) -> None:
    """Ask the cloud for a move that is reserved. Where it does not answer, the next run looks at what it does."""
    work.store.write(lambda session: None)  # the cloud does not know our lease: it is asked before
    ask: Callable[[str, str], None] = mover.evacuate if kind is Kind.EVACUATION else mover.migrate
    try:
        ask(instance.uuid, destination.name)
    except Impossible as refusal:
        _end(work, mover, number, State.FAILED, f"the cloud refuses: {refusal}", instance, destination)
    except Unanswered as error:
        _LOG.warning("instance %s: the cloud does not say whether it moves: %s", instance.uuid, error)
    else:
        work.store.write(lambda session: moves.begin(session, number, now=work.clock()))


def _end(
    work: Work, mover: Mover, number: int, state: State, reason: str, instance: Instance, destination: Host
) -> None:
    work.store.write(lambda session: moves.end(session, number, state, reason=reason, now=work.clock()))
    if state is State.FAILED:
        reservations.let_go(mover, instance, destination)
    _LOG.info("instance %s to %s: %s%s", instance.uuid, destination.name, state.value, reason and f": {reason}")


def follow(work: Work, mover: Mover, kind: Kind) -> int:
    """What became of the moves of this kind that are under way; how many changed. One that the cloud says nothing of stays."""
    with work.store.reader() as session:
        found = [move for move in moves.under_way(session) if move.row.kind == kind.value]
    changed = 0
    for move in found:
        try:
            changed += _follow(work, mover, kind, move)
        except Unanswered as error:
            _LOG.warning("instance %s: the cloud does not tell whether it moved: %s", move.instance.uuid, error)
    return changed


def _follow(work: Work, mover: Mover, kind: Kind, move: Move) -> bool:
    row, before = move.row, State(move.row.state)
    known = UnderWay(
        kind=kind,
        state=before,
        source=move.source.name,
        destination=move.destination.name,
        decided_at=row.decided_at,
        since=row.changed_at,
        has_arrived=move.has_arrived,
    )
    now = progress(known, mover.movement(move.instance.uuid), work.clock())
    if now.asks:
        _ask(work, mover, row.decision_id, kind, move.instance, move.destination)
        return True
    if now.state is before:
        return False
    if now.state is State.MOVING:
        work.store.write(lambda session: moves.begin(session, row.decision_id, now=work.clock()))
    else:
        _end(work, mover, row.decision_id, now.state, now.reason, move.instance, move.destination)
    return True
