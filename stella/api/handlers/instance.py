"""Instances: where they run, how they do."""

import json
import math
from collections.abc import Mapping, Sequence

from stella.admission import verdicts
from stella.api import limits, pages, times, whys
from stella.api.operation import Answer, Call, operation
from stella.api.policies import instance as policies
from stella.api.projects import visible_instance, visible_project
from stella.api.schemas import instance as schema
from stella.db import attainments, instances
from stella.db.attainments import Attained
from stella.db.database import Session
from stella.db.instances import Listed
from stella.db.models import Instance, SloRow
from stella.model.slo import Metric, parse_slo
from stella.model.wire import Json

_CURRENT = {"metric": None, "usage": None, "demand": None, "status": "UNKNOWN", "cause": None}


def _show_slo(instance: Instance, row: SloRow, *, host: str, for_operator: bool) -> dict[str, Json]:
    return {
        "generation": row.generation,
        "objectives": json.loads(row.objectives or "{}"),
        "flavor_objectives": json.loads(instance.flavor_objectives or "{}"),
        "added_objectives": json.loads(row.added or "{}"),
        "state": row.state,
        **whys.told(row.reason, host=host, for_operator=for_operator),
        "largest": json.loads(row.largest),
        "changed_at": times.show(row.changed_at),
    }


def _show_attained(of_today: Attained, of_month: Attained) -> dict[str, Json]:
    return {
        "today": {metric: counted.ratio for metric, counted in of_today.items()},
        "month": {metric: counted.ratio for metric, counted in of_month.items()},
    }


def _attained(call: Call, session: Session, found: Sequence[Listed]) -> Mapping[int, dict[str, Json]]:
    """By id of the instance; empty unless it was asked for."""
    if not call.query.get("attainment"):
        return {}
    now = call.services.clock()
    today, month = times.day_start(now), times.month_start(now)
    ids = [listed[0].id for listed in found]
    spans = [(int(start), math.ceil(now)) for start in (today, month)]
    counted = attainments.read(session, ids, spans)
    return {instance_id: _show_attained(*of_spans) for instance_id, of_spans in counted.items()}


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
        "reserved_cpu_cores": slo.reserved_cpu_cores if slo is not None else 0.0,
        "slo": _show_slo(instance, slo, host=host, for_operator=with_host) if slo is not None and in_force else None,
        "objectives": [{key: o.get(key, default) for key, default in _CURRENT.items()} for o in reported["objectives"]],
        **limits.show(instance, slo),
        "relief_opt_out": instance.relief_opt_out,
        "reported_at": times.show(instance.reported_at),
    }


def _costs(listed: Listed) -> dict[str, Json]:
    """``costs`` of what it is guaranteed."""
    instance, _, row = listed
    if row is None or row.objectives is None:
        return {"costs": {}}
    slo = parse_slo(json.loads(row.objectives))
    known = verdicts.priced_costs(instance, slo)
    return {
        "costs": {
            metric.value: {"vcpu": cost.vcpu, "io": cost.io, "estimated": cost.estimated}
            for metric, cost in known.items()
            if metric is not Metric.CPU and slo.floor(metric)
        }
    }


def _with(attained: dict[str, Json] | None) -> dict[str, Json]:
    return {} if attained is None else {"attainment": attained}


@operation(query=schema.LIST_QUERY, responses={200: schema.LIST}, rules=(policies.LIST, policies.LIST_ALL))
def index(call: Call) -> Answer:
    """List instances, by uuid or as `sort` has it.

    Answers 200 with those of the caller's project, or of all projects for operators. Only operators see and filter by host.
    With `attainment` one answer has all that a page about them shows.
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
            name_contains=pages.text(call, "name_contains"),
            health=pages.text(call, "health"),
            with_gone=call.query.get("gone") is not False,
        )
        attained = _attained(call, session, found)
    shown: list[Json] = [_show(one, with_host=with_host) | _with(attained.get(one[0].id)) for one in found]
    return Answer(body=pages.page(call, "instances", shown, found[-1][0].uuid if found else None))


@operation(responses={200: schema.INSTANCE}, rules=(policies.SHOW,), errors=("stella.request.not_found",))
def show(call: Call) -> Answer:
    """Show an instance.

    Answers 200, or 404 for an instance that is not there or belongs to another project.
    """
    with call.services.database.reader() as session:
        found = visible_instance(call, session, policies.SHOW)
    return Answer(body=_show(found, with_host=call.allows(policies.SHOW_HOST)) | _costs(found))


@operation(
    body=schema.PATCH,
    responses={200: schema.INSTANCE},
    rules=(policies.UPDATE,),
    errors=("stella.request.not_found",),
)
def patch(call: Call) -> Answer:
    """Change whether relief may move an instance to another host.

    Answers 200 with the instance, 403 for those who may see it and not change it, 404 where it is not there or of another project.
    """
    with call.services.database.reader() as session:
        listed = visible_instance(call, session, policies.UPDATE)
    opt_out = bool(call.mapping["relief_opt_out"])
    if listed[0].relief_opt_out != opt_out:
        call.services.database.write(lambda session: instances.opt_out(session, listed[0].id, opt_out))
    return show.handler(call)
