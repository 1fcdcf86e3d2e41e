"""Decisions: what was decided, when, and why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, Select, select
from sqlalchemy.orm import Session, aliased

from stella.db.models import DecisionRow, Host, Instance, MoveRow
from stella.db.paging import Page, paged
from stella.db.slos import Origin
from stella.model import wire

SLO_ACCEPTED, SLO_WITHDRAWN, SLO_DOES_NOT_FIT, SLO_REFUSED_BY_HOST, HOST_MODE, SLO_OVER_QUOTA, QUOTA = (
    "slo_accepted",
    "slo_withdrawn",
    "slo_does_not_fit",
    "slo_refused_by_host",
    "host_mode",
    "slo_over_quota",
    "quota",
)
SLO_ABOVE_LIMIT = "slo_above_limit"
"""A floor was asked for that a limit from outside Stella, such as a flavor's or Neutron's, is below."""

SLO_DEGRADED_BY_HOST = "slo_degraded_by_host"
"""An instance came to a host that cannot hold its SLO: what is free there is set aside for it, the rest when it comes free."""

SLO_SUSPENDED = "slo_suspended"
"""Nova took the instance off its host; its SLO is kept, and in force again where the instance comes back."""

HOST_SILENT, HOST_BACK, INSTANCE_GONE = "host_silent", "host_back", "instance_gone"
NO_CANDIDATE = "no_candidate"
"""A scheduler asked where an instance could go, and no host could take it; `detail` says why, host by host."""

PLACEMENT_SHORT = "placement_short"
"""More of a resource class is allocated in Placement than the host has; `detail` says by class how much more."""

SLA = "sla"
"""An SLA class, what it is attached to, an exclusion or a correction was made, changed or withdrawn."""

RELIEF, EVACUATION = "relief", "evacuation"
"""An instance is to leave its host, or nothing that would help may; `stella.db.moves` has the rest."""

HOST_FENCED = "host_fenced"
"""It is certain that nothing runs on a host any more, or the fencing command failed to make it so."""

FAILOVER = "failover"
"""An instance that is to survive the loss of its host has no place elsewhere, or has one again."""

_RECENT = 100

KINDS = (
    SLO_ACCEPTED,
    SLO_WITHDRAWN,
    SLO_DOES_NOT_FIT,
    SLO_OVER_QUOTA,
    SLO_ABOVE_LIMIT,
    SLO_REFUSED_BY_HOST,
    SLO_DEGRADED_BY_HOST,
    SLO_SUSPENDED,
    HOST_MODE,
    HOST_SILENT,
    HOST_BACK,
    INSTANCE_GONE,
    NO_CANDIDATE,
    PLACEMENT_SHORT,
    QUOTA,
    SLA,
    RELIEF,
    EVACUATION,
    HOST_FENCED,
    FAILOVER,
)

REFUSALS = (
    SLO_DOES_NOT_FIT,
    SLO_OVER_QUOTA,
    SLO_ABOVE_LIMIT,
    SLO_REFUSED_BY_HOST,
    NO_CANDIDATE,
)
"""Kinds by which something that was asked for is not given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A decision; its instance, the name of its host, and what became of the move that it is about, where it has these."""

    row: DecisionRow
    instance: Instance | None
    host: str | None
    move: MoveRow | None
    to_host: str | None


def record(
    session: Session,
    kind: str,
    *,
    origin: Origin,
    reason: str,
    host_id: int | None = None,
    instance_id: int | None = None,
    detail: Mapping[str, object] | None = None,
) -> DecisionRow:
    """Keep one decision. ``kind`` is one of `KINDS`, ``reason`` one line for a person."""
    row = DecisionRow(
        decided_at=origin.at,
        kind=kind,
        host_id=host_id,
        instance_id=instance_id,
        user_id=origin.user_id,
        request_id=origin.request_id,
        reason=reason,
        detail=wire.dumps(detail or {}),
    )
    session.add(row)
    return row


def was_without_candidate(session: Session, *, vcpus: int, objectives: Mapping[str, object], start: float) -> bool:
    """Whether since ``start`` (Unix seconds) it was decided that no host takes such an instance."""
    query = select(DecisionRow.detail).where(DecisionRow.kind == NO_CANDIDATE, DecisionRow.decided_at >= start)
    details = (wire.parse(text) for text in session.scalars(query.order_by(DecisionRow.id.desc()).limit(_RECENT)))
    wanted = {"vcpus": wire.parse(wire.dumps(vcpus)), "objectives": wire.parse(wire.dumps(objectives))}
    return any(isinstance(detail, dict) and {**detail, **wanted} == detail for detail in details)


SORT_KEYS = {"id": DecisionRow.id, "decided_at": DecisionRow.decided_at, "kind": DecisionRow.kind}


def page(
    session: Session,
    at: Page,
    *,
    host: str | None = None,
    project_id: str | None = None,
    uuid: str | None = None,
    kind: str | None = None,
    state: str | None = None,
    only_refusals: bool = False,
    start: float | None = None,
    end: float | None = None,
) -> Sequence[Listed]:
    """Decisions; each filter that is given must match. ``only_refusals``: of `REFUSALS`; ``state``: of the move that it is about.

    ``start`` and ``end`` (before it) are Unix seconds.

    Raises `stella.db.paging.UnknownMarker`.
    """
    query = _listed()
    query = query.where(Host.name == host) if host is not None else query
    query = query.where(Instance.project_id == project_id) if project_id is not None else query
    query = query.where(Instance.uuid == uuid) if uuid is not None else query
    query = query.where(DecisionRow.kind == kind) if kind is not None else query
    query = query.where(MoveRow.state == state) if state is not None else query
    query = query.where(DecisionRow.kind.in_(REFUSALS)) if only_refusals else query
    query = query.where(DecisionRow.decided_at >= start) if start is not None else query
    query = query.where(DecisionRow.decided_at < end) if end is not None else query
    query = paged(session, query, at, keys=SORT_KEYS, unique=DecisionRow.id)
    return [_of(row) for row in session.execute(query)]


def find(session: Session, number: int) -> Listed | None:
    """The decision of this number."""
    row = session.execute(_listed().where(DecisionRow.id == number)).first()
    return _of(row) if row is not None else None


def _listed() -> Select[Any]:
    destination = aliased(Host)
    return (
        select(DecisionRow, Instance, Host.name, MoveRow, destination.name)
        .join(Instance, Instance.id == DecisionRow.instance_id, isouter=True)
        .join(Host, Host.id == DecisionRow.host_id, isouter=True)
        .join(MoveRow, MoveRow.decision_id == DecisionRow.id, isouter=True)
        .join(destination, destination.id == MoveRow.to_host_id, isouter=True)
    )


def _of(row: Row[Any]) -> Listed:
    return Listed(row=row[0], instance=row[1], host=row[2], move=row[3], to_host=row[4])


def last_reason(session: Session, kind: str, instance_id: int) -> str | None:
    """The reason of the last decision of this kind about an instance; None: there is none."""
    query = select(DecisionRow.reason).where(DecisionRow.instance_id == instance_id, DecisionRow.kind == kind)
    return session.scalar(query.order_by(DecisionRow.id.desc()).limit(1))
