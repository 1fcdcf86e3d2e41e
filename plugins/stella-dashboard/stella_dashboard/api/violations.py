"""Violations of many instances, as operators and projects list them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.http import HttpRequest

from stella_dashboard.api import lists
from stella_dashboard.api.instances import moment
from stella_dashboard.api.lists import Items
from stella_dashboard.api.problems import Problem

SORT_KEYS = ("id", "opened_at", "metric")


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """An episode in which an objective of an instance was missed. ``closed_at`` None: it lasts.

    ``host`` and ``offender`` (the uuid of an instance, or ``host``) are told to operators only.
    """

    id: int
    uuid: str
    name: str
    project_id: str
    metric: str
    opened_at: datetime
    closed_at: datetime | None = None
    cause: str | None = None
    host: str | None = None
    offender: str | None = None
    offender_name: str | None = None

    @property
    def marker(self) -> str:
        """What names its place in a list."""
        return str(self.id)

    @property
    def title(self) -> str:
        """The name of its instance; where that is not known, the uuid."""
        return self.name or self.uuid


def page(
    request: HttpRequest,
    *,
    query: Mapping[str, str],
    sort: str = "id:desc",
    limit: int,
    after: str | None = None,
    before: str | None = None,
) -> Items[Violation] | Problem:
    """Violations; ``query`` may have open, host, project, uuid, from and to."""
    return lists.page(
        request, "/v1/violations", _violation, query=query, sort=sort, limit=limit, after=after, before=before
    )


def _violation(told: Mapping[str, Any]) -> Violation:
    return Violation(
        id=told["id"],
        uuid=told["uuid"],
        name=told.get("name") or "",
        project_id=told["project_id"],
        metric=told["metric"],
        opened_at=datetime.fromisoformat(told["opened_at"]),
        closed_at=moment(told["closed_at"]),
        cause=told["cause"],
        host=told["host"],
        offender=told["offender"],
        offender_name=told.get("offender_name"),
    )
