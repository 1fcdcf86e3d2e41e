"""Violations: episodes in which an objective was missed."""

import json
from collections.abc import Mapping

from stella.api import pages, times
from stella.api.errors import not_found
from stella.api.operation import Answer, Call, operation
from stella.api.policies import instance as instance_policies
from stella.api.policies import violation as policies
from stella.api.projects import visible_project
from stella.api.schemas import violation as schema
from stella.db import instances, usage, violations
from stella.db.models import ViolationRow
from stella.db.violations import Listed
from stella.model.wire import Json

_MARGIN_SECONDS = 300
_FOR_ALL = ("value", "worst")
"""The figures of the evidence that are the tenant's own: what its objective is, and the least that it got."""


def _show(listed: Listed, names: Mapping[str, str], *, for_operator: bool) -> dict[str, Json]:
    """``names`` are those of offenders, by uuid."""
    episode, instance = listed.episode, listed.instance
    return {
        "id": episode.id,
        "uuid": instance.uuid,
        "name": instance.name,
        "project_id": instance.project_id,
        "host": listed.host if for_operator else None,
        "metric": listed.metric,
        "opened_at": times.show(episode.opened_at),
        "closed_at": times.show_known(episode.closed_at),
        "cause": episode.cause,
        "offender": episode.offender if for_operator else None,
        "offender_name": names.get(episode.offender or "") if for_operator else None,
    }


@operation(query=schema.LIST_QUERY, responses={200: schema.LIST}, rules=(policies.LIST, policies.LIST_ALL))
def index(call: Call) -> Answer:
    """List violations of at least 2 s, newest first or as `sort` has it; those of one objective less than 5 s apart are one.

    Answers 200 with those of the caller's project, or of all for operators, who alone see host and offender.
    """
    project = visible_project(call, list_rule=policies.LIST, all_rule=policies.LIST_ALL)
    for_operator = call.allows(instance_policies.SHOW_HOST)
    start, end = pages.span(call)
    with call.services.database.reader() as session, pages.marked():
        found = violations.page(
            session,
            pages.at(call, default="id:desc", marker=pages.number(call, "marker")),
            is_open=None if call.query.get("open") is None else bool(call.query["open"]),
            host=pages.text(call, "host") if for_operator else None,
            project_id=project,
            uuid=(pages.text(call, "uuid") or "").lower() or None,
            start=start,
            end=end,
        )
        offenders = {listed.episode.offender for listed in found if for_operator and listed.episode.offender}
        names = instances.names(session, offenders)
    shown: list[Json] = [_show(listed, names, for_operator=for_operator) for listed in found]
    return Answer(body=pages.page(call, "violations", shown, found[-1].episode.id if found else None))


@operation(
    responses={200: schema.SHOWN}, rules=(policies.SHOW, policies.SHOW_EVIDENCE), errors=("stella.request.not_found",)
)
def show(call: Call) -> Answer:
    """Show a violation: its cause, what hosts reported of it, and its minutes with what was used and asked for.

    Answers 200; only operators see hosts, the offender and the evidence against it. 404 for one that is not there or belongs to
    another project.
    """
    number = int(call.path["violation_id"])
    with call.services.database.reader() as session:
        found = violations.find(session, number)
        if found is None or not call.allows(policies.SHOW, found[0].instance.project_id):
            raise not_found(f"Violation {number}")
        listed, parts = found
        names = instances.names(session, {listed.episode.offender} if listed.episode.offender else set())
        minutes = usage.rows(
            session,
            listed.instance.id,
            step=60,
            metric=listed.metric,
            limit=schema.LARGEST_MINUTES,
            **_around(call, listed),
        )
    for_operator = call.allows(policies.SHOW_EVIDENCE)
    shown_parts: list[Json] = [_show_part(row, host, for_operator=for_operator) for row, host in parts]
    timeline: list[Json] = [_show_minute(row) for row in minutes]
    return Answer(
        body={
            **_show(listed, names, for_operator=for_operator),
            "missed_seconds": listed.episode.missed_seconds,
            "parts": shown_parts,
            "timeline": timeline,
        }
    )


def _around(call: Call, listed: Listed) -> dict[str, int]:
    """The minutes that are shown with an episode."""
    ended = listed.episode.closed_at if listed.episode.closed_at is not None else call.services.clock()
    return {"start": int(listed.episode.opened_at) - _MARGIN_SECONDS - 59, "end": int(ended) + _MARGIN_SECONDS}


def _show_part(row: ViolationRow, host: str, *, for_operator: bool) -> dict[str, Json]:
    evidence: dict[str, Json] = json.loads(row.evidence)
    return {
        "opened_at": times.show(row.opened_at),
        "closed_at": times.show_known(row.closed_at),
        "cause": row.cause,
        "missed_seconds": evidence.get("missed_seconds"),
        "host": host if for_operator else None,
        "offender": row.offender if for_operator else None,
        "evidence": {name: value for name, value in evidence.items() if for_operator or name in _FOR_ALL},
    }


def _show_minute(row: usage.UsageRow) -> dict[str, Json]:
    return {
        "start": times.show(row.start),
        "seconds": dict(row.seconds),
        "causes": json.loads(row.causes),
        "usage_mean": row.usage_mean,
        "usage_min": row.usage_min,
        "usage_max": row.usage_max,
        "demand_mean": row.demand_mean,
    }
