"""Usage of an instance over time: live seconds while a client asks, minutes, hours and days afterwards."""

import json
from collections.abc import Iterable

from stella.api import pages, times, whys
from stella.api.errors import ApiError
from stella.api.operation import Answer, Call, operation
from stella.api.policies import usage as policies
from stella.api.projects import visible_instance
from stella.api.schemas import usage as schema
from stella.db import points, usage
from stella.db.database import Session
from stella.db.instances import GONE
from stella.db.models import Instance
from stella.db.usage import UsageRow
from stella.model.wire import Json

LARGEST_POINTS = 1500
"""The most points of one answer."""

_SPANS = {1: points.KEPT_SECONDS, 60: 3 * 3600, 3600: 3 * 86400, 86400: 60 * 86400}
_METRICS = 8


def _moment(call: Call, name: str, default: float) -> float:
    given = pages.text(call, name)
    if given is None:
        return max(0.0, default)
    try:
        return max(0.0, times.parse(given))
    except (ValueError, OverflowError) as error:
        raise ApiError("stella.request.invalid", f"{name} is not a time: {error}.", field=name) from None


def _span(call: Call, step: int, now: float) -> tuple[int, int]:
    """From when to when, in whole seconds. Raises `ApiError` for a span that is backwards or has too many points."""
    end = _moment(call, "to", now)
    start = _moment(call, "from", end - _SPANS[step])
    if start > end:
        raise ApiError("stella.request.invalid", "from is after to.", field="from")
    if step == 1:
        start = max(start, now - points.KEPT_SECONDS)
        end = max(start, end)
    elif (end - start) / step > LARGEST_POINTS:
        raise ApiError(
            "stella.request.invalid",
            f"from to to has more than {LARGEST_POINTS} points of {step} s; ask for a shorter span or a larger step.",
            field="from",
        )
    return int(start), int(end)


@operation(
    query=schema.QUERY,
    responses={200: schema.USAGE},
    rules=(policies.SHOW,),
    errors=("stella.request.invalid", "stella.request.not_found"),
)
def show(call: Call) -> Answer:
    """Show what an instance used, in steps of 1, 60, 3600 or 86400 seconds.

    Answers 200. With step 1 its host is asked to send a point each second for the next 30 s at least; points are kept for 15
    minutes. Where too many instances are watched already the answer has no new points and tells why. 404 for an instance that is
    not there or belongs to another project.
    """
    step, now = pages.number(call, "step") or 60, call.services.clock()
    start, end = _span(call, step, now)
    with call.services.database.reader() as session:
        instance, _, _ = visible_instance(call, session, policies.SHOW)
        if step == 1:
            found = points.page(session, instance.id, start=start, end=end, limit=LARGEST_POINTS)
            shown: list[Json] = [{"at": times.show(at), "objectives": json.loads(text)} for at, text in found]
        else:
            limit = LARGEST_POINTS * _METRICS
            shown = _by_start(usage.rows(session, instance.id, step=step, start=start, end=end, limit=limit))
    until, reason = _watch(call, instance, now) if step == 1 else (instance.watched_until, None)
    body: dict[str, Json] = {
        "uuid": instance.uuid,
        "from": times.show(start),
        "to": times.show(end),
        "step": step,
        "watched_until": times.show(until) if until is not None and until > now else None,
        "not_watched_reason": reason,
        "not_watched_why": whys.of(reason or ""),
        "points": shown,
    }
    return Answer(body=body)


def _watch(call: Call, instance: Instance, now: float) -> tuple[float | None, str | None]:
    """Have the host send points; until when it does, or why not.

    What is written lasts half as long again, so that one who asks each second does not change the host's intent each second.
    Limits are not held by a lock: those who ask at the same moment may exceed them by as many.
    """
    link = call.services.config.link
    known = instance.watched_until
    if known is not None and known >= now + link.watch_seconds:
        return known, None
    if instance.state == GONE:
        return None, "The instance is gone."
    until = now + 1.5 * link.watch_seconds

    def mark(session: Session) -> str | None:
        if known is None or known <= now:
            others = points.count_watched(session, instance, now)
            if others["host"] >= link.largest_watched_per_host:
                return "As many instances of its host are watched as may be; try again later."
            if others["project"] >= link.largest_watched_per_project:
                return f"{others['project']} other instances of the project are watched; no more may be."
        points.watch(session, instance.id, until)
        return None

    reason = call.services.database.write(mark)
    return (until, None) if reason is None else (None, reason)


def _by_start(found: Iterable[UsageRow]) -> list[Json]:
    shown: dict[int, list[Json]] = {}
    for row in found:
        shown.setdefault(row.start, []).append(
            {
                "metric": row.metric,
                "usage": row.usage_mean,
                "usage_min": row.usage_min,
                "usage_max": row.usage_max,
                "demand": row.demand_mean,
                "seconds": dict(row.seconds),
                "causes": json.loads(row.causes),
            }
        )
    by_start: list[Json] = [{"at": times.show(start), "objectives": listed} for start, listed in shown.items()]
    return by_start[:LARGEST_POINTS]
