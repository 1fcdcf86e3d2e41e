"""Moves: decisions to move an instance, or not to, and what became of them. `stella.control` decides; this only keeps.

A move that is under way holds the SLO of its instance on the host it goes to (`stella.db.slos.holdings`). Opening or closing one
moves that host's generation on: an admission that was answered before is asked again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Select, or_, select, update
from sqlalchemy.orm import Session, aliased

from stella.control.relief_news import Told
from stella.control.relief_view import OPEN, Kind, MoveDecision, PastMove, State
from stella.db import decisions, hosts, reserved
from stella.db.database import changed_rows
from stella.db.models import DecisionRow, Host, Instance, MoveRow
from stella.db.slos import Origin
from stella.model import wire

_OPEN = [state.value for state in OPEN]
_BEGUN = [*_OPEN, State.DONE.value, State.FAILED.value]


class Taken(Exception):
    """The host changed after it was read, or the instance moves already: read and decide again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A move that is under way or ended, with its instance and its hosts."""

    row: MoveRow
    instance: Instance
    source: Host
    destination: Host

    @property
    def has_arrived(self) -> bool:
        """Whether the host it goes to reports it."""
        return self.instance.host_id == self.destination.id


def open_(
    session: Session,
    made: MoveDecision,
    *,
    source: Host,
    destination: Host | None,
    instance: Instance | None,
    origin: Origin,
    resources: Mapping[str, int] | None = None,
) -> int:
    """Keep a decision, and its move; the number of both. One in a state of `OPEN` holds its place from now on. Raises `Taken`."""
    if made.state in OPEN:
        assert instance is not None and destination is not None
        if session.scalar(_under_way().where(MoveRow.instance_id == instance.id).limit(1)) is not None:
            raise Taken
    row = decisions.record(
        session,
        made.kind.value,
        origin=origin,
        reason=made.reason,
        host_id=source.id,
        instance_id=instance.id if instance is not None else None,
    )
    session.flush()
    session.add(
        MoveRow(
            decision_id=row.id,
            kind=made.kind.value,
            instance_id=row.instance_id,
            from_host_id=source.id,
            to_host_id=destination.id if destination is not None else None,
            state=made.state.value,
            resources=wire.dumps(resources or {}),
            victims=wire.dumps(list(made.victims)),
            freed_cpu_cores=made.freed_cores,
            predicted_effect=made.predicted_effect,
            decided_at=origin.at,
            changed_at=origin.at,
        )
    )
    session.flush()
    if made.state in OPEN and destination is not None and not reserved.recount(session, destination):
        raise Taken
    return row.id


def _under_way() -> Select[tuple[MoveRow]]:
    return select(MoveRow).where(MoveRow.state.in_(_OPEN))


def begin(session: Session, number: int, *, now: float) -> bool:
    """A reserved move is under way: the cloud was asked. False where it is not reserved any more."""
    changed = update(MoveRow).where(MoveRow.decision_id == number, MoveRow.state == State.RESERVED.value)
    changed = changed.values(state=State.MOVING.value, changed_at=now).execution_options(synchronize_session=False)
    return changed_rows(session.execute(changed)) == 1


def end(session: Session, number: int, state: State, *, reason: str, now: float) -> bool:
    """A move ended, and holds nothing at its destination any more. False where it had ended already."""
    row = session.scalar(_under_way().where(MoveRow.decision_id == number).with_for_update())
    if row is None:
        return False
    row.state, row.reason, row.changed_at, row.ended_at = state.value, reason, now, now
    session.flush()
    if row.to_host_id is not None:
        reserved.recount(session, hosts.lock(session, row.to_host_id))
    return True


def under_way(session: Session) -> Sequence[Move]:
    """All that are under way, the oldest first."""
    return _moves(session, MoveRow.state.in_(_OPEN))


def unmeasured(session: Session, *, since: float) -> Sequence[Move]:
    """Moves of relief that were done ``since`` (Unix seconds), of which it is not known whether they helped."""
    return _moves(
        session,
        MoveRow.state == State.DONE.value,
        MoveRow.kind == Kind.RELIEF.value,
        MoveRow.decided_at >= since,
        MoveRow.measured_effect.is_(None),
    )


def followed(session: Session, *, since: float) -> Sequence[Move]:
    """Reliefs that were suggested ``since`` (Unix seconds) and whose instance is where it was suggested to go, the last of each.

    Those that were followed by a move of Stella's own are left out.
    """
    later = aliased(MoveRow)
    begun = select(later.decision_id).where(
        later.instance_id == MoveRow.instance_id,
        later.state.in_(_BEGUN),
        later.decision_id > MoveRow.decision_id,
    )
    found = _moves(
        session,
        MoveRow.state == State.SUGGESTED.value,
        MoveRow.kind == Kind.RELIEF.value,
        MoveRow.decided_at >= since,
        Instance.host_id == MoveRow.to_host_id,
        ~begun.exists(),
    )
    return list({move.instance.id: move for move in found}.values())


def follow(session: Session, number: int, *, now: float) -> bool:
    """What was suggested was done, by an operator. False where it is no suggestion any more."""
    changed = update(MoveRow).where(MoveRow.decision_id == number, MoveRow.state == State.SUGGESTED.value)
    changed = changed.values(state=State.DONE.value, changed_at=now, ended_at=now)
    return changed_rows(session.execute(changed.execution_options(synchronize_session=False))) == 1


def _moves(session: Session, *conditions: ColumnElement[bool]) -> Sequence[Move]:
    source, destination = aliased(Host), aliased(Host)
    query = (
        select(MoveRow, Instance, source, destination)
        .join(Instance, Instance.id == MoveRow.instance_id)
        .join(source, source.id == MoveRow.from_host_id)
        .join(destination, destination.id == MoveRow.to_host_id)
        .where(*conditions)
        .order_by(MoveRow.decision_id)
    )
    return [Move(row=row[0], instance=row[1], source=row[2], destination=row[3]) for row in session.execute(query)]


def measure(session: Session, number: int, *, effect: float, helped: bool) -> None:
    """Keep the measured effect of a move."""
    changed = update(MoveRow).where(MoveRow.decision_id == number).values(measured_effect=effect, helped=helped)
    session.execute(changed.execution_options(synchronize_session=False))


def past(session: Session, *, since: float) -> Sequence[PastMove]:
    """The moves that began ``since`` (Unix seconds) or are under way."""
    return [
        PastMove(
            instance=move.instance.uuid,
            project=move.instance.project_id,
            source=move.source.name,
            destination=move.destination.name,
            state=State(move.row.state),
            began_at=move.row.decided_at,
            ended_at=move.row.ended_at,
            helped=move.row.helped,
            kind=Kind(move.row.kind),
        )
        for move in _moves(
            session,
            MoveRow.state.in_(_BEGUN),
            or_(MoveRow.decided_at >= since, MoveRow.state.in_(_OPEN)),
        )
    ]


def told(session: Session, *, since: float) -> Sequence[Told]:
    """What was suggested, refused or stopped ``since`` (Unix seconds), the newest last."""
    columns = (Host.name, MoveRow.kind, MoveRow.state, Instance.uuid, DecisionRow.reason, MoveRow.decided_at)
    query = (
        select(*columns)
        .join(DecisionRow, DecisionRow.id == MoveRow.decision_id)
        .join(Host, Host.id == MoveRow.from_host_id)
        .join(Instance, Instance.id == MoveRow.instance_id, isouter=True)
        .where(
            MoveRow.state.in_([State.SUGGESTED.value, State.REFUSED.value, State.STOPPED.value]),
            MoveRow.decided_at >= since,
        )
        .order_by(MoveRow.decision_id)
    )
    return [
        Told(source=row[0], kind=Kind(row[1]), state=State(row[2]), instance=row[3] or "", reason=row[4], at=row[5])
        for row in session.execute(query)
    ]
