"""Hosts that fell silent or are back: ``hosts.silent_since``, with a decision each."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.orm import Session

from stella.db import decisions
from stella.db.models import Host
from stella.db.slos import system_origin


def _changed(reported_since: float) -> ColumnElement[bool]:
    return or_(
        Host.silent_since.is_(None) & (Host.reported_at < reported_since),
        Host.silent_since.is_not(None) & (Host.reported_at >= reported_since),
    )


def find(session: Session, *, reported_since: float, largest: int) -> Sequence[int]:
    """The ids of up to ``largest`` hosts of which it is not noted that their last report is older than that time, or not any more."""
    return session.scalars(select(Host.id).where(_changed(reported_since)).order_by(Host.id).limit(largest)).all()


def note(session: Session, ids: Sequence[int], *, reported_since: float, now: float) -> int:
    """Note it of these, unless a report came meanwhile; how many were noted."""
    query = select(Host).where(Host.id.in_(ids), _changed(reported_since)).order_by(Host.id).with_for_update()
    found = session.scalars(query).all()
    for host in found:
        kind, reason = _change(host, reported_since, now)
        decisions.record(session, kind, origin=system_origin(now), reason=reason, host_id=host.id)
    return len(found)


def _change(host: Host, reported_since: float, now: float) -> tuple[str, str]:
    reported_at = host.reported_at or 0.0
    if reported_at < reported_since:
        host.silent_since = reported_at
        return decisions.HOST_SILENT, f"no report for {now - reported_at:.0f} s"
    away = reported_at - (host.silent_since or reported_at)
    host.silent_since = None
    return decisions.HOST_BACK, f"reports again, {max(0.0, away):.0f} s after the last report before"
