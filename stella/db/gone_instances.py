"""Instances that their host does not report any more, and that have an SLO: it is to be withdrawn."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from stella.db.instances import GONE
from stella.db.models import Host, Instance, SloRow

Found = tuple[str, str, float]
"""Uuid, name of the host, since when it is gone (Unix seconds)."""


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


def is_gone(instance: Instance, host: Host, slo: SloRow | None, *, gone_before: float, reported_since: float) -> bool:
    """Whether what `find` says still holds of this instance: its host reports, and not it, and it has an SLO."""
    silent = host.reported_at is None or host.reported_at < reported_since
    back = instance.state != GONE or instance.gone_at is None or instance.gone_at > gone_before
    return not silent and not back and slo is not None and slo.objectives is not None
