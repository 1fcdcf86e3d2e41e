"""Instances: where they run and whose they are."""

from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import ColumnElement, bindparam, case, func, literal, or_, select, update
from sqlalchemy.orm import Session

from stella.db.models import Host, Instance, SloRow, ViolationRow
from stella.db.paging import Page, SortKeys, paged
from stella.db.slos import DEGRADED, ENFORCED, REFUSED

GONE = "gone"
"""The state of an instance that its host no longer reports."""

Listed = tuple[Instance, str, SloRow | None]
"""An instance, the name of its host, and its SLO (None: it never had one)."""


def _query(uuid: str | None = None):  # type: ignore[no-untyped-def]  # SQLAlchemy's own type of a three-entity select
    # each instance has a host; an inner join lets MariaDB begin with all hosts and sort all instances for one page
    query = select(Instance, Host.name, SloRow).join(Host, Host.id == Instance.host_id, isouter=True)
    query = query.join(SloRow, SloRow.instance_id == Instance.id, isouter=True)
    return query.where(Instance.uuid == uuid) if uuid else query


def find(session: Session, uuid: str) -> Listed | None:
    """The instance of this uuid."""
    row = session.execute(_query(uuid)).first()
    return (row[0], row[1], row[2]) if row else None


def find_placed(session: Session, uuid: str) -> tuple[Instance, Host, SloRow | None] | None:
    """The instance of this uuid, its host and its SLO (None: it never had one)."""
    row = session.execute(_PLACED, {"uuid": uuid}).first()
    return (row[0], row[1], row[2]) if row else None


_PLACED = (
    select(Instance, Host, SloRow)
    .join(Host, Host.id == Instance.host_id)
    .join(SloRow, SloRow.instance_id == Instance.id, isouter=True)
    .where(Instance.uuid == bindparam("uuid"))
)


def opt_out(session: Session, instance_id: int, value: bool) -> None:
    """Keep whether relief must not move an instance."""
    session.execute(update(Instance).where(Instance.id == instance_id).values(relief_opt_out=value))


HEALTHS = ("troubled", "pending", "guaranteed", "best_effort")
"""The worst first. Troubled: a violation is open, or the host refuses or cannot hold the SLO; pending: not enforced yet, or
suspended; best-effort: without SLO."""


def _health() -> ColumnElement[str]:
    """The place of the instance's health in `HEALTHS`, as a digit."""
    in_force = select(SloRow.instance_id).where(SloRow.objectives.is_not(None))
    violated = select(ViolationRow.instance_id).where(ViolationRow.closed_at.is_(None))
    failing = in_force.where(SloRow.state.in_((REFUSED, DEGRADED)))
    guaranteed = Instance.id.in_(in_force)
    return case(
        (guaranteed & or_(Instance.id.in_(violated), Instance.id.in_(failing)), literal("0")),
        (Instance.id.in_(in_force.where(SloRow.state != ENFORCED)), literal("1")),
        (guaranteed, literal("2")),
        else_=literal("3"),
    )


def _reserved() -> ColumnElement[float]:
    """What the instance's SLO holds of its host, in cores; 0 without."""
    held = select(SloRow.reserved_cpu_cores).where(SloRow.instance_id == Instance.id).correlate(Instance)
    return func.coalesce(held.scalar_subquery(), 0.0)


SORT_KEYS: SortKeys = {
    "uuid": Instance.uuid,
    "name": Instance.name,
    "project_id": Instance.project_id,
    "state": Instance.state,
    "health": _health() + Instance.name,
    "reserved_cpu_cores": _reserved(),
}


def page(
    session: Session,
    at: Page,
    *,
    host: str | None = None,
    project_id: str | None = None,
    state: str | None = None,
    name: str | None = None,
    name_contains: str | None = None,
    health: str | None = None,
    with_gone: bool = True,
) -> Sequence[Listed]:
    """Instances; each filter that is given must match. ``state`` is that of the SLO. ``health`` is one of `HEALTHS`.

    Raises `stella.db.paging.UnknownMarker`.
    """
    query = _query()
    for column, value in (
        (Host.name, host),
        (Instance.project_id, project_id),
        (SloRow.state, state),
        (Instance.name, name),
    ):
        query = query.where(column == value) if value is not None else query
    if name_contains is not None:
        query = query.where(Instance.name.icontains(name_contains, autoescape=True))
    if health is not None:
        query = query.where(_health() == str(HEALTHS.index(health)))
    if not with_gone:
        query = query.where(Instance.state != GONE)
    query = paged(session, query, at, keys=SORT_KEYS, unique=Instance.uuid)
    return [(row[0], row[1], row[2]) for row in session.execute(query)]


def counts(session: Session, host_ids: Sequence[int]) -> Mapping[int, int]:
    """How many instances each of these hosts runs."""
    query = (
        select(Instance.host_id, func.count())
        .where(Instance.host_id.in_(host_ids), Instance.state != GONE)
        .group_by(Instance.host_id)
    )
    return {row[0]: row[1] for row in session.execute(query)} if host_ids else {}


def names(session: Session, uuids: Collection[str]) -> Mapping[str, str]:
    """The names of these instances, by uuid."""
    query = select(Instance.uuid, Instance.name).where(Instance.uuid.in_(uuids))
    return {row[0]: row[1] for row in session.execute(query)} if uuids else {}


def counts_by_health(session: Session, project_id: str | None = None) -> Mapping[str, int]:
    """How many instances that are not gone are of each of `HEALTHS`, of one project where it is given."""
    health = _health()
    query = select(health, func.count()).where(Instance.state != GONE).group_by(health)
    query = query.where(Instance.project_id == project_id) if project_id is not None else query
    found = {HEALTHS[int(row[0])]: row[1] for row in session.execute(query)}
    return {name: found.get(name, 0) for name in HEALTHS}


def guaranteed(session: Session, project_id: str, *, largest: int) -> Sequence[int]:
    """Ids of the project's instances that have an SLO and are not gone, ``largest`` at most."""
    query = (
        select(Instance.id)
        .join(SloRow, SloRow.instance_id == Instance.id)
        .where(Instance.project_id == project_id, Instance.state != GONE, SloRow.objectives.is_not(None))
        .limit(largest)
    )
    return session.scalars(query).all()
