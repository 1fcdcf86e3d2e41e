"""Attainment: which share of the seconds with demand an objective was met."""

from stella.api import pages, times
from stella.api.errors import ApiError
from stella.api.operation import Answer, Call, operation
from stella.api.policies import attainment as policies
from stella.api.projects import visible_instance
from stella.api.schemas import attainment as schema
from stella.db import minutes
from stella.model.wire import Json


def _moment(call: Call, name: str, default: float) -> float:
    given = pages.text(call, name)
    if given is None:
        return default
    try:
        return times.parse(given)
    except (ValueError, OverflowError) as error:
        raise ApiError("stella.request.invalid", f"{name} is not a time: {error}.", field=name) from None


@operation(
    query=schema.QUERY,
    responses={200: schema.ATTAINMENT},
    rules=(policies.SHOW,),
    errors=("stella.request.invalid", "stella.request.not_found"),
)
def show(call: Call) -> Answer:
    """Show the attainment of an instance's objectives over a span, by default this month until now.

    Answers 200 with the seconds by status; whole minutes count that begin in the span. 404 for an instance that is not there or
    belongs to another project.
    """
    now = call.services.clock()
    start, end = _moment(call, "from", times.month_start(now)), _moment(call, "to", now)
    if start > end:
        raise ApiError("stella.request.invalid", "from is after to.", field="from")
    with call.services.database.reader() as session:
        instance, _, _ = visible_instance(call, session, policies.SHOW)
        found = minutes.attainment(session, instance.id, start=int(start), end=int(end))
    objectives: list[Json] = [
        {
            "metric": metric,
            "seconds": {name: getattr(counts, name) for name in minutes.COUNTS},
            "attainment_ratio": counts.attainment_ratio,
        }
        for metric, counts in found.items()
    ]
    body: dict[str, Json] = {"uuid": instance.uuid, "from": times.show(start), "to": times.show(end)}
    return Answer(body={**body, "objectives": objectives})
