"""All at one look: how many instances are in trouble, whether a project's SLOs were kept, what all hosts have left."""

import math
from collections.abc import Mapping

from stella.api import times
from stella.api.operation import Answer, Call, operation
from stella.api.policies import host as host_policies
from stella.api.policies import instance as policies
from stella.api.projects import visible_project
from stella.api.schemas import summary as schema
from stella.db import attainments, hosts, instances, violations
from stella.db.attainments import Counted
from stella.db.database import Session
from stella.model.wire import Json


def _attained(call: Call, session: Session, project_id: str | None) -> Json:
    if project_id is None:
        return None
    found = instances.guaranteed(session, project_id, largest=schema.LARGEST_COUNTED + 1)
    if len(found) > schema.LARGEST_COUNTED:
        return None
    now = call.services.clock()
    starts = {"today": times.day_start(now), "month": times.month_start(now)}
    counted = attainments.read(session, found, [(int(start), math.ceil(now)) for start in starts.values()])
    sums: dict[str, dict[str, Counted]] = {name: {} for name in starts}
    for of_spans in counted.values():
        for name, attained in zip(starts, of_spans, strict=True):
            for metric, one in attained.items():
                sums[name][metric] = sums[name].get(metric, Counted()) + one
    return {name: _ratios(of_metric) for name, of_metric in sums.items()}


def _ratios(found: Mapping[str, Counted]) -> Json:
    return {metric: counted.ratio for metric, counted in found.items()}


def _hosts(call: Call, session: Session) -> Json:
    silent_before = call.services.clock() - call.services.config.link.silent_seconds
    totals = hosts.totals(session, silent_before=silent_before)
    return {
        "total": totals.hosts,
        "silent": totals.silent,
        "modes": dict(totals.by_mode),
        "capacity_cpu_cores": totals.capacity_cpu_cores,
        "reserved_cpu_cores": totals.reserved_cpu_cores,
        "free_cpu_cores": totals.free_cpu_cores,
        "free_without_one_cpu_cores": totals.free_without_one_cpu_cores,
    }


@operation(query=schema.QUERY, responses={200: schema.SUMMARY}, rules=(policies.LIST, policies.LIST_ALL))
def show(call: Call) -> Answer:
    """Show how many instances are in trouble, how many violations last, and how the SLOs of a project were kept.

    Answers 200 for the caller's project; for operators for all projects, or the one that `project` names. For all projects it tells
    what all hosts have left, and no attainment: that is read instance by instance.
    """
    project = visible_project(call, list_rule=policies.LIST, all_rule=policies.LIST_ALL)
    with call.services.database.reader() as session:
        body: dict[str, Json] = {
            "project_id": project,
            "instances": dict(instances.counts_by_health(session, project)),
            "open_violations": violations.count_open(session, project),
            "attainment": _attained(call, session, project),
            "hosts": _hosts(call, session) if project is None and call.allows(host_policies.LIST) else None,
        }
    return Answer(body=body)
