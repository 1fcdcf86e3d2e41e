"""What the handlers of SLAs share: the class in the path, its period, and how what was decided about it is kept."""

import re
from collections.abc import Mapping
from datetime import tzinfo

from stella.api import pages, times
from stella.api.errors import ApiError, not_found
from stella.api.operation import Call
from stella.api.schemas.vocabulary import UUID_PATTERN
from stella.db import decisions, instances, slas
from stella.db.database import Session
from stella.db.models import Instance
from stella.db.sla_exclusions import Where
from stella.db.sla_models import Correction, Exclusion, Sla
from stella.model.wire import Json
from stella.sla import periods
from stella.sla.periods import InvalidPeriod, Period


def in_path(call: Call, session: Session, *, for_update: bool = False) -> Sla:
    """The class in the path. Raises `ApiError` (404)."""
    return named(session, call.path["sla_id"], for_update=for_update)


def named(session: Session, uuid: str, *, for_update: bool = False) -> Sla:
    """The class of this uuid. Raises `ApiError` (404)."""
    row = slas.find(session, uuid, for_update=for_update)
    if row is None:
        raise not_found(f"SLA class {uuid[:64]}")
    return row


def in_use_in_path(call: Call, session: Session) -> Sla:
    """The class in the path, to be changed, locked until the session ends. Raises `ApiError` (404), also where it is withdrawn."""
    row = in_path(call, session, for_update=True)
    if row.withdrawn_at is not None:
        raise not_found(f"SLA class {call.path['sla_id'][:64]}")
    return row


def zone_of(row: Sla) -> tzinfo:
    """Its time zone, which was there when it was made."""
    return periods.zone(row.time_zone)


def period(call: Call, row: Sla, name: str | None) -> Period:
    """The period of this name, else the present one. Raises `ApiError` (400) for one that has not begun."""
    zone, now = zone_of(row), call.services.clock()
    present = periods.month_at(now, zone)
    if name is None:
        return present
    try:
        found = periods.month(name, zone)
    except InvalidPeriod as error:
        raise ApiError("stella.request.invalid", f"period: {error}.", field="period") from None
    if found.start > present.start:
        raise ApiError("stella.request.invalid", f"period: {name} has not begun yet.", field="period")
    return found


def instance_of(session: Session, uuid: str, *, field: str) -> Instance:
    """The instance of this uuid. Raises `ApiError` (400) that names the field where there is none."""
    known = instances.find(session, uuid.lower()) if re.fullmatch(UUID_PATTERN, uuid) else None
    if known is None:
        raise ApiError("stella.request.invalid", f"{field}: no instance has the uuid {uuid[:64]}.", field=field)
    return known[0]


def withdraw(call: Call, row: Exclusion | Correction) -> None:
    """Withdraw it, once. Raises `ApiError` (400) without a reason, (409) where it is withdrawn already."""
    reason = pages.text(call, "reason")
    if reason is None:
        raise ApiError("stella.request.invalid", "reason: say why it is withdrawn.", field="reason")
    if row.withdrawn_at is not None:
        raise ApiError("stella.request.conflict", f"It was withdrawn already, by {row.withdrawn_by}.")
    row.withdrawn_at, row.withdrawn_by, row.withdrawn_reason = call.services.clock(), call.identity.user_id, reason


def record(
    call: Call,
    session: Session,
    reason: str,
    *,
    instance: Instance | None = None,
    detail: Mapping[str, object] | None = None,
) -> None:
    """Keep what was decided, by whom and why."""
    decisions.record(
        session,
        decisions.SLA,
        origin=call.origin,
        reason=reason,
        instance_id=instance.id if instance is not None else None,
        detail=detail,
    )


def show_exclusion(row: Exclusion, *, for_operator: bool) -> dict[str, Json]:
    """An exclusion; hosts are named to operators alone."""
    named = row.target and (for_operator or row.scope != Where.HOST)
    return {
        "id": row.id,
        "kind": row.kind,
        "scope": row.scope,
        "target": row.target if named else None,
        "start": times.show(row.start),
        "until": times.show(row.until),
        "reason": row.reason,
        **show_author(row),
    }


def show_author(row: Exclusion | Correction) -> dict[str, Json]:
    """Who made it and who withdrew it, when and why."""
    return {
        "created_at": times.show(row.created_at),
        "author": row.user_id,
        "withdrawn_at": times.show_known(row.withdrawn_at),
        "withdrawn_by": row.withdrawn_by,
        "withdrawn_reason": row.withdrawn_reason,
    }


def show_correction(row: Correction, instance: Instance, sla_uuid: str) -> dict[str, Json]:
    """A correction."""
    return {
        "id": row.id,
        "sla": sla_uuid,
        "period": row.period,
        "uuid": instance.uuid,
        "metric": row.metric,
        "seconds": row.seconds,
        "source": row.source,
        "target": row.target,
        "reason": row.reason,
        **show_author(row),
    }
