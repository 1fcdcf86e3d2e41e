"""What SLA classes are attached to: an instance, all of a flavor, all of a project; the most specific counts."""

from stella.api import pages, slas, times
from stella.api.errors import ApiError, not_found
from stella.api.operation import Answer, Call, operation
from stella.api.policies import sla as policies
from stella.api.schemas import sla as schema
from stella.db import slas as db
from stella.db.database import Session
from stella.db.sla_models import SlaAttachment
from stella.model.report import MINUTE_SECONDS
from stella.model.wire import Json
from stella.sla.spans import Scope


def _show(row: SlaAttachment) -> dict[str, Json]:
    return {
        "id": row.id,
        "scope": row.scope,
        "target": row.target,
        "start": times.show(row.start),
        "user_id": row.user_id,
    }


def _this_minute(call: Call) -> int:
    now = int(call.services.clock())
    return now - now % MINUTE_SECONDS


@operation(
    query=schema.ATTACHMENTS_QUERY,
    responses={200: schema.ATTACHMENTS},
    rules=(policies.LIST_ATTACHMENTS,),
    errors=("stella.request.not_found",),
)
def index(call: Call) -> Answer:
    """List what an SLA class is attached to at present.

    Answers 200; 403 for those who are not operators, 404 where there is no such class.
    """
    call.require(policies.LIST_ATTACHMENTS)
    with call.services.database.reader() as session:
        row = slas.in_path(call, session)
        found = db.attachments(session, row.id, limit=pages.limit_of(call), marker=pages.number(call, "marker"))
    shown: list[Json] = [_show(one) for one in found]
    return Answer(body=pages.page(call, "attachments", shown, found[-1].id if found else None))


def _target(session: Session, scope: Scope, target: str) -> str:
    """The target as it is stored. Raises `ApiError` (400) for an instance that is not known."""
    return slas.instance_of(session, target, field="target").uuid if scope is Scope.INSTANCE else target


@operation(
    body=schema.ATTACH,
    responses={201: schema.ATTACHMENT},
    rules=(policies.ATTACH,),
    errors=("stella.sla.attached", "stella.request.not_found", "stella.request.conflict"),
)
def post(call: Call) -> Answer:
    """Attach an SLA class to an instance, to all of a flavor or to all of a project, from the present minute on.

    Answers 201. 409 `stella.sla.attached` where a class is attached to it already; with `replace` another one is detached.
    """
    call.require(policies.ATTACH)
    given, at = call.mapping, _this_minute(call)
    scope = Scope(given["scope"])

    def write(session: Session) -> SlaAttachment:
        row = slas.in_use_in_path(call, session)
        target = _target(session, scope, given["target"])
        present = db.attached_now(session, scope, target)
        if present is not None:
            if present[1].id == row.id or not given.get("replace"):
                detail = f"SLA class {present[1].name} is attached to {scope.value} {target} already."
                raise ApiError("stella.sla.attached", detail, field="target")
            db.end(present[0], at=at, user_id=call.identity.user_id)
            session.flush()
        made = SlaAttachment(
            sla_id=row.id, scope=scope.value, target=target, start=at, until=None, user_id=call.identity.user_id
        )
        kept = {"sla": row.uuid, "scope": scope.value, "target": target}
        before = f", in place of {present[1].name}" if present is not None else ""
        slas.record(call, session, f"SLA class {row.name} attached to {scope.value} {target}{before}", detail=kept)
        db.renew_intents(session, scope, target)
        return db.attach(session, made)

    return Answer(status=201, body=_show(call.services.database.write(write)))


@operation(
    responses={204: None}, rules=(policies.ATTACH,), errors=("stella.request.not_found", "stella.request.conflict")
)
def delete(call: Call) -> Answer:
    """Detach an SLA class, from the present minute on; what counted until then still does.

    Answers 204; 404 where it is not attached so.
    """
    call.require(policies.ATTACH)
    at = _this_minute(call)

    def write(session: Session) -> None:
        row = slas.in_path(call, session, for_update=True)
        found = db.attachment(session, row.id, int(call.path["attachment_id"]))
        if found is None:
            raise not_found(f"Attachment {call.path['attachment_id']}")
        db.end(found, at=at, user_id=call.identity.user_id)
        db.renew_intents(session, Scope(found.scope), found.target)
        detail = {"sla": row.uuid, "scope": found.scope, "target": found.target}
        slas.record(call, session, f"SLA class {row.name} detached from {found.scope} {found.target}", detail=detail)

    call.services.database.write(write)
    return Answer(status=204)
