"""Error budgets: how long the objectives of an SLA may still be missed, how fast that goes, what is then owed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.http import HttpRequest

from stella_dashboard.api import lists, transport
from stella_dashboard.api.instances import in_order, moment
from stella_dashboard.api.lists import Items
from stella_dashboard.api.problems import PROBLEMS, Problem, Refused

SORT_KEYS = ("left_ratio", "left_seconds", "name")
LARGEST = 1000
"""Budgets of more instances are not told at once."""
BURN_SPANS = ("5m", "1h", "6h", "3d")

_NOT_FOUND = 404


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectiveBudget:
    """Of one objective, in whole seconds; ``left`` below 0: the target is missed. ``burn_rates`` by span, None without demand.

    ``attainment`` is decimal text, as all ratios of SLAs are; None: there was no demand.
    """

    metric: str
    attainment: str | None
    with_demand: int
    allowed: int
    used: int
    left: int
    unknown: int
    burn_rates: Mapping[str, float | None]
    exhausted_at: datetime | None = None
    exhausted_on: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Credit:
    """What is owed: a share of the price and, where there is one, the amount. ``left_seconds``: so many more missed ones away."""

    ratio: str
    amount: str | None = None
    left_seconds: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Of an instance under a class. ``left_ratio`` is that of its worst objective, None where nothing had demand."""

    uuid: str
    name: str
    project_id: str
    sla: str
    sla_name: str
    period: str
    time_zone: str
    start: datetime
    end: datetime
    left_seconds: int
    left_ratio: float | None
    credit: Credit
    currency: str | None = None
    at_stake: Credit | None = None
    objectives: tuple[ObjectiveBudget, ...] = ()

    @property
    def marker(self) -> str:
        """What names its place in a list."""
        return self.uuid

    @property
    def title(self) -> str:
        """The name of its instance; where that is not known, the uuid."""
        return self.name or self.uuid

    @property
    def worst(self) -> ObjectiveBudget | None:
        """The objective that was met least; None where none had demand."""
        known = [one for one in self.objectives if one.attainment is not None]
        return min(known, key=lambda one: one.attainment or "", default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown(Budget):
    """Of one instance, with what its class promises, offers and allows. Ratios of ``target`` are decimal text."""

    target: str
    counts_unknown: bool
    default_objectives: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    limits: Mapping[str, float] = field(default_factory=dict)


def show(request: HttpRequest, uuid: str) -> Shown | Problem | None:
    """That of an instance; None where it is under no class."""
    answer = transport.of(request).ask("GET", f"/v1/instances/{uuid}/budget")
    if isinstance(answer, Refused) and answer.status == _NOT_FOUND:
        return None
    if isinstance(answer, PROBLEMS):
        return answer
    return Shown(
        **_values(answer),
        target=answer["terms"]["attainment_target_ratio"],
        counts_unknown=answer["terms"]["unknown"] == "missed",
        default_objectives=in_order(answer["default_objectives"]),
        limits=answer["limits"],
    )


def listed(request: HttpRequest, *, query: Mapping[str, str], sort: str = "left_ratio") -> tuple[Budget, ...] | Problem:
    """All of them, in order; ``query`` may have project and sla."""
    answer = transport.of(request).ask("GET", "/v1/budgets", query={**query, "sort": sort, "limit": str(LARGEST)})
    return answer if isinstance(answer, PROBLEMS) else tuple(Budget(**_values(one)) for one in answer["budgets"])


def page(
    request: HttpRequest,
    *,
    query: Mapping[str, str],
    sort: str = "left_ratio",
    limit: int,
    after: str | None = None,
    before: str | None = None,
) -> Items[Budget] | Problem:
    """One page of them."""
    found = listed(request, query=query, sort=sort)
    if isinstance(found, PROBLEMS):
        return found
    return lists.cut(found, lambda one: one.uuid, limit=limit, after=after, before=before)


def _values(told: Mapping[str, Any]) -> dict[str, Any]:
    at_stake = told["next_credit"]
    return {
        "uuid": told["uuid"],
        "name": told["name"],
        "project_id": told["project_id"],
        "sla": told["sla"]["uuid"],
        "sla_name": told["sla"]["name"],
        "period": told["period"]["name"],
        "time_zone": told["period"]["time_zone"],
        "start": datetime.fromisoformat(told["period"]["start"]),
        "end": datetime.fromisoformat(told["period"]["end"]),
        "left_seconds": told["left_seconds"],
        "left_ratio": told["left_ratio"],
        "credit": Credit(ratio=told["credit_ratio"], amount=told["credit_amount"]),
        "currency": told["currency"],
        "at_stake": at_stake
        and Credit(
            ratio=at_stake["credit_ratio"], amount=at_stake["credit_amount"], left_seconds=at_stake["left_seconds"]
        ),
        "objectives": tuple(
            _objective(one) for one in in_order({one["metric"]: one for one in told["objectives"]}).values()
        ),
    }


def _objective(told: Mapping[str, Any]) -> ObjectiveBudget:
    return ObjectiveBudget(
        metric=told["metric"],
        attainment=told["attainment_ratio"],
        with_demand=told["with_demand_seconds"],
        allowed=told["allowed_seconds"],
        used=told["used_seconds"],
        left=told["left_seconds"],
        unknown=told["unknown_seconds"],
        burn_rates=told["burn_rates"],
        exhausted_at=moment(told["exhausted_at"]),
        exhausted_on=told["exhausted_on"],
    )
