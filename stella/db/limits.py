"""Limits of instances from outside Stella, as `stella.model.limits.to_text` writes them."""

from collections.abc import Collection, Mapping

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from stella.db.models import Instance


def read(session: Session, uuids: Collection[str]) -> Mapping[str, str]:
    """What is kept of those of these instances that Stella knows, by uuid."""
    query = select(Instance.uuid, Instance.limits).where(Instance.uuid.in_(uuids))
    return {row[0]: row[1] for row in session.execute(query)} if uuids else {}


def write(session: Session, limits: Mapping[str, str]) -> int:
    """Keep these, by uuid; how many there were."""
    for uuid, text in sorted(limits.items()):
        session.execute(update(Instance).where(Instance.uuid == uuid).values(limits=text))
    return len(limits)
