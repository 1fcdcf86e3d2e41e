"""Pages of the panel."""

from collections.abc import Mapping
from typing import Any

from django import forms as django_forms
from django.http import HttpRequest
from django.urls import reverse, reverse_lazy
from django.utils.functional import cached_property
from django.utils.translation import gettext_lazy as _
from horizon import forms, views
from horizon.utils import functions

from stella_dashboard import access
from stella_dashboard.api import explanations, hosts, lists, violations
from stella_dashboard.api.explanations import Explanation
from stella_dashboard.api.hosts import Host
from stella_dashboard.api.lists import Items
from stella_dashboard.api.problems import PROBLEMS, Problem, Refused
from stella_dashboard.content import listing
from stella_dashboard.content.hosts import holders, rows
from stella_dashboard.content.hosts.forms import ModeForm
from stella_dashboard.content.violations import rows as violation_rows
from stella_dashboard.words import operators, refusals

_INDEX = "horizon:admin:stella_hosts:index"
_FORBIDDEN, _NOT_FOUND = 403, 404
_LARGEST_VIOLATIONS = 50


class HostFilter(listing.FilterForm):
    """What hosts are filtered for."""

    name_contains = django_forms.CharField(required=False, max_length=255, label=_("Name contains"))
    mode = django_forms.ChoiceField(required=False, choices=(("", _("All")), *operators.MODES.items()), label=_("Mode"))
    silent = django_forms.ChoiceField(
        required=False, choices=(("", _("All")), ("true", _("Silent")), ("false", _("Reporting"))), label=_("Reports")
    )


class IndexView(listing.ListView):
    """All hosts."""

    template_name = "stella_dashboard/hosts/index.html"
    page_title = _("Hosts with Stella")
    form_class = HostFilter
    default_sort = "name"
    empty_message = _("No hosts here. A host appears once it is enrolled in Stella.")
    columns = (
        listing.Column(heading=_("Host"), sort_key="name"),
        listing.Column(heading=_("Mode"), sort_key="mode"),
        listing.Column(heading=_("CPUs"), is_number=True),
        listing.Column(heading=_("Capacity"), sort_key="capacity_cpu_cores", first="desc", is_number=True),
        listing.Column(heading=_("Overhead"), is_number=True),
        listing.Column(heading=_("Reserved"), sort_key="reserved_cpu_cores", first="desc", is_number=True),
        listing.Column(heading=_("Head-room"), sort_key="free_cpu_cores", is_number=True),
        listing.Column(heading=_("Instances"), is_number=True),
        listing.Column(heading=_("Open violations"), sort_key="open_violations", first="desc", is_number=True),
        listing.Column(heading=_("Agent")),
    )

    def ask(self, *, query: Mapping[str, str], **place: Any) -> Items[Host] | Problem:
        """The hosts of this page."""
        return hosts.page(self.request, query=query, **place)

    def row(self, item: Host) -> Mapping[str, Any]:
        """A host."""
        return rows.show(item)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Also whether the mode may be changed."""
        return super().get_context_data(may_update=access.may(self.request, access.UPDATE_HOST), **kwargs)


def sentence(problem: Problem) -> str:
    """A problem with one host as a sentence."""
    if isinstance(problem, Refused) and problem.status == _NOT_FOUND:
        return str(_("Stella does not know this host."))
    return refusals.sentence(problem)


class DetailView(views.HorizonTemplateView):
    """One host: what it can hold, who holds what on it, who offends. Three requests to the API, whatever there is to show."""

    template_name = "stella_dashboard/hosts/detail.html"
    page_title = _("Host {{ host_name }}")

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """All of it."""
        return super().get_context_data(**{**kwargs, **self._found(self.request, self.kwargs["host_name"])})

    @staticmethod
    def _found(request: HttpRequest, name: str) -> dict[str, Any]:
        host = hosts.show(request, name)
        if isinstance(host, PROBLEMS):
            return {"host_name": name, "host": None, "problem": sentence(host)}
        told = explanations.of_host(request, name)
        lasting = violations.page(request, query={"host": name, "open": "true"}, limit=_LARGEST_VIOLATIONS)
        problems = [one for one in (told, lasting) if isinstance(one, PROBLEMS)]
        open_: Items[violations.Violation] = Items() if isinstance(lasting, PROBLEMS) else lasting
        return {
            "host_name": name,
            "host": rows.show(host),
            "problem": refusals.sentence(problems[0]) if problems else None,
            "capabilities": holders.capabilities(host),
            "explained": None if isinstance(told, PROBLEMS) else _explained(request, told, host),
            "violations": [violation_rows.show(one) for one in open_.items],
            "has_more_violations": open_.has_next,
            "may_update": access.may(request, access.UPDATE_HOST),
        }


def _explained(request: HttpRequest, told: Explanation, host: Host) -> Mapping[str, Any]:
    page = lists.cut(
        told.holders,
        lambda one: one.uuid,
        limit=functions.get_page_size(request),
        after=request.GET.get("after"),
        before=request.GET.get("before"),
    )
    return {
        "since": told.since,
        "offenders": holders.offenders(told),
        "holders": [holders.show(one, host) for one in page.items],
        "services": holders.use(told.services),
        "free": rows.cores(told.free_cpu_cores),
        "next_marker": page.items[-1].uuid if page.has_next and page.items else "",
        "previous_marker": page.items[0].uuid if page.has_previous and page.items else "",
    }


class ModeView(forms.ModalFormView):
    """Change what a host is to do."""

    form_class = ModeForm
    template_name = "stella_dashboard/hosts/mode.html"
    modal_id = "stella_mode_modal"
    form_id = "stella_mode_form"
    page_title = _("Change Mode")
    modal_header = _("Change Mode")
    submit_label = _("Change Mode")
    success_url = reverse_lazy(_INDEX)

    @cached_property
    def found(self) -> Host | Problem:
        """The host as it is now; nothing is asked for one who may not change it."""
        if not access.may(self.request, access.UPDATE_HOST):
            return Refused(status=_FORBIDDEN, code="stella.request.forbidden", detail="")
        return hosts.show(self.request, self.kwargs["host_name"])

    @property
    def submit_url(self) -> str:
        """Where the form goes, and from where it was opened."""
        query = self.request.GET.urlencode()
        address = reverse("horizon:admin:stella_hosts:mode", args=[self.kwargs["host_name"]])
        return address + (f"?{query}" if query else "")

    def get_cancel_url(self) -> str:
        """The same as after success."""
        return self.get_success_url()

    def get_success_url(self) -> str:
        """Back to where it was opened: the page of the host, or the list."""
        if "detail" in self.request.GET:
            return reverse("horizon:admin:stella_hosts:detail", args=[self.kwargs["host_name"]])
        return str(self.success_url)

    def get_initial(self) -> dict[str, Any]:
        """The host, or why it cannot be shown."""
        return {**super().get_initial(), "found": self.found}

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Also the host, and what went wrong."""
        context: dict[str, Any] = super().get_context_data(**kwargs)
        if isinstance(self.found, PROBLEMS):
            return {**context, "problem": sentence(self.found), "host": None}
        return {**context, "problem": None, "host": rows.show(self.found)}
