"""Who holds what on a host, who offends there, and what the host can enforce."""

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _

from stella_dashboard.api.explanations import Explanation, Holder, Use
from stella_dashboard.api.hosts import Host
from stella_dashboard.api.instances import Objective
from stella_dashboard.content import links
from stella_dashboard.content.hosts import rows
from stella_dashboard.content.service_levels.detail import show_duration
from stella_dashboard.words import names, operators, quantities, reasons

_LARGEST_VICTIMS = 5


def show(holder: Holder, host: Host) -> Mapping[str, Any]:
    """The row of an instance on its host."""
    share = holder.reserved_cpu_cores / host.capacity_cpu_cores if host.capacity_cpu_cores else None
    is_guaranteed = holder.slo_state is not None
    slo_state = names.of(names.SLO_STATES, holder.slo_state) if holder.slo_state != "enforced" else ""
    return {
        "name": holder.title,
        "url": links.instance(holder.uuid),
        "project_id": holder.project_id,
        "project_url": links.project(holder.project_id),
        "state": "" if holder.state == "running" else names.of(names.INSTANCE_STATES, holder.state),
        "slo_state": slo_state,
        "reserved": rows.cores(holder.reserved_cpu_cores) if is_guaranteed else "\N{EN DASH}",
        "share": quantities.show_ratio(share) if is_guaranteed and share is not None else "",
        **use(holder.use),
        "lines": [_line(objective) for objective in holder.objectives],
    }


def use(found: Use) -> Mapping[str, Any]:
    """The CPU that an instance, or the host itself, uses and may use."""
    return {
        "used": rows.cores(found.used_cpu_cores),
        "entitled": rows.cores(found.entitled_cpu_cores),
        "excess": rows.cores(found.excess_cpu_cores),
    }


def offenders(explanation: Explanation) -> list[Mapping[str, Any]]:
    """Those whom violations name, the most missed seconds first; the host itself has no name and no page."""
    instances = [
        {"name": one.title, "url": links.instance(one.uuid), "project_id": one.project_id, "use": one.use}
        for one in explanation.holders
    ]
    found = [
        one
        for one in (*instances, {"name": _("the host itself"), "use": explanation.services})
        if one["use"].violations
    ]
    found.sort(key=lambda one: -one["use"].missed_seconds)
    return [{**one, **use(one["use"]), **_offences(one["use"])} for one in found]


def _offences(found: Use) -> Mapping[str, Any]:
    return {
        "violations": found.violations,
        "lasting": found.lasting,
        "missed": show_duration(found.missed_seconds),
        "victims": [{"name": name, "url": links.instance(uuid)} for uuid, name in found.victims[:_LARGEST_VICTIMS]],
        "more_victims": max(0, len(found.victims) - _LARGEST_VICTIMS),
    }


def _line(objective: Objective) -> Mapping[str, Any]:
    return {
        "name": names.of(names.METRICS, objective.metric),
        "promise": quantities.show_promise(objective.metric, objective.promise),
        "usage": quantities.show_measured(objective.metric, objective.usage),
        "status": names.of(names.STATUSES, objective.status),
        "status_class": names.STATUS_CLASSES.get(objective.status, "unknown"),
        "meaning": names.of(names.STATUS_MEANINGS, objective.status) if objective.status in names.STATUSES else "",
        "cause": names.of(names.CAUSES, objective.cause),
    }


def capabilities(host: Host) -> list[Mapping[str, str]]:
    """Each with what keeps the host from it; empty: nothing does. What it lacks comes first."""
    lacking = host.lacking
    have = sorted(set(host.capabilities) - set(lacking))
    return [
        *(
            {"name": operators.capability(name), "class": "idle", "reason": reasons.show(why) or _("not available")}
            for name, why in lacking.items()
        ),
        *({"name": operators.capability(name), "class": "met", "reason": ""} for name in have),
    ]
