"""Error budgets: how long objectives may still be missed, how fast that goes, and what is then owed."""

from collections.abc import Sequence
from typing import Any

from stella.api import pages, sla_budgets, sla_reports, slas
from stella.api.errors import not_found
from stella.api.operation import Answer, Call, operation
from stella.api.policies import budget as policies
from stella.api.projects import visible_instance, visible_project
from stella.api.schemas import budget as schema
from stella.db import sla_members
from stella.db import slas as db
from stella.db.sla_members import Member
from stella.db.sla_models import Sla
from stella.model.wire import Json
from stella.sla import spans


@operation(
    query=schema.LIST_QUERY,
    responses={200: schema.LIST},
    rules=(policies.LIST, policies.LIST_ALL),
    errors=("stella.request.not_found",),
)
def index(call: Call) -> Answer:
    """List the error budgets of instances that are under a class, the one with least left first or as `sort` has it.

    Answers 200 with those of the caller's project, or all for operators. 400 where more than 1000 instances are meant: then a project
    is to be named. 404 for an SLA class that is not there.
    """
    project = visible_project(call, list_rule=policies.LIST, all_rule=policies.LIST_ALL)
    asked = pages.text(call, "sla")
    found: list[dict[str, Any]] = []
    with call.services.database.reader() as session:
        rows: Sequence[Sla] = [slas.named(session, asked)] if asked is not None else db.ever_attached(session)
        for row in rows:
            at = sla_budgets.present(session, row, call.services.clock())
            members = sla_reports.members(
                session, row.id, at.whole, project_id=project, largest=schema.LARGEST_LISTED, before=len(found)
            )
            found += sla_budgets.show(session, at, [one for one in members if _is_now_under(one, at.now)])
    key, _, direction = (pages.text(call, "sort") or "left_ratio").partition(":")
    # what had no demand comes last in either direction
    with_value, without = ([one for one in found if (one[key] is None) is empty] for empty in (False, True))
    with_value.sort(key=lambda one: one[key], reverse=direction == "desc")
    shown: list[Json] = [*(with_value + without)[: pages.limit_of(call)]]
    return Answer(body={"budgets": shown})


def _is_now_under(member: Member, now: int) -> bool:
    return member.spans[-1][1] >= now


@operation(responses={200: schema.SHOWN}, rules=(policies.SHOW,), errors=("stella.request.not_found",))
def show(call: Call) -> Answer:
    """Show the SLA class of an instance, its error budget, and what the class allows and offers to one of its size.

    Answers 200; 404 for an instance that is not there, belongs to another project, or is under no class.
    """
    with call.services.database.reader() as session:
        instance, _, _ = visible_instance(call, session, policies.SHOW)
        row = sla_budgets.of_instance(session, instance.id, call.services.clock())
        if row is None:
            raise not_found(f"An SLA class of instance {instance.uuid}")
        at = sla_budgets.present(session, row, call.services.clock())
        parts = spans.under(sla_members.reaching(session, instance.id, at.period.start), row.id, at.whole)
        member = Member(
            instance_id=instance.id,
            uuid=instance.uuid,
            name=instance.name,
            project_id=instance.project_id,
            spans=parts,
        )
        (shown,) = sla_budgets.show(session, at, [member])
        return Answer(body={**shown, **sla_budgets.show_offers(at, instance)})
