"""Decisions: what was decided, by whom and why."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.http import HttpRequest

from stella_dashboard.api import lists, reasons, transport
from stella_dashboard.api.lists import Items
from stella_dashboard.api.problems import PROBLEMS, Problem
from stella_dashboard.api.reasons import Reason

SORT_KEYS = ("id", "decided_at", "kind")


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """What a relief or evacuation moves, and what for. Effects are violated seconds an hour that should end, and that ended.

    ``measured`` and ``helped`` are None until it was measured; ``trouble`` tells why it failed. Hosts and ``predicted`` are None for
    tenants.
    """

    state: str
    source: str | None
    destination: str | None
    freed_cpu_cores: float
    predicted: float | None
    measured: float | None = None
    helped: bool | None = None
    victims: tuple[str, ...] = ()
    trouble: Reason = reasons.NONE


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One decision. ``detail`` depends on the kind; ``hosts`` are reasons by host, where it has some; ``move`` is that of a relief."""

    id: int
    decided_at: datetime
    kind: str
    user_id: str
    request_id: str
    reason: Reason
    host: str | None = None
    uuid: str | None = None
    name: str | None = None
    project_id: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)
    hosts: Mapping[str, Reason] = field(default_factory=dict)
    move: Move | None = None

    @property
    def marker(self) -> str:
        """What names its place in a list."""
        return str(self.id)

    @property
    def title(self) -> str:
        """The name of its instance; where that is not known, the uuid; empty where it is about none."""
        return self.name or self.uuid or ""


def page(
    request: HttpRequest,
    *,
    query: Mapping[str, str],
    sort: str = "id:desc",
    limit: int,
    after: str | None = None,
    before: str | None = None,
) -> Items[Decision] | Problem:
    """Decisions; ``query`` may have kind, refusals, state, host, project, uuid, from and to."""
    return lists.page(
        request, "/v1/decisions", _decision, query=query, sort=sort, limit=limit, after=after, before=before
    )


def show(request: HttpRequest, number: int) -> Decision | Problem:
    """The decision of this number."""
    answer = transport.of(request).ask("GET", f"/v1/decisions/{number}")
    return answer if isinstance(answer, PROBLEMS) else _decision(answer)


def _decision(told: Mapping[str, Any]) -> Decision:
    return Decision(
        id=told["id"],
        decided_at=datetime.fromisoformat(told["decided_at"]),
        kind=told["kind"],
        user_id=told["user_id"],
        request_id=told["request_id"],
        reason=reasons.of(told["reason"], told.get("why")),
        host=told["host"],
        uuid=told["uuid"],
        name=told.get("name"),
        project_id=told["project_id"],
        detail=told["detail"],
        hosts={host: reasons.of(_text(told, host), why) for host, why in (told.get("hosts_why") or {}).items()},
        move=_move(told["move"]) if told.get("move") else None,
    )


def _move(told: Mapping[str, Any]) -> Move:
    return Move(
        state=told["state"],
        source=told["from"],
        destination=told["to"],
        freed_cpu_cores=told["freed_cpu_cores"],
        predicted=told["predicted_effect_seconds_per_hour"],
        measured=told["measured_effect_seconds_per_hour"],
        helped=told["helped"],
        victims=tuple(told["victims"]),
        trouble=reasons.of(told["reason"], told.get("why")),
    )


def _text(told: Mapping[str, Any], host: str) -> str:
    return str(told["detail"].get("hosts", {}).get(host, ""))
