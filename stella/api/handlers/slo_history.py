"""The history of an instance's SLO: who changed it, when, from where."""

import json

from stella.api import pages, times, whys
from stella.api.operation import Answer, Call, operation
from stella.api.policies import instance as instance_policies
from stella.api.policies import slo as policies
from stella.api.projects import visible_instance
from stella.api.schemas import slo_history as schema
from stella.db import slos
from stella.db.models import SloChange
from stella.model.wire import Json


def _show(row: SloChange, *, for_operator: bool) -> dict[str, Json]:
    return {
        "generation": row.generation,
        "changed_at": times.show(row.changed_at),
        "user_id": whys.user(row.user_id, for_operator=for_operator),
        "request_id": row.request_id,
        "remote_address": row.remote_address,
        "before": json.loads(row.before) if row.before else None,
        "after": json.loads(row.after) if row.after else None,
    }


@operation(
    query=schema.LIST_QUERY,
    responses={200: schema.LIST},
    rules=(policies.HISTORY,),
    errors=("stella.request.not_found",),
)
def index(call: Call) -> Answer:
    """List the changes of an instance's SLO, newest first: who, when, from where.

    Answers 200, also for an instance that never had an SLO; 404 for an instance that is not there or belongs to another project.
    """
    for_operator = call.allows(instance_policies.SHOW_HOST)
    with call.services.database.reader() as session:
        instance, _, _ = visible_instance(call, session, policies.HISTORY)
        found = slos.history(
            session, instance.id, limit=pages.limit_of(call), before_generation=pages.number(call, "marker")
        )
    shown: list[Json] = [_show(row, for_operator=for_operator) for row in found]
    return Answer(body=pages.page(call, "changes", shown, found[-1].generation if found else None))
