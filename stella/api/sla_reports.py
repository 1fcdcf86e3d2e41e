"""A report put together from the database: what is stored of a period that is final, what is added up of one that is not."""

from collections.abc import Sequence

from stella.api.errors import ApiError
from stella.api.operation import Call
from stella.api.policies import instance as instance_policies
from stella.api.schemas.sla_report import LARGEST_REPORTED
from stella.api.slas import show_correction, show_exclusion
from stella.db import sla_exclusions, sla_members, sla_rows, slas
from stella.db.database import Session
from stella.db.paging import Page
from stella.db.sla_members import Member
from stella.db.sla_models import Exclusion, Sla
from stella.model.wire import Json
from stella.sla import report
from stella.sla.periods import Period
from stella.sla.report import ObjectiveRow, Subject
from stella.sla.spans import Span

_AT_ONCE = 2000
_MANY = 10_000


def members(
    session: Session, sla_id: int, whole: Span, *, project_id: str | None, largest: int, before: int = 0
) -> list[Member]:
    """All members. Raises `ApiError` (400) where there are more than ``largest``, with ``before`` from other classes."""
    found: list[Member] = []
    after: int | None = 0
    while after is not None:
        some, after = sla_members.page(session, sla_id, whole, project_id=project_id, after_id=after, largest=_AT_ONCE)
        found += some
        if before + len(found) > largest:
            detail = f"project: more than {largest} instances are meant; name one project."
            raise ApiError("stella.request.invalid", detail, field="project")
    return found


def make(call: Call, session: Session, row: Sla, period: Period, *, project_id: str | None) -> dict[str, Json]:
    """The report of a period that has begun. ``project_id`` None: of all projects. Raises `ApiError` (400) for too many instances."""
    until = min(period.end, int(call.services.clock()))
    final = sla_rows.closed_at(session, row.id, period.name) is not None
    whole = (period.start, until)
    if final:
        rows: Sequence[ObjectiveRow] = sla_rows.stored(session, row.id, period.name, project_id=project_id)
    else:
        under = members(session, row.id, whole, project_id=project_id, largest=LARGEST_REPORTED)
        rows = sla_rows.live(session, under, sla_rows.windows(session, whole))
    dated = slas.terms_at(session, row.id, period.start)
    for_operator = call.allows(instance_policies.SHOW_HOST)
    reported = {one.uuid for one in rows}
    return report.assemble(
        Subject(
            sla_uuid=row.uuid,
            sla_name=row.name,
            generation=dated.generation,
            time_zone=row.time_zone,
            project_id=project_id,
            period=period,
            until=until,
            final=final,
        ),
        dated.terms,
        rows,
        [
            show_exclusion(one, for_operator=for_operator)
            for one in _exclusions(session, whole, rows, project_id=project_id)
        ],
        [
            show_correction(one, instance, row.uuid)
            for one, instance in sla_exclusions.of_period(session, row.id, period.name)
            if instance.uuid in reported
        ],
    )


def _exclusions(
    session: Session, whole: Span, rows: Sequence[ObjectiveRow], *, project_id: str | None
) -> Sequence[Exclusion]:
    """All of the period for operators; of a project those that reach it, and those that took something out whatever they reach now."""
    found = {one.id: one for one in sla_exclusions.within(session, *whole)}
    if project_id is None:
        return list(found.values())
    at = Page(limit=_MANY, marker=None, key="id")
    reaching = sla_exclusions.exclusions(session, at, project_id=project_id, start=whole[0], until=whole[1])
    ids = {one.id for one in reaching} | {number for row in rows for number in row.excluded}
    return [one for number, one in found.items() if number in ids]
