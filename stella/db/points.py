"""Live points: what a watched instance did in each second, kept once and for minutes only; and who is watched until when."""

from collections.abc import Mapping, Sequence

from sqlalchemy import bindparam, delete, func, insert, select, update
from sqlalchemy.orm import Session

from stella.db.models import Instance, Point

KEPT_SECONDS = 900
"""A point is kept this long after its second."""

_INSERT = (
    insert(Point)
    .prefix_with("IGNORE", dialect="mysql")
    .prefix_with("IGNORE", dialect="mariadb")
    .prefix_with("OR IGNORE", dialect="sqlite")
)
_OLD = delete(Point).where(
    Point.instance_id.in_(bindparam("instance_ids", expanding=True)), Point.at < bindparam("before")
)


def keep(session: Session, rows: Sequence[tuple[int, int, str]], now: float) -> None:
    """Store (instance id, second, objectives as JSON), each once; the old ones of these instances go.

    Those of instances that nobody watches any more are stella-engine's to delete.
    """
    if not rows:
        return
    values = [{"instance_id": row[0], "at": row[1], "objectives": row[2]} for row in rows]
    session.execute(_INSERT, values)
    ids = sorted({row[0] for row in rows})
    session.execute(_OLD, {"instance_ids": ids, "before": int(now) - KEPT_SECONDS})


def page(session: Session, instance_id: int, *, start: int, end: int, limit: int) -> Sequence[tuple[int, str]]:
    """(second, objectives as JSON) from ``start`` to before ``end``, the oldest first."""
    query = (
        select(Point.at, Point.objectives)
        .where(Point.instance_id == instance_id, Point.at >= start, Point.at < end)
        .order_by(Point.at)
        .limit(limit)
    )
    return [(row[0], row[1]) for row in session.execute(query)]


def count_watched(session: Session, instance: Instance, now: float) -> Mapping[str, int]:
    """How many other instances are watched now, of its ``host`` and of its ``project``."""
    found: dict[str, int] = {}
    for name, own in (
        ("host", Instance.host_id == instance.host_id),
        ("project", Instance.project_id == instance.project_id),
    ):
        query = select(func.count()).where(own, Instance.watched_until > now, Instance.id != instance.id)
        found[name] = session.scalar(query) or 0
    return found


def watch(session: Session, instance_id: int, until: float) -> None:
    """The instance is watched until then (Unix seconds)."""
    watched = update(Instance).where(Instance.id == instance_id).values(watched_until=until)
    session.execute(watched.execution_options(synchronize_session=False))
