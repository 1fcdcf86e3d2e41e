"""Which instances are under a class in a span, and in which parts of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, or_, select
from sqlalchemy.orm import Session

from stella.db import slas
from stella.db.models import Instance
from stella.db.sla_models import SlaAttachment
from stella.sla import spans
from stella.sla.spans import Attachment, Scope, Span

_COLUMNS = (Instance.id, Instance.uuid, Instance.name, Instance.project_id, Instance.flavor)
_REACHED: dict[Scope, ColumnElement[bool]] = {
    Scope.INSTANCE: SlaAttachment.target == Instance.uuid,
    Scope.FLAVOR: SlaAttachment.target == Instance.flavor,
    Scope.PROJECT: SlaAttachment.target == Instance.project_id,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """An instance, and the parts of the span in which the class counts for it."""

    instance_id: int
    uuid: str
    name: str
    project_id: str
    spans: tuple[Span, ...]


def page(
    session: Session,
    sla_id: int,
    whole: Span,
    *,
    project_id: str | None = None,
    after_id: int = 0,
    largest: int,
) -> tuple[list[Member], int | None]:
    """Members by id after ``after_id``, and the id to go on from; None: there are no more."""
    found: dict[int, Row[Any]] = {}
    for scope, reached in _REACHED.items():
        query = (
            select(*_COLUMNS)
            .join(SlaAttachment, reached)
            .where(
                SlaAttachment.sla_id == sla_id,
                SlaAttachment.scope == scope.value,
                SlaAttachment.start < whole[1],
                or_(SlaAttachment.until.is_(None), SlaAttachment.until > whole[0]),
                Instance.id > after_id,
            )
        )
        query = query.where(Instance.project_id == project_id) if project_id is not None else query
        found |= {row[0]: row for row in session.execute(query.order_by(Instance.id).limit(largest))}
    rows = [found[number] for number in sorted(found)[:largest]]
    members = [
        Member(instance_id=row[0], uuid=row[1], name=row[2], project_id=row[3], spans=parts)
        for row, reaching in zip(rows, _reaching(session, rows, whole[0]), strict=True)
        if (parts := spans.under(reaching, sla_id, whole))
    ]
    return members, rows[-1][0] if len(rows) == largest else None


def reaching_each(session: Session, found: Sequence[Instance], start: int) -> Sequence[Sequence[Attachment]]:
    """The attachments that reach each of these instances and last or ended after ``start``, in their order."""
    return _reaching(session, [(one.id, one.uuid, one.name, one.project_id, one.flavor) for one in found], start)


def reaching(session: Session, instance_id: int, start: int) -> Sequence[Attachment]:
    """The attachments that reach an instance and last or ended after ``start``."""
    row = session.execute(select(*_COLUMNS).where(Instance.id == instance_id)).one()
    return _reaching(session, [row], start)[0]


def _reaching(session: Session, rows: Sequence[Sequence[Any]], start: int) -> list[list[Attachment]]:
    known = slas.in_force(
        session,
        uuids=[row[1] for row in rows],
        flavors=sorted({row[4] for row in rows if row[4] is not None}),
        projects=sorted({row[3] for row in rows}),
        start=start,
    )
    by_target: dict[tuple[str, str], list[Attachment]] = {}
    for one in known:
        made = Attachment(sla_id=one.sla_id, scope=Scope(one.scope), start=one.start, end=one.until)
        by_target.setdefault((one.scope, one.target), []).append(made)
    targets = ([(Scope.INSTANCE, row[1]), (Scope.FLAVOR, row[4]), (Scope.PROJECT, row[3])] for row in rows)
    return [
        [one for scope, target in of_row for one in by_target.get((scope.value, target or ""), ())]
        for of_row in targets
    ]
