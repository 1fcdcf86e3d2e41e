"""The table of instances: a body for each instance, a row for each of its objectives."""

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy
from horizon import tables

from stella_dashboard import SERVICE_TYPE, access
from stella_dashboard.api.budgets import Budget
from stella_dashboard.api.instances import Instance, Objective
from stella_dashboard.content.service_levels import by_budget
from stella_dashboard.words import names, quantities, reasons

SORT_BY_BUDGET = "budget"


class SetServiceLevel(tables.LinkAction):
    """Opens the form in which an SLO is set."""

    name = "set_slo"
    verbose_name = _("Set Service Level")
    url = "horizon:project:service_levels:set"
    classes = ("ajax-modal",)
    icon = "pencil"
    policy_rules = ((SERVICE_TYPE, access.SET),)

    def get_policy_target(self, request: HttpRequest, datum: Any = None) -> Mapping[str, Any]:
        """It is about an instance of some project."""
        return {"project_id": _project_of(request, datum)}


class RemoveServiceLevel(tables.LinkAction):
    """Asks whether an SLO is to be withdrawn."""

    name = "remove_slo"
    verbose_name = _("Remove Service Level")
    url = "horizon:project:service_levels:remove"
    classes = ("ajax-modal", "btn-danger")
    icon = "trash"
    policy_rules = ((SERVICE_TYPE, access.DELETE),)

    def get_policy_target(self, request: HttpRequest, datum: Any = None) -> Mapping[str, Any]:
        """It is about an instance of some project."""
        return {"project_id": _project_of(request, datum)}

    def allowed(self, request: HttpRequest, datum: Instance | None = None) -> bool:
        """There must be something that was added: what a flavor sells goes with the flavor alone."""
        return datum is not None and datum.slo is not None and bool(datum.slo.added)


def _project_of(request: HttpRequest, datum: Any) -> str:
    return getattr(datum, "project_id", None) or getattr(datum, "tenant_id", None) or request.user.project_id


class NameFilter(tables.FilterAction):
    """Searches on the server, on all pages."""

    filter_type = "server"
    filter_choices = (("name_contains", _("Name contains"), True),)


def _line(instance: Instance, objective: Objective) -> Mapping[str, Any]:
    """What the row of an objective shows."""
    shown_demand = objective.demand if objective.status in ("VIOLATED", "DEGRADED") else None
    return {
        "metric": objective.metric,
        "name": names.of(names.METRICS, objective.metric),
        "promise": quantities.show_promise(objective.metric, objective.promise),
        "usage": quantities.show_measured(objective.metric, objective.usage),
        "demand": quantities.show_measured(objective.metric, shown_demand) if shown_demand is not None else "",
        "status": names.of(names.STATUSES, objective.status),
        "status_class": names.STATUS_CLASSES.get(objective.status, "unknown"),
        "meaning": names.of(names.STATUS_MEANINGS, objective.status) if objective.status in names.STATUSES else "",
        "cause": names.of(names.CAUSES, objective.cause),
        "today": quantities.show_ratio(objective.attained_today),
        "month": quantities.show_ratio(objective.attained_this_month),
    }


def note_of(instance: Instance) -> str:
    """Why what is promised to an instance is not in force; else which limits are in its way."""
    slo = instance.slo
    if slo is None or slo.state == "enforced":
        return " ".join(reasons.contradiction(one) for one in instance.contradictions)
    return ": ".join(part for part in (names.of(names.SLO_STATES, slo.state), reasons.show(slo.reason)) if part)


class InstanceRow(tables.Row):
    """The rows of one instance."""

    @property
    def lines(self) -> list[Mapping[str, Any]]:
        """One for each objective; a best-effort instance has none."""
        return [_line(self.datum, objective) for objective in self.datum.objectives]

    @property
    def actions(self) -> str:
        """The buttons, as HTML: the table rendered them with its cells."""
        return self.cells["actions"].data

    @property
    def state(self) -> str:
        """That of the instance, where it does not run."""
        return "" if self.datum.state == "running" else names.of(names.INSTANCE_STATES, self.datum.state)

    @property
    def budget(self) -> str:
        """What is left of its error budget, where the list is sorted by that."""
        found = self.table.budgets
        return "" if found is None else by_budget.note(found.get(self.datum.uuid))

    @property
    def note(self) -> str:
        """What the host says of the SLO, where it is not in force; else which limits are in its way."""
        return note_of(self.datum)


_EMPTY = {
    "troubled": _("No instance is in trouble."),
    "pending": _("No service level waits for its host, and none is suspended."),
    "guaranteed": _("No instance here has a service level that is in force."),
    "best_effort": _("Every instance here has a service level."),
}
"""What is said where a filter finds nothing."""


def _column(heading: str) -> tables.Column:
    """One whose cells the template fills from `InstanceRow.lines`."""
    return tables.Column(lambda _: "", verbose_name=heading)


class ServiceLevelsTable(tables.DataTable):
    """Instances with what is guaranteed to them; ``budgets`` by uuid where they are sorted by what is left of those."""

    budgets: Mapping[str, Budget] | None = None
    name = tables.Column("title", verbose_name=_("Instance"))
    objective = _column(_("Objective"))
    promise = _column(_("Guaranteed"))
    usage = _column(pgettext_lazy("of an objective", "Usage"))
    status = _column(pgettext_lazy("of an objective", "Status"))
    today = _column(_("Kept today"))
    month = _column(_("Kept this month"))

    class Meta:
        """How Horizon shows it."""

        name = "service_levels"
        verbose_name = _("Service Levels")
        pagination_param = "service_levels_marker"
        prev_pagination_param = "prev_service_levels_marker"
        template = "stella_dashboard/service_levels/_table.html"
        row_class = InstanceRow
        table_actions = (NameFilter,)
        row_actions = (SetServiceLevel, RemoveServiceLevel)
        multi_select = False

    def get_pagination_string(self) -> str:
        """Of the next page; what is filtered and sorted for goes along."""
        return self._with_query(super().get_pagination_string())

    def get_prev_pagination_string(self) -> str:
        """Of the page before."""
        return self._with_query(super().get_prev_pagination_string())

    def _with_query(self, query: str) -> str:
        kept = {name: value for name in ("health", "sort") if (value := self.request.GET.get(name))}
        return f"{query}&{urlencode(kept)}" if kept else query

    def get_empty_message(self) -> str:
        """Says also why there may be none."""
        health = self.request.GET.get("health")
        if health in _EMPTY:
            return str(_EMPTY[health])
        if self.get_filter_string():
            return str(_("No instance has this in its name."))
        return str(_("No instances here that run on a host with Stella."))

    @property
    def live_url(self) -> str:
        """Where the same page comes from again, as rows alone."""
        query = self.request.GET.urlencode()
        return reverse("horizon:project:service_levels:live") + (f"?{query}" if query else "")
