"""The report of a month: what was promised, what was met, what is owed, what did not count; and the same as a file."""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext_lazy as _
from django.views import generic
from horizon import views

from stella_dashboard.api import exclusions, slas
from stella_dashboard.api.problems import PROBLEMS
from stella_dashboard.content import links
from stella_dashboard.content.exclusions import rows as exclusion_rows
from stella_dashboard.content.listing import FilterForm, project_field
from stella_dashboard.content.slas import rows
from stella_dashboard.content.slas.views import sentence
from stella_dashboard.words import names, refusals
from stella_dashboard.words import slas as words

LARGEST_ROWS = 2000
"""More objectives are in the file alone."""
_PERIOD = re.compile(r"20[0-9]{2}-(0[1-9]|1[0-2])")
_FORMATS = {"csv": "text/csv; charset=utf-8", "json": "application/json"}


def file_name(sla_id: str, period: str, format: str) -> str:
    """What a report's file is called."""
    return f"sla-{sla_id}-{period or 'now'}.{format}"


class ProjectFilter(FilterForm):
    """Whose instances are in it, for operators."""

    project = project_field()


def _query(request: HttpRequest, *, is_for_all: bool) -> dict[str, str]:
    """What of the address the API is asked for."""
    period = request.GET.get("period", "")
    asked = {"period": period} if _PERIOD.fullmatch(period) else {}
    if not is_for_all:
        return {**asked, "project": request.user.project_id}
    return {**asked, **ProjectFilter(request.GET).query()}


class _Report(views.HorizonTemplateView):
    """Two requests to the API."""

    template_name = "stella_dashboard/slas/report.html"
    page_title = _("SLA Report of {{ sla.name|default:sla_id }}")
    namespace = ""
    is_for_all = False

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """All of it."""
        return super().get_context_data(**{**kwargs, **self._found(str(self.kwargs["sla_id"]))})

    def _found(self, sla_id: str) -> dict[str, Any]:
        request = self.request
        sla = slas.show(request, sla_id)
        if isinstance(sla, PROBLEMS):
            return {"sla_id": sla_id, "sla": None, "problem": sentence(sla)}
        query = _query(request, is_for_all=self.is_for_all)
        periods = rows.periods(sla)
        shown = {
            "sla_id": sla_id,
            "sla": sla,
            "index_url": reverse(f"{self.namespace}:index"),
            "periods": periods,
            "period": query.get("period") or periods[0],
            "form": ProjectFilter(request.GET) if self.is_for_all else None,
        }
        found = slas.report(request, sla_id, query)
        if isinstance(found, PROBLEMS):
            return {**shown, "report": None, "problem": refusals.sentence(found)}
        query = {**query, "period": found["period"]["name"]}
        files = {
            name: f"{reverse(f'{self.namespace}:file', args=[sla_id, name])}?{urlencode(_of_address(query, self.is_for_all))}"
            for name in _FORMATS
        }
        return {**shown, **_shown(found), "files": files, "problem": None, "is_for_all": self.is_for_all}


def _of_address(query: Mapping[str, str], is_for_all: bool) -> dict[str, str]:
    """Without the project where it is not for the user to choose."""
    return {name: value for name, value in query.items() if is_for_all or name != "project"}


def _shown(report: Mapping[str, Any]) -> dict[str, Any]:
    period, totals = report["period"], report["totals"]
    lines = sorted(_lines(report), key=lambda one: (one["is_met"], one["attainment_text"]))
    price = report["terms"]["price"]
    terms = slas.Terms(
        target=report["terms"]["attainment_target_ratio"],
        unknown=report["terms"]["unknown"],
        credits=tuple((one["below_ratio"], one["credit_ratio"]) for one in report["terms"]["credits"]),
        price=(price["amount"], price["currency"]) if price else None,
    )
    return {
        "report": {
            "period": period["name"],
            "is_final": period["final"],
            "start": datetime.fromisoformat(period["start"]),
            "until": datetime.fromisoformat(period["until"]),
            "time_zone": period["time_zone"],
            "instances": totals["instances"],
            "missed": totals["instances_missed"],
            "credited": totals["instances_credited"],
            "attainment": words.percent(totals["attainment_ratio"]),
            "measured": words.percent(totals["attainment_ratio_measured"]),
            "credit": words.money(totals["credit_amount"], totals["currency"]),
            "sha256": report["sha256"],
            "command": f"stella-manage sla recompute {file_name(report['sla']['uuid'], period['name'], 'json')}",
        },
        "terms": rows.terms(terms),
        "rows": lines[:LARGEST_ROWS],
        "more_rows": max(0, len(lines) - LARGEST_ROWS),
        "exclusions": [exclusion_rows.exclusion(exclusions.exclusion(one)) for one in report["exclusions"]],
        "corrections": [exclusion_rows.correction(exclusions.correction(one)) for one in report["corrections"]],
    }


def _lines(report: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """One for each objective; what is owed is owed for the instance, and stands in each of its lines."""
    named = {row["uuid"]: (row["name"], row["project_id"]) for row in report["rollups"]}
    for result in report["results"]:
        name, project = named[result["uuid"]]
        for one in result["objectives"]:
            yield {
                "name": name or result["uuid"],
                "url": links.instance(result["uuid"]),
                "project_id": project,
                "project_url": links.project(project),
                "objective": names.of(names.METRICS, one["metric"]),
                "attainment": words.percent(one["attainment_ratio"]),
                "attainment_text": one["attainment_ratio"] or "2",
                "without": words.percent(one["attainment_ratio_without_exclusions"]),
                "measured": words.percent(one["attainment_ratio_measured"]),
                "missed": words.minutes(one["missed_seconds"]),
                "allowed": words.minutes(one["allowed_seconds"]),
                "unknown": words.minutes(one["unknown_seconds"]),
                "own_limits": words.minutes(one["own_limits_seconds"]),
                "is_met": one["is_met"],
                "credit": words.DASH
                if result["credit_ratio"] == "0"
                else words.owed(result["credit_ratio"], result["credit_amount"], report["totals"]["currency"]),
            }


class ProjectReport(_Report):
    """Of the user's project."""

    namespace = rows.PROJECT


class AllReport(_Report):
    """Of all projects, or of one that an operator names."""

    namespace = rows.ADMIN
    is_for_all = True


class ProjectFile(generic.View):
    """The same as stella-api tells it, bit for bit, so that it can be computed again."""

    is_for_all = False

    def get(self, request: HttpRequest, sla_id: str, format: str) -> HttpResponse:
        """CSV or JSON."""
        if format not in _FORMATS:
            raise Http404
        query = _query(request, is_for_all=self.is_for_all)
        found = slas.report_file(request, str(sla_id), {**query, "format": format})
        if isinstance(found, PROBLEMS):
            return HttpResponse(refusals.sentence(found), status=503, content_type="text/plain; charset=utf-8")
        answer = HttpResponse(found, content_type=_FORMATS[format])
        name = file_name(str(sla_id), query.get("period", ""), format)
        answer["Content-Disposition"] = f'attachment; filename="{name}"'
        return answer


class AllFile(ProjectFile):
    """Of all projects, or of one."""

    is_for_all = True
