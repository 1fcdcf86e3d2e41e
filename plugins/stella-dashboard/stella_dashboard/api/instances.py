"""Instances with their SLOs, how they do now and how they were kept."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.http import HttpRequest
from stellaclient.units import UNIT_OF

from stella_dashboard.api import reasons, transport
from stella_dashboard.api.problems import PROBLEMS, Problem
from stella_dashboard.api.reasons import Reason

HEALTHS = ("troubled", "pending", "guaranteed", "best_effort")
"""As the API sorts them, the worst first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """One objective of an SLO, in its metric's base unit.

    ``promise`` has its floor, ceiling, target, weight, direction, unit and priority, as far as it has them. ``usage`` and ``demand``
    are None where nothing is known; ``attained_today`` and ``attained_this_month`` are shares of the seconds with demand (None:
    there were none), in UTC.
    """

    metric: str
    promise: Mapping[str, Any]
    usage: float | None = None
    demand: float | None = None
    status: str = "UNKNOWN"
    cause: str | None = None
    attained_today: float | None = None
    attained_this_month: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Slo:
    """What an instance is guaranteed. ``state``: pending, enforced, refused, degraded or suspended, with the ``reason``.

    ``objectives`` are all of it, ``sold`` what its flavor sells, ``added`` what its user asked for beside that.
    """

    generation: int
    state: str
    reason: Reason = reasons.NONE
    largest: Mapping[str, float] = field(default_factory=dict)
    objectives: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    sold: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    added: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """An instance. ``slo`` None: it is best-effort. ``host`` is known to operators only.

    ``contradictions``: limits from outside Stella below what is guaranteed. ``costs``: by metric the CPU seconds that a unit of its
    I/O costs in the guest (``vcpu``) and in QEMU (``io``), and whether that is ``estimated``; told of one instance, not in lists.
    """

    uuid: str
    name: str
    project_id: str
    state: str
    vcpus: int
    host: str | None = None
    slo: Slo | None = None
    objectives: tuple[Objective, ...] = ()
    contradictions: tuple[Mapping[str, Any], ...] = ()
    costs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    reserved_cpu_cores: float = 0.0
    reported_at: datetime | None = None

    @property
    def id(self) -> str:
        """Its uuid, under the name that Horizon's tables look for."""
        return self.uuid

    @property
    def title(self) -> str:
        """Its name; an instance of which only the uuid is known has that."""
        return self.name or self.uuid


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page of a list, in order; whether there are more before and after it."""

    instances: tuple[Instance, ...]
    has_previous: bool = False
    has_next: bool = False


def page(
    request: HttpRequest,
    *,
    limit: int,
    after: str | None = None,
    before: str | None = None,
    name_contains: str | None = None,
    health: str | None = None,
) -> Page | Problem:
    """Instances of the user's project, the troubled first: those after or before the one of this uuid. One request to the API."""
    query = {
        "project": request.user.project_id,
        "gone": "false",
        "attainment": "true",
        "sort": "health:desc" if before else "health",
        "limit": str(limit + 1),
    }
    query |= {
        name: value
        for name, value in (("marker", before or after), ("name_contains", name_contains), ("health", health))
        if value
    }
    answer = transport.of(request).ask("GET", "/v1/instances", query=query)
    if isinstance(answer, PROBLEMS):
        return answer
    found = [_instance(one) for one in answer["instances"]]
    more, found = len(found) > limit, found[:limit]
    if before:
        return Page(instances=tuple(reversed(found)), has_previous=more, has_next=True)
    return Page(instances=tuple(found), has_previous=bool(after), has_next=more)


def show(request: HttpRequest, uuid: str) -> Instance | Problem:
    """The instance of this uuid, without attainment."""
    answer = transport.of(request).ask("GET", f"/v1/instances/{uuid}")
    return answer if isinstance(answer, PROBLEMS) else _instance(answer)


def moment(text: str | None) -> datetime | None:
    """A time of the API."""
    return datetime.fromisoformat(text) if text else None


def _instance(told: Mapping[str, Any]) -> Instance:
    slo = told.get("slo")
    return Instance(
        uuid=told["uuid"],
        name=told["name"],
        project_id=told["project_id"],
        state=told["state"],
        vcpus=told["vcpus"],
        host=told.get("host"),
        slo=_slo(slo) if slo else None,
        objectives=objectives_of(told, slo["objectives"], slo["state"]) if slo else (),
        contradictions=tuple(told.get("contradictions") or ()),
        costs=told.get("costs") or {},
        reserved_cpu_cores=told.get("reserved_cpu_cores") or 0.0,
        reported_at=moment(told.get("reported_at")),
    )


def _slo(told: Mapping[str, Any]) -> Slo:
    return Slo(
        generation=told["generation"],
        state=told["state"],
        reason=reasons.of(told.get("reason"), told.get("why")),
        largest=told.get("largest") or {},
        objectives=in_order(told["objectives"]),
        sold=in_order(told.get("flavor_objectives") or {}),
        added=in_order(told["added_objectives"] if "added_objectives" in told else told["objectives"]),
    )


def objectives_of(
    told: Mapping[str, Any], promised: Mapping[str, Mapping[str, Any]], state: str | None
) -> tuple[Objective, ...]:
    """What is promised by an SLO in this state, with what the host last reported of it: until it did, that is nothing."""
    reported = {one["metric"]: one for one in told.get("objectives") or ()}
    attained = told.get("attainment") or {}
    today, month = attained.get("today") or {}, attained.get("month") or {}
    found = []
    for metric, promise in in_order(promised).items():
        now = reported.get(metric, {})
        found.append(
            Objective(
                metric=metric,
                promise=promise,
                usage=now.get("usage"),
                demand=now.get("demand"),
                status=_status(now.get("status"), state),
                cause=now.get("cause"),
                attained_today=today.get(metric),
                attained_this_month=month.get(metric),
            )
        )
    return tuple(found)


def in_order(objectives: Mapping[str, Any]) -> dict[str, Any]:
    """What is given by metric: CPU before the network before the disk; a metric of a later release comes last."""
    known = tuple(UNIT_OF)
    return dict(sorted(objectives.items(), key=lambda one: known.index(one[0]) if one[0] in known else len(known)))


def _status(reported: str | None, state: str | None) -> str:
    """Nothing is called kept before the host has acknowledged what is to be kept."""
    if state == "pending":
        return "PENDING"
    return reported or "UNKNOWN"
