"""Decisions: what was decided, and why."""

import json

from stella.api import pages, times, whys
from stella.api.operation import Answer, Call, operation
from stella.api.policies import decision as policies
from stella.api.policies import instance as instance_policies
from stella.api.projects import visible_project
from stella.api.schemas import decision as schema
from stella.db import decisions
from stella.model.wire import Json


def _show(listed: decisions.Listed, *, for_operator: bool) -> dict[str, Json]:
    row, instance, host = listed
    detail = json.loads(row.detail)
    told = detail.get("hosts") if for_operator else None
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
        **whys.told(row.reason, host=host, for_operator=for_operator),
        "detail": detail,
        "hosts_why": {name: whys.of(str(reason)) for name, reason in told.items()} if isinstance(told, dict) else {},
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
            only_refusals=bool(call.query.get("refusals")),
            start=start,
            end=end,
        )
    shown: list[Json] = [_show(listed, for_operator=for_operator) for listed in found]
    return Answer(body=pages.page(call, "decisions", shown, found[-1][0].id if found else None))
