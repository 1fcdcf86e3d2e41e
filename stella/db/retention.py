"""What is kept no longer, deleted in batches, each a short transaction. Counting tells what deleting would delete.

Minutes go by whole hours that are rolled up, hours by whole days; nothing is deleted that is the only record of a second within its
retention. What is deleted moves no SLO: rows of SLOs stay, also withdrawn ones.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from sqlalchemy import ColumnElement, and_, delete, exists, false, func, or_, select, true
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased

from stella.control.rollup import DAY_SECONDS, HOUR_SECONDS, floor_to
from stella.db import rollups
from stella.db.database import changed_rows
from stella.db.models import DecisionRow, Instance, Minute, MoveRow, Point, RollUp, SloChange, SloRow, ViolationRow
from stella.db.rollups import Group

POINT_SECONDS = 15 * 60
_OBJECTIVES = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Cutoffs:
    """Unix seconds: what is older may go. ``history``: closed violations, decisions and the history of SLOs."""

    points: int
    minutes: int
    hours: int
    days: int
    history: int


Count = Callable[[Session], int]


class Delete(Protocol):
    """Deletes some of what may go."""

    def __call__(self, session: Session, *, largest: int) -> int:
        """How many rows were deleted, about ``largest`` at most; 0 when nothing is left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of rows, as people call it, that may go."""

    name: str
    count: Count
    delete: Delete


def kinds(cutoffs: Cutoffs) -> Sequence[Kind]:
    """What may go, in the order in which it is deleted."""
    rows: Mapping[str, tuple[InstrumentedAttribute[int], ColumnElement[bool]]] = {
        "points": (Point.id, Point.at < cutoffs.points),
        "hours": (RollUp.id, _rolled_up(HOUR_SECONDS, floor_to(DAY_SECONDS, cutoffs.hours)) & RollUp.is_rolled_up),
        "days": (RollUp.id, _rolled_up(DAY_SECONDS, floor_to(DAY_SECONDS, cutoffs.days))),
        "moves": (MoveRow.decision_id, MoveRow.decided_at < cutoffs.history),
        "decisions": (DecisionRow.id, DecisionRow.decided_at < cutoffs.history),
        "slo_history": (SloChange.id, _old_changes(cutoffs.history)),
    }
    plain = [
        Kind(name=name, count=partial(_count, column=column, old=old), delete=partial(_delete, column=column, old=old))
        for name, (column, old) in rows.items()
    ]
    before = cutoffs.minutes
    minutes = Kind(
        name="minutes", count=partial(_count_minutes, before=before), delete=partial(_delete_minutes, before=before)
    )
    history = cutoffs.history
    violations = Kind(
        name="violations",
        count=partial(_count_violations, before=history),
        delete=partial(_delete_violations, before=history),
    )
    return (plain[0], minutes, *plain[1:], violations)


def _rolled_up(span_seconds: int, before: int) -> ColumnElement[bool]:
    return and_(RollUp.span_seconds == span_seconds, RollUp.start < before)


def _old_changes(before: int) -> ColumnElement[bool]:
    """Changes of SLOs, but for those that set one that is in force."""
    in_force = exists().where(
        SloRow.instance_id == SloChange.instance_id,
        SloRow.generation == SloChange.generation,
        SloRow.objectives.is_not(None),
    )
    return and_(SloChange.changed_at < before, ~in_force)


def _count(session: Session, column: InstrumentedAttribute[int], old: ColumnElement[bool]) -> int:
    return session.scalar(select(func.count(column)).where(old)) or 0


def _delete(session: Session, *, largest: int, column: InstrumentedAttribute[int], old: ColumnElement[bool]) -> int:
    ids = session.scalars(select(column).where(old).order_by(column).limit(largest)).all()
    return changed_rows(session.execute(delete(column.class_).where(column.in_(ids)))) if ids else 0


def _old_minutes(before: int) -> ColumnElement[bool]:
    return and_(Minute.start < floor_to(HOUR_SECONDS, before), Minute.is_rolled_up == true())


def _count_minutes(session: Session, before: int) -> int:
    return session.scalar(select(func.count(Minute.id)).where(_old_minutes(before))) or 0


def _delete_minutes(session: Session, *, largest: int, before: int) -> int:
    """The minutes of some hours of which all are rolled up, with the hosts locked as for rolling up."""
    columns = (Minute.instance_id, Minute.metric, Minute.start, Instance.host_id, Instance.previous_host_id)
    query = select(*columns).join(Instance, Instance.id == Minute.instance_id).where(_old_minutes(before))
    rows = session.execute(query.order_by(Minute.start).limit(largest)).all()
    groups = rollups.groups(rows, HOUR_SECONDS, _OBJECTIVES)
    return _delete_hour(session, groups[0]) if groups else 0


def _delete_hour(session: Session, group: Group) -> int:
    wanted = rollups.lock(session, group)
    within = and_(Minute.start >= group.start, Minute.start < group.start + HOUR_SECONDS)
    # a locking read sees what was committed until now, also when this transaction began to read before it had the locks
    waiting = select(Minute.instance_id, Minute.metric).where(
        within, Minute.is_rolled_up == false(), Minute.instance_id.in_({one[0] for one in wanted})
    )
    waiting = waiting.with_for_update()
    by_instance: dict[int, list[str]] = {}
    for instance_id, metric in wanted - {(row[0], row[1]) for row in session.execute(waiting)}:
        by_instance.setdefault(instance_id, []).append(metric)
    return sum(
        changed_rows(
            session.execute(delete(Minute).where(Minute.instance_id == instance_id, Minute.metric.in_(metrics), within))
        )
        for instance_id, metrics in by_instance.items()
    )


def _old_episodes(before: int) -> ColumnElement[bool]:
    """Episodes that ended before, with all of their parts."""
    part = aliased(ViolationRow)
    lasts = exists().where(
        part.merged_into_id == ViolationRow.id, or_(part.closed_at.is_(None), part.closed_at >= before)
    )
    return and_(ViolationRow.merged_into_id.is_(None), ViolationRow.closed_at < before, ~lasts)


def _count_violations(session: Session, before: int) -> int:
    first = select(ViolationRow.id).where(_old_episodes(before))
    parts = session.scalar(select(func.count()).where(ViolationRow.merged_into_id.in_(first))) or 0
    return parts + (session.scalar(select(func.count()).select_from(first.subquery())) or 0)


def _delete_violations(session: Session, *, largest: int, before: int) -> int:
    query = select(ViolationRow.id).where(_old_episodes(before)).order_by(ViolationRow.id).limit(largest)
    ids = session.scalars(query).all()
    if not ids:
        return 0
    parts = changed_rows(session.execute(delete(ViolationRow).where(ViolationRow.merged_into_id.in_(ids))))
    return parts + changed_rows(session.execute(delete(ViolationRow).where(ViolationRow.id.in_(ids))))
