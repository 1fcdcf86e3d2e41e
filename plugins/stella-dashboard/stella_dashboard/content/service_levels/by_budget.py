"""The project's instances, the one with least of its error budget left first: two requests to the API."""

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest
from django.utils.translation import gettext as _

from stella_dashboard.api import budgets, instances, lists
from stella_dashboard.api.budgets import Budget
from stella_dashboard.api.instances import Page
from stella_dashboard.api.problems import PROBLEMS, Problem
from stella_dashboard.content.budgets import rows


def page(
    request: HttpRequest, *, limit: int, after: str | None, before: str | None, **query: Any
) -> tuple[Page, Mapping[str, Budget]] | Problem:
    """One page, and the budgets by uuid; those under no class come last. ``query`` may have name_contains and health."""
    found = budgets.listed(request, query={"project": request.user.project_id})
    if isinstance(found, PROBLEMS):
        return found
    listed = instances.page(request, limit=budgets.LARGEST, **query)
    if isinstance(listed, PROBLEMS):
        return listed
    places = {one.uuid: place for place, one in enumerate(found)}
    ordered = sorted(listed.instances, key=lambda one: places.get(one.uuid, len(places)))
    cut = lists.cut(ordered, lambda one: one.uuid, limit=limit, after=after, before=before)
    shown = Page(instances=cut.items, has_previous=cut.has_previous, has_next=cut.has_next)
    return shown, {one.uuid: one for one in found}


def note(budget: Budget | None) -> str:
    """What is left, in a few words."""
    if budget is None:
        return _("Under no SLA class")
    shown = rows.show(budget)
    if not budget.worst:
        return _("%(sla)s: no demand yet") % {"sla": budget.sla_name}
    left = {"sla": budget.sla_name, "left": shown["left"], "ratio": shown["left_ratio"]}
    if rows.is_missed(budget):
        return _("%(sla)s: target missed, %(left)s left") % left
    return _("%(sla)s: %(left)s left (%(ratio)s)") % left
