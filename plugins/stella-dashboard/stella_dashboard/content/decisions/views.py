"""The panel's page, and the form in which a suggested move is taken."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from django import forms
from django.urls import reverse_lazy
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from stella_dashboard import access
from stella_dashboard.api import decisions
from stella_dashboard.api.decisions import Decision
from stella_dashboard.api.lists import Items
from stella_dashboard.api.problems import PROBLEMS, Problem
from stella_dashboard.content import listing, modal
from stella_dashboard.content.decisions import rows
from stella_dashboard.content.decisions.forms import MoveForm, Suggestion, suggestion
from stella_dashboard.content.violations.views import filter_fields
from stella_dashboard.words import operators, slas

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
    state = forms.ChoiceField(required=False, choices=(("", _("All")), *operators.MOVES.items()), label=_("Move"))

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
        """A decision; a suggested move has a button for those who may move the instance."""
        may_take = rows.can_be_taken(item, datetime.now(UTC)) and access.may_move(self.request, item.project_id)
        shown = rows.show(item, self.request.user.id)
        return {**shown, "move_url": rows.move_url(item) if may_take else ""}

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Also whether there are effects."""
        context = super().get_context_data(**kwargs)
        return {**context, "has_moves": self.has_moves}


class MoveView(modal.FormView):
    """Have Nova make a move that was suggested."""

    rule = access.LIST_ALL_DECISIONS
    form_class = MoveForm
    modal_id = "stella_suggested_move_modal"
    form_id = "stella_suggested_move_form"
    page_title = _("Move Instance")
    modal_header = _("Move Instance")
    submit_label = _("Move")
    success_url = reverse_lazy("horizon:admin:stella_decisions:index")

    def find(self) -> Suggestion | Problem:
        """What is suggested."""
        return suggestion(self.request, self.kwargs["number"])

    def lead(self, found: Suggestion) -> str:
        """What Nova is asked for, and what that should bring."""
        shown = {"name": found.instance.title, "source": found.source, "host": found.destination}
        sentences = [
            gettext(
                "Nova is asked to move %(name)s from %(source)s to %(host)s while it runs. For a moment it stands still."
            )
            % shown,
            gettext(
                "What it is guaranteed goes along. No place is reserved for it there: Nova refuses where it no longer fits."
            ),
        ]
        if found.predicted is not None:
            predicted = {"duration": slas.minutes(round(found.predicted))}
            sentences.append(gettext("Violated time that should end: %(duration)s an hour.") % predicted)
        return " ".join(sentences)
