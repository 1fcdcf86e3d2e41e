"""The exclusion that follows a host's mode: it begins with `maintenance` and ends with it (docs/decisions/0070)."""

from stella.api import slas
from stella.api.operation import Call
from stella.db import sla_exclusions
from stella.db.database import Session
from stella.db.models import Host
from stella.db.sla_exclusions import LONGEST_SECONDS, Where
from stella.db.sla_models import Exclusion
from stella.model.report import MINUTE_SECONDS

MAINTENANCE = "maintenance"
REASON = "the host was in mode maintenance"


def follow(call: Call, session: Session, host: Host, mode: str) -> None:
    """Open or end the exclusion of a host whose mode becomes ``mode``: whole minutes in which it was in maintenance throughout."""
    if MAINTENANCE not in (host.mode, mode) or host.mode == mode:
        return
    now = call.services.clock()
    if mode == MAINTENANCE:
        _open(call, session, host, -int(-now // MINUTE_SECONDS) * MINUTE_SECONDS)
        return
    for row in sla_exclusions.lasting(session, host.name, reason=REASON, at=now):
        _end(call, session, row, int(now // MINUTE_SECONDS) * MINUTE_SECONDS)


def _open(call: Call, session: Session, host: Host, start: int) -> None:
    row = Exclusion(
        kind=MAINTENANCE,
        scope=Where.HOST,
        target=host.name,
        start=start,
        until=start + LONGEST_SECONDS,
        reason=REASON,
        user_id=call.identity.user_id,
        created_at=call.services.clock(),
    )
    session.add(row)
    session.flush()
    _record(call, session, row, "made")


def _end(call: Call, session: Session, row: Exclusion, until: int) -> None:
    """End it; one of less than a whole minute is withdrawn."""
    if until > row.start:
        row.until = until
    else:
        row.withdrawn_at, row.withdrawn_by = call.services.clock(), call.identity.user_id
        row.withdrawn_reason = "it lasted for less than a whole minute"
    session.flush()
    _record(call, session, row, "withdrawn" if row.withdrawn_at is not None else "ended")


def _record(call: Call, session: Session, row: Exclusion, what: str) -> None:
    told = f"exclusion {row.id} ({row.kind}, {row.scope} {row.target}) {what}: {row.withdrawn_reason or row.reason}"
    slas.record(call, session, told, detail=slas.show_exclusion(row, for_operator=True))
