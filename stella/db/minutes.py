"""Minute rows: what hosts counted, once each, and attainment over them."""

from collections.abc import Mapping
from dataclasses import replace

from sqlalchemy import Row, func, select
from sqlalchemy.orm import Session

from stella.db.models import Minute
from stella.model.report import MINUTE_SECONDS, StatusCounts

Key = tuple[int, str, int, bool]
"""(instance id, metric, start in Unix seconds, whether it is a stretch)."""

COUNTS = ("met", "violated", "degraded", "no_demand", "self_limited", "unknown")


def key_of(row: Minute) -> Key:
    """What a row is kept once by."""
    return row.instance_id, row.metric, row.start, row.is_stretch


def keep(session: Session, rows: Mapping[Key, Minute]) -> int:
    """Store these rows; one that is there already is replaced by one with more seconds, else kept. The number stored is returned."""
    stored = 0
    known = _known(session, rows)
    for key, row in rows.items():
        before = known.get(key)
        if before is None:
            session.add(row)
        elif row.seconds > before.seconds:
            for column in (c.key for c in Minute.__table__.columns):
                if column != "id":
                    setattr(before, column, getattr(row, column))
        else:
            continue
        stored += 1
    return stored


def _known(session: Session, rows: Mapping[Key, Minute]) -> Mapping[Key, Minute]:
    starts = {key[2] for key in rows}
    query = select(Minute).where(
        Minute.instance_id.in_({key[0] for key in rows}),
        Minute.metric.in_({key[1] for key in rows}),
        Minute.start >= min(starts, default=0),
        Minute.start <= max(starts, default=0),
    )
    found = session.scalars(query).all() if rows else ()
    return {key_of(row): row for row in found}


def attainment(session: Session, instance_id: int, *, start: int, end: int) -> Mapping[str, StatusCounts]:
    """For each objective that has minutes from ``start`` to before ``end`` (Unix seconds) its seconds by status, by metric.

    A stretch of which nothing is known counts where it begins, less the minutes in it that have a row of their own.
    """
    sums = [func.coalesce(func.sum(getattr(Minute, f"{name}_seconds")), 0) for name in COUNTS]
    own = (Minute.instance_id == instance_id, Minute.is_stretch.is_(False))
    within = (Minute.start >= start, Minute.start < end)
    query = select(Minute.metric, *sums).where(*own, *within).group_by(Minute.metric)
    found = {row[0]: _counts(row) for row in session.execute(query)}
    stretches = select(Minute).where(
        Minute.instance_id == instance_id,
        Minute.is_stretch,
        Minute.start < end,
        Minute.start >= start,
    )
    for row in session.scalars(stretches).all():
        inside = (Minute.metric == row.metric, Minute.start >= row.start, Minute.start < row.start + row.span_seconds)
        known = session.scalar(select(func.count()).where(*own, *inside)) or 0
        before = found.get(row.metric, StatusCounts())
        lost = max(0, row.unknown_seconds - MINUTE_SECONDS * known)
        found[row.metric] = replace(before, unknown=before.unknown + lost)
    return {metric: found[metric] for metric in sorted(found)}


def _counts(row: Row[tuple[str, int]]) -> StatusCounts:
    _, *counts = row
    return StatusCounts(**dict(zip(COUNTS, (int(count) for count in counts), strict=True)))
