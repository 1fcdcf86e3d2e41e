"""Quotas: what the SLOs of a project may hold at most, and what they hold."""

import re
from collections.abc import Mapping
from typing import Any

from stella.api import pages, quotas
from stella.api.errors import ApiError, not_found
from stella.api.operation import Answer, Call, operation
from stella.api.policies import quota as policies
from stella.api.schemas import quota as schema
from stella.conf.quota import UNLIMITED
from stella.db import decisions, projects
from stella.db.database import Session
from stella.db.projects import FLOORS, RESERVED, RESOURCES, SLOS, Account
from stella.model import units
from stella.model.slo import Metric
from stella.model.wire import Json


def _show(call: Call, account: Account, used: Mapping[str, float]) -> dict[str, Json]:
    limits = quotas.limits_in_force(call.services.config, account.limits)
    resources: dict[str, Json] = {
        name: {"limit": limits[name], "used": max(0.0, used[name]), "is_default": name not in account.limits}
        for name in RESOURCES
    }
    return {"project_id": account.project_id, "resources": resources}


def _project_id(call: Call) -> str:
    """The project in the path. Raises `ApiError` (400)."""
    project_id = call.path["project_id"]
    if not re.fullmatch(schema.PROJECT_ID_PATTERN, project_id):
        raise ApiError(
            "stella.request.invalid",
            "project_id must be 1 to 255 letters, digits or _.@:- and not begin with a dot.",
            field="project_id",
        )
    return project_id


def _shown(call: Call, project_id: str) -> Answer:
    with call.services.database.reader() as session:
        account = projects.find(session, project_id)
        used = projects.used(session, [project_id])[project_id]
    return Answer(body=_show(call, account, used))


@operation(query=schema.LIST_QUERY, responses={200: schema.LIST}, rules=(policies.LIST,))
def index(call: Call) -> Answer:
    """List projects that had an SLO or a quota of their own, by id, with their limits and what they use.

    Answers 200; 403 for those who are not operators.
    """
    call.require(policies.LIST)
    with call.services.database.reader() as session:
        found = projects.page(session, limit=pages.limit_of(call), marker=pages.text(call, "marker"))
        used = projects.used(session, [account.project_id for account in found])
    shown: list[Json] = [_show(call, account, used[account.project_id]) for account in found]
    return Answer(body=pages.page(call, "quotas", shown, found[-1].project_id if found else None))


@operation(
    responses={200: schema.QUOTA},
    rules=(policies.SHOW,),
    errors=("stella.request.invalid", "stella.request.not_found"),
)
def show(call: Call) -> Answer:
    """Show the limits of a project, and what its SLOs hold.

    Answers 200, for an operator also for a project of which nothing is known; 404 for a project that is not the caller's.
    """
    if not call.allows(policies.SHOW, call.path["project_id"]):
        raise not_found(f"Project {call.path['project_id'][:64]}")
    return _shown(call, _project_id(call))


@operation(body=schema.PUT, responses={200: schema.QUOTA}, rules=(policies.SET,), errors=("stella.request.invalid",))
def put(call: Call) -> Answer:
    """Set limits of a project; those that are not named stay.

    Answers 200 with all limits. null goes back to what is configured, -1 is no limit. A limit below what is used stops growth and
    nothing else. 403 for those who are not administrators.
    """
    call.require(policies.SET)
    project_id = _project_id(call)
    _change(call, project_id, {name: _limit(name, value) for name, value in call.mapping["limits"].items()})
    return _shown(call, project_id)


@operation(responses={204: None}, rules=(policies.SET,), errors=("stella.request.invalid",))
def delete(call: Call) -> Answer:
    """Take all own limits of a project away: what is configured holds again.

    Answers 204, also where it had none; 403 for those who are not administrators.
    """
    call.require(policies.SET)
    _change(call, _project_id(call), dict.fromkeys(RESOURCES))
    return Answer(status=204)


def _limit(resource: str, value: Any) -> float | None:
    """A limit in the base unit. Raises `ApiError` (400)."""
    if value is None:
        return None
    field = f"limits.{resource}"
    if resource == SLOS or not isinstance(value, str):
        if value < 0 and value != UNLIMITED:
            raise ApiError("stella.request.invalid", f"{field} must be 0 or more, or -1 for no limit.", field=field)
        return float(value)
    unit = "cores" if resource == RESERVED else Metric(resource).unit
    try:
        return units.parse(value, unit)
    except units.InvalidQuantity as error:
        raise ApiError("stella.request.invalid", f"{field}: {error}.", field=field) from None


def _change(call: Call, project_id: str, changes: Mapping[str, float | None]) -> None:
    def write(session: Session) -> None:
        before, after = projects.set_limits(session, project_id, changes)
        named = [name for name in (*FLOORS, RESERVED, SLOS) if before.get(name) != after.get(name)]
        if not named:
            return
        told = ", ".join(f"{name} {_told(name, before.get(name))} -> {_told(name, after.get(name))}" for name in named)
        decisions.record(
            session,
            decisions.QUOTA,
            origin=call.origin,
            reason=f"quota of project {project_id}: {told}",
            detail={"project_id": project_id, "before": before, "after": after},
        )

    call.services.database.write(write)


def _told(resource: str, limit: float | None) -> str:
    if limit is None:
        return "default"
    return "unlimited" if limit == UNLIMITED else quotas.show_amount(resource, limit)
