"""What is known of one instance over time: attainment, usage, violations, changes of its SLO."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.http import HttpRequest

from stella_dashboard.api import reasons, transport
from stella_dashboard.api.instances import in_order, moment
from stella_dashboard.api.problems import PROBLEMS, Problem
from stella_dashboard.api.reasons import Reason

MISSED = ("violated", "degraded")
_LARGEST_LIST = "100"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seconds:
    """Seconds of one objective by status."""

    met: int = 0
    violated: int = 0
    degraded: int = 0
    no_demand: int = 0
    self_limited: int = 0
    unknown: int = 0

    @property
    def missed(self) -> int:
        """In which it was asked for and not given."""
        return self.violated + self.degraded

    @property
    def with_demand(self) -> int:
        """In which it was asked for; only these count."""
        return self.met + self.missed

    @property
    def ratio(self) -> float | None:
        """Attainment; None where it was never asked for."""
        return self.met / self.with_demand if self.with_demand else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attainment:
    """Seconds by metric of the calendar day and month (UTC) until now."""

    today: Mapping[str, Seconds]
    month: Mapping[str, Seconds]
    today_start: datetime
    month_start: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One step of one objective, in its metric's base unit. ``causes``: missed seconds by cause; of a live second its one cause."""

    at: datetime
    usage: float | None
    demand: float | None
    seconds: Seconds
    causes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Points by metric, the oldest first. ``not_watched`` tells, for live seconds, why none come."""

    step: int
    points: Mapping[str, Sequence[Point]]
    not_watched: Reason = reasons.NONE


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """An episode in which an objective was missed. ``closed_at`` None: it lasts."""

    metric: str
    opened_at: datetime
    closed_at: datetime | None
    cause: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One change of the SLO: who, when, from what to what (empty: nothing was guaranteed)."""

    generation: int
    changed_at: datetime
    user_id: str
    before: Mapping[str, Mapping[str, Any]]
    after: Mapping[str, Mapping[str, Any]]


def attainment(request: HttpRequest, uuid: str) -> Attainment | Problem:
    """How it was kept today and this month."""
    answer = transport.of(request).ask("GET", f"/v1/instances/{uuid}/attainment")
    if isinstance(answer, PROBLEMS):
        return answer
    today, month = (
        {one["metric"]: Seconds(**one["seconds"]) for one in answer[name]["objectives"]} for name in ("today", "month")
    )
    starts = {name: datetime.fromisoformat(answer[name]["from"]) for name in ("today", "month")}
    return Attainment(today=today, month=month, today_start=starts["today"], month_start=starts["month"])


def usage(request: HttpRequest, uuid: str, *, step: int, start: datetime | None = None) -> Usage | Problem:
    """What it used in steps of 1, 60, 3600 or 86400 seconds. Asking for 1 makes its host send a point each second."""
    query = {"step": str(step)} | ({"from": start.isoformat().replace("+00:00", "Z")} if start else {})
    answer = transport.of(request).ask("GET", f"/v1/instances/{uuid}/usage", query=query)
    if isinstance(answer, PROBLEMS):
        return answer
    points: dict[str, list[Point]] = {}
    for told in answer["points"]:
        at = moment(told["at"])
        assert at is not None
        for one in told["objectives"]:
            points.setdefault(one["metric"], []).append(_point(at, one))
    return Usage(
        step=step,
        points=points,
        not_watched=reasons.of(answer.get("not_watched_reason"), answer.get("not_watched_why")),
    )


def _point(at: datetime, told: Mapping[str, Any]) -> Point:
    cause = told.get("cause")
    return Point(
        at=at,
        usage=told.get("usage"),
        demand=told.get("demand"),
        seconds=Seconds(**told["seconds"]) if "seconds" in told else _second(str(told.get("status"))),
        causes=told.get("causes", {cause: 1} if cause else {}),
    )


def _second(status: str) -> Seconds:
    name = status.lower()
    return Seconds(**{name: 1}) if name in Seconds.__dataclass_fields__ else Seconds(unknown=1)


def violations(request: HttpRequest, uuid: str, start: datetime) -> Sequence[Violation] | Problem:
    """Those that lasted after ``start``, newest first."""
    query = {"uuid": uuid, "from": start.isoformat().replace("+00:00", "Z"), "limit": _LARGEST_LIST}
    answer = transport.of(request).ask("GET", "/v1/violations", query=query)
    if isinstance(answer, PROBLEMS):
        return answer
    return [
        Violation(
            metric=one["metric"],
            opened_at=datetime.fromisoformat(one["opened_at"]),
            closed_at=moment(one["closed_at"]),
            cause=one["cause"],
        )
        for one in answer["violations"]
    ]


def changes(request: HttpRequest, uuid: str) -> Sequence[Change] | Problem:
    """Changes of the SLO, newest first."""
    answer = transport.of(request).ask("GET", f"/v1/instances/{uuid}/slo/history", query={"limit": _LARGEST_LIST})
    if isinstance(answer, PROBLEMS):
        return answer
    return [
        Change(
            generation=one["generation"],
            changed_at=datetime.fromisoformat(one["changed_at"]),
            user_id=one["user_id"],
            before=in_order(one["before"] or {}),
            after=in_order(one["after"] or {}),
        )
        for one in answer["changes"]
    ]
