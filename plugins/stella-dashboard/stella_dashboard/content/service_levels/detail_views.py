"""The page of one instance, and what its charts ask for."""

from datetime import UTC, datetime
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse, StreamingHttpResponse
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from django.views import generic
from horizon import views

from stella_dashboard import access
from stella_dashboard.api import records
from stella_dashboard.api.problems import PROBLEMS
from stella_dashboard.content.service_levels import budget, charts, detail, tables
from stella_dashboard.words import names, quantities, refusals

_MINUTE = 60


def context(request: HttpRequest, uuid: str) -> dict[str, Any]:
    """What the template of the page, and of the tab on Horizon's own page of an instance, shows."""
    found = detail.read(request, uuid)
    if isinstance(found, PROBLEMS):
        return {"problem": refusals.sentence(found), "instance": None, "instance_id": uuid}
    instance = found.instance
    return {
        "problem": refusals.sentence(found.problems[0]) if found.problems else None,
        "instance": instance,
        "instance_id": uuid,
        "verdict": detail.verdict(found),
        "sections": detail.sections(found),
        "promises": detail.promises(found),
        "changes": detail.changes(found),
        "set_aside": quantities.show_measured("cpu", instance.reserved_cpu_cores)
        if instance.reserved_cpu_cores
        else "",
        "note": tables.note_of(instance),
        "month": detail.month(found),
        "history": detail.history(found, request.user.id),
        "spans": [{"key": key, "name": span.name} for key, span in charts.SPANS.items()],
        "words": words(),
        **budget.context(request, instance),
        "may_set": access.may(request, access.SET, instance.project_id),
        "may_remove": instance.slo is not None
        and bool(instance.slo.added)
        and access.may(request, access.DELETE, instance.project_id),
        "usage_url": reverse("horizon:project:service_levels:usage", args=[uuid]),
        "csv_url": reverse("horizon:project:service_levels:csv", args=[uuid]),
    }


def words() -> dict[str, Any]:
    """Those that the charts need."""
    return {
        "statuses": {word: str(name) for word, name in names.STATUSES.items()},
        "classes": names.STATUS_CLASSES,
        "cores": quantities.core_words(),
    }


class DetailView(views.HorizonTemplateView):
    """One instance: kept or not, now and over time."""

    template_name = "stella_dashboard/service_levels/detail.html"
    page_title = _("Service Level of {{ instance.title|default:instance_id }}")

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """All of it."""
        return super().get_context_data(**{**kwargs, **context(self.request, str(self.kwargs["instance_id"]))})


def _span(request: HttpRequest) -> charts.Span:
    try:
        return charts.SPANS[request.GET.get("span", "live")]
    except KeyError:
        raise Http404 from None


class UsageView(generic.View):
    """Points of the charts, as JSON."""

    def get(self, request: HttpRequest, instance_id: str) -> HttpResponse:
        """Those of ``span``; with ``after`` (Unix seconds) only those that came since.

        Live ones come only while somebody looks: at first the minutes of history stand for those before them.
        """
        span, now = _span(request), datetime.now(UTC)
        start = span.start(now)
        after = request.GET.get("after", "")
        if after.isdigit() and len(after) <= 11:
            start = max(start, datetime.fromtimestamp(int(after), UTC))
        found = records.usage(request, str(instance_id), step=span.step, start=start)
        if isinstance(found, PROBLEMS):
            return HttpResponse(refusals.sentence(found), status=503, content_type="text/plain; charset=utf-8")
        before = None
        if span.step == 1 and not after:
            minutes = records.usage(request, str(instance_id), step=_MINUTE, start=start)
            before = None if isinstance(minutes, PROBLEMS) else minutes
        answer = JsonResponse(charts.as_json(found, span, before=before))
        answer["Cache-Control"] = "no-store"
        return answer


class CsvView(generic.View):
    """The same, as a file."""

    def get(self, request: HttpRequest, instance_id: str) -> HttpResponseBase:
        """Those of ``span``."""
        span = _span(request)
        found = records.usage(request, str(instance_id), step=span.step, start=span.start(datetime.now(UTC)))
        if isinstance(found, PROBLEMS):
            return HttpResponse(refusals.sentence(found), status=503, content_type="text/plain; charset=utf-8")
        answer = StreamingHttpResponse(charts.as_csv(found), content_type="text/csv; charset=utf-8")
        answer["Content-Disposition"] = f'attachment; filename="service-level-{instance_id}.csv"'
        return answer
