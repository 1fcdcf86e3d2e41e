"""Violations as hosts report them."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from stella.db.models import Host, Instance, ViolationRow

Listed = tuple[ViolationRow, Instance, str]
"""A violation, its instance and the name of the host."""


def page(
    session: Session,
    *,
    limit: int,
    before_id: int | None,
    only_open: bool = False,
    host: str | None = None,
    project_id: str | None = None,
) -> Sequence[Listed]:
    """Violations, newest first, those with an id below ``before_id``; each filter that is given must match."""
    query = (
        select(ViolationRow, Instance, Host.name)
        .join(Instance, Instance.id == ViolationRow.instance_id)
        .join(Host, Host.id == ViolationRow.host_id)
        .order_by(ViolationRow.id.desc())
        .limit(limit)
    )
    query = query.where(ViolationRow.id < before_id) if before_id is not None else query
    query = query.where(ViolationRow.closed_at.is_(None)) if only_open else query
    query = query.where(Host.name == host) if host is not None else query
    query = query.where(Instance.project_id == project_id) if project_id is not None else query
    return [(row[0], row[1], row[2]) for row in session.execute(query)]


def keep(session: Session, row: ViolationRow) -> None:
    """Store what the host says of an episode; a closed one is not opened again by an older report."""
    known = session.scalar(
        select(ViolationRow).where(ViolationRow.host_id == row.host_id, ViolationRow.reported_id == row.reported_id)
    )
    if known is None:
        session.add(row)
        session.flush()
    elif known.instance_id == row.instance_id and (known.closed_at is None or row.closed_at is not None):
        known.closed_at, known.cause = row.closed_at, row.cause
        known.offender, known.evidence = row.offender, row.evidence
