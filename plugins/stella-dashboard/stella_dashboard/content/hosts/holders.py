"""Who holds what on a host, and what the host can enforce."""

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _

from stella_dashboard.api.hosts import Host
from stella_dashboard.api.instances import Instance, Objective
from stella_dashboard.content import links
from stella_dashboard.content.hosts import rows
from stella_dashboard.words import names, operators, quantities, reasons


def show(instance: Instance, host: Host) -> Mapping[str, Any]:
    """The row of an instance on its host."""
    share = instance.reserved_cpu_cores / host.capacity_cpu_cores if host.capacity_cpu_cores else None
    slo = instance.slo
    return {
        "name": instance.title,
        "url": links.instance(instance.uuid),
        "project_id": instance.project_id,
        "project_url": links.project(instance.project_id),
        "state": "" if instance.state == "running" else names.of(names.INSTANCE_STATES, instance.state),
        "slo_state": names.of(names.SLO_STATES, slo.state) if slo is not None and slo.state != "enforced" else "",
        "reason": reasons.show(slo.reason) if slo is not None else "",
        "reserved": rows.cores(instance.reserved_cpu_cores) if slo is not None else "\N{EN DASH}",
        "share": quantities.show_ratio(share) if slo is not None else "\N{EN DASH}",
        "lines": [_line(objective) for objective in instance.objectives],
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
