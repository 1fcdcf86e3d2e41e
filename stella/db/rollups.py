"""Roll-ups: the hours and days of each objective, computed anew from all of their minutes or hours whenever one changed.

A roll-up exists only while it is exactly that sum. So it is made, and what it rests on is marked, in one transaction that has locked
the rows of the instances' hosts: a report that stores a minute of that hour comes wholly before or wholly after, and deletes it.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, delete, false, func, select, true, update
from sqlalchemy.orm import Session

from stella.control import rollup
from stella.control.rollup import COUNTS, DAY_SECONDS, HOUR_SECONDS, Quantity, Stretch, Total, floor_to
from stella.db.models import Host, Instance, Minute, RollUp
from stella.model import wire
from stella.model.report import StatusCounts

Objective = tuple[int, str]
"""(instance id, metric)."""

_SLAB = 4000
_COUNTED = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Objectives of instances on the same hosts (where they run, and where they ran before), and one span that begins at ``start``."""

    host_ids: tuple[int, ...]
    start: int
    objectives: tuple[Objective, ...]


def groups(rows: Iterable[Row[Any]], span_seconds: int, largest: int) -> list[Group]:
    """Groups of up to ``largest`` objectives, of rows of (instance, metric, start, host, previous host), earliest first."""
    found: dict[tuple[int, tuple[int, ...]], dict[Objective, None]] = {}
    for instance_id, metric, start, host_id, previous in rows:
        host_ids = tuple(sorted({host_id, *((previous,) if previous is not None else ())}))
        found.setdefault((floor_to(span_seconds, start), host_ids), {})[instance_id, metric] = None
    return [
        Group(host_ids=host_ids, start=start, objectives=tuple(objectives)[first : first + largest])
        for (start, host_ids), objectives in sorted(found.items())
        for first in range(0, len(objectives), largest)
    ]


def hours_to_roll(session: Session, *, before: int, largest: int) -> list[Group]:
    """Hours that ended before that time and have minutes that are not in their roll-up."""
    query = (
        select(Minute.instance_id, Minute.metric, Minute.start, Instance.host_id, Instance.previous_host_id)
        .join(Instance, Instance.id == Minute.instance_id)
        .where(Minute.is_rolled_up == false(), Minute.start < floor_to(HOUR_SECONDS, before))
        .order_by(Minute.start)
        .limit(_SLAB)
    )
    return groups(session.execute(query), HOUR_SECONDS, largest)


def days_to_roll(session: Session, *, before: int, largest: int) -> list[Group]:
    """Days that ended before that time and have hours that are not in their roll-up."""
    query = (
        select(RollUp.instance_id, RollUp.metric, RollUp.start, Instance.host_id, Instance.previous_host_id)
        .join(Instance, Instance.id == RollUp.instance_id)
        .where(
            RollUp.span_seconds == HOUR_SECONDS,
            RollUp.is_rolled_up == false(),
            RollUp.start < floor_to(DAY_SECONDS, before),
        )
        .order_by(RollUp.start)
        .limit(_SLAB)
    )
    return groups(session.execute(query), DAY_SECONDS, largest)


def waiting(session: Session, *, before: int) -> int:
    """Minutes of hours that ended before that time and are not in their roll-up; at most `_COUNTED` are counted."""
    some = select(Minute.id).where(Minute.is_rolled_up == false(), Minute.start < floor_to(HOUR_SECONDS, before))
    return session.scalar(select(func.count()).select_from(some.limit(_COUNTED).subquery())) or 0


def lock(session: Session, group: Group) -> frozenset[Objective]:
    """Lock the hosts of a group; the objectives whose instances are still there."""
    session.scalars(select(Host.id).where(Host.id.in_(group.host_ids)).order_by(Host.id).with_for_update()).all()
    ids = {instance_id for instance_id, _ in group.objectives}
    query = select(Instance.id, Instance.host_id, Instance.previous_host_id).where(Instance.id.in_(ids))
    query = query.order_by(Instance.id).with_for_update()
    there = {
        row[0] for row in session.execute(query) if {row[1], row[1] if row[2] is None else row[2]} <= {*group.host_ids}
    }
    return frozenset(one for one in group.objectives if one[0] in there)


_MINUTE = (
    Minute.instance_id,
    Minute.metric,
    Minute.start,
    Minute.is_stretch,
    Minute.span_seconds,
    Minute.causes,
    Minute.usage_mean,
    Minute.usage_min,
    Minute.usage_max,
    Minute.demand_mean,
    *(getattr(Minute, f"{name}_seconds") for name in COUNTS),
)


def roll_hours(session: Session, group: Group) -> int:
    """Compute the hours of a group anew; how many."""
    wanted = lock(session, group)
    rows = session.execute(
        select(*_MINUTE).where(
            Minute.instance_id.in_({one[0] for one in wanted}),
            Minute.metric.in_({one[1] for one in wanted}),
            Minute.start >= group.start,
            Minute.start < group.start + HOUR_SECONDS,
        )
    ).all()
    by_objective: dict[Objective, list[Sequence[Any]]] = {}
    for instance_id, metric, *rest in rows:
        by_objective.setdefault((instance_id, metric), []).append(rest)
    totals = {one: _hour(by_objective[one], group.start) for one in wanted if one in by_objective}
    _replace(session, totals, HOUR_SECONDS, group.start)
    _mark(session, Minute, totals, group.start, HOUR_SECONDS)
    return len(totals)


def _hour(rows: Sequence[Sequence[Any]], hour: int) -> Total:
    minutes: dict[int, Total] = {}
    stretches: list[Stretch] = []
    for start, is_stretch, span_seconds, causes, usage, least, most, demand, *seconds in rows:
        counts = StatusCounts(**dict(zip(COUNTS, seconds, strict=True)))
        if is_stretch:
            stretches.append(Stretch(start=start, span_seconds=span_seconds, unknown_seconds=counts.unknown))
            continue
        known = max(1, counts.seconds - counts.unknown)
        minutes[start] = Total(
            counts=counts,
            causes=_causes(causes),
            usage=Quantity(seconds=known, mean=usage, least=least, most=most),
            demand=Quantity(seconds=known, mean=demand),
        )
    unknown = rollup.unknown_seconds(stretches, minutes, start=hour, end=hour + HOUR_SECONDS)
    return rollup.add([*minutes.values(), rollup.lost(unknown)])


def _causes(text: str) -> Mapping[str, int]:
    return {str(cause): int(seconds) for cause, seconds in json.loads(text).items()}


def roll_days(session: Session, group: Group) -> int:
    """Compute the days of a group anew, but those of which an hour waits for its own roll-up; how many."""
    wanted = lock(session, group) - _with_minutes_to_roll(session, group)
    end = group.start + DAY_SECONDS
    rows = session.scalars(
        select(RollUp).where(
            RollUp.instance_id.in_({one[0] for one in wanted}),
            RollUp.metric.in_({one[1] for one in wanted}),
            RollUp.span_seconds == HOUR_SECONDS,
            RollUp.start >= group.start,
            RollUp.start < end,
        )
    ).all()
    hours: dict[Objective, list[RollUp]] = {}
    for row in rows:
        hours.setdefault((row.instance_id, row.metric), []).append(row)
    totals = {one: rollup.add(map(total_of, hours[one])) for one in wanted if one in hours}
    _replace(session, totals, DAY_SECONDS, group.start)
    _mark(session, RollUp, totals, group.start, DAY_SECONDS)
    return len(totals)


def _with_minutes_to_roll(session: Session, group: Group) -> frozenset[Objective]:
    query = select(Minute.instance_id, Minute.metric).where(
        Minute.is_rolled_up == false(),
        Minute.start >= group.start,
        Minute.start < group.start + DAY_SECONDS,
        Minute.instance_id.in_({one[0] for one in group.objectives}),
    )
    return frozenset((row[0], row[1]) for row in session.execute(query.distinct()))


def total_of(row: RollUp) -> Total:
    """A roll-up as a sum."""
    return Total(
        counts=StatusCounts(**{name: getattr(row, f"{name}_seconds") for name in COUNTS}),
        causes=_causes(row.causes),
        usage=Quantity(seconds=row.usage_seconds, mean=row.usage_mean, least=row.usage_min, most=row.usage_max),
        demand=Quantity(seconds=row.demand_seconds, mean=row.demand_mean),
    )


def _replace(session: Session, totals: Mapping[Objective, Total], span_seconds: int, start: int) -> None:
    if not totals:
        return
    before = select(RollUp.id, RollUp.instance_id, RollUp.metric).where(
        RollUp.instance_id.in_({one[0] for one in totals}),
        RollUp.metric.in_({one[1] for one in totals}),
        RollUp.span_seconds == span_seconds,
        RollUp.start == start,
    )
    ids = [row[0] for row in session.execute(before) if (row[1], row[2]) in totals]
    if ids:
        session.execute(delete(RollUp).where(RollUp.id.in_(ids)))
    session.add_all(_row(one, span_seconds, start, total) for one, total in totals.items())
    session.flush()


def _row(objective: Objective, span_seconds: int, start: int, total: Total) -> RollUp:
    return RollUp(
        instance_id=objective[0],
        metric=objective[1],
        span_seconds=span_seconds,
        start=start,
        **{f"{name}_seconds": getattr(total.counts, name) for name in COUNTS},
        causes=wire.dumps(dict(total.causes)),
        usage_seconds=total.usage.seconds,
        usage_mean=total.usage.mean,
        usage_min=total.usage.least,
        usage_max=total.usage.most,
        demand_seconds=total.demand.seconds,
        demand_mean=total.demand.mean,
        is_rolled_up=False,
    )


def _mark(
    session: Session, table: type[Minute] | type[RollUp], objectives: Iterable[Objective], start: int, span_seconds: int
) -> None:
    """Note that the minutes or hours of these objectives are in their roll-up: the locks of `lock` keep others from adding any."""
    metrics: dict[int, set[str]] = {}
    for instance_id, metric in objectives:
        metrics.setdefault(instance_id, set()).add(metric)
    alike: dict[frozenset[str], list[int]] = {}
    for instance_id, names in metrics.items():
        alike.setdefault(frozenset(names), []).append(instance_id)
    for shared, ids in alike.items():
        parts = update(table).where(
            table.instance_id.in_(ids),
            table.metric.in_(shared),
            table.start >= start,
            table.start < start + span_seconds,
            table.is_rolled_up == false(),
        )
        if table is RollUp:
            parts = parts.where(RollUp.span_seconds == HOUR_SECONDS)
        session.execute(parts.values(is_rolled_up=true()).execution_options(synchronize_session=False))
