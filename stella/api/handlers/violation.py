"""Violations: episodes in which an objective was missed."""

from collections.abc import Mapping

from stella.api import pages, times
from stella.api.operation import Answer, Call, operation
from stella.api.policies import instance as instance_policies
from stella.api.policies import violation as policies
from stella.api.projects import visible_project
from stella.api.schemas import violation as schema
from stella.db import instances, violations
from stella.db.violations import Listed
from stella.model.wire import Json


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
