"""What the burn lines on the page of an instance ask for."""

import csv
import io
from datetime import UTC, datetime

from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.views import generic

from stella_dashboard.api.problems import PROBLEMS
from stella_dashboard.content.service_levels import budget
from stella_dashboard.words import refusals


class BurnView(generic.View):
    """The lines, as JSON; 404 for an instance that is under no class."""

    def get(self, request: HttpRequest, instance_id: str) -> HttpResponse:
        """Those of the present period."""
        found = budget.read(request, str(instance_id), datetime.now(UTC))
        if found is None:
            raise Http404
        if isinstance(found, PROBLEMS):
            return HttpResponse(refusals.sentence(found), status=503, content_type="text/plain; charset=utf-8")
        answer = self.show(str(instance_id), *found)
        answer["Cache-Control"] = "no-store"
        return answer

    def show(self, instance_id: str, found: budget.Shown, drawn: dict[str, budget.Line]) -> HttpResponse:
        """The answer."""
        return JsonResponse(budget.as_json(found, drawn))


class CsvView(BurnView):
    """The same, as a file."""

    def show(self, instance_id: str, found: budget.Shown, drawn: dict[str, budget.Line]) -> HttpResponse:
        """The answer."""
        written = io.StringIO()
        csv.writer(written, lineterminator="\r\n").writerows(budget.as_csv(drawn))
        answer = HttpResponse(written.getvalue(), content_type="text/csv; charset=utf-8")
        answer["Content-Disposition"] = f'attachment; filename="error-budget-{instance_id}-{found.period}.csv"'
        return answer
