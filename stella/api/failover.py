"""The place that another host keeps for an instance whose SLA class asks for it: found with the SLO, shown with it."""

from stella.admission import failover
from stella.admission.failover import Found
from stella.admission.verdicts import Verdict
from stella.api import sla_budgets
from stella.api.errors import ApiError
from stella.api.operation import Call
from stella.api.policies import instance as policies
from stella.api.slo_changes import Asked
from stella.db import failover_places
from stella.db.database import Session
from stella.db.models import Instance
from stella.model.slo import Slo
from stella.model.wire import Json


def _is_asked(call: Call, session: Session, instance: Instance) -> bool:
    found = sla_budgets.of_instance(session, instance.id, call.services.clock())
    return found is not None and found.failover


def place(call: Call, present: Asked, slo: Slo, verdict: Verdict) -> Found | None:
    """The place for ``slo`` as it was accepted; None where its class asks for none. Raises `ApiError` (422) where there is none."""
    link = call.services.config.link
    with call.services.database.reader() as session:
        if not _is_asked(call, session, present.instance):
            return None
        found = failover.find(
            session,
            present.instance,
            slo,
            cores=verdict.reserved_cpu_cores,
            io_ratio=verdict.reserved_io_ratio,
            margin=link.reservation_margin_ratio,
            silent_before=call.services.clock() - link.silent_seconds,
        )
    if found is None:
        raise ApiError(
            "stella.slo.no_failover",
            "objectives: no other host could take it should this one be lost, as the SLA class of the instance promises.",
            field="objectives",
        )
    return found


def show(call: Call, session: Session, instance: Instance) -> Json:
    """Whether another host keeps a place for the instance; None where its class does not ask for one. Hosts are named to operators."""
    if not _is_asked(call, session, instance):
        return None
    kept = failover_places.of_instance(session, instance.id)
    is_kept = kept is not None and kept.host_id != instance.host_id
    named = kept is not None and is_kept and call.allows(policies.SHOW_HOST)
    return {"kept": is_kept, "host": kept.host if kept is not None and named else None}
