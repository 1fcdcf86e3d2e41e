"""The page of one violation: when, why, and minute by minute; for operators also who offended, with the evidence."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from horizon import views

from stella_dashboard import access
from stella_dashboard.api import violations
from stella_dashboard.api.problems import PROBLEMS, Refused
from stella_dashboard.api.records import Point
from stella_dashboard.api.violations import Minute, Part, Shown
from stella_dashboard.content import links
from stella_dashboard.content.service_levels import charts, detail_views
from stella_dashboard.content.service_levels.detail import show_duration
from stella_dashboard.content.violations import rows
from stella_dashboard.words import names, quantities, refusals

_MINUTE = 60
_NOT_FOUND = 404
_EVIDENCE = {
    "value": _("Guaranteed"),
    "worst": _("The least it got"),
    "offender_used_cores": _("CPU that the offender used"),
    "offender_entitled_cores": _("CPU that the offender is entitled to"),
}


class DetailView(views.HorizonTemplateView):
    """One request to the API."""

    template_name = "stella_dashboard/violations/detail.html"
    page_title = _("Violation {{ number }}")

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """All of it."""
        number = self.kwargs["number"]
        found = violations.show(self.request, number)
        if isinstance(found, PROBLEMS):
            is_unknown = isinstance(found, Refused) and found.status == _NOT_FOUND
            sentence = gettext("Stella does not know this violation.") if is_unknown else refusals.sentence(found)
            return super().get_context_data(**kwargs, violation=None, problem=sentence)
        may_see = access.may(self.request, access.SHOW_EVIDENCE)
        return super().get_context_data(
            **kwargs,
            violation=rows.show(found),
            problem=None,
            may_see=may_see,
            verdict=_verdict(found),
            missed=show_duration(found.missed_seconds) if found.missed_seconds is not None else "",
            parts=[_part(found.metric, one) for one in found.parts],
            metric=found.metric,
            chart=_chart(found),
            promises=_promises(found),
            words=detail_views.words(),
        )


def _verdict(found: Shown) -> str:
    lasted = ((found.closed_at or datetime.now(UTC)) - found.opened_at).total_seconds()
    shown = {
        "objective": names.of(names.METRICS, found.metric),
        "instance": found.title,
        "duration": show_duration(max(0.0, lasted)),
    }
    if found.closed_at is None:
        return gettext("%(objective)s of %(instance)s is missed, for %(duration)s by now.") % shown
    return gettext("%(objective)s of %(instance)s was missed for %(duration)s.") % shown


def _part(metric: str, part: Part) -> Mapping[str, Any]:
    return {
        "opened_at": part.opened_at,
        "closed_at": part.closed_at,
        "cause": names.of(names.CAUSES, part.cause),
        "missed": show_duration(part.missed_seconds) if part.missed_seconds is not None else "",
        "host": part.host or "",
        "host_url": links.host(part.host),
        "offender": gettext("the host itself") if part.offender == "host" else part.offender or "",
        "offender_url": links.instance(part.offender) if part.offender != "host" else "",
        "evidence": list(_evidence(metric, part.evidence)),
    }


def _evidence(metric: str, told: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """Figures with their names; what a later release adds is shown as it came, with the unit in its name."""
    for name, value in told.items():
        if name == "missed_seconds" or value is None:
            continue
        unit = metric if name in ("value", "worst") else "cpu" if name.endswith("_cores") else ""
        shown = quantities.show_measured(unit, value) if unit and isinstance(value, int | float) else f"{value}"
        yield str(_EVIDENCE.get(name, name.replace("_", " "))), shown


def _chart(found: Shown) -> Mapping[str, Any]:
    columns = charts.columns([_point(one) for one in found.minutes], _MINUTE)
    span = (found.minutes[-1].start - found.minutes[0].start).total_seconds() + _MINUTE if found.minutes else 0
    return {"columns": columns, "step": _MINUTE, "seconds": span}


def _point(minute: Minute) -> Point:
    return Point(
        at=minute.start, usage=minute.usage, demand=minute.demand, seconds=minute.seconds, causes=minute.causes
    )


def _promises(found: Shown) -> list[Mapping[str, float | None]]:
    """What was guaranteed, as the hosts reported it: a step for each part."""
    steps = [(one.opened_at.timestamp(), one.evidence.get("value")) for one in found.parts]
    key, other = ("ceiling", "floor") if found.metric == "block_latency" else ("floor", "ceiling")
    first = [(0.0, steps[0][1])] if steps else []
    return [{"since": since, key: value, other: None} for since, value in (*first, *steps)]
