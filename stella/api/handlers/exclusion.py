"""Exclusions: windows that do not count towards SLAs. They are withdrawn, never deleted, and always shown in reports."""

from stella.api import pages, slas, times
from stella.api.errors import ApiError, not_found
from stella.api.operation import Answer, Call, operation
from stella.api.policies import exclusion as policies
from stella.api.policies import instance as instance_policies
from stella.api.projects import visible_project
from stella.api.schemas import exclusion as schema
from stella.db import hosts
from stella.db import sla_exclusions as db
from stella.db.database import Session
from stella.db.sla_exclusions import LONGEST_SECONDS, Where
from stella.db.sla_models import Exclusion
from stella.model.report import MINUTE_SECONDS
from stella.model.wire import Json
from stella.sla.periods import ANNOUNCE_SECONDS


@operation(query=schema.LIST_QUERY, responses={200: schema.LIST}, rules=(policies.LIST, policies.LIST_ALL))
def index(call: Call) -> Answer:
    """List exclusions, newest first or as `sort` has it, also those that are withdrawn.

    Answers 200 with those that reach the caller's project, or all for operators, who alone see hosts.
    """
    project = visible_project(call, list_rule=policies.LIST, all_rule=policies.LIST_ALL)
    start, end = pages.span(call)
    with call.services.database.reader() as session, pages.marked():
        found = db.exclusions(
            session,
            pages.at(call, default="id:desc", marker=pages.number(call, "marker")),
            project_id=project,
            start=None if start is None else int(start),
            until=None if end is None else int(end),
        )
    for_operator = call.allows(instance_policies.SHOW_HOST)
    shown: list[Json] = [slas.show_exclusion(row, for_operator=for_operator) for row in found]
    return Answer(body=pages.page(call, "exclusions", shown, found[-1].id if found else None))


def _minute(call: Call, name: str) -> int:
    try:
        at = times.parse(call.mapping[name])
    except (ValueError, OverflowError) as error:
        raise ApiError("stella.request.invalid", f"{name} is not a time: {error}.", field=name) from None
    if at % MINUTE_SECONDS:
        raise ApiError("stella.request.invalid", f"{name} must be a whole minute.", field=name)
    return int(at)


def _span(call: Call) -> tuple[int, int]:
    start, until = _minute(call, "start"), _minute(call, "until")
    if start < call.services.clock() - ANNOUNCE_SECONDS:
        days = ANNOUNCE_SECONDS // 86_400
        detail = f"start is more than {days} days ago; correct the report of that period instead."
        raise ApiError("stella.request.invalid", detail, field="start")
    if not start < until <= start + LONGEST_SECONDS:
        days = LONGEST_SECONDS // 86_400
        raise ApiError("stella.request.invalid", f"until must be after start, by at most {days} days.", field="until")
    return start, until


def _target(call: Call, session: Session) -> str:
    scope, target = Where(call.mapping["scope"]), call.mapping.get("target")
    if (scope is Where.ALL) != (target is None):
        what = "is not taken for" if scope is Where.ALL else "must be named for"
        raise ApiError("stella.request.invalid", f"target {what} scope {scope.value}.", field="target")
    if target is None:
        return ""
    if scope is Where.HOST and hosts.find(session, target) is None:
        raise ApiError("stella.request.invalid", f"target: no host is named {target[:64]}.", field="target")
    if scope is Where.INSTANCE:
        return slas.instance_of(session, target, field="target").uuid
    return str(target)


@operation(
    body=schema.POST,
    responses={201: schema.EXCLUSION},
    rules=(policies.SET,),
    errors=("stella.request.invalid", "stella.request.conflict"),
)
def post(call: Call) -> Answer:
    """Exclude a window, such as a maintenance, from all SLAs: of a host, a project, an instance or all.

    Answers 201. It begins at most 7 days ago; for what was longer ago the report of its period is corrected. A window of a host takes
    out what that host counted, wherever its instances went.
    """
    call.require(policies.SET)
    start, until = _span(call)

    def write(session: Session) -> Exclusion:
        row = Exclusion(
            kind=call.mapping["kind"],
            scope=call.mapping["scope"],
            target=_target(call, session),
            start=start,
            until=until,
            reason=call.mapping["reason"],
            user_id=call.identity.user_id,
            created_at=call.services.clock(),
        )
        session.add(row)
        session.flush()
        told = f"exclusion {row.id} ({row.kind}, {row.scope} {row.target}".rstrip() + f") made: {row.reason}"
        slas.record(call, session, told, detail=slas.show_exclusion(row, for_operator=True))
        return row

    return Answer(status=201, body=slas.show_exclusion(call.services.database.write(write), for_operator=True))


@operation(
    query=schema.WITHDRAW_QUERY,
    responses={200: schema.EXCLUSION},
    rules=(policies.SET,),
    errors=("stella.request.invalid", "stella.request.not_found", "stella.request.conflict"),
)
def delete(call: Call) -> Answer:
    """Withdraw an exclusion: its window counts again. It stays in reports, with both reasons and authors.

    Answers 200 with it. `reason` must be given. 409 where it is withdrawn already, and where it began more than 7 days ago: then the
    report of its period is corrected.
    """
    call.require(policies.SET)

    def write(session: Session) -> Exclusion:
        row = db.exclusion(session, int(call.path["exclusion_id"]))
        if row is None:
            raise not_found(f"Exclusion {call.path['exclusion_id']}")
        if row.start < call.services.clock() - ANNOUNCE_SECONDS:
            detail = "It began more than 7 days ago; correct the report of its period instead."
            raise ApiError("stella.request.conflict", detail)
        slas.withdraw(call, row)
        session.flush()
        slas.record(
            call,
            session,
            f"exclusion {row.id} withdrawn: {row.withdrawn_reason}",
            detail=slas.show_exclusion(row, for_operator=True),
        )
        return row

    return Answer(body=slas.show_exclusion(call.services.database.write(write), for_operator=True))
