"""Pages of the panel."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string
from django.urls import reverse, reverse_lazy
from django.utils.functional import cached_property
from django.utils.http import urlencode
from django.utils.translation import gettext_lazy as _
from django.views import generic
from horizon import forms, tables
from horizon.utils import functions

from stella_dashboard import access
from stella_dashboard.api import instances
from stella_dashboard.api.budgets import Budget
from stella_dashboard.api.problems import PROBLEMS, Problem, Refused
from stella_dashboard.content.service_levels import answers, by_budget, offered
from stella_dashboard.content.service_levels.forms import MoveForm, RemoveForm, SetForm
from stella_dashboard.content.service_levels.tables import SORT_BY_BUDGET, ServiceLevelsTable
from stella_dashboard.words import names, quantities, refusals

_INDEX = "horizon:project:service_levels:index"


class IndexView(tables.PagedTableMixin, tables.DataTableView):
    """The project's instances, the troubled first. One request to the API, whatever there is to show."""

    table_class = ServiceLevelsTable
    template_name = "stella_dashboard/service_levels/index.html"
    page_title = _("Service Levels")
    problem: Problem | None = None

    budgets: Mapping[str, Budget] | None = None

    @property
    def is_by_budget(self) -> bool:
        """Whether the one with least of its error budget left comes first."""
        return self.request.GET.get("sort") == SORT_BY_BUDGET and access.may(self.request, access.LIST_BUDGETS)

    @property
    def health(self) -> str | None:
        """What is filtered for."""
        asked = self.request.GET.get("health")
        return asked if asked in instances.HEALTHS else None

    def get_data(self) -> list[instances.Instance]:
        """The instances of this page; none where the API does not answer."""
        marker, direction = self._get_marker()
        asked: dict[str, Any] = {
            "limit": functions.get_page_size(self.request),
            "after": marker if direction == "desc" else None,
            "before": marker if direction == "asc" else None,
            "name_contains": self.get_filters().get("name_contains"),
            "health": self.health,
        }
        found = self._page(asked)
        if isinstance(found, PROBLEMS):
            self.problem = found
            return []
        self._has_prev_data, self._has_more_data = found.has_previous, found.has_next
        return list(found.instances)

    def _page(self, asked: Mapping[str, Any]) -> instances.Page | Problem:
        if not self.is_by_budget:
            return instances.page(self.request, **asked)
        found = by_budget.page(self.request, **asked)
        if isinstance(found, PROBLEMS):
            return found
        shown, self.budgets = found
        return shown

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Also the filters by health, and what went wrong."""
        context: dict[str, Any] = super().get_context_data(**kwargs)
        context["problem"] = refusals.sentence(self.problem) if self.problem is not None else None
        sort = {"sort": SORT_BY_BUDGET} if self.is_by_budget else {}
        context["healths"] = [
            {
                "name": name,
                "query": urlencode({**sort, **({"health": health} if health else {})}),
                "is_active": health == self.health,
            }
            for health, name in ((None, _("All")), *names.HEALTHS.items())
        ]
        health = {"health": self.health} if self.health else {}
        context["is_by_budget"] = self.is_by_budget
        context["may_see_budgets"] = access.may(self.request, access.LIST_BUDGETS)
        context["health_query"], context["budget_query"] = (
            urlencode(health),
            urlencode({**health, "sort": SORT_BY_BUDGET}),
        )
        context["table"].budgets = self.budgets
        return context


class LiveView(IndexView):
    """The same rows without the page around them, for a script that puts in what changed."""

    template_name = "stella_dashboard/service_levels/_live.html"

    def render_to_response(self, context: dict[str, Any], **response_kwargs: Any) -> HttpResponse:
        """503 with a sentence where the API does not answer, so that what is shown stays."""
        if self.problem is not None:
            return HttpResponse(refusals.sentence(self.problem), status=503, content_type="text/plain; charset=utf-8")
        response: HttpResponse = super().render_to_response(context, **response_kwargs)
        response["Cache-Control"] = "no-store"
        return response


def _lines(objectives: Mapping[str, Mapping[str, Any]]) -> list[str]:
    return [
        f"{names.of(names.METRICS, metric)}: {quantities.show_promise(metric, promise)}"
        for metric, promise in objectives.items()
    ]


class _OfInstance(forms.ModalFormView):
    """A modal form about the SLO of the instance in the address."""

    success_url = reverse_lazy(_INDEX)

    @property
    def instance_id(self) -> str:
        """Uuid of the instance."""
        return str(self.kwargs["instance_id"])

    @cached_property
    def found(self) -> instances.Instance | Problem:
        """The instance as it is now."""
        return instances.show(self.request, self.instance_id)

    @property
    def submit_url(self) -> str:
        """Where the form goes, and from where it was opened."""
        return self.address(self.request.resolver_match.view_name)

    def address(self, view_name: str) -> str:
        """Of a view of this instance, and from where the form was opened."""
        query = self.request.GET.urlencode()
        return reverse(view_name, args=[self.instance_id]) + (f"?{query}" if query else "")

    def get_cancel_url(self) -> str:
        """The same as after success."""
        return self.get_success_url()

    def get_success_url(self) -> str:
        """Back to where it was opened: Horizon's list of instances, the page of the instance, or the list."""
        if "instances" in self.request.GET:
            return reverse("horizon:project:instances:index")
        if "detail" in self.request.GET:
            return reverse("horizon:project:service_levels:detail", args=[self.instance_id])
        return str(self.success_url)

    def get_initial(self) -> dict[str, Any]:
        """The instance, or why it cannot be shown."""
        return {**super().get_initial(), "found": self.found}

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Also the instance, and what went wrong."""
        context: dict[str, Any] = super().get_context_data(**kwargs)
        is_problem = isinstance(self.found, PROBLEMS)
        context["problem"] = refusals.sentence(self.found) if is_problem else None
        context["instance"] = None if is_problem else self.found
        return context


class SetView(_OfInstance):
    """Set what is guaranteed to an instance."""

    form_class = SetForm
    template_name = "stella_dashboard/service_levels/set.html"
    modal_id = "stella_set_modal"
    form_id = "stella_set_form"
    page_title = _("Set Service Level")
    modal_header = _("Set Service Level")
    submit_label = _("Set")

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Also where the script asks whether it would fit."""
        context = super().get_context_data(**kwargs)
        context["check_url"] = self.address("horizon:project:service_levels:check")
        slo = getattr(self.found, "slo", None)
        context["sold"] = _lines(slo.sold) if slo else []
        context["offers"] = self.offers
        return context

    @cached_property
    def offers(self) -> offered.Offers:
        """SLA classes that can be chosen."""
        is_problem = isinstance(self.found, PROBLEMS)
        return offered.Offers() if is_problem else offered.read(self.request, self.found)

    def get_initial(self) -> dict[str, Any]:
        """Also the classes."""
        return {**super().get_initial(), "offers": self.offers}


class CheckView(generic.View):
    """Would it fit? The form as it is filled in, answered before it is sent."""

    def post(self, request: HttpRequest, instance_id: str) -> HttpResponse:
        """JSON: the answer as HTML, and the errors of the fields."""
        form = SetForm(request, data=request.POST, initial={"found": None})
        answer = answers.of_form(request, str(instance_id), form)
        html = render_to_string("stella_dashboard/service_levels/_answer.html", {"answer": answer}, request)
        told = {"html": html, "errors": answer.errors, "fits": answer.fits, "is_unanswered": answer.is_unanswered}
        response = JsonResponse(told)
        response["Cache-Control"] = "no-store"
        return response


class MoveView(_OfInstance):
    """Have Nova move an instance to a host where what was asked for would fit. For operators."""

    form_class = MoveForm
    template_name = "stella_dashboard/service_levels/move.html"
    modal_id = "stella_move_modal"
    form_id = "stella_move_form"
    page_title = _("Move Instance")
    modal_header = _("Move Instance")
    submit_label = _("Move")

    @cached_property
    def found(self) -> instances.Instance | Problem:
        """The instance; nothing of one that the user may not move."""
        found = instances.show(self.request, self.instance_id)
        if isinstance(found, PROBLEMS) or access.may_move(self.request, found.project_id):
            return found
        return Refused(status=HTTPStatus.FORBIDDEN, code="stella.request.forbidden", detail="")

    def get_initial(self) -> dict[str, Any]:
        """Also where to."""
        return {**super().get_initial(), "host": self.request.GET.get("host", "")}


class RemoveView(_OfInstance):
    """Withdraw what is guaranteed to an instance."""

    form_class = RemoveForm
    template_name = "stella_dashboard/service_levels/remove.html"
    modal_id = "stella_remove_modal"
    form_id = "stella_remove_form"
    page_title = _("Remove Service Level")
    modal_header = _("Remove Service Level")
    submit_label = _("Remove")

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Also what is given up."""
        context = super().get_context_data(**kwargs)
        slo = getattr(self.found, "slo", None)
        context["lines"], context["sold"] = (_lines(slo.added), _lines(slo.sold)) if slo else ([], [])
        return context
