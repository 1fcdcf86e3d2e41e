"""Classes of SLAs, their terms over time, and what they are attached to. What ever counted is kept: reports of the past rest on it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from stella.db.models import Host, Instance
from stella.db.paging import Page, SortKeys, paged
from stella.db.sla_models import Sla, SlaAttachment, SlaTerms
from stella.model import wire
from stella.sla import terms as sla_terms
from stella.sla.spans import Scope
from stella.sla.terms import Terms

SORT_KEYS: SortKeys = {"name": Sla.name, "uuid": Sla.uuid}


@dataclass(frozen=True, slots=True, kw_only=True)
class Dated:
    """Terms, and from when (Unix seconds) they count."""

    generation: int
    valid_from: int
    terms: Terms


def find(session: Session, uuid: str, *, for_update: bool = False) -> Sla | None:
    """The class of this uuid, also a withdrawn one. ``for_update``: it stays as it is until the session ends."""
    query = select(Sla).where(Sla.uuid == uuid.lower())
    return session.scalar(query.with_for_update() if for_update else query)


def find_in_use(session: Session, name: str) -> Sla | None:
    """The class that has this name and is not withdrawn."""
    return session.scalar(select(Sla).where(Sla.name_in_use == name))


def page(session: Session, at: Page, *, with_withdrawn: bool = False) -> Sequence[Sla]:
    """Classes, by name or as asked. Raises `stella.db.paging.UnknownMarker`."""
    query = select(Sla) if with_withdrawn else select(Sla).where(Sla.withdrawn_at.is_(None))
    return session.scalars(paged(session, query, at, keys=SORT_KEYS, unique=Sla.uuid)).all()


def ever_attached(session: Session) -> Sequence[Sla]:
    """All classes that were ever attached."""
    return session.scalars(select(Sla).where(Sla.id.in_(select(SlaAttachment.sla_id))).order_by(Sla.id)).all()


def add(session: Session, row: Sla, terms: Terms, *, valid_from: int) -> None:
    """A new class. Raises `oslo_db.exception.DBDuplicateEntry` where the name is in use."""
    session.add(row)
    session.flush()
    _add_terms(session, row, terms, valid_from=valid_from, at=row.created_at, user_id=row.user_id)


def _add_terms(session: Session, row: Sla, terms: Terms, *, valid_from: int, at: float, user_id: str) -> None:
    session.add(
        SlaTerms(
            sla_id=row.id,
            generation=row.generation,
            valid_from=valid_from,
            terms=wire.dumps(sla_terms.show(terms)),
            changed_at=at,
            user_id=user_id,
        )
    )
    session.flush()


def set_terms(session: Session, row: Sla, terms: Terms, *, valid_from: int, at: float, user_id: str) -> None:
    """New terms of the class (its generation has moved already). Those that would never have counted are replaced."""
    for known in session.scalars(select(SlaTerms).where(SlaTerms.sla_id == row.id)).all():
        if known.valid_from >= valid_from:
            session.delete(known)
    session.flush()
    _add_terms(session, row, terms, valid_from=valid_from, at=at, user_id=user_id)


def terms_at(session: Session, sla_id: int, start: int) -> Dated:
    """The terms that count for a period that begins at ``start``: before the first there are, the first."""
    query = select(SlaTerms).where(SlaTerms.sla_id == sla_id).order_by(SlaTerms.valid_from, SlaTerms.generation)
    found = session.scalars(query).all()
    row = next((one for one in reversed(found) if one.valid_from <= start), found[0])
    return _dated(row)


def newest_terms(session: Session, sla_ids: Sequence[int]) -> Mapping[int, Dated]:
    """The terms that were set last, by class."""
    query = select(SlaTerms).where(SlaTerms.sla_id.in_(sla_ids)).order_by(SlaTerms.generation)
    return {row.sla_id: _dated(row) for row in session.scalars(query)} if sla_ids else {}


def _dated(row: SlaTerms) -> Dated:
    given: dict[str, Any] = json.loads(row.terms)
    return Dated(generation=row.generation, valid_from=row.valid_from, terms=sla_terms.parse(given))


def was_attached(session: Session, sla_id: int) -> bool:
    """Whether anything is or was attached to it, so that someone may rest on its terms."""
    return session.scalar(select(SlaAttachment.id).where(SlaAttachment.sla_id == sla_id).limit(1)) is not None


def attachments(session: Session, sla_id: int, *, limit: int, marker: int | None) -> Sequence[SlaAttachment]:
    """What a class is attached to at present, by id, after ``marker``."""
    query = select(SlaAttachment).where(SlaAttachment.sla_id == sla_id, SlaAttachment.until.is_(None))
    query = query.where(SlaAttachment.id > marker) if marker is not None else query
    return session.scalars(query.order_by(SlaAttachment.id).limit(limit)).all()


def attached_now(session: Session, scope: Scope, target: str) -> tuple[SlaAttachment, Sla] | None:
    """The attachment that a target has at present, and its class. The row stays locked until the session ends."""
    query = (
        select(SlaAttachment, Sla)
        .join(Sla, Sla.id == SlaAttachment.sla_id)
        .where(SlaAttachment.scope == scope.value, SlaAttachment.target == target, SlaAttachment.until.is_(None))
        .with_for_update()
    )
    row = session.execute(query).first()
    return (row[0], row[1]) if row else None


def attach(session: Session, row: SlaAttachment) -> SlaAttachment:
    """Attach a class. Raises `oslo_db.exception.DBDuplicateEntry` where one is attached to that target at present."""
    row.lasting = f"{row.scope} {row.target}"
    session.add(row)
    session.flush()
    return row


def renew_intents(session: Session, scope: Scope, target: str) -> None:
    """Let the hosts of the instances that an attachment reaches fetch their intent anew: it tells of the class."""
    reached = {Scope.INSTANCE: Instance.uuid, Scope.FLAVOR: Instance.flavor, Scope.PROJECT: Instance.project_id}
    host_ids = select(Instance.host_id).where(reached[scope] == target, Instance.gone_at.is_(None)).distinct()
    moved = {"generation": Host.generation + 1, "intent_revision": Host.intent_revision + 1}
    swap = update(Host).where(Host.id.in_(session.scalars(host_ids).all())).values(moved)
    session.execute(swap.execution_options(synchronize_session=False))


def detach_all(session: Session, sla_id: int, *, at: int, user_id: str) -> int:
    """End all attachments of a class; how many."""
    query = select(SlaAttachment).where(SlaAttachment.sla_id == sla_id, SlaAttachment.until.is_(None)).with_for_update()
    rows = session.scalars(query).all()
    for row in rows:
        end(row, at=at, user_id=user_id)
        renew_intents(session, Scope(row.scope), row.target)
    return len(rows)


def end(row: SlaAttachment, *, at: int, user_id: str) -> None:
    """End an attachment; one that has not begun yet never counts."""
    row.until, row.ended_by, row.lasting = max(at, row.start), user_id, None


def attachment(session: Session, sla_id: int, attachment_id: int) -> SlaAttachment | None:
    """One that lasts, of this class; locked until the session ends."""
    query = select(SlaAttachment).where(
        SlaAttachment.id == attachment_id, SlaAttachment.sla_id == sla_id, SlaAttachment.until.is_(None)
    )
    return session.scalar(query.with_for_update())


def in_force(
    session: Session, *, uuids: Sequence[str], flavors: Sequence[str], projects: Sequence[str], start: int
) -> Sequence[SlaAttachment]:
    """Attachments to these targets that last or ended after ``start`` (Unix seconds)."""
    targets = ((Scope.INSTANCE, uuids), (Scope.FLAVOR, flavors), (Scope.PROJECT, projects))
    found: list[SlaAttachment] = []
    for scope, names in targets:
        if names:
            query = select(SlaAttachment).where(
                SlaAttachment.scope == scope.value,
                SlaAttachment.target.in_(names),
                or_(SlaAttachment.until.is_(None), SlaAttachment.until > start),
            )
            found += session.scalars(query.order_by(SlaAttachment.id)).all()
    return found
