"""Instances that their host does not report any more: their SLO is withdrawn and its reservation is freed."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from stella.db import decisions, hosts, slos
from stella.db.instances import GONE
from stella.db.models import Host, Instance, SloRow
from stella.db.slos import system_origin

Found = tuple[str, str, float]
"""Uuid, name of the host, since when it is gone (Unix seconds)."""


class Moved(Exception):
    """The host or the SLO changed meanwhile: look again."""


def find(session: Session, *, gone_before: float, reported_since: float, largest: int) -> Sequence[Found]:
    """Instances with an SLO, gone since ``gone_before``, whose host last reported ``reported_since`` or later (Unix seconds)."""
    query = (
        select(Instance.uuid, Host.name, Instance.gone_at)
        .join(Host, Host.id == Instance.host_id)
        .join(SloRow, SloRow.instance_id == Instance.id)
        .where(
            Instance.gone_at <= gone_before,
            Instance.state == GONE,
            Host.reported_at >= reported_since,
            SloRow.objectives.is_not(None),
        )
        .order_by(Instance.gone_at)
        .limit(largest)
    )
    return [(row[0], row[1], row[2]) for row in session.execute(query)]


def withdraw(session: Session, uuid: str, *, gone_before: float, reported_since: float, now: float) -> bool:
    """Withdraw the SLO of an instance that is still gone; False when it is not. Raises `Moved`: then nothing may be kept."""
    query = select(Instance, Host, SloRow).join(Host, Host.id == Instance.host_id)
    row = session.execute(query.join(SloRow, SloRow.instance_id == Instance.id).where(Instance.uuid == uuid)).first()
    if row is None:
        return False
    instance, host, slo = row
    silent = host.reported_at is None or host.reported_at < reported_since
    back = instance.state != GONE or instance.gone_at is None or instance.gone_at > gone_before
    if silent or back or slo.objectives is None:
        return False
    others = [held.reserved_cpu_cores for other, held in slos.on_host(session, host.id) if other.id != instance.id]
    reserved, revision, origin = sum(others), host.intent_revision + 1, system_origin(now)
    swapped = hosts.swap(
        session,
        host,
        intent_revision=revision,
        reserved_cpu_cores=reserved,
        free_cpu_cores=(host.capacity_cpu_cores or 0.0) - reserved,
    )
    freed = slo.reserved_cpu_cores
    if not (swapped and slos.withdraw(session, instance, slo, revision=revision, origin=origin)):
        raise Moved
    decisions.record(
        session,
        decisions.INSTANCE_GONE,
        origin=origin,
        reason=f"gone from its host for {now - instance.gone_at:.0f} s; its SLO is withdrawn, {freed:.3f} cores are free",
        host_id=host.id,
        instance_id=instance.id,
        detail={"freed_cpu_cores": freed},
    )
    return True
