"""Exclusions and corrections: kept with reason and author, withdrawn with reason and author, never deleted."""

import enum
from collections.abc import Sequence

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from stella.db.models import Host, Instance
from stella.db.paging import Page, SortKeys, paged
from stella.db.sla_models import Correction, Exclusion

EXCLUSION_KEYS: SortKeys = {"id": Exclusion.id, "start": Exclusion.start}
CORRECTION_KEYS: SortKeys = {"id": Correction.id}
ListedCorrection = tuple[Correction, Instance]

LONGEST_SECONDS = 31 * 86_400
"""How long one exclusion lasts at most."""


class Where(enum.StrEnum):
    """For what a window is excluded."""

    ALL = "all"
    HOST = "host"
    PROJECT = "project"
    INSTANCE = "instance"


def exclusions(
    session: Session,
    at: Page,
    *,
    project_id: str | None = None,
    start: int | None = None,
    until: int | None = None,
) -> Sequence[Exclusion]:
    """Exclusions that last at some time from ``start`` to before ``until``; with ``project_id`` those that reach its instances.

    Raises `stella.db.paging.UnknownMarker`.
    """
    query = select(Exclusion)
    query = query.where(Exclusion.until > start) if start is not None else query
    query = query.where(Exclusion.start < until) if until is not None else query
    if project_id is not None:
        own = select(Instance.uuid).where(Instance.project_id == project_id)
        hosts = select(Host.name).join(Instance, or_(Instance.host_id == Host.id, Instance.previous_host_id == Host.id))
        query = query.where(
            or_(
                Exclusion.scope == Where.ALL,
                and_(Exclusion.scope == Where.PROJECT, Exclusion.target == project_id),
                and_(Exclusion.scope == Where.INSTANCE, Exclusion.target.in_(own)),
                and_(
                    Exclusion.scope == Where.HOST, Exclusion.target.in_(hosts.where(Instance.project_id == project_id))
                ),
            )
        )
    return session.scalars(paged(session, query, at, keys=EXCLUSION_KEYS, unique=Exclusion.id)).all()


def within(session: Session, start: int, until: int) -> Sequence[Exclusion]:
    """All that lasts at some time in the span, also what was withdrawn, by id."""
    query = select(Exclusion).where(Exclusion.until > start, Exclusion.start < until)
    return session.scalars(query.order_by(Exclusion.id)).all()


def lasting(session: Session, host: str, *, reason: str, at: float) -> Sequence[Exclusion]:
    """Those of a host with this reason that end after ``at`` (Unix seconds) and are not withdrawn; locked until the session ends."""
    query = select(Exclusion).where(
        Exclusion.scope == Where.HOST, Exclusion.target == host, Exclusion.reason == reason, Exclusion.until > at
    )
    return session.scalars(query.where(Exclusion.withdrawn_at.is_(None)).with_for_update()).all()


def exclusion(session: Session, exclusion_id: int) -> Exclusion | None:
    """The exclusion of this id; locked until the session ends."""
    return session.scalar(select(Exclusion).where(Exclusion.id == exclusion_id).with_for_update())


def corrections(
    session: Session,
    at: Page,
    *,
    project_id: str | None = None,
    sla_id: int | None = None,
    period: str | None = None,
    uuid: str | None = None,
) -> Sequence[ListedCorrection]:
    """Corrections with their instances; each filter that is given must match. Raises `stella.db.paging.UnknownMarker`."""
    query = select(Correction, Instance).join(Instance, Instance.id == Correction.instance_id)
    query = query.where(Instance.project_id == project_id) if project_id is not None else query
    query = query.where(Correction.sla_id == sla_id) if sla_id is not None else query
    query = query.where(Correction.period == period) if period is not None else query
    query = query.where(Instance.uuid == uuid) if uuid is not None else query
    query = paged(session, query, at, keys=CORRECTION_KEYS, unique=Correction.id)
    return [(row[0], row[1]) for row in session.execute(query)]


def of_period(session: Session, sla_id: int, period: str) -> Sequence[ListedCorrection]:
    """All corrections of a period of a class, by id."""
    query = (
        select(Correction, Instance)
        .join(Instance, Instance.id == Correction.instance_id)
        .where(Correction.sla_id == sla_id, Correction.period == period)
    )
    return [(row[0], row[1]) for row in session.execute(query.order_by(Correction.id))]


def correction(session: Session, correction_id: int) -> ListedCorrection | None:
    """The correction of this id; locked until the session ends."""
    query = select(Correction, Instance).join(Instance, Instance.id == Correction.instance_id)
    row = session.execute(query.where(Correction.id == correction_id).with_for_update()).first()
    return (row[0], row[1]) if row else None
