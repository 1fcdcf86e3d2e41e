"""Violations of many instances, as operators and projects list them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.http import HttpRequest

from stella_dashboard.api import lists, transport
from stella_dashboard.api.instances import moment
from stella_dashboard.api.lists import Items
from stella_dashboard.api.problems import PROBLEMS, Problem
from stella_dashboard.api.records import Seconds

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What a host reported as one episode. ``evidence``: figures by name; host and offender are told to operators only."""

    opened_at: datetime
    closed_at: datetime | None
    cause: str | None
    missed_seconds: float | None
    host: str | None
    offender: str | None
    evidence: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Minute:
    """A minute of the objective, from some before it began to some after it ended."""

    start: datetime
    seconds: Seconds
    causes: Mapping[str, int]
    usage: float | None
    demand: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown(Violation):
    """One with its parts and its minutes, the earliest first."""

    missed_seconds: float | None
    parts: tuple[Part, ...]
    minutes: tuple[Minute, ...]


def show(request: HttpRequest, number: int) -> Shown | Problem:
    """The violation of this number."""
    answer = transport.of(request).ask("GET", f"/v1/violations/{number}")
    if isinstance(answer, PROBLEMS):
        return answer
    return Shown(
        **_values(answer),
        missed_seconds=answer["missed_seconds"],
        parts=tuple(
            Part(
                **{name: one[name] for name in ("cause", "missed_seconds", "host", "offender", "evidence")},
                opened_at=datetime.fromisoformat(one["opened_at"]),
                closed_at=moment(one["closed_at"]),
            )
            for one in answer["parts"]
        ),
        minutes=tuple(
            Minute(
                start=datetime.fromisoformat(one["start"]),
                seconds=Seconds(**one["seconds"]),
                causes=one["causes"],
                usage=one["usage_mean"],
                demand=one["demand_mean"],
            )
            for one in answer["timeline"]
        ),
    )


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
    return Violation(**_values(told))


def _values(told: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": told["id"],
        "uuid": told["uuid"],
        "name": told.get("name") or "",
        "project_id": told["project_id"],
        "metric": told["metric"],
        "opened_at": datetime.fromisoformat(told["opened_at"]),
        "closed_at": moment(told["closed_at"]),
        "cause": told["cause"],
        "host": told["host"],
        "offender": told["offender"],
        "offender_name": told.get("offender_name"),
    }
