"""Why something is refused or not in force, said by code in the language of the user; what has no code is shown as the API told it."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from stella_dashboard.api.reasons import Reason
from stella_dashboard.words import moves, names, quantities

OTHER = "other"

_BECAUSE: Mapping[str, str | Promise] = {
    **moves.BECAUSE,
    "no_network_interface": gettext_lazy("the instance has no network interface"),
    "no_disk": gettext_lazy("the instance has no disk"),
    "few_vcpus": gettext_lazy("the instance cannot use more cores than it has vCPUs: %(vcpus)s"),
    "ceiling_too_low": gettext_lazy("the guest needs %(cores)s of CPU for it, which is above the ceiling"),
    "guest_cpu": gettext_lazy("the guest would need %(cores)s of CPU for it; it has so many vCPUs: %(vcpus)s"),
    "one_thread": gettext_lazy(
        "one thread of QEMU (%(thread)s) serves this (%(resources)s) and would need %(cores)s; at most %(largest)s can be guaranteed"
    ),
    "capacity": gettext_lazy("%(cores)s of CPU are needed for it and the host has %(free)s left to guarantee"),
    "one_cpu": gettext_lazy("no single CPU of the host has so much left"),
    "one_allowed_cpu": gettext_lazy("none of the CPUs that the instance may use has so much left"),
    "host_lacks": gettext_lazy("the host lacks a capability (%(capability)s)"),
    "not_reported": gettext_lazy("the host does not report it"),
    "no_network_shares": gettext_lazy("this release does not share network traffic by weight"),
    "no_uplink": gettext_lazy("the host does not share its network connection by weight"),
    "uplink_room": gettext_lazy("this needs more of the network connection of the host than is left to guarantee"),
    "no_link_limits": gettext_lazy("the host cannot limit network traffic"),
    "received_floor": gettext_lazy(
        "beside senders that do not slow down, what the instance receives is not guaranteed"
    ),
    "link_uplink_unknown": gettext_lazy("it is not known which network connection of the host %(link)s uses"),
    "link_not_limited": gettext_lazy("a network interface of the instance cannot be limited (%(link)s)"),
    "no_block_shares": gettext_lazy("the host cannot limit disk traffic"),
    "no_backend": gettext_lazy("the host does not share the storage of disks by weight or latency"),
    "disk_not_limited": gettext_lazy("a disk of the instance cannot be limited (%(disk)s)"),
    "disk_not_on_backend": gettext_lazy("no disk of the instance is on storage that the host shares"),
    "backend_room": gettext_lazy("this needs more of the storage of the host than is left to guarantee"),
    "disk_limited": gettext_lazy("a disk of the instance is limited to less (%(disk)s)"),
    "no_latency_target": gettext_lazy("this release measures disk latency but does not enforce a target"),
    "no_cpu_groups": gettext_lazy("the host has no CPU control groups that can be used"),
    "no_cpu_quota": gettext_lazy("the CPU control groups of the host have no quota"),
    "no_cpuset": gettext_lazy("the host has no cpuset control groups, so weights are less exact while it is full"),
    "host_mode_is": gettext_lazy("the host %(host)s is in mode: %(mode)s"),
    "host_not_reported": gettext_lazy("the host %(host)s has not reported its capacity yet"),
    "host_cannot_enforce": gettext_lazy("the host %(host)s cannot enforce it"),
    "host_not_enrolled": gettext_lazy("the host is no longer enrolled"),
    "host_silent": gettext_lazy("the host is silent"),
    "host_unknown": gettext_lazy("Stella does not know this host"),
    "does_not_fit_on": gettext_lazy("does not fit on %(host)s"),
    "placement_room": gettext_lazy("Placement has room for %(free)s on this host"),
    "placement_elsewhere": gettext_lazy("Stella finds room here; Placement, or another of Nova's filters, does not"),
    "shut_off": gettext_lazy("the instance is shut off"),
    "not_on_host": gettext_lazy("the instance is not on this host"),
    "gone": gettext_lazy("the instance is gone"),
    "same_name": gettext_lazy("several instances of the host have the name %(name)s"),
    "costs_grew": gettext_lazy("its I/O costs more CPU than before, and the host lacks %(cores)s for it"),
    "shelved": gettext_lazy("the server is shelved: it has no host"),
    "contradicts_flavor": gettext_lazy("what its flavor guarantees and what was added contradict one another"),
    "above_ceiling": gettext_lazy("what is guaranteed is above what is never exceeded"),
    "other_direction": gettext_lazy("the direction must be that of what is guaranteed already: %(direction)s"),
    "beside_flavor": gettext_lazy("beside what the flavor of the instance guarantees"),
    "not_positive": gettext_lazy("it must be greater than zero"),
    "too_large": gettext_lazy("it is too large"),
    "host_watched": gettext_lazy("as many instances of its host are watched as may be; try again later"),
    "project_watched": gettext_lazy(
        "so many other instances of the project are watched that no more may be: %(number)s"
    ),
    "reserved": gettext_lazy("%(cores)s reserved"),
    "of_flavor": gettext_lazy("its flavor is %(flavor)s; %(cores)s reserved"),
    "withdrawn": gettext_lazy("withdrawn by its owner"),
    "added_withdrawn": gettext_lazy(
        "what its owner had added is withdrawn; what its flavor guarantees stays suspended"
    ),
    "flavor_has_none": gettext_lazy("its flavor %(flavor)s guarantees nothing; %(cores)s became free"),
    "server_deleted": gettext_lazy("the server is deleted; %(cores)s became free"),
    "gone_long": gettext_lazy("gone from its host for %(seconds)s s; %(cores)s became free"),
    "mode_changed": gettext_lazy("from %(before)s to %(after)s"),
    "no_report": gettext_lazy("no report for %(seconds)s s"),
    "reports_again": gettext_lazy("reports again, %(seconds)s s after the last report before"),
    "no_candidate": gettext_lazy("so many hosts were asked and none takes the instance: %(number)s"),
    "not_this_candidate": gettext_lazy("the one host does not take the instance"),
    "nova_found_none": gettext_lazy("Nova found no host for the instance"),
    "quota_changed": gettext_lazy("quota of the project %(project)s: %(changes)s"),
    "placement_short": gettext_lazy("Placement has no room for all that is in force: %(classes)s"),
    "placement_over": gettext_lazy("more is allocated in Placement than the host has: %(classes)s"),
}
"""By the codes of the API's ``why``; each is the part of a sentence."""

_OF_ITS_HOST = {
    "host_mode_is": gettext_lazy("its host is in mode: %(mode)s"),
    "host_not_reported": gettext_lazy("its host has not reported its capacity yet"),
    "host_cannot_enforce": gettext_lazy("its host cannot enforce it"),
    "does_not_fit_on": gettext_lazy("does not fit on its host"),
}
"""The same where the user may not know the host."""

_RESOURCES = {
    "network": gettext_lazy("network"),
    "block": gettext_lazy("disk"),
    "network and block": gettext_lazy("network and disk"),
}
_THREADS = {"main loop": gettext_lazy("main loop"), "iothread": gettext_lazy("iothread")}
_WORDS: Mapping[str, Mapping[str, str | Promise]] = {
    "resources": _RESOURCES,
    "thread": _THREADS,
    "mode": names.MODES,
    "before": names.MODES,
    "after": names.MODES,
    "direction": names.DIRECTIONS,
    "state": names.INSTANCE_STATES,
    "relief_before": moves.RELIEF_MODES,
    "relief_after": moves.RELIEF_MODES,
}
_CORES = ("cores", "largest")


def codes() -> frozenset[str]:
    """Those that can be said."""
    return frozenset({*_BECAUSE, OTHER})


def show(reason: Reason, *, with_field: bool = True) -> str:
    """The reason, without a full stop. ``with_field``: also what it is about, where it does not stand beside that already."""
    parts = [_part(code, values) for code, values in reason.parts]
    if not parts or None in parts:
        return reason.text.strip().removesuffix(".").removeprefix("objectives.")
    field = next((str(values["field"]) for _code, values in reason.parts if "field" in values), "")
    metric = names.METRICS.get(field.partition(".")[0])
    said = ": ".join(part for part in parts if part)
    return f"{metric}: {said}" if with_field and metric else said


def _part(code: str, values: Mapping[str, Any]) -> str | None:
    """None: a later release has it."""
    if code == OTHER:
        return str(values.get("text", ""))
    sentence = _BECAUSE.get(code) if "host" in values else _OF_ITS_HOST.get(code) or _BECAUSE.get(code)
    if sentence is None:
        return None
    shown = defaultdict(str, {name: _value(code, name, value) for name, value in values.items()})
    if code == "placement_room":
        shown["free"] = f"{shown['free']} {values.get('resource') or values.get('class') or ''}".strip()
    return str(sentence) % shown


def _value(code: str, name: str, value: Any) -> str:
    if name in _WORDS:
        return names.of(_WORDS[name], str(value))
    if code in moves.OF_A_HOST and name == "cores" and isinstance(value, int | float):
        return quantities.cores(f"{value:.3g}")
    if isinstance(value, int | float):
        is_cpu = name in _CORES or (name == "free" and code == "capacity")
        return quantities.show_measured("cpu", value) if is_cpu else f"{value:.15g}"
    return str(value).replace("_", " ") if name == "capability" else str(value)


def contradiction(told: Mapping[str, Any]) -> str:
    """A limit from outside Stella below what is guaranteed, as the API tells it."""
    metric = str(told.get("field", "")).removeprefix("objectives.").partition(".")[0]
    shown = {
        "objective": names.of(names.METRICS, metric),
        "source": names.of(names.SOURCES, str(told.get("source"))),
        "name": " ".join(part for part in (str(told.get("name") or ""), str(told.get("device") or "")) if part),
        "value": quantities.show(metric, told.get("value")),
    }
    sentence = _("%(objective)s: %(source)s limits it to %(value)s (%(name)s), below what is guaranteed.") % shown
    if told.get("reachable"):
        return f"{sentence} " + _("Other devices, or the other direction, can make up for it.")
    return sentence
