"""What a check of the whole cloud reads: enrolled hosts with what they last reported, and the engine's lease."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import and_, select
from sqlalchemy.orm import Session

from stella.db.models import Host, Lease, Stream
from stella.model import wire


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrolledHost:
    """A host with a credential. ``sent_at`` is what its own clock said when it sent what came at ``reported_at``."""

    name: str
    mode: str
    has_capacity: bool
    reported_at: float | None
    sent_at: float | None
    version: str


def enrolled(session: Session) -> Sequence[EnrolledHost]:
    """All of them, by name."""
    query = (
        select(Host.name, Host.mode, Host.capacity_cpu_cores, Host.reported_at, Stream.sent_at, Host.reported)
        .join(
            Stream,
            and_(Stream.host_id == Host.id, Stream.agent == Host.agent, Stream.epoch == Host.epoch),
            isouter=True,
        )
        .where(Host.credential_sha256.is_not(None))
        .order_by(Host.name)
    )
    return [
        EnrolledHost(
            name=name,
            mode=mode,
            has_capacity=capacity is not None,
            reported_at=reported_at,
            sent_at=sent_at,
            version=_version(reported),
        )
        for name, mode, capacity, reported_at, sent_at, reported in session.execute(query)
    ]


def _version(reported: str) -> str:
    found = wire.parse(reported.encode())
    versions = found.get("versions") if isinstance(found, dict) else None
    return str(versions.get("xgos", "")) if isinstance(versions, dict) else ""


def lease(session: Session, name: str) -> tuple[bool, float] | None:
    """Whether somebody holds the lease, and its last sign of life (Unix seconds); None where nobody ever did."""
    row = session.execute(select(Lease.holder, Lease.renewed_at).where(Lease.name == name)).first()
    return None if row is None else (row[0] is not None, float(row[1]))
