"""Instances: where they run, how they do."""

import json

from stella.api import limits, pages, times
from stella.api.operation import Answer, Call, operation
from stella.api.policies import instance as policies
from stella.api.projects import visible_instance, visible_project
from stella.api.schemas import instance as schema
from stella.db import instances
from stella.db.instances import Listed
from stella.model.wire import Json

_CURRENT = {"metric": None, "usage": None, "demand": None, "status": "UNKNOWN", "cause": None}


def _show(listed: Listed, *, with_host: bool) -> dict[str, Json]:
    instance, host, slo = listed
    reported = json.loads(instance.reported)
    in_force = slo is not None and slo.objectives is not None
    return {
        "uuid": instance.uuid,
        "name": instance.name,
        "project_id": instance.project_id,
        "host": host if with_host else None,
        "state": instance.state,
        "vcpus": json.loads(instance.shape).get("vcpus", 1),
        "slo_state": slo.state if slo is not None and in_force else None,
        "objectives": [{key: o.get(key, default) for key, default in _CURRENT.items()} for o in reported["objectives"]],
        **limits.show(instance, slo),
        "reported_at": times.show(instance.reported_at),
    }


@operation(query=schema.LIST_QUERY, responses={200: schema.LIST}, rules=(policies.LIST, policies.LIST_ALL))
def index(call: Call) -> Answer:
    """List instances, by uuid or as `sort` has it.

    Answers 200 with those of the caller's project, or of all projects for operators. Only operators see and filter by host.
    """
    project = visible_project(call, list_rule=policies.LIST, all_rule=policies.LIST_ALL)
    with_host = call.allows(policies.SHOW_HOST)
    with call.services.database.reader() as session, pages.marked():
        found = instances.page(
            session,
            pages.at(call, default="uuid", marker=(pages.text(call, "marker") or "").lower() or None),
            host=pages.text(call, "host") if with_host else None,
            project_id=project,
            state=pages.text(call, "status"),
            name=pages.text(call, "name"),
        )
    shown: list[Json] = [_show(listed, with_host=with_host) for listed in found]
    return Answer(body=pages.page(call, "instances", shown, found[-1][0].uuid if found else None))


@operation(responses={200: schema.INSTANCE}, rules=(policies.SHOW,), errors=("stella.request.not_found",))
def show(call: Call) -> Answer:
    """Show an instance.

    Answers 200, or 404 for an instance that is not there or belongs to another project.
    """
    with call.services.database.reader() as session:
        found = visible_instance(call, session, policies.SHOW)
    return Answer(body=_show(found, with_host=call.allows(policies.SHOW_HOST)))
