"""The lists: instances under a class, the one with least left first."""

from collections.abc import Mapping
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from stella_dashboard.api import budgets
from stella_dashboard.api.budgets import Budget
from stella_dashboard.api.lists import Items
from stella_dashboard.api.problems import Problem
from stella_dashboard.content import listing
from stella_dashboard.content.budgets import rows


class SlaFilter(listing.FilterForm):
    """Only those under one class."""

    sla = forms.UUIDField(
        required=False,
        label=_("SLA class ID"),
        error_messages={"invalid": _("Enter the whole ID of an SLA class.")},
    )


class BudgetFilter(SlaFilter):
    """The same for operators."""

    project = listing.project_field()


_INSTANCE = listing.Column(heading=_("Instance"), sort_key="name")
_COLUMNS = (
    listing.Column(heading=_("SLA class")),
    listing.Column(heading=_("Left"), sort_key="left_seconds", is_number=True),
    listing.Column(heading=_("Of the budget"), sort_key="left_ratio", is_number=True),
    listing.Column(heading=_("Worst objective")),
    listing.Column(heading=_("Burn rate")),
    listing.Column(heading=_("Used up on")),
    listing.Column(heading=_("Credit owed"), is_number=True),
    listing.Column(heading=_("At stake"), is_number=True),
)


class AllView(listing.ListView):
    """Those of all projects."""

    template_name = "stella_dashboard/budgets/index.html"
    page_title = _("Error Budgets")
    form_class = BudgetFilter
    default_sort = "left_ratio"
    empty_message = _("No instance here is under an SLA class.")
    columns = (_INSTANCE, listing.Column(heading=_("Project")), *_COLUMNS)

    def ask(self, *, query: Mapping[str, str], **place: Any) -> Items[Budget] | Problem:
        """The budgets of this page."""
        return budgets.page(self.request, query=query, **place)

    def row(self, item: Budget) -> Mapping[str, Any]:
        """A budget."""
        return rows.show(item)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Also whose they are."""
        return super().get_context_data(**{"is_for_all": True, **kwargs})


class ProjectView(AllView):
    """Those of the user's project."""

    form_class = SlaFilter
    columns = (_INSTANCE, *_COLUMNS)

    def ask(self, *, query: Mapping[str, str], **place: Any) -> Items[Budget] | Problem:
        """Also for an operator only those of the project."""
        return super().ask(query={**query, "project": self.request.user.project_id}, **place)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """All of it."""
        return super().get_context_data(is_for_all=False, **kwargs)
