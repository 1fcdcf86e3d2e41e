"""Hosts: what they can hold, what they hold, what they are to do. For operators."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import quote

from django.http import HttpRequest

from stella_dashboard.api import lists, reasons, transport
from stella_dashboard.api.instances import moment
from stella_dashboard.api.lists import Items
from stella_dashboard.api.problems import PROBLEMS, Problem
from stella_dashboard.api.reasons import Reason

MODES = ("observe", "enforce", "maintenance")
SORT_KEYS = ("name", "mode", "capacity_cpu_cores", "reserved_cpu_cores", "free_cpu_cores", "open_violations")


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A host; quantities are in cores, None where it has not told them. ``capabilities``: true, or the reason why it lacks it."""

    name: str
    generation: int
    mode: str
    is_silent: bool
    is_enrolled: bool
    cpus: int
    instances: int
    open_violations: int
    reserved_cpu_cores: float
    capacity_cpu_cores: float | None = None
    free_cpu_cores: float | None = None
    overhead_cpu_cores: float | None = None
    agent: str | None = None
    capabilities: Mapping[str, bool | str] = field(default_factory=dict)
    lacking_why: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    reported_at: datetime | None = None

    @property
    def marker(self) -> str:
        """What names its place in a list."""
        return self.name

    @property
    def lacking(self) -> Mapping[str, Reason]:
        """What it cannot enforce, and why; an empty reason where it does not say."""
        return {
            name: reasons.of(told if isinstance(told, str) else "", self.lacking_why.get(name))
            for name, told in sorted(self.capabilities.items())
            if told is not True
        }


def page(
    request: HttpRequest,
    *,
    query: Mapping[str, str],
    sort: str = "name",
    limit: int,
    after: str | None = None,
    before: str | None = None,
) -> Items[Host] | Problem:
    """Hosts; ``query`` may have mode, name_contains and silent."""
    return lists.page(request, "/v1/hosts", _host, query=query, sort=sort, limit=limit, after=after, before=before)


def show(request: HttpRequest, name: str) -> Host | Problem:
    """The host of this name."""
    answer = transport.of(request).ask("GET", _path(name))
    return answer if isinstance(answer, PROBLEMS) else _host(answer)


def set_mode(request: HttpRequest, name: str, mode: str, generation: int) -> Problem | None:
    """Change what it is to do, unless it was changed since this generation was seen."""
    answer = transport.of(request).ask("PATCH", _path(name), body={"mode": mode, "generation": generation})
    return answer if isinstance(answer, PROBLEMS) else None


def _path(name: str) -> str:
    return f"/v1/hosts/{quote(name, safe='')}"


def _host(told: Mapping[str, Any]) -> Host:
    return Host(
        name=told["name"],
        generation=told["generation"],
        mode=told["mode"],
        is_silent=told["silent"],
        is_enrolled=told["enrolled"],
        cpus=told["cpus"],
        instances=told["instances"],
        open_violations=told.get("open_violations") or 0,
        reserved_cpu_cores=told["reserved_cpu_cores"],
        capacity_cpu_cores=told["capacity_cpu_cores"],
        free_cpu_cores=told.get("free_cpu_cores"),
        overhead_cpu_cores=told.get("overhead_cpu_cores"),
        agent=told["agent"],
        capabilities=told["capabilities"],
        lacking_why=told.get("lacking_why") or {},
        versions=told["versions"],
        reported_at=moment(told["reported_at"]),
    )
