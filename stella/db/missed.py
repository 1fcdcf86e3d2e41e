"""What was missed on hosts lately, and what runs there: what relief decides on (`stella.control.relief_view`)."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import false, func, or_, select
from sqlalchemy.orm import Session

from stella.db.instances import GONE
from stella.db.models import Host, Instance, Minute, SloRow, ViolationRow
from stella.db.slos import SUSPENDED
from stella.model.slo import Metric


@dataclass(frozen=True, slots=True, kw_only=True)
class Missed:
    """An objective of an instance, where it is now. ``seconds`` are those since the time that was asked for; ``evidence`` the last."""

    host_id: int
    instance: Instance
    slo: SloRow | None
    metric: str
    seconds: float
    lasts: bool
    cause: str | None
    offender: str | None
    evidence: Mapping[str, Any]


def since(session: Session, start: float, now: float) -> Sequence[Missed]:
    """What was missed since ``start`` (Unix seconds) by instances that are still on the host that reported it."""
    query = (
        select(ViolationRow, Instance, SloRow)
        .join(Instance, Instance.id == ViolationRow.instance_id)
        .join(SloRow, SloRow.instance_id == Instance.id)
        .where(
            or_(ViolationRow.closed_at.is_(None), ViolationRow.closed_at >= start),
            Instance.host_id == ViolationRow.host_id,
            Instance.state != GONE,
            SloRow.objectives.is_not(None),
        )
        .order_by(ViolationRow.opened_at, ViolationRow.id)
    )
    found: dict[tuple[int, str], list[tuple[ViolationRow, Instance, SloRow]]] = {}
    for row in session.execute(query):
        found.setdefault((row[1].id, row[0].metric), []).append((row[0], row[1], row[2]))
    return [_missed(rows, start, now) for rows in found.values()]


def _missed(rows: Sequence[tuple[ViolationRow, Instance, SloRow]], start: float, now: float) -> Missed:
    last, instance, slo = rows[-1]
    seconds = sum(max(0.0, (row.closed_at or now) - max(row.opened_at, start)) for row, _, _ in rows)
    return Missed(
        host_id=instance.host_id,
        instance=instance,
        slo=slo,
        metric=last.metric,
        seconds=seconds,
        lasts=any(row.closed_at is None for row, _, _ in rows),
        cause=last.cause,
        offender=last.offender,
        evidence=json.loads(last.evidence),
    )


def guests(session: Session, host_ids: Collection[int]) -> Mapping[int, Sequence[tuple[Instance, SloRow | None]]]:
    """The instances that these hosts run, by host, each with its SLO in force (None: it has none)."""
    query = (
        select(Instance, SloRow)
        .join(SloRow, SloRow.instance_id == Instance.id, isouter=True)
        .where(Instance.host_id.in_(host_ids), Instance.state != GONE)
        .order_by(Instance.uuid)
    )
    found: dict[int, list[tuple[Instance, SloRow | None]]] = {host_id: [] for host_id in host_ids}
    for row in session.execute(query) if host_ids else ():
        in_force = row[1] is not None and row[1].objectives is not None and row[1].state != SUSPENDED
        found[row[0].host_id].append((row[0], row[1] if in_force else None))
    return found


def missed_seconds(session: Session, host_ids: Collection[int], span: tuple[int, int]) -> int | None:
    """Violated and degraded seconds on these hosts in minutes from the first to before the second time (Unix seconds).

    Those of instances that are on one of these hosts now: they are found by their index, however many hosts there are. None: no
    minute of that time was reported.
    """
    query = (
        select(func.sum(Minute.violated_seconds + Minute.degraded_seconds))
        .join(Instance, Instance.id == Minute.instance_id)
        .where(
            Instance.host_id.in_(host_ids),
            Minute.host_id.in_(host_ids),
            Minute.metric.in_([metric.value for metric in Metric]),
            Minute.is_stretch == false(),
            Minute.start >= span[0],
            Minute.start < span[1],
        )
    )
    found = session.scalar(query)
    return None if found is None else int(found)


def stranded(session: Session, host_id: int, *, largest: int) -> Sequence[tuple[Instance, SloRow]]:
    """Instances with an SLO in force that were last on this host, those of the highest reservation first."""
    query = (
        select(Instance, SloRow)
        .join(SloRow, SloRow.instance_id == Instance.id)
        .where(Instance.host_id == host_id, SloRow.objectives.is_not(None), SloRow.state != SUSPENDED)
        .order_by(SloRow.priority.desc(), SloRow.reserved_cpu_cores.desc(), Instance.uuid)
        .limit(largest)
    )
    return [(row[0], row[1]) for row in session.execute(query)]


def silent_hosts(session: Session, *, largest: int) -> Sequence[Host]:
    """Enrolled hosts that stella-engine has noted as silent, those that are silent for longest first."""
    query = select(Host).where(Host.silent_since.is_not(None), Host.credential_sha256.is_not(None))
    return session.scalars(query.order_by(Host.silent_since, Host.id).limit(largest)).all()


def counts(session: Session) -> tuple[int, int]:
    """How many enrolled hosts that ever reported are silent, and how many there are; those in maintenance are not counted."""
    query = select(func.count(Host.silent_since), func.count()).where(
        Host.credential_sha256.is_not(None), Host.reported_at.is_not(None), Host.mode != "maintenance"
    )
    row = session.execute(query).one()
    return int(row[0]), int(row[1])
