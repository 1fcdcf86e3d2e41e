"""The overview of operators: five requests to the API, whatever there is to show."""

from collections.abc import Sequence
from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from horizon import views

from stella_dashboard.api import decisions, hosts, summaries, violations
from stella_dashboard.api.lists import Items
from stella_dashboard.api.problems import PROBLEMS, Problem
from stella_dashboard.api.summaries import Hosts, Summary
from stella_dashboard.content.decisions import rows as decision_rows
from stella_dashboard.content.hosts import rows as host_rows
from stella_dashboard.content.violations import rows as violation_rows
from stella_dashboard.words import names, operators, quantities, refusals

SHOWN = 5
"""So many of each list; the rest is a link away."""

SECTIONS = (
    "stella_dashboard/operators/_worst_hosts.html",
    "stella_dashboard/operators/_tightest_hosts.html",
    "stella_dashboard/operators/_violations.html",
    "stella_dashboard/operators/_refusals.html",
)
"""The parts of the page below its tiles, in order."""


class IndexView(views.HorizonTemplateView):
    """Head-room, the worst hosts, what lasts and what was refused."""

    template_name = "stella_dashboard/operators/index.html"
    page_title = gettext_lazy("Service Levels: Overview")

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """All of it."""
        return super().get_context_data(**{**kwargs, **_found(self.request)})


def _found(request: HttpRequest) -> dict[str, Any]:
    summary = summaries.of_all(request)
    if isinstance(summary, PROBLEMS):
        return {"problem": refusals.sentence(summary), "sections": ()}
    usable = {"mode": "enforce", "silent": "false"}
    worst = hosts.page(request, query={}, sort="open_violations:desc", limit=SHOWN)
    tightest = hosts.page(request, query=usable, sort="free_cpu_cores", limit=SHOWN)
    lasting = violations.page(request, query={"open": "true"}, limit=SHOWN)
    refused = decisions.page(request, query={"refusals": "true"}, limit=SHOWN)
    problems = [one for one in (worst, tightest, lasting, refused) if isinstance(one, PROBLEMS)]
    return {
        "problem": refusals.sentence(problems[0]) if problems else None,
        "verdict": verdict(summary),
        "tiles": tiles(summary),
        "sections": SECTIONS,
        "worst": [host_rows.show(host) for host in _items(worst) if host.open_violations],
        "tightest": [host_rows.show(host) for host in _items(tightest)],
        "violations": [violation_rows.show(one) for one in _items(lasting)],
        "refusals": [decision_rows.show(one, request.user.id) for one in _items(refused)],
    }


def _items(found: Items[Any] | Problem) -> Sequence[Any]:
    return () if isinstance(found, PROBLEMS) else found.items


def verdict(summary: Summary) -> str:
    """How it stands, in one sentence or two."""
    troubled = summary.instances.get("troubled", 0)
    if not summary.guaranteed:
        first = _("Nothing is guaranteed to any instance.")
    elif troubled:
        first = ngettext(
            "%(troubled)d of the %(all)d instances with a service level is in trouble.",
            "%(troubled)d of the %(all)d instances with a service level are in trouble.",
            troubled,
        ) % {"troubled": troubled, "all": summary.guaranteed}
    else:
        first = _("No instance with a service level is in trouble.")
    silent = summary.hosts.silent if summary.hosts else 0
    if not silent:
        return first
    second = ngettext("%(n)d host is silent.", "%(n)d hosts are silent.", silent) % {"n": silent}
    return f"{first} {second}"


def tiles(summary: Summary) -> list[dict[str, Any]]:
    """The figures at the top, each with a note and where it leads."""
    index, lasting = reverse("horizon:admin:stella_hosts:index"), reverse("horizon:admin:stella_violations:index")
    health = ", ".join(
        f"{names.of(names.HEALTHS, name)}: {count}" for name, count in summary.instances.items() if name != "troubled"
    )
    shown = [
        {
            "label": _("Instances in trouble"),
            "value": summary.instances.get("troubled", 0),
            "note": health,
            "url": f"{lasting}?open=true",
        },
        {"label": _("Open violations"), "value": summary.open_violations, "note": "", "url": f"{lasting}?open=true"},
    ]
    return shown if summary.hosts is None else [*_of_hosts(summary.hosts, index), *shown]


def _with_one_lost(found: Hosts) -> list[str]:
    if found.free_without_one_cpu_cores is None:
        return []
    return [_("With any one host lost: %(cores)s") % {"cores": host_rows.cores(found.free_without_one_cpu_cores)}]


def _of_hosts(found: Hosts, index: str) -> list[dict[str, Any]]:
    modes = ", ".join(f"{names.of(operators.MODES, mode)}: {found.modes[mode]}" for mode in sorted(found.modes))
    share = found.reserved_cpu_cores / found.capacity_cpu_cores if found.capacity_cpu_cores else None
    reserved = {
        "reserved": host_rows.cores(found.reserved_cpu_cores),
        "capacity": host_rows.cores(found.capacity_cpu_cores),
        "share": quantities.show_ratio(share),
    }
    silent = ngettext("%(n)d is silent", "%(n)d are silent", found.silent) % {"n": found.silent}
    return [
        {
            "label": _("Head-room"),
            "value": host_rows.cores(found.free_cpu_cores),
            "note": ". ".join(
                [_("Reserved: %(reserved)s of %(capacity)s (%(share)s)") % reserved, *_with_one_lost(found)]
            ),
            "url": f"{index}?mode=enforce&silent=false&sort=free_cpu_cores:desc",
        },
        {
            "label": _("Hosts"),
            "value": found.total,
            "note": ", ".join(part for part in (modes, silent if found.silent else "") if part),
            "url": f"{index}?silent=true" if found.silent else index,
        },
    ]
