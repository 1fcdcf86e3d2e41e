"""Violations as hosts report them, merged to episodes and closed by the engine (`stella.control.episodes`)."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, exists, func, literal, or_, select, update
from sqlalchemy.orm import Session, aliased

from stella.control import episodes
from stella.control.episodes import GAP_SECONDS, SMALLEST_SECONDS, Episode
from stella.db.database import changed_rows
from stella.db.models import Host, Instance, ViolationRow
from stella.db.paging import Page, SortKeys, paged

Objective = tuple[int, str]
"""(instance id, metric)."""

_FAR = 1e12
_Part = aliased(ViolationRow)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """An episode with its metric, its instance, and the name of the host that it began on."""

    episode: Episode
    metric: str
    instance: Instance
    host: str


SORT_KEYS: SortKeys = {
    "id": ViolationRow.id,
    "opened_at": ViolationRow.opened_at,
    "metric": ViolationRow.metric,
}


def page(
    session: Session,
    at: Page,
    *,
    is_open: bool | None = None,
    host: str | None = None,
    project_id: str | None = None,
    uuid: str | None = None,
    start: float | None = None,
    end: float | None = None,
) -> Sequence[Listed]:
    """Episodes of at least `SMALLEST_SECONDS`; filters that are given must match.

    ``is_open``: those that last, or those that are over.

    ``start`` and ``end``: those that lasted at some time between these Unix seconds. Raises `stella.db.paging.UnknownMarker`.
    """
    query = (
        select(ViolationRow, Instance, Host.name)
        .join(Instance, Instance.id == ViolationRow.instance_id)
        .join(Host, Host.id == ViolationRow.host_id)
        .where(ViolationRow.merged_into_id.is_(None), _lasts(SMALLEST_SECONDS))
    )
    if is_open is not None:
        query = query.where(_lasts(_FAR) if is_open else ~_lasts(_FAR))
    query = query.where(Host.name == host) if host is not None else query
    query = query.where(Instance.project_id == project_id) if project_id is not None else query
    query = query.where(Instance.uuid == uuid) if uuid is not None else query
    query = query.where(_lasts_until(literal(start))) if start is not None else query
    query = query.where(ViolationRow.opened_at < end) if end is not None else query
    rows = session.execute(paged(session, query, at, keys=SORT_KEYS, unique=ViolationRow.id)).all()
    parts = _parts(session, [row[0].id for row in rows])
    return [
        Listed(
            episode=episodes.union([episode_of(row[0]), *parts.get(row[0].id, ())]),
            metric=row[0].metric,
            instance=row[1],
            host=row[2],
        )
        for row in rows
    ]


def find(session: Session, violation_id: int) -> tuple[Listed, Sequence[tuple[ViolationRow, str]]] | None:
    """An episode, by the id of any of its parts, and its parts with the names of their hosts, the earliest first."""
    known = session.get(ViolationRow, violation_id)
    if known is None:
        return None
    root = known.merged_into_id or known.id
    query = (
        select(ViolationRow, Instance, Host.name)
        .join(Instance, Instance.id == ViolationRow.instance_id)
        .join(Host, Host.id == ViolationRow.host_id)
        .where(or_(ViolationRow.id == root, ViolationRow.merged_into_id == root))
        .order_by(ViolationRow.opened_at, ViolationRow.id)
    )
    rows = session.execute(query).all()
    first = next(row for row in rows if row[0].id == root)
    episode = episodes.union([episode_of(row[0]) for row in rows])
    listed = Listed(episode=episode, metric=first[0].metric, instance=first[1], host=first[2])
    return listed, [(row[0], row[2]) for row in rows]


def lately_on(session: Session, host_id: int, since: float, *, largest: int) -> Sequence[tuple[ViolationRow, Instance]]:
    """What a host reported as violations that last or ended at ``since`` (Unix seconds) or later, the newest first."""
    query = (
        select(ViolationRow, Instance)
        .join(Instance, Instance.id == ViolationRow.instance_id)
        .where(ViolationRow.host_id == host_id, or_(ViolationRow.closed_at.is_(None), ViolationRow.closed_at >= since))
        .order_by(ViolationRow.id.desc())
    )
    return [(row[0], row[1]) for row in session.execute(query.limit(largest))]


def _lasts(seconds: float) -> ColumnElement[bool]:
    """Whether the episode, with its parts, is open or that long."""
    return _lasts_until(ViolationRow.opened_at + seconds)


def _lasts_until(until: ColumnElement[float]) -> ColumnElement[bool]:
    part = exists().where(
        _Part.merged_into_id == ViolationRow.id, or_(_Part.closed_at.is_(None), _Part.closed_at >= until)
    )
    return or_(ViolationRow.closed_at.is_(None), ViolationRow.closed_at >= until, part)


def _parts(session: Session, ids: Sequence[int]) -> Mapping[int, list[Episode]]:
    found: dict[int, list[Episode]] = {}
    query = select(ViolationRow).where(ViolationRow.merged_into_id.in_(ids))
    for row in session.scalars(query) if ids else ():
        found.setdefault(row.merged_into_id or 0, []).append(episode_of(row))
    return found


def episode_of(row: ViolationRow) -> Episode:
    """What the rules need of a row."""
    return Episode(
        id=row.id,
        opened_at=row.opened_at,
        closed_at=row.closed_at,
        missed_seconds=_missed_seconds(row),
        cause=row.cause,
        offender=row.offender,
    )


def _missed_seconds(row: ViolationRow) -> float | None:
    found = json.loads(row.evidence).get("missed_seconds")
    return float(found) if isinstance(found, int | float) and found >= 0 else None


def keep(session: Session, row: ViolationRow) -> None:
    """Store what the host says of an episode. Of two rows the one with more missed seconds is newer, and a closed one than an open."""
    known = session.scalar(
        select(ViolationRow).where(ViolationRow.host_id == row.host_id, ViolationRow.reported_id == row.reported_id)
    )
    if known is None:
        session.add(row)
        session.flush()
    elif known.instance_id == row.instance_id and _is_news(known, row):
        known.closed_at, known.cause = row.closed_at, row.cause
        known.offender, known.evidence = row.offender, row.evidence


def _is_news(known: ViolationRow, row: ViolationRow) -> bool:
    """A duplicate that comes late never opens a closed episode again; a host that went on without the API does."""
    before, after = _missed_seconds(known) or 0.0, _missed_seconds(row) or 0.0
    if known.closed_at is not None and row.closed_at is None:
        return after > before
    return after >= before or (known.closed_at is None and row.closed_at is not None)


def to_merge(session: Session, *, since: float, largest: int) -> Sequence[Objective]:
    """Objectives with episodes opened ``since`` (Unix seconds) that may be one and are not, or are one and may not be."""
    before, gap = aliased(ViolationRow), GAP_SECONDS
    near = and_(
        before.instance_id == ViolationRow.instance_id,
        before.metric == ViolationRow.metric,
        before.id != ViolationRow.id,
        before.opened_at <= ViolationRow.opened_at,
        ViolationRow.opened_at < func.coalesce(before.closed_at, _FAR) + gap,
    )
    root, root_before = (func.coalesce(row.merged_into_id, row.id) for row in (ViolationRow, before))
    apart = and_(ViolationRow.merged_into_id.is_not(None), ~exists().where(near))
    query = select(ViolationRow.instance_id, ViolationRow.metric).where(
        ViolationRow.opened_at >= since, or_(apart, exists().where(near, root != root_before))
    )
    return [(row[0], row[1]) for row in session.execute(query.distinct().limit(largest))]


def merge(session: Session, objective: Objective) -> int:
    """Merge the episodes of an objective, and part those that are one no longer; how many rows changed."""
    query = select(ViolationRow).where(ViolationRow.instance_id == objective[0], ViolationRow.metric == objective[1])
    rows = session.scalars(query.with_for_update()).all()
    roots = episodes.merge(map(episode_of, rows))
    changed = [row for row in rows if row.merged_into_id != roots[row.id]]
    for row in changed:
        row.merged_into_id = roots[row.id]
    session.flush()
    return len(changed)


def close(session: Session, ends: Mapping[int, float]) -> int:
    """Close these violations, by id, at these times, unless their host did so meanwhile; how many were closed."""
    closed = 0
    for violation_id, at in ends.items():
        swap = update(ViolationRow).where(ViolationRow.id == violation_id, ViolationRow.closed_at.is_(None))
        closed += changed_rows(session.execute(swap.values(closed_at=at).execution_options(synchronize_session=False)))
    return closed


def open_by_host(session: Session, host_ids: Sequence[int]) -> Mapping[int, int]:
    """How many violations that last began on each of these hosts; those without are left out."""
    query = (
        select(ViolationRow.host_id, func.count())
        .where(ViolationRow.host_id.in_(host_ids), ViolationRow.closed_at.is_(None))
        .group_by(ViolationRow.host_id)
    )
    return {row[0]: row[1] for row in session.execute(query)} if host_ids else {}


def count_open(session: Session, project_id: str | None = None) -> int:
    """How many violations last, of one project where it is given."""
    query = select(func.count()).select_from(ViolationRow).where(ViolationRow.closed_at.is_(None))
    if project_id is not None:
        query = query.join(Instance, Instance.id == ViolationRow.instance_id).where(Instance.project_id == project_id)
    return session.scalar(query) or 0
