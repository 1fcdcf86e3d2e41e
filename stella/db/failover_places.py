"""Places that hosts keep for instances of other hosts, should one of these be lost, and who asks for one."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, delete, select
from sqlalchemy.orm import Session

from stella.control.failover import Place, Wanted
from stella.db import sla_members
from stella.db.instances import GONE
from stella.db.models import FailoverPlace, Host, Instance, SloRow
from stella.db.sla_models import Sla
from stella.db.slos import SUSPENDED

_PAGE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A place, and the host that keeps it."""

    host_id: int
    host: str
    place: Place


def of_instance(session: Session, instance_id: int) -> Kept | None:
    """The place that is kept for an instance."""
    return _kept(session, FailoverPlace.instance_id == instance_id).get(instance_id)


def all_of_them(session: Session) -> Mapping[int, Kept]:
    """All places, by instance."""
    return _kept(session)


def for_loss_of(session: Session, host_id: int) -> Mapping[int, Kept]:
    """The places that other hosts keep for instances of this one, by instance."""
    return _kept(session, Instance.host_id == host_id, FailoverPlace.host_id != host_id)


def _kept(session: Session, *conditions: ColumnElement[bool]) -> dict[int, Kept]:
    query = (
        select(FailoverPlace, Host.name, Instance.host_id)
        .join(Host, Host.id == FailoverPlace.host_id)
        .join(Instance, Instance.id == FailoverPlace.instance_id)
        .where(*conditions)
    )
    return {
        row.instance_id: Kept(
            host_id=row.host_id,
            host=name,
            place=Place(
                instance=row.instance_id, lost=lost, cores=row.reserved_cpu_cores, io_ratio=row.reserved_io_ratio
            ),
        )
        for row, name, lost in session.execute(query)
    }


def wanted(session: Session, now: int) -> Sequence[Wanted]:
    """The instances with an SLO in force whose class asks for one at ``now`` (Unix seconds)."""
    classes = select(Sla.id).where(Sla.failover.is_(True), Sla.withdrawn_at.is_(None))
    found: set[int] = set()
    for sla_id in session.scalars(classes).all():
        after: int | None = 0
        while after is not None:
            members, after = sla_members.page(session, sla_id, (now, now + 1), after_id=after, largest=_PAGE)
            found |= {member.instance_id for member in members}
    return _in_force(session, sorted(found))


def _in_force(session: Session, ids: Sequence[int]) -> list[Wanted]:
    columns = (Instance.id, Instance.host_id, SloRow.reserved_cpu_cores, SloRow.reserved_io_ratio)
    made = []
    for start in range(0, len(ids), _PAGE):
        query = (
            select(*columns)
            .join(SloRow, SloRow.instance_id == Instance.id)
            .where(
                Instance.id.in_(ids[start : start + _PAGE]),
                Instance.state != GONE,
                SloRow.objectives.is_not(None),
                SloRow.state != SUSPENDED,
            )
        )
        made += [Wanted(instance=row[0], lost=row[1], cores=row[2], io_ratio=row[3]) for row in session.execute(query)]
    return made


def put(session: Session, instance_id: int, host_id: int, *, cores: float, io_ratio: float, at: float) -> None:
    """Keep a place; one that was kept elsewhere is let go."""
    session.merge(
        FailoverPlace(
            instance_id=instance_id,
            host_id=host_id,
            reserved_cpu_cores=cores,
            reserved_io_ratio=io_ratio,
            changed_at=at,
        )
    )
    session.flush()


def drop(session: Session, instance_ids: Collection[int]) -> None:
    """Let places go."""
    session.execute(delete(FailoverPlace).where(FailoverPlace.instance_id.in_(instance_ids)))


def keepers(session: Session) -> Collection[int]:
    """The hosts that keep places, or are said to."""
    by_places = session.scalars(select(FailoverPlace.host_id).distinct()).all()
    by_rows = session.scalars(select(Host.id).where(Host.failover_cpu_cores != 0.0)).all()
    return {*by_places, *by_rows}
