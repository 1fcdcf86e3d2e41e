"""Attainment: which share of the seconds with demand an objective was met."""

import math
from collections.abc import Mapping

from stella.api import pages, times
from stella.api.errors import ApiError
from stella.api.operation import Answer, Call, operation
from stella.api.policies import attainment as policies
from stella.api.projects import visible_instance
from stella.api.schemas import attainment as schema
from stella.control.rollup import COUNTS
from stella.db import attainment
from stella.model.report import StatusCounts
from stella.model.wire import Json


def _moment(call: Call, name: str, default: float) -> float:
    given = pages.text(call, name)
    if given is None:
        return default
    try:
        return times.parse(given)
    except (ValueError, OverflowError) as error:
        raise ApiError("stella.request.invalid", f"{name} is not a time: {error}.", field=name) from None


def _show(span: tuple[float, float], found: Mapping[str, StatusCounts]) -> dict[str, Json]:
    objectives: list[Json] = [
        {
            "metric": metric,
            "seconds": {name: getattr(counts, name) for name in COUNTS},
            "attainment_ratio": counts.attainment_ratio,
        }
        for metric, counts in found.items()
    ]
    return {"from": times.show(span[0]), "to": times.show(span[1]), "objectives": objectives}


@operation(
    query=schema.QUERY,
    responses={200: schema.ATTAINMENT},
    rules=(policies.SHOW,),
    errors=("stella.request.invalid", "stella.request.not_found"),
)
def show(call: Call) -> Answer:
    """Show the attainment of an instance's objectives over a span, by default this month until now; and today and this month (UTC).

    Answers 200 with the seconds by status; whole minutes count that begin in the span. Of times for which minutes are kept no longer
    only whole hours count, later whole days. 404 for an instance that is not there or belongs to another project.
    """
    now = call.services.clock()
    today, month = times.day_start(now), times.month_start(now)
    start, end = _moment(call, "from", month), _moment(call, "to", now)
    if start > end:
        raise ApiError("stella.request.invalid", "from is after to.", field="from")
    with call.services.database.reader() as session:
        instance, _, _ = visible_instance(call, session, policies.SHOW)
        spans = ((start, end), (today, now), (month, now))
        found = attainment.read_spans(session, instance.id, [(int(a), math.ceil(b)) for a, b in spans])
    asked, of_today, of_month = (_show(span, counts) for span, counts in zip(spans, found, strict=True))
    return Answer(body={"uuid": instance.uuid, **asked, "today": of_today, "month": of_month})
