"""The panel's page."""

from collections.abc import Mapping
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from stella_dashboard.api import decisions
from stella_dashboard.api.decisions import Decision
from stella_dashboard.api.lists import Items
from stella_dashboard.api.problems import PROBLEMS, Problem
from stella_dashboard.content import listing
from stella_dashboard.content.decisions import rows
from stella_dashboard.content.violations.views import filter_fields
from stella_dashboard.words import operators

_REFUSALS = "refusals"
_EFFECTS = (
    listing.Column(heading=_("Move")),
    listing.Column(heading=_("Predicted effect"), is_number=True),
    listing.Column(heading=_("Measured effect"), is_number=True),
)
"""Of relief and evacuations, where an API tells of them."""


class DecisionFilter(listing.FilterForm):
    """What decisions are filtered for."""

    kind = forms.ChoiceField(
        required=False,
        choices=(("", _("All")), (_REFUSALS, _("All refusals")), *operators.DECISIONS.items()),
        label=_("Kind"),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields |= filter_fields()

    def query(self) -> dict[str, str]:
        """All refusals together are no kind of the API's."""
        found = super().query()
        if found.get("kind") == _REFUSALS:
            del found["kind"]
            found["refusals"] = "true"
        return found


class IndexView(listing.ListView):
    """All decisions, the newest first."""

    template_name = "stella_dashboard/decisions/index.html"
    page_title = _("Decisions")
    form_class = DecisionFilter
    empty_message = _("No decisions.")
    has_moves = False
    columns = (
        listing.Column(heading=_("When"), sort_key="decided_at", first="desc"),
        listing.Column(heading=_("Decision"), sort_key="kind"),
        listing.Column(heading=_("Instance")),
        listing.Column(heading=_("Host")),
        listing.Column(heading=_("Who")),
        listing.Column(heading=_("Why")),
    )

    def ask(self, *, query: Mapping[str, str], **place: Any) -> Items[Decision] | Problem:
        """The decisions of this page; effects have columns where one of them moves something."""
        found = decisions.page(self.request, query=query, **place)
        self.has_moves = not isinstance(found, PROBLEMS) and any(one.move for one in found.items)
        if self.has_moves:
            self.columns = (*self.columns, *_EFFECTS)
        return found

    def row(self, item: Decision) -> Mapping[str, Any]:
        """A decision."""
        return rows.show(item, self.request.user.id)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Also whether there are effects."""
        context = super().get_context_data(**kwargs)
        return {**context, "has_moves": self.has_moves}
