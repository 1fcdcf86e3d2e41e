"""Usage of an instance over time, from minute rows or from roll-ups."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from stella.db.minutes import COUNTS
from stella.db.models import Minute, RollUp


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageRow:
    """One objective over one step, in its metric's base unit. ``causes`` is JSON: missed seconds by cause."""

    start: int
    metric: str
    usage_mean: float | None
    usage_min: float | None
    usage_max: float | None
    demand_mean: float | None
    seconds: Mapping[str, int]
    causes: str


def rows(
    session: Session, instance_id: int, *, step: int, start: int, end: int, limit: int, metric: str | None = None
) -> Sequence[UsageRow]:
    """The rows of this step (60, 3600 or 86400 seconds) that begin from ``start`` to before ``end``, the oldest first.

    ``metric`` None: of all objectives.
    """
    table = Minute if step == 60 else RollUp
    counts = [getattr(table, f"{name}_seconds") for name in COUNTS]
    query: Select[tuple[object, ...]] = select(
        table.start,
        table.metric,
        table.usage_mean,
        table.usage_min,
        table.usage_max,
        table.demand_mean,
        table.causes,
        *counts,
    ).where(table.instance_id == instance_id, table.start >= start, table.start < end)
    query = query.where(Minute.is_stretch.is_(False)) if step == 60 else query.where(RollUp.span_seconds == step)
    query = query.where(table.metric == metric) if metric is not None else query
    found = session.execute(query.order_by(table.start, table.metric).limit(limit)).all()
    return [
        UsageRow(
            start=row[0],
            metric=row[1],
            usage_mean=row[2],
            usage_min=row[3],
            usage_max=row[4],
            demand_mean=row[5],
            causes=row[6],
            seconds=dict(zip(COUNTS, row[7:], strict=True)),
        )
        for row in found
    ]
