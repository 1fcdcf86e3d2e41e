"""What does not count towards SLAs (exclusions), and what counts otherwise than it was measured (corrections)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.http import HttpRequest

from stella_dashboard.api import lists, transport
from stella_dashboard.api.instances import moment
from stella_dashboard.api.lists import Items
from stella_dashboard.api.problems import PROBLEMS, Problem

SCOPES = ("host", "project", "instance", "all")
KINDS = ("maintenance", "tenant")
STATUSES = ("met", "violated", "degraded", "no_demand", "self_limited", "unknown")


@dataclass(frozen=True, slots=True, kw_only=True)
class Authored:
    """What both have: who made it when and why, and who withdrew it (None: it is in force)."""

    id: int
    reason: str
    author: str
    created_at: datetime
    withdrawn_at: datetime | None = None
    withdrawn_by: str | None = None
    withdrawn_reason: str | None = None

    @property
    def marker(self) -> str:
        """What names its place in a list."""
        return str(self.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exclusion(Authored):
    """A window that does not count. ``target`` is None for all, and where it is a host of which tenants are not told."""

    kind: str
    scope: str
    target: str | None
    start: datetime
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction(Authored):
    """So many ``seconds`` of ``source`` count as ``target``, in the report of the class ``sla`` and ``period``."""

    sla: str
    period: str
    uuid: str
    metric: str
    seconds: int
    source: str
    target: str


def exclusions(request: HttpRequest, *, query: Mapping[str, str], **place: Any) -> Items[Exclusion] | Problem:
    """Exclusions; ``query`` may have project, from and to."""
    return lists.page(request, "/v1/exclusions", exclusion, query=query, **place)


def corrections(request: HttpRequest, *, query: Mapping[str, str], **place: Any) -> Items[Correction] | Problem:
    """Corrections; ``query`` may have project, sla, period and uuid."""
    return lists.page(request, "/v1/corrections", correction, query=query, **place)


def exclude(request: HttpRequest, body: Mapping[str, Any]) -> Problem | None:
    """Make an exclusion."""
    return _done(transport.of(request).ask("POST", "/v1/exclusions", body=body))


def correct(request: HttpRequest, body: Mapping[str, Any]) -> Problem | None:
    """Make a correction."""
    return _done(transport.of(request).ask("POST", "/v1/corrections", body=body))


def withdraw_exclusion(request: HttpRequest, number: int, reason: str) -> Problem | None:
    """Let its window count again."""
    return _done(transport.of(request).ask("DELETE", f"/v1/exclusions/{number}", query={"reason": reason}))


def withdraw_correction(request: HttpRequest, number: int, reason: str) -> Problem | None:
    """Let its seconds count as they were measured."""
    return _done(transport.of(request).ask("DELETE", f"/v1/corrections/{number}", query={"reason": reason}))


def _done(answer: Any) -> Problem | None:
    return answer if isinstance(answer, PROBLEMS) else None


def _authored(told: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": told["id"],
        "reason": told["reason"],
        "author": told["author"],
        "created_at": datetime.fromisoformat(told["created_at"]),
        "withdrawn_at": moment(told["withdrawn_at"]),
        "withdrawn_by": told["withdrawn_by"],
        "withdrawn_reason": told["withdrawn_reason"],
    }


def exclusion(told: Mapping[str, Any]) -> Exclusion:
    """As the API tells it, also in a report."""
    return Exclusion(
        **_authored(told),
        kind=told["kind"],
        scope=told["scope"],
        target=told["target"],
        start=datetime.fromisoformat(told["start"]),
        until=datetime.fromisoformat(told["until"]),
    )


def correction(told: Mapping[str, Any]) -> Correction:
    """As the API tells it, also in a report."""
    names = ("sla", "period", "uuid", "metric", "seconds", "source", "target")
    return Correction(**_authored(told), **{name: told[name] for name in names})
