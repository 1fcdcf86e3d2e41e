"""The overview of a project: three requests to the API, whatever there is to show."""

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from horizon import views

from stella_dashboard.api import instances, summaries, violations
from stella_dashboard.api.instances import Instance, Page
from stella_dashboard.api.lists import Items
from stella_dashboard.api.problems import PROBLEMS
from stella_dashboard.api.summaries import Summary
from stella_dashboard.api.violations import Violation
from stella_dashboard.content.violations import rows as violation_rows
from stella_dashboard.words import names, quantities, reasons, refusals

SHOWN = 5
"""So many instances and violations; the rest is a link away."""

SECTIONS = (
    "stella_dashboard/overview/_attainment.html",
    "stella_dashboard/overview/_troubled.html",
    "stella_dashboard/overview/_violations.html",
)
"""The parts of the page below its tiles, in order."""


class IndexView(views.HorizonTemplateView):
    """Are the project's service levels kept?"""

    template_name = "stella_dashboard/overview/index.html"
    page_title = gettext_lazy("Service Levels Overview")

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """All of it."""
        return super().get_context_data(**{**kwargs, **_found(self.request)})


def _found(request: HttpRequest) -> dict[str, Any]:
    summary = summaries.of_project(request)
    if isinstance(summary, PROBLEMS):
        return {"problem": refusals.sentence(summary), "sections": ()}
    troubled = instances.page(request, limit=SHOWN, health="troubled")
    last = violations.page(request, query={"project": request.user.project_id}, limit=SHOWN)
    problems = [one for one in (troubled, last) if isinstance(one, PROBLEMS)]
    found = Page(instances=()) if isinstance(troubled, PROBLEMS) else troubled
    missed: Items[Violation] = Items() if isinstance(last, PROBLEMS) else last
    return {
        "problem": refusals.sentence(problems[0]) if problems else None,
        "verdict": verdict(summary),
        "is_kept": not summary.instances.get("troubled"),
        "tiles": tiles(summary),
        "sections": SECTIONS,
        "attained": attained(summary),
        "troubled": [_troubled(one) for one in found.instances],
        "violations": [violation_rows.show(one) for one in missed.items],
    }


def verdict(summary: Summary) -> str:
    """Whether they are kept now, and how they were this month, in two sentences at most."""
    if not summary.guaranteed:
        return _("Nothing is guaranteed to the instances of this project.")
    troubled, pending = summary.instances.get("troubled", 0), summary.instances.get("pending", 0)
    if troubled:
        now = ngettext(
            "%(troubled)d of the %(all)d instances with a service level does not get what it is guaranteed now.",
            "%(troubled)d of the %(all)d instances with a service level do not get what they are guaranteed now.",
            troubled,
        ) % {"troubled": troubled, "all": summary.guaranteed}
    elif pending:
        now = ngettext(
            "Nothing is missed now; %(pending)d service level is not in force yet.",
            "Nothing is missed now; %(pending)d service levels are not in force yet.",
            pending,
        ) % {"pending": pending}
    else:
        now = _("All service levels are kept now.")
    worst = _worst(summary.month)
    if worst is None:
        return now
    metric, ratio = worst
    return f"{now} " + (
        _("This month they were kept in every second in which they were asked for.")
        if ratio >= 1.0
        else _("This month %(objective)s was kept least: in %(ratio)s of the seconds in which it was asked for.")
        % {"objective": names.of(names.METRICS, metric), "ratio": quantities.show_ratio(ratio)}
    )


def _worst(ratios: Mapping[str, float | None]) -> tuple[str, float] | None:
    known = [(metric, ratio) for metric, ratio in ratios.items() if ratio is not None]
    return min(known, key=lambda one: one[1], default=None)


def tiles(summary: Summary) -> list[dict[str, Any]]:
    """Instances by health; each leads to the list that is filtered for it."""
    index = reverse("horizon:project:service_levels:index")
    return [
        {
            "label": name,
            "value": summary.instances.get(health, 0),
            "note": "",
            "url": f"{index}?{urlencode({'health': health})}",
        }
        for health, name in names.HEALTHS.items()
    ]


def attained(summary: Summary) -> list[Mapping[str, str]] | None:
    """How each objective was kept, all instances together; None: the API does not tell it."""
    if summary.today is None:
        return None
    metrics = [metric for metric in quantities.UNIT_OF if metric in summary.today or metric in summary.month]
    return [
        {
            "name": names.of(names.METRICS, metric),
            "today": quantities.show_ratio(summary.today.get(metric)),
            "month": quantities.show_ratio(summary.month.get(metric)),
        }
        for metric in metrics
    ]


def _troubled(instance: Instance) -> Mapping[str, Any]:
    missed = [one for one in instance.objectives if names.STATUS_CLASSES.get(one.status) == "missed"]
    return {
        "name": instance.title,
        "url": reverse("horizon:project:service_levels:detail", args=[instance.uuid]),
        "note": note(instance),
        "lines": [
            {
                "name": names.of(names.METRICS, one.metric),
                "promise": quantities.show_promise(one.metric, one.promise),
                "usage": quantities.show_measured(one.metric, one.usage),
                "status": names.of(names.STATUSES, one.status),
                "cause": names.of(names.CAUSES, one.cause),
            }
            for one in missed
        ],
    }


def note(instance: Instance) -> str:
    """What the host says of the service level where it is not in force."""
    slo = instance.slo
    if slo is None or slo.state == "enforced":
        return ""
    return ": ".join(part for part in (names.of(names.SLO_STATES, slo.state), reasons.show(slo.reason)) if part)
