"""Instances whose server is to be looked at, and what is kept of its status. The SLOs themselves: `stella.admission.changes`."""

from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from stella.db.instances import GONE
from stella.db.models import Host, Instance, SloRow
from stella.db.slos import SUSPENDED
from stella.model import wire

FlavorSize = tuple[str, int | None]
"""The name of a flavor, and the bytes of its disks; None: not told."""


def find(session: Session, uuids: Collection[str]) -> Sequence[tuple[Instance, Host, SloRow | None]]:
    """Those of these instances that are known, each with its host and its SLO."""
    query = (
        select(Instance, Host, SloRow)
        .join(Host, Host.id == Instance.host_id)
        .join(SloRow, SloRow.instance_id == Instance.id, isouter=True)
        .where(Instance.uuid.in_(list(uuids)))
    )
    return [(row[0], row[1], row[2]) for row in session.execute(query)] if uuids else []


def since(session: Session, after_id: int, *, largest: int) -> tuple[Sequence[str], int]:
    """Instances that became known after the one of this id and were never looked at, and the id to go on from."""
    query = select(Instance.id, Instance.uuid, Instance.cloud_state).where(Instance.id > after_id)
    rows = session.execute(query.order_by(Instance.id).limit(largest)).all()
    return [row[1] for row in rows if row[2] is None], rows[-1][0] if rows else after_id


def waiting(session: Session, *, largest: int) -> Sequence[str]:
    """Instances to look at again: their SLO is suspended though a host reports them, or in force though none does."""
    suspended = (
        select(Instance.uuid)
        .join(SloRow, SloRow.instance_id == Instance.id)
        .where(SloRow.state == SUSPENDED, Instance.state != GONE)
        .limit(largest)
    )
    lost = (
        select(Instance.uuid)
        .join(SloRow, SloRow.instance_id == Instance.id)
        .where(Instance.gone_at.is_not(None), SloRow.objectives.is_not(None), SloRow.state != SUSPENDED)
        .order_by(Instance.gone_at.desc())
        .limit(largest)
    )
    return [*session.scalars(suspended), *session.scalars(lost)]


def keep_states(session: Session, states: Mapping[str, str]) -> None:
    """Keep what the cloud says of these instances, by uuid."""
    for state in sorted(set(states.values())):
        uuids = [uuid for uuid, said in states.items() if said == state]
        changed = update(Instance).where(Instance.uuid.in_(uuids)).values(cloud_state=state)
        session.execute(changed.execution_options(synchronize_session=False))


def keep_flavors(session: Session, flavors: Mapping[str, FlavorSize]) -> None:
    """Keep the flavors of these instances, by uuid."""
    for flavor in set(flavors.values()):
        uuids = [uuid for uuid, found in flavors.items() if found == flavor]
        changed = update(Instance).where(Instance.uuid.in_(uuids)).values(flavor=flavor[0], disk_bytes=flavor[1])
        session.execute(changed.execution_options(synchronize_session=False))


def keep_flavor(
    session: Session, instance_id: int, objectives: Mapping[str, object] | None, *, cloud_state: str | None
) -> None:
    """Keep what its flavor sells (as `stella.model.slo.show_slo` prints it), and the cloud's status where that was said."""
    values: dict[str, object] = {"flavor_objectives": wire.dumps(objectives) if objectives is not None else None}
    if cloud_state is not None:
        values["cloud_state"] = cloud_state
    changed = update(Instance).where(Instance.id == instance_id).values(values)
    session.execute(changed.execution_options(synchronize_session=False))
