"""Changing an SLO as a user asks: what it rests on, its quota, and `stella.admission.changes`."""

from dataclasses import dataclass

from stella.admission import changes, failover
from stella.admission.changes import Present, Why
from stella.admission.failover import Found
from stella.api import quotas
from stella.api.operation import Call
from stella.api.projects import visible_placed
from stella.db import decisions, projects
from stella.db.database import Session
from stella.db.models import SloRow
from stella.db.slos import Terms
from stella.model.slo import Slo, show_slo


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked(Present):
    """What an answer to a user rests on. ``quota``, which its own generation guards, is None where nothing is to be counted."""

    quota: quotas.Quota | None = None


def read(call: Call, session: Session, rule: str, *, with_quota: bool = False) -> Asked:
    """What an answer about the instance in the path rests on. Raises `ApiError` (404, 403) as `rule` has it."""
    instance, host, row = visible_placed(call, session, rule)
    quota = quotas.read(call.services.config, session, instance, row) if with_quota else None
    found = changes.beside(session, instance, host, row)
    return Asked(host=host, instance=instance, row=row, holdings=found.holdings, quota=quota)


def change_slo(call: Call, asked: Asked, terms: Terms | None, *, place: Found | None = None) -> SloRow | None:
    """Set the SLO to ``terms`` (None: withdraw it). None when what it rests on changed since: read and decide again.

    ``place`` is kept with it, on another host. Raises `stella.clouds.port.NoRoom` and `Unanswered`.
    """
    quota = asked.quota

    def count(session: Session) -> bool:
        return quota is None or projects.hold(session, quota.account, is_counted=quota.is_limited)

    def keep(session: Session) -> None:
        if place is not None:
            failover.keep(session, place, at=call.origin.at)

    store, ledger = call.services.database, call.services.ledger
    return changes.change(store, ledger, asked, terms, call.origin, _why(terms), also=count, then=keep)


def _why(terms: Terms | None) -> Why:
    if terms is None:
        return Why(kind=decisions.SLO_WITHDRAWN, reason="withdrawn by its owner")
    if terms.suspended_because:
        reason = "what its owner had added is withdrawn; what its flavor sells stays suspended"
        return Why(kind=decisions.SLO_WITHDRAWN, reason=reason, detail={"objectives": terms.objectives})
    return Why(
        kind=decisions.SLO_ACCEPTED,
        reason=f"{terms.reserved_cpu_cores:.3f} cores reserved",
        detail={"objectives": terms.objectives},
    )


def record(call: Call, present: Present, kind: str, reason: str, slo: Slo) -> None:
    """Keep a decision about ``slo`` that changed nothing."""
    call.services.database.write(
        lambda session: decisions.record(
            session,
            kind,
            origin=call.origin,
            reason=reason,
            host_id=present.host.id,
            instance_id=present.instance.id,
            detail={"objectives": show_slo(slo)},
        )
    )
