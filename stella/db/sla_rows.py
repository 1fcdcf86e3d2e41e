"""What a report rests on: the seconds of each objective under a class in a period, and the parts that exclusions take out.

While a period is not closed they are added up from roll-ups for each report. stella-engine stores them once what hosts could not
report has had its time to come; from then on the stored sums are the period, whatever is kept of its roll-ups.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from stella.control import rollup
from stella.control.rollup import COUNTS
from stella.db import sla_exclusions, sla_members, sla_sums
from stella.db.models import Host, Instance
from stella.db.sla_exclusions import Where
from stella.db.sla_members import Member
from stella.db.sla_models import Exclusion, SlaPeriod, SlaSum
from stella.model.report import StatusCounts
from stella.sla import spans
from stella.sla.periods import Period
from stella.sla.report import ObjectiveRow
from stella.sla.spans import Span, Window

_ALL = 0
_SECONDS = tuple(getattr(SlaSum, f"{name}_seconds") for name in COUNTS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """The exclusions of a span that are in force, with the ids of their hosts by name."""

    exclusions: Sequence[Exclusion]
    host_ids: Mapping[str, int]

    def of(self, member: Member) -> tuple[Window, ...]:
        """Those that may reach an instance. One of a host counts where that host counted the minute."""
        found: list[Window] = []
        for one in self.exclusions:
            host_id = self.host_ids.get(one.target) if one.scope == Where.HOST else None
            reaches = {
                Where.ALL: True,
                Where.HOST: host_id is not None,
                Where.PROJECT: one.target == member.project_id,
                Where.INSTANCE: one.target == member.uuid,
            }
            if reaches[Where(one.scope)]:
                found.append(Window(id=one.id, start=one.start, end=one.until, host_id=host_id))
        return tuple(found)


def windows(session: Session, whole: Span) -> Windows:
    """The exclusions that last at some time in the span and are not withdrawn."""
    found = [one for one in sla_exclusions.within(session, *whole) if one.withdrawn_at is None]
    names = {one.target for one in found if one.scope == Where.HOST}
    rows = session.execute(select(Host.name, Host.id).where(Host.name.in_(names))) if names else ()
    return Windows(exclusions=found, host_ids={row[0]: row[1] for row in rows})


def live(session: Session, members: Sequence[Member], found: Windows) -> list[ObjectiveRow]:
    """The rows of these instances, added up now."""
    alike: dict[tuple[tuple[Span, ...], tuple[Window, ...]], list[Member]] = {}
    for member in members:
        alike.setdefault((member.spans, spans.excluded(found.of(member), member.spans)), []).append(member)
    rows: list[ObjectiveRow] = []
    for (parts, cut), same in alike.items():
        rows += _rows(session, same, parts, cut)
    return rows


def _rows(
    session: Session, members: Sequence[Member], parts: Sequence[Span], cut: Sequence[Window]
) -> Iterable[ObjectiveRow]:
    ids = [member.instance_id for member in members]
    totals: dict[sla_sums.Key, list[StatusCounts]] = {}
    for part in parts:
        for key, counts in sla_sums.read(session, ids, part).items():
            totals.setdefault(key, []).append(counts)
    excluded: dict[sla_sums.Key, dict[int, list[StatusCounts]]] = {}
    for window in cut:
        span = (window.start, window.end)
        counted = (
            sla_sums.read(session, ids, span)
            if window.host_id is None
            else sla_sums.on_host(session, ids, span, window.host_id)
        )
        for key, counts in counted.items():
            excluded.setdefault(key, {}).setdefault(window.id, []).append(counts)
    by_id = {member.instance_id: member for member in members}
    return [
        ObjectiveRow(
            uuid=by_id[key[0]].uuid,
            name=by_id[key[0]].name,
            project_id=by_id[key[0]].project_id,
            metric=key[1],
            counts=rollup.add_counts(counts),
            excluded={number: rollup.add_counts(some) for number, some in excluded.get(key, {}).items()},
        )
        for key, counts in totals.items()
    ]


def closed_at(session: Session, sla_id: int, period: str) -> float | None:
    """When (Unix seconds) all sums of a period were stored; None: not yet."""
    query = select(SlaPeriod.closed_at).where(SlaPeriod.sla_id == sla_id, SlaPeriod.period == period)
    return session.scalar(query)


def closed(session: Session, sla_id: int) -> frozenset[str]:
    """The periods of a class all sums of which are stored, by name."""
    query = select(SlaPeriod.period).where(SlaPeriod.sla_id == sla_id, SlaPeriod.closed_at.is_not(None))
    return frozenset(session.scalars(query))


def stored(session: Session, sla_id: int, period: str, *, project_id: str | None = None) -> list[ObjectiveRow]:
    """The rows of a closed period."""
    query = (
        select(Instance.uuid, Instance.name, Instance.project_id, SlaSum.metric, SlaSum.exclusion_id, *_SECONDS)
        .join(Instance, Instance.id == SlaSum.instance_id)
        .where(SlaSum.sla_id == sla_id, SlaSum.period == period)
        .order_by(SlaSum.instance_id, SlaSum.metric, SlaSum.exclusion_id)
    )
    query = query.where(Instance.project_id == project_id) if project_id is not None else query
    rows: list[ObjectiveRow] = []
    excluded: dict[int, StatusCounts] = {}
    for uuid, name, project, metric, exclusion_id, *seconds in session.execute(query):
        counts = StatusCounts(**dict(zip(COUNTS, seconds, strict=True)))
        if exclusion_id == _ALL:
            excluded = {}
            rows.append(
                ObjectiveRow(uuid=uuid, name=name, project_id=project, metric=metric, counts=counts, excluded=excluded)
            )
        else:
            excluded[exclusion_id] = counts
    return rows


def store(session: Session, sla_id: int, period: Period, *, largest: int, at: float) -> tuple[int, bool]:
    """Store the sums of some more instances of a period that is over; how many rows, and whether that was all.

    ``at`` (Unix seconds) is when the period counts as closed if so.
    """
    known = session.get(SlaPeriod, (sla_id, period.name), with_for_update=True)
    if known is None:
        known = SlaPeriod(sla_id=sla_id, period=period.name, after_instance_id=0, closed_at=None)
        session.add(known)
    if known.closed_at is not None:
        return 0, True
    whole = (period.start, period.end)
    members, after = sla_members.page(session, sla_id, whole, after_id=known.after_instance_id, largest=largest)
    ids = {member.uuid: member.instance_id for member in members}
    made = [
        _stored(sla_id, period.name, ids[row.uuid], row.metric, number, counts)
        for row in live(session, members, windows(session, whole))
        for number, counts in ((_ALL, row.counts), *row.excluded.items())
    ]
    session.flush()
    if made:
        session.execute(insert(SlaSum), made)
    known.after_instance_id, known.closed_at = after or known.after_instance_id, at if after is None else None
    session.flush()
    return len(made), after is None


def _stored(
    sla_id: int, period: str, instance_id: int, metric: str, exclusion_id: int, counts: StatusCounts
) -> dict[str, object]:
    return {
        "sla_id": sla_id,
        "period": period,
        "instance_id": instance_id,
        "metric": metric,
        "exclusion_id": exclusion_id,
        **{f"{name}_seconds": getattr(counts, name) for name in COUNTS},
    }
