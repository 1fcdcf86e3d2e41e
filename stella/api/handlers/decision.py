"""Decisions: what was decided, and why."""

import json

from stella.api import pages, times, whys
from stella.api.errors import not_found
from stella.api.operation import Answer, Call, operation
from stella.api.policies import decision as policies
from stella.api.policies import instance as instance_policies
from stella.api.projects import visible_project
from stella.api.schemas import decision as schema
from stella.db import decisions
from stella.db.models import MoveRow
from stella.model.wire import Json


def _show(listed: decisions.Listed, *, for_operator: bool) -> dict[str, Json]:
    row, instance, host = listed.row, listed.instance, listed.host
    detail = json.loads(row.detail)
    told = detail.get("hosts") if for_operator else None
    reason = whys.told(row.reason, host=host, for_operator=for_operator)
    if listed.move is not None and not for_operator:
        said = _TO_TENANTS[listed.move.kind]
        reason = {"reason": said, "why": whys.of(said)}
    return {
        "id": row.id,
        "decided_at": times.show(row.decided_at),
        "kind": row.kind,
        "host": host if for_operator else None,
        "uuid": instance.uuid if instance else None,
        "name": instance.name if instance else None,
        "project_id": instance.project_id if instance else None,
        "user_id": whys.user(row.user_id, for_operator=for_operator),
        "request_id": row.request_id,
        **reason,
        "detail": detail,
        "hosts_why": {name: whys.of(str(reason)) for name, reason in told.items()} if isinstance(told, dict) else {},
        "move": _show_move(listed, listed.move, for_operator=for_operator) if listed.move is not None else None,
    }


_TO_TENANTS = {"relief": "the instance is to move to another host", "evacuation": "the host of the instance is dead"}
"""The reason of a move names hosts and tells of other tenants: its instance's owner sees this instead."""


def _show_move(listed: decisions.Listed, move: MoveRow, *, for_operator: bool) -> dict[str, Json]:
    return {
        "state": move.state,
        "from": listed.host if for_operator else None,
        "to": listed.to_host if for_operator else None,
        "freed_cpu_cores": move.freed_cpu_cores,
        "predicted_effect_seconds_per_hour": move.predicted_effect if for_operator else None,
        "measured_effect_seconds_per_hour": move.measured_effect if for_operator else None,
        "helped": move.helped if for_operator else None,
        "victims": json.loads(move.victims) if for_operator else [],
        "changed_at": times.show(move.changed_at),
        **whys.told(move.reason if for_operator else "", host=listed.host, for_operator=for_operator),
    }


@operation(query=schema.LIST_QUERY, responses={200: schema.LIST}, rules=(policies.LIST, policies.LIST_ALL))
def index(call: Call) -> Answer:
    """List decisions, newest first or as `sort` has it.

    Answers 200 with those about instances of the caller's project, or all for operators, who alone see hosts.
    """
    project = visible_project(call, list_rule=policies.LIST, all_rule=policies.LIST_ALL)
    for_operator = call.allows(instance_policies.SHOW_HOST)
    start, end = pages.span(call)
    with call.services.database.reader() as session, pages.marked():
        found = decisions.page(
            session,
            pages.at(call, default="id:desc", marker=pages.number(call, "marker")),
            host=pages.text(call, "host") if for_operator else None,
            project_id=project,
            uuid=(pages.text(call, "uuid") or "").lower() or None,
            kind=pages.text(call, "kind"),
            state=pages.text(call, "state"),
            only_refusals=bool(call.query.get("refusals")),
            start=start,
            end=end,
        )
    shown: list[Json] = [_show(listed, for_operator=for_operator) for listed in found]
    return Answer(body=pages.page(call, "decisions", shown, found[-1].row.id if found else None))


@operation(
    responses={200: schema.DECISION}, rules=(policies.SHOW, policies.LIST_ALL), errors=("stella.request.not_found",)
)
def show(call: Call) -> Answer:
    """Show a decision.

    Answers 200; 404 when there is no such decision, or it is about an instance of another project or, for tenants, about none.
    """
    number = int(call.path["decision_id"])
    with call.services.database.reader() as session:
        found = decisions.find(session, number)
    project = found.instance.project_id if found is not None and found.instance is not None else None
    rule = policies.SHOW if project is not None else policies.LIST_ALL
    if found is None or not call.allows(rule, project):
        raise not_found(f"Decision {number}")
    return Answer(body=_show(found, for_operator=call.allows(instance_policies.SHOW_HOST)))
