"""The panel's page."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from stella_dashboard.api import violations
from stella_dashboard.api.lists import Items
from stella_dashboard.api.problems import PROBLEMS, Problem
from stella_dashboard.api.violations import Violation
from stella_dashboard.content import listing
from stella_dashboard.content.violations import rows


def filter_fields() -> dict[str, forms.Field]:
    """Those that violations and decisions share, in order."""
    return {
        "host": listing.host_field(),
        "uuid": listing.instance_field(),
        "project": listing.project_field(),
        "from": listing.time_field(_("From")),
        "to": listing.time_field(_("Until")),
    }


class ViolationFilter(listing.FilterForm):
    """What violations are filtered for."""

    open = forms.ChoiceField(
        required=False,
        choices=(("", _("All")), ("true", _("Open")), ("false", _("Over"))),
        label=pgettext_lazy("of a violation", "State"),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields |= filter_fields()


class IndexView(listing.ListView):
    """All violations, the newest first."""

    template_name = "stella_dashboard/violations/index.html"
    page_title = _("Violations")
    form_class = ViolationFilter
    empty_message = _("No violations.")
    columns = (
        listing.Column(heading=_("Instance")),
        listing.Column(heading=_("Project")),
        listing.Column(heading=_("Host")),
        listing.Column(heading=_("Objective"), sort_key="metric"),
        listing.Column(heading=_("Began"), sort_key="opened_at", first="desc"),
        listing.Column(heading=_("Lasted"), is_number=True),
        listing.Column(heading=_("When")),
        listing.Column(heading=_("Cause")),
        listing.Column(heading=_("Offender")),
    )
    _span: tuple[datetime, datetime] | None = None
    _bars: Mapping[int, Mapping[str, int]] = {}

    def ask(self, *, query: Mapping[str, str], **place: Any) -> Items[Violation] | Problem:
        """The violations of this page; they share one line of time."""
        found = violations.page(self.request, query=query, **place)
        if not isinstance(found, PROBLEMS) and found.items:
            start, end, bars = rows.timeline(found.items, datetime.now(UTC))
            self._span = (start, end)
            self._bars = {one.id: bar for one, bar in zip(found.items, bars, strict=True)}
        return found

    def row(self, item: Violation) -> Mapping[str, Any]:
        """A violation."""
        return {**rows.show(item), "bar": self._bars[item.id]}

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Also the ends of the line of time."""
        context = super().get_context_data(**kwargs)
        return {**context, "span": self._span}
