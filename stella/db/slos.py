"""SLOs and their history. `stella.admission` decides; this only keeps."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BindParameter,
    CompoundSelect,
    Row,
    Select,
    bindparam,
    delete,
    insert,
    null,
    select,
    union_all,
    update,
)
from sqlalchemy.orm import InstrumentedAttribute, Session

from stella.control.failover import Place, worst_loss
from stella.control.relief_view import OPEN
from stella.db.database import changed_rows
from stella.db.models import FailoverPlace, Instance, MoveRow, SloChange, SloFloor, SloRow
from stella.model import wire

PENDING, ENFORCED, REFUSED, DEGRADED, WITHDRAWN = "pending", "enforced", "refused", "degraded", "withdrawn"
SUSPENDED = "suspended"
"""Kept, but neither in force nor reserved: the instance runs nowhere, or its host has no room; the reason says it."""

STATES = (PENDING, ENFORCED, REFUSED, DEGRADED, SUSPENDED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Who asked for a change, in which request, from which address, when (Unix seconds)."""

    user_id: str
    request_id: str
    remote_address: str
    at: float


SYSTEM_USER = "system"
"""The user of what stella-engine changes by itself; such a change has no address."""


def system_origin(now: float) -> Origin:
    """The origin of what stella-engine does by itself."""
    return Origin(user_id=SYSTEM_USER, request_id="stella-engine", remote_address="", at=now)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What an SLO is set to: the mapping that `stella.model.slo.show_slo` prints, and what admission set aside for it.

    ``added`` is the part that its user asked for; None: all of it is sold by the flavor. With ``suspended_because`` the SLO is kept
    and not in force; then nothing is set aside.
    """

    objectives: Mapping[str, Mapping[str, object]]
    added: Mapping[str, Mapping[str, object]] | None
    priority: int
    reserved_cpu_cores: float
    reserved_io_ratio: float
    estimated: bool
    suspended_because: str = ""


_IN_FORCE = (SloRow.objectives.is_not(None), SloRow.state != SUSPENDED)
NO_INSTANCE = 0
"""The number of no instance."""

_COMES = (MoveRow.state.in_([state.value for state in OPEN]), Instance.host_id != MoveRow.to_host_id)
"""An instance is on its way to a host, and is not reported by it yet: its SLO is held there too."""


def find(session: Session, instance_id: int) -> SloRow | None:
    """The SLO of an instance, also a withdrawn one."""
    return session.scalar(select(SloRow).where(SloRow.instance_id == instance_id))


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """What an SLO in force holds of its host. ``shape`` is that of its instance, as text.

    ``is_failover``: nothing runs there for it; it is kept for instances of other hosts, should one of these be lost.
    """

    instance_id: int
    shape: str
    reserved_cpu_cores: float
    reserved_io_ratio: float
    is_failover: bool = False


def _holding_columns(
    host_id: InstrumentedAttribute[Any], lost: Any, cores: InstrumentedAttribute[Any], io: InstrumentedAttribute[Any]
) -> Select[Any]:
    columns = (host_id.label("host_id"), Instance.id, Instance.uuid, Instance.shape, cores, io, lost.label("lost"))
    query = select(*columns).select_from(Instance)
    return query.join(SloRow, SloRow.instance_id == Instance.id).where(*_IN_FORCE)


def _holdings_of() -> CompoundSelect[Any]:
    """What is held on hosts by instances that they run, by those on their way to them, and for those of hosts that may be lost."""
    host_ids: BindParameter[Any] = bindparam("host_ids", expanding=True)
    own, place = (SloRow.reserved_cpu_cores, SloRow.reserved_io_ratio), FailoverPlace
    here = _holding_columns(Instance.host_id, null(), *own).where(Instance.host_id.in_(host_ids))
    coming = _holding_columns(MoveRow.to_host_id, null(), *own).join(MoveRow, MoveRow.instance_id == Instance.id)
    kept = _holding_columns(place.host_id, Instance.host_id, place.reserved_cpu_cores, place.reserved_io_ratio)
    kept = kept.join(place, place.instance_id == Instance.id).where(place.host_id.in_(host_ids), _IS_KEPT)
    return union_all(here, coming.where(MoveRow.to_host_id.in_(host_ids), *_COMES), kept).order_by("uuid")


_IS_KEPT = FailoverPlace.host_id != Instance.host_id
"""A place on the host that the instance has come to holds nothing more there."""

_HOLDINGS = _holdings_of()


def holdings(
    session: Session, host_ids: Collection[int], *, lost: int | None = None
) -> Mapping[int, tuple[Holding, ...]]:
    """What is held on each of these hosts, by uuid of the instance, and what they keep for the loss of another one.

    ``lost``: as after the loss of this host: the places for its instances are held each by its own, none for that of a second host.
    """
    found: dict[int, list[Holding]] = {host_id: [] for host_id in host_ids}
    kept: dict[int, list[Row[Any]]] = {}
    for row in session.execute(_HOLDINGS, {"host_ids": list(host_ids)}) if found else ():
        if row[6] is None:
            held = Holding(instance_id=row[1], shape=row[3], reserved_cpu_cores=row[4], reserved_io_ratio=row[5])
            found[row[0]].append(held)
        else:
            kept.setdefault(row[0], []).append(row)
    for host_id, rows in kept.items():
        coming = {one.instance_id for one in found[host_id]}
        places = [_place(row) for row in rows if row[1] not in coming]
        if lost is None:
            found[host_id] += [_kept(one) for one in worst_loss(places)]
        else:
            found[host_id] += [_kept(one, one.instance) for one in places if one.lost == lost]
    return {host_id: tuple(held) for host_id, held in found.items()}


def failover_places(session: Session, host_ids: Collection[int]) -> Mapping[int, Sequence[Place]]:
    """All places that each of these hosts keeps, for the loss of any other one."""
    found: dict[int, list[Place]] = {host_id: [] for host_id in host_ids}
    for row in session.execute(_HOLDINGS, {"host_ids": list(host_ids)}) if found else ():
        if row[6] is not None:
            found[row[0]].append(_place(row))
    return found


def _place(row: Row[Any]) -> Place:
    vcpus = int(json.loads(row[3]).get("vcpus", 1))
    return Place(instance=row[1], lost=row[6], cores=row[4], io_ratio=row[5], vcpus=vcpus)


def _kept(one: Place, instance_id: int = NO_INSTANCE) -> Holding:
    """What is kept of a place, which belongs to no single instance while no host is lost."""
    return Holding(
        instance_id=instance_id,
        shape=wire.dumps({"vcpus": one.vcpus}),
        reserved_cpu_cores=one.cores,
        reserved_io_ratio=one.io_ratio,
        is_failover=True,
    )


def on_host(session: Session, host_id: int) -> Sequence[tuple[Instance, SloRow]]:
    """The SLOs in force on a host, with their instances, by uuid."""
    query = (
        select(Instance, SloRow)
        .join(SloRow, SloRow.instance_id == Instance.id)
        .where(Instance.host_id == host_id, *_IN_FORCE)
        .order_by(Instance.uuid)
    )
    return [(row[0], row[1]) for row in session.execute(query)]


def has_pending(session: Session, host_id: int) -> bool:
    """Whether this host has an SLO to acknowledge."""
    query = (
        select(SloRow.id)
        .join(Instance, Instance.id == SloRow.instance_id)
        .where(Instance.host_id == host_id, SloRow.state == PENDING, SloRow.objectives.is_not(None))
        .limit(1)
    )
    return session.scalar(query) is not None


def put(
    session: Session, instance: Instance, before: SloRow | None, terms: Terms, *, revision: int, origin: Origin
) -> SloRow | None:
    """Set the SLO as ``terms`` say, PENDING until its host acknowledges ``revision``, or SUSPENDED; the SLO as it is then.

    None when another changed it since ``before`` was read; then the caller rolls back.
    """
    values: dict[str, object] = {
        "objectives": wire.dumps(terms.objectives),
        "added": wire.dumps(terms.added) if terms.added is not None else None,
        "priority": terms.priority,
        "reserved_cpu_cores": terms.reserved_cpu_cores,
        "reserved_io_ratio": terms.reserved_io_ratio,
        "estimated": terms.estimated,
        "state": SUSPENDED if terms.suspended_because else PENDING,
        "reason": terms.suspended_because,
        "carried": False,
    }
    return _change(session, instance, before, values, revision=revision, origin=origin)


def withdraw(session: Session, instance: Instance, before: SloRow, *, revision: int, origin: Origin) -> SloRow | None:
    """Take the SLO away. None when another changed it since ``before`` was read; then the caller rolls back."""
    values: dict[str, object] = {
        "objectives": None,
        "added": None,
        "reserved_cpu_cores": 0.0,
        "reserved_io_ratio": 0.0,
        "estimated": False,
        "state": WITHDRAWN,
        "reason": "",
        "carried": False,
    }
    return _change(session, instance, before, values, revision=revision, origin=origin)


def _change(
    session: Session,
    instance: Instance,
    before: SloRow | None,
    values: Mapping[str, object],
    *,
    revision: int,
    origin: Origin,
) -> SloRow | None:
    generation = before.generation + 1 if before else 1
    row = {
        **values,
        "generation": generation,
        "revision": revision,
        "largest": "{}",
        "changed_at": origin.at,
    }
    changed = SloRow(instance_id=instance.id, **row)
    if before is None:
        session.add(changed)
        session.flush()
    else:
        changed.id = before.id
        swap = update(SloRow).where(SloRow.id == before.id, SloRow.generation == before.generation).values(row)
        if changed_rows(session.execute(swap.execution_options(synchronize_session=False))) != 1:
            return None
    _keep_floors(
        session, changed.id, before=_floors(before.objectives if before else None), after=_floors(row["objectives"])
    )
    session.add(
        SloChange(
            instance_id=instance.id,
            generation=generation,
            changed_at=origin.at,
            user_id=origin.user_id,
            request_id=origin.request_id,
            remote_address=origin.remote_address,
            before=before.objectives if before else None,
            after=row["objectives"],
        )
    )
    return changed


def _floors(objectives: object) -> dict[str, float]:
    """The floors in the JSON of an SLO's objectives, by metric; none where it is None."""
    found = json.loads(objectives) if isinstance(objectives, str) else {}
    return {metric: float(keys["floor"]) for metric, keys in found.items() if keys.get("floor") is not None}


def _keep_floors(session: Session, slo_id: int, *, before: Mapping[str, float], after: Mapping[str, float]) -> None:
    """The rows that a project's quota is counted from (`stella.db.projects`)."""
    if after == before:
        return
    if before:
        session.execute(delete(SloFloor).where(SloFloor.slo_id == slo_id))
    if after:
        rows = [{"slo_id": slo_id, "metric": metric, "value": value} for metric, value in sorted(after.items())]
        session.execute(insert(SloFloor), rows)


def is_accepted(row: SloRow) -> bool:
    """Whether a host has kept it as it is: from then on a host that cannot hold it degrades it, and does not refuse it."""
    return bool(row.carried) or row.state in (ENFORCED, DEGRADED)


def acknowledge(session: Session, row: SloRow, *, state: str, reason: str, largest: str) -> bool:
    """Keep what the host says of its SLO; True when that is news. ``largest`` is JSON."""
    if (row.state, row.reason, row.largest) == (state, reason, largest):
        return False
    row.state, row.reason, row.largest = state, reason, largest
    return True


def history(session: Session, instance_id: int, *, limit: int, before_generation: int | None) -> Sequence[SloChange]:
    """The changes of an instance's SLO, newest first, those with a generation below ``before_generation``."""
    query = select(SloChange).where(SloChange.instance_id == instance_id)
    query = query.where(SloChange.generation < before_generation) if before_generation is not None else query
    return session.scalars(query.order_by(SloChange.generation.desc()).limit(limit)).all()
