"""A list that the server filters, sorts and pages, all of it in its address: it can be kept as a bookmark, and passed on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django import forms
from django.http import QueryDict
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from horizon import views
from horizon.utils import functions

from stella_dashboard.api.lists import Items
from stella_dashboard.api.problems import PROBLEMS, Problem
from stella_dashboard.words import refusals

Text = str | Promise
HOST_PATTERN = r"^[A-Za-z0-9]([A-Za-z0-9_.-]{0,253}[A-Za-z0-9])?$"
"""What a host may be called."""

_LARGEST_MARKER = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column. ``sort_key`` is the API's; empty: nothing is sorted by it. ``first`` is how it is sorted at the first click."""

    heading: Text
    sort_key: str = ""
    first: str = "asc"
    is_number: bool = False


def host_field() -> forms.CharField:
    """The name of a host."""
    wrong = _("That is no name of a host.")
    return forms.RegexField(
        HOST_PATTERN, required=False, max_length=255, label=_("Host"), error_messages={"invalid": wrong}
    )


def instance_field() -> forms.UUIDField:
    """The uuid of an instance."""
    wrong = _("Enter the whole ID of an instance.")
    return forms.UUIDField(required=False, label=_("Instance ID"), error_messages={"invalid": wrong})


def project_field() -> forms.CharField:
    """The id of a project."""
    return forms.CharField(required=False, max_length=255, label=_("Project ID"))


def time_field(label: Text) -> forms.DateTimeField:
    """A time, in the user's time zone."""
    widget = forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M")
    return forms.DateTimeField(required=False, label=label, widget=widget)


class FilterForm(forms.Form):
    """What a list is filtered for. Fields are called as the API's parameters are; one that is wrong says so and does not count."""

    def query(self) -> dict[str, str]:
        """What the API is asked for."""
        self.is_valid()
        return {name: shown for name, value in self.cleaned_data.items() if (shown := _as_parameter(value))}


def _as_parameter(value: Any) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return "" if value is None else str(value)


def _with(asked: QueryDict, **values: str) -> str:
    """The address' query with the place in the list as given; what is filtered for stays as it is."""
    query = asked.copy()
    for name in ("after", "before"):
        query.pop(name, None)
    for name, value in values.items():
        query[name] = value
    return query.urlencode()


class ListView(views.HorizonTemplateView):
    """One page of a list. One request to the API, whatever there is to show."""

    form_class: type[FilterForm] = FilterForm
    columns: Sequence[Column] = ()
    default_sort = "id:desc"
    empty_message: Text = _("There are none.")

    def ask(self, *, query: Mapping[str, str], **place: Any) -> Items[Any] | Problem:
        """The items; ``place`` is sort, limit, after and before."""
        raise NotImplementedError

    def row(self, item: Any) -> Mapping[str, Any]:
        """What the template shows of an item."""
        raise NotImplementedError

    @property
    def sort(self) -> str:
        """In which order they come."""
        asked = self.request.GET.get("sort", "")
        key, _separator, direction = asked.partition(":")
        is_known = key in {column.sort_key for column in self.columns if column.sort_key} and direction in ("", "desc")
        return asked if is_known else self.default_sort

    def _marker(self, name: str) -> str | None:
        return self.request.GET.get(name, "")[:_LARGEST_MARKER] or None

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """The rows, the filters, the headings that sort, and what went wrong."""
        form = self.form_class(self.request.GET)
        found = self.ask(
            query=form.query(),
            sort=self.sort,
            limit=functions.get_page_size(self.request),
            after=self._marker("after"),
            before=self._marker("before"),
        )
        problem = refusals.sentence(found) if isinstance(found, PROBLEMS) else None
        items = Items() if isinstance(found, PROBLEMS) else found
        return super().get_context_data(
            **{
                **kwargs,
                "form": form,
                "is_filtered": bool(form.query()),
                "problem": problem,
                "rows": [self.row(item) for item in items.items],
                "headings": self._headings(),
                "empty_message": self.empty_message,
                "next_query": _with(self.request.GET, after=items.items[-1].marker)
                if items.has_next and items.items
                else "",
                "previous_query": _with(self.request.GET, before=items.items[0].marker)
                if items.has_previous and items.items
                else "",
            }
        )

    def _headings(self) -> list[dict[str, Any]]:
        key, _separator, direction = self.sort.partition(":")
        return [_heading(column, key, direction or "asc", self.request.GET) for column in self.columns]


def _heading(column: Column, key: str, direction: str, asked: QueryDict) -> dict[str, Any]:
    is_sorted = bool(column.sort_key) and column.sort_key == key
    wanted = column.first if not is_sorted else ("asc" if direction == "desc" else "desc")
    sort = f"{column.sort_key}:desc" if wanted == "desc" else column.sort_key
    return {
        "name": column.heading,
        "is_number": column.is_number,
        "query": _with(asked, sort=sort) if column.sort_key else "",
        "order": {"asc": "ascending", "desc": "descending"}[direction] if is_sorted else "",
    }
