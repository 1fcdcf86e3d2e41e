"""Corrections: seconds that a report counts otherwise than they were measured, with reason and author. Withdrawn, never deleted."""

from stella.api import pages, slas
from stella.api.errors import ApiError, not_found
from stella.api.operation import Answer, Call, operation
from stella.api.policies import correction as policies
from stella.api.projects import visible_project
from stella.api.schemas import correction as schema
from stella.api.schemas.exclusion import WITHDRAW_QUERY
from stella.db import sla_exclusions as db
from stella.db import sla_members
from stella.db.database import Session
from stella.db.models import Instance
from stella.db.sla_models import Correction, Sla
from stella.model.wire import Json
from stella.sla import spans


@operation(
    query=schema.LIST_QUERY,
    responses={200: schema.LIST},
    rules=(policies.LIST, policies.LIST_ALL),
    errors=("stella.request.not_found",),
)
def index(call: Call) -> Answer:
    """List corrections, newest first or as `sort` has it, also those that are withdrawn.

    Answers 200 with those of the caller's project, or all for operators; 404 for an SLA class that is not there.
    """
    project = visible_project(call, list_rule=policies.LIST, all_rule=policies.LIST_ALL)
    asked = pages.text(call, "sla")
    with call.services.database.reader() as session, pages.marked():
        sla_id = slas.named(session, asked).id if asked is not None else None
        found = db.corrections(
            session,
            pages.at(call, default="id:desc", marker=pages.number(call, "marker")),
            project_id=project,
            sla_id=sla_id,
            period=pages.text(call, "period"),
            uuid=(pages.text(call, "uuid") or "").lower() or None,
        )
        names = {row.sla_id: _uuid_of(session, row.sla_id) for row, _ in found}
    shown: list[Json] = [slas.show_correction(row, instance, names[row.sla_id]) for row, instance in found]
    return Answer(body=pages.page(call, "corrections", shown, found[-1][0].id if found else None))


def _uuid_of(session: Session, sla_id: int) -> str:
    row = session.get(Sla, sla_id)
    assert row is not None
    return row.uuid


def _instance(call: Call, session: Session, row: Sla) -> Instance:
    """The instance to correct. Raises `ApiError` (400) where it was not under the class in the period."""
    period = slas.period(call, row, call.mapping["period"])
    found = slas.instance_of(session, call.mapping["uuid"], field="uuid")
    reaching = sla_members.reaching(session, found.id, period.start)
    if not spans.under(reaching, row.id, (period.start, period.end)):
        detail = f"uuid: instance {found.uuid} was not under SLA class {row.name} in {period.name}."
        raise ApiError("stella.request.invalid", detail, field="uuid")
    return found


@operation(
    body=schema.POST,
    responses={201: schema.CORRECTION},
    rules=(policies.SET,),
    errors=("stella.request.invalid", "stella.request.not_found", "stella.request.conflict"),
)
def post(call: Call) -> Answer:
    """Correct the report of a period: seconds of one status count as another, in favour of whom it may be.

    Answers 201. Corrections count in the order in which they were made, each for no more seconds than there are. The report shows what
    was measured beside it.
    """
    call.require(policies.SET)
    given = call.mapping
    if given["source"] == given["target"]:
        raise ApiError("stella.request.invalid", "target must be another status than source.", field="target")

    def write(session: Session) -> tuple[Correction, Instance]:
        row = slas.named(session, given["sla"])
        instance = _instance(call, session, row)
        made = Correction(
            sla_id=row.id,
            instance_id=instance.id,
            **{name: given[name] for name in ("period", "metric", "seconds", "source", "target", "reason")},
            user_id=call.identity.user_id,
            created_at=call.services.clock(),
        )
        session.add(made)
        session.flush()
        told = f"correction {made.id} of {made.period}: {made.seconds} s {made.source} -> {made.target}: {made.reason}"
        slas.record(call, session, told, instance=instance, detail=slas.show_correction(made, instance, row.uuid))
        return made, instance

    made, instance = call.services.database.write(write)
    return Answer(status=201, body=slas.show_correction(made, instance, given["sla"].lower()))


@operation(
    query=WITHDRAW_QUERY,
    responses={200: schema.CORRECTION},
    rules=(policies.SET,),
    errors=("stella.request.invalid", "stella.request.not_found", "stella.request.conflict"),
)
def delete(call: Call) -> Answer:
    """Withdraw a correction: the seconds count as they were measured. It stays in reports, with both reasons and authors.

    Answers 200 with it. `reason` must be given. 409 where it is withdrawn already.
    """
    call.require(policies.SET)

    def write(session: Session) -> dict[str, Json]:
        found = db.correction(session, int(call.path["correction_id"]))
        if found is None:
            raise not_found(f"Correction {call.path['correction_id']}")
        row, instance = found
        slas.withdraw(call, row)
        session.flush()
        shown = slas.show_correction(row, instance, _uuid_of(session, row.sla_id))
        slas.record(
            call, session, f"correction {row.id} withdrawn: {row.withdrawn_reason}", instance=instance, detail=shown
        )
        return shown

    return Answer(body=call.services.database.write(write))
