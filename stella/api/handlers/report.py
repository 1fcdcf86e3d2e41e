"""Reports of a host's agent, with the host's own credential."""

from collections.abc import Mapping
from typing import Any

from stella.api import ingestion
from stella.api.errors import ApiError
from stella.api.operation import Access, Answer, Call, operation
from stella.api.schemas import report as schema
from stella.conf.retention import Retention
from stella.db import minutes
from stella.db.database import Session
from stella.model.report import MINUTE_SECONDS
from stella.model.wire import Json


def _check_seconds(number: int, minute: Mapping[str, Any]) -> None:
    """Raises `ApiError` for a row with more seconds than it lasts: each second has one status."""
    counted = sum(minute["counts"].get(name, 0) for name in minutes.COUNTS)
    if counted > minute.get("span_seconds", MINUTE_SECONDS):
        field = f"minutes[{number}].counts"
        raise ApiError("stella.request.invalid", f"{field} has {counted} seconds, more than it lasts.", field=field)


def _check_moment(field: str, at: float, horizon: float) -> None:
    """Raises `ApiError` for what is later than a clock can be off."""
    if at > horizon:
        raise ApiError("stella.report.clock_offset", f"{field} is in the future.", field=field)


@operation(
    access=Access.HOST,
    body=schema.REPORT,
    responses={200: schema.ACCEPTED},
    errors=("stella.request.not_found", "stella.report.clock_offset"),
)
def post(call: Call) -> Answer:
    """Take in what a host reports.

    Answers 200. The same report may come twice, and reports in any order: a minute is kept once, an older report changes nothing
    that a newer one said. 400 when the host's clock is off; 401 without a host's credential, 404 with that of
    another host.
    """
    report, now, link = call.mapping, call.services.clock(), call.services.config.link
    offset = float(report["sent_at"]) - now
    if abs(offset) > link.largest_clock_offset_seconds:
        raise ApiError(
            "stella.report.clock_offset",
            f"sent_at is {offset:+.0f} s from this server's clock; synchronise the clocks.",
            field="sent_at",
        )
    horizon = now + link.largest_clock_offset_seconds
    for number, minute in enumerate(report.get("minutes", ())):
        _check_seconds(number, minute)
        _check_moment(f"minutes[{number}].start", minute["start"], horizon)
    for number, violation in enumerate(report.get("violations", ())):
        opened_at, closed_at = violation["opened_at"], violation.get("closed_at")
        _check_moment(f"violations[{number}].opened_at", opened_at, horizon)
        if closed_at is not None:
            field = f"violations[{number}].closed_at"
            _check_moment(field, closed_at, horizon)
            if closed_at < opened_at:
                raise ApiError("stella.request.invalid", f"{field} is before opened_at.", field=field)

    def take(session: Session) -> ingestion.Taken:
        return ingestion.take(
            session,
            call.linked_host.id,
            report,
            origin=call.origin,
            silent_seconds=link.silent_seconds,
            minute_retention_seconds=Retention.of(call.services.config).minute_seconds,
            clock_offset_seconds=link.largest_clock_offset_seconds,
        )

    taken = call.services.database.write(take)
    call.services.metrics.reported(len(taken.ignored))
    ignored: list[Json] = [{"uuid": uuid, "reason": reason} for uuid, reason in taken.ignored]
    body: dict[str, Json] = {"accepted_sequence": taken.sequence, "stored_minutes": taken.stored_minutes}
    return Answer(body={**body, "ignored": ignored})
