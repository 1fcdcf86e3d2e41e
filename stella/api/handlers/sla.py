"""SLA classes: what is promised over a month, and what is owed when it is missed."""

import json
import uuid as uuids
from collections.abc import Mapping
from typing import Any

from stella.api import conditions, pages, slas, times
from stella.api.errors import ApiError
from stella.api.operation import Answer, Call, operation
from stella.api.policies import sla as policies
from stella.api.schemas import sla as schema
from stella.db import slas as db
from stella.db.database import Session
from stella.db.sla_models import Sla
from stella.model import wire
from stella.model.attainment import TOLERANCE_RATIO
from stella.model.wire import Json
from stella.sla import offers, periods
from stella.sla import terms as sla_terms
from stella.sla.periods import InvalidPeriod
from stella.sla.terms import InvalidTerms, Terms

_UTC = "UTC"


def _invalid(prefix: str, error: InvalidTerms) -> ApiError:
    return ApiError("stella.sla.invalid", f"{prefix}{error}.", field=f"{prefix}{error.field}")


def _terms(given: Mapping[str, Any]) -> Terms:
    """The terms in a body. Raises `ApiError` (400)."""
    try:
        return sla_terms.parse({name: value for name, value in given.items() if value is not None or name == "price"})
    except InvalidTerms as error:
        raise _invalid("terms.", error) from None


def _offers(given: Mapping[str, Any]) -> str:
    """What an SLO may ask for, as it is stored. Raises `ApiError` (400)."""
    try:
        return wire.dumps(offers.show(offers.parse(given)))
    except InvalidTerms as error:
        raise _invalid("", error) from None


def _show(call: Call, session: Session, row: Sla) -> dict[str, Json]:
    present = periods.month_at(call.services.clock(), slas.zone_of(row))
    now = db.terms_at(session, row.id, present.start)
    newest = db.newest_terms(session, [row.id])[row.id]
    changes = newest.generation != now.generation
    return {
        "uuid": row.uuid,
        "name": row.name,
        "time_zone": row.time_zone,
        "generation": row.generation,
        "terms": sla_terms.show(now.terms),
        "next_terms": sla_terms.show(newest.terms) if changes else None,
        "next_terms_from": times.show(newest.valid_from) if changes else None,
        "tolerance_ratio": str(TOLERANCE_RATIO),
        "objectives": json.loads(row.objectives),
        "failover": row.failover,
        "created_at": times.show(row.created_at),
        "withdrawn_at": times.show_known(row.withdrawn_at),
    }


def _shown(call: Call, uuid: str, status: int = 200) -> Answer:
    with call.services.database.reader() as session:
        row = slas.named(session, uuid)
        return Answer(status=status, body=_show(call, session, row), etag=conditions.etag(row.generation))


@operation(query=schema.LIST_QUERY, responses={200: schema.LIST}, rules=(policies.LIST,))
def index(call: Call) -> Answer:
    """List SLA classes, by name or as `sort` has it.

    Answers 200 with those that are in use; with `withdrawn` also those that were.
    """
    call.require(policies.LIST)
    name = pages.text(call, "name")
    with call.services.database.reader() as session, pages.marked():
        if name is not None:
            one = db.find_in_use(session, name)
            rows = [one] if one is not None else []
        else:
            marker = (pages.text(call, "marker") or "").lower() or None
            at = pages.at(call, default="name", marker=marker)
            rows = list(db.page(session, at, with_withdrawn=bool(call.query.get("withdrawn"))))
        shown: list[Json] = [_show(call, session, row) for row in rows]
    return Answer(body=pages.page(call, "slas", shown, rows[-1].uuid if rows else None))


@operation(responses={200: schema.SLA}, rules=(policies.SHOW,), errors=("stella.request.not_found",))
def show(call: Call) -> Answer:
    """Show an SLA class.

    Answers 200 with its generation as `ETag`, also for one that is withdrawn; 404 where there is none.
    """
    call.require(policies.SHOW)
    return _shown(call, call.path["sla_id"])


def _require_free_name(session: Session, name: str) -> None:
    if db.find_in_use(session, name) is not None:
        raise ApiError("stella.sla.name_in_use", f"name: another SLA class is named {name}.", field="name")


@operation(
    body=schema.POST,
    responses={201: schema.SLA},
    rules=(policies.SET,),
    errors=("stella.sla.invalid", "stella.sla.name_in_use", "stella.request.conflict"),
)
def post(call: Call) -> Answer:
    """Create an SLA class; it counts for what it is attached to.

    Answers 201. 409 `stella.sla.name_in_use` where another has the name; 403 for those who are not administrators.
    """
    call.require(policies.SET)
    given, now = call.mapping, call.services.clock()
    zone_name, terms = given.get("time_zone", _UTC), _terms(given["terms"])
    allowed = _offers(given.get("objectives", {}))
    try:
        zone = periods.zone(zone_name)
    except InvalidPeriod as error:
        raise ApiError("stella.sla.invalid", f"time_zone: {error}.", field="time_zone") from None
    uuid = str(uuids.uuid4())

    def write(session: Session) -> None:
        _require_free_name(session, given["name"])
        row = Sla(
            uuid=uuid,
            name=given["name"],
            name_in_use=given["name"],
            time_zone=zone_name,
            generation=1,
            objectives=allowed,
            failover=given.get("failover", False),
            created_at=now,
            user_id=call.identity.user_id,
        )
        db.add(session, row, terms, valid_from=periods.month_at(now, zone).start)
        detail = {
            "sla": uuid,
            "terms": sla_terms.show(terms),
            "objectives": json.loads(allowed),
            "failover": row.failover,
        }
        slas.record(call, session, f"SLA class {row.name} created", detail=detail)

    call.services.database.write(write)
    return _shown(call, uuid, 201)


@operation(
    body=schema.PATCH,
    responses={200: schema.SLA},
    rules=(policies.SET,),
    errors=(
        "stella.sla.invalid",
        "stella.sla.name_in_use",
        "stella.sla.generation_conflict",
        "stella.request.not_found",
        "stella.request.conflict",
    ),
)
def patch(call: Call) -> Answer:
    """Change an SLA class; what is named is replaced as a whole.

    Answers 200. New terms count from the next period on (`next_terms`), at once only where the class was never attached; a name,
    objectives and failover count at once. The caller names its generation, as `generation` or in `If-Match`; 409 says that it has
    another.
    """
    call.require(policies.SET)
    given, now = call.mapping, call.services.clock()
    terms = _terms(given["terms"]) if "terms" in given else None
    allowed = _offers(given["objectives"]) if "objectives" in given else None

    def write(session: Session) -> None:
        row = slas.in_use_in_path(call, session)
        conditions.check_generation(
            call, given.get("generation"), row.generation, code="stella.sla.generation_conflict", what="The SLA class"
        )
        if given.get("name", row.name) != row.name:
            _require_free_name(session, given["name"])
        row.name = row.name_in_use = given.get("name", row.name)
        row.objectives = allowed if allowed is not None else row.objectives
        row.failover = given.get("failover", row.failover)
        row.generation += 1
        session.flush()
        if terms is not None:
            present = periods.month_at(now, slas.zone_of(row))
            valid_from = present.end if db.was_attached(session, row.id) else present.start
            db.set_terms(session, row, terms, valid_from=valid_from, at=now, user_id=call.identity.user_id)
        changed = ", ".join(name for name in ("name", "terms", "objectives", "failover") if name in given)
        slas.record(
            call, session, f"SLA class {row.name}: {changed or 'nothing'} changed", detail={"sla": row.uuid, **given}
        )

    call.services.database.write(write)
    return _shown(call, call.path["sla_id"])


@operation(
    query=schema.DELETE_QUERY,
    responses={204: None},
    rules=(policies.SET,),
    errors=("stella.sla.attached", "stella.request.not_found", "stella.request.conflict"),
)
def delete(call: Call) -> Answer:
    """Withdraw an SLA class: it can be attached no more, and its name is free. Its reports stay.

    Answers 204. 409 `stella.sla.attached` while it is attached, unless `detach` is asked for.
    """
    call.require(policies.SET)
    now = call.services.clock()

    def write(session: Session) -> None:
        row = slas.in_use_in_path(call, session)
        attached = db.attachments(session, row.id, limit=1, marker=None)
        if attached and not call.query.get("detach"):
            raise ApiError(
                "stella.sla.attached",
                f"SLA class {row.name} is attached to {attached[0].scope} {attached[0].target}; detach it first, or ask for detach.",
                field="detach",
            )
        count = db.detach_all(session, row.id, at=int(now), user_id=call.identity.user_id)
        row.name_in_use, row.withdrawn_at, row.withdrawn_by = None, now, call.identity.user_id
        row.generation += 1
        slas.record(call, session, f"SLA class {row.name} withdrawn, detached from {count}", detail={"sla": row.uuid})

    call.services.database.write(write)
    return Answer(status=204)
