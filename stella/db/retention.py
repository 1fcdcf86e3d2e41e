"""What is kept no longer, deleted in batches, each a short transaction."""

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from stella.db.database import changed_rows
from stella.db.models import Point


def delete_points(session: Session, *, before: int, largest: int) -> int:
    """Delete up to ``largest`` live points of before that time (Unix seconds); how many there were."""
    ids = session.scalars(select(Point.id).where(Point.at < before).order_by(Point.at).limit(largest)).all()
    return changed_rows(session.execute(delete(Point).where(Point.id.in_(ids)))) if ids else 0
