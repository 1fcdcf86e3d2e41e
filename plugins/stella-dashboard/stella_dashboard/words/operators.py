"""What operators read beside what tenants do: modes, kinds of decisions, and the detail of a decision as rows."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from stella_dashboard.api.reasons import Reason
from stella_dashboard.words import names, quantities, reasons

MODES = names.MODES
MODE_MEANINGS = {
    "observe": gettext_lazy(
        "Measures and reports, and changes nothing on the host. What is guaranteed there is not kept."
    ),
    "enforce": gettext_lazy("Keeps what is guaranteed, and takes new service levels."),
    "maintenance": gettext_lazy(
        "Goes on keeping what is guaranteed there, takes nothing new, and does not count for SLAs."
    ),
}
DECISIONS = {
    "slo_accepted": gettext_lazy("Service level set"),
    "slo_withdrawn": gettext_lazy("Service level withdrawn"),
    "slo_does_not_fit": gettext_lazy("Refused: does not fit"),
    "slo_over_quota": gettext_lazy("Refused: over quota"),
    "slo_above_limit": gettext_lazy("Refused: above another limit"),
    "slo_refused_by_host": gettext_lazy("Refused by the host"),
    "slo_degraded_by_host": gettext_lazy("Cannot be held by the host"),
    "slo_suspended": gettext_lazy("Service level suspended"),
    "host_mode": gettext_lazy("Mode of a host changed"),
    "host_silent": gettext_lazy("Host silent"),
    "host_back": gettext_lazy("Host back"),
    "instance_gone": gettext_lazy("Instance gone"),
    "no_candidate": gettext_lazy("Refused: no host takes it"),
    "placement_short": gettext_lazy("Placement is short"),
    "quota": gettext_lazy("Quota changed"),
    "sla": gettext_lazy("SLA changed"),
    "relief": gettext_lazy("Relief"),
    "evacuation": gettext_lazy("Evacuation"),
    "host_fenced": gettext_lazy("Host fenced"),
    "failover": gettext_lazy("Place for the loss of a host"),
}
MOVES = {
    "suggested": gettext_lazy("suggested"),
    "reserved": gettext_lazy("reserved at its destination"),
    "moving": gettext_lazy("moving"),
    "done": gettext_lazy("moved"),
    "failed": gettext_lazy("failed"),
    "refused": gettext_lazy("nothing may move"),
    "stopped": gettext_lazy("stopped: moves did not help"),
}
"""How far the move of a relief or an evacuation is."""
REFUSALS = ("slo_does_not_fit", "slo_over_quota", "slo_above_limit", "slo_refused_by_host", "no_candidate")
_HOST = "host:"
_USERS = {"system": gettext_lazy("Stella"), "host": gettext_lazy("the host")}
_LABELS: Mapping[str, str | Promise] = {
    "objectives": gettext_lazy("Service level"),
    "largest": gettext_lazy("The most that fits"),
    "short": gettext_lazy("Short by"),
    "freed_cpu_cores": gettext_lazy("CPU that became free"),
    "vcpus": gettext_lazy("vCPUs"),
    "instance": gettext_lazy("Instance"),
    "project": gettext_lazy("Project"),
    "project_id": gettext_lazy("Project"),
    "resource_provider": gettext_lazy("Resource provider"),
    "before": gettext_lazy("Before"),
    "after": gettext_lazy("After"),
}
_LARGEST_ROWS = 40
Row = tuple[str, str]
"""A label and what it is."""


def user(user_id: str, viewer_id: str) -> str:
    """Who it was: "you", Stella itself, a host, else the user's id."""
    if user_id == viewer_id:
        return _("you")
    if user_id.startswith(_HOST):
        return _("host %(host)s") % {"host": user_id.removeprefix(_HOST)}
    return names.of(_USERS, user_id)


def capability(name: str) -> str:
    """What a host may be able to do, such as ``cpu_floor``."""
    metric, _separator, kind = name.rpartition("_")
    if metric in names.METRICS and kind in names.KINDS:
        return f"{names.METRICS[metric]}: {names.KINDS[kind]}"
    return name.replace("_", " ")


def detail(found: Mapping[str, Any], hosts: Mapping[str, Reason] | None = None) -> list[Row]:
    """The detail of a decision; ``hosts`` are its reasons by host. What a later release adds is shown as it came."""
    rows: list[Row] = []
    for key, value in found.items():
        if key == "hosts" and hosts:
            rows += [(host, reasons.show(reason)) for host, reason in hosts.items()]
        else:
            rows += _rows(key, value)
    more = len(rows) - _LARGEST_ROWS
    return (
        rows if more <= 0 else [*rows[:_LARGEST_ROWS], ("\N{HORIZONTAL ELLIPSIS}", _("%(more)d more") % {"more": more})]
    )


def _rows(key: str, value: Any) -> Iterable[Row]:
    label = names.of(_LABELS, key)
    match key, value:
        case "objectives", Mapping():
            return [(label, _promise(metric, promise)) for metric, promise in value.items()]
        case "largest", Mapping():
            return [(label, _quantity(metric, amount)) for metric, amount in value.items()]
        case "hosts", Mapping():
            return [(str(host), _plain(reason)) for host, reason in value.items()]
        case (("short" | "before" | "after"), Mapping()):
            return [(label, _quantity(name, amount)) for name, amount in value.items()]
        case "freed_cpu_cores", int() | float():
            return [(label, quantities.show_measured("cpu", value))]
    return [] if value in (None, "", {}, []) else [(label, _plain(value))]


def _promise(metric: str, promise: Any) -> str:
    shown = quantities.show_promise(metric, promise) if isinstance(promise, Mapping) else _plain(promise)
    return f"{names.of(names.METRICS, metric)}: {shown}"


def _quantity(name: str, amount: Any) -> str:
    metric = "cpu" if name == "reserved_cpu_cores" else name
    if metric in quantities.UNIT_OF and isinstance(amount, int | float) and amount >= 0:
        return f"{names.of(names.METRICS, metric)}: {quantities.show(metric, float(amount))}"
    return f"{name}: {_plain(amount)}"


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
