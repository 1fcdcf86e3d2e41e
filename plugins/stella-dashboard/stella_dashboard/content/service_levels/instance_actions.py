"""The same actions in the rows of Horizon's own Instances panel. They are links: a list of instances asks nothing of Stella."""

from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from openstack_dashboard.dashboards.project.instances.tables import InstancesTable

from stella_dashboard.api import transport
from stella_dashboard.content.service_levels.tables import RemoveServiceLevel, SetServiceLevel

_NEIGHBOUR = "edit"
"""Horizon's action after which they stand."""


class _Offered:
    """Shown for servers that exist, where there is a Stella."""

    def get_link_url(self, datum: Any) -> str:
        """The form, which leads back here."""
        return reverse(self.url, args=[datum.id]) + "?instances"

    def allowed(self, request: HttpRequest, datum: Any = None) -> bool:
        """Needs no answer of Stella's."""
        return transport.is_offered(request) and getattr(datum, "status", "").upper() not in (
            "DELETED",
            "BUILD",
            "ERROR",
        )


class SetOfInstance(_Offered, SetServiceLevel):
    """In the row of an instance."""

    name = "stella_set_slo"


class RemoveOfInstance(_Offered, RemoveServiceLevel):
    """In the row of an instance. Whether it has one is told when it is asked to be removed."""

    name = "stella_remove_slo"


def add() -> None:
    """Add them to the table's class, once."""
    options = InstancesTable._meta
    names = [action.name for action in options.row_actions]
    if SetOfInstance.name in names:
        return
    place = names.index(_NEIGHBOUR) + 1 if _NEIGHBOUR in names else len(names)
    mine = (SetOfInstance, RemoveOfInstance)
    options.row_actions = (*options.row_actions[:place], *mine, *options.row_actions[place:])
    for action in mine:
        InstancesTable.base_actions[action.name] = action()
