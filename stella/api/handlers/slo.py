"""The SLO of an instance: accepted by compare-and-swap on its host's generation, so that no capacity is guaranteed twice."""

import json
from collections.abc import Mapping
from typing import Any

from stella.admission import changes, verdicts
from stella.admission.failover import Found
from stella.admission.verdicts import Verdict
from stella.api import conditions, failover, limits, relief, sla_budgets, slo_changes, times, whys
from stella.api.attempts import attempts
from stella.api.errors import ApiError, not_found
from stella.api.operation import Answer, Call, operation
from stella.api.policies import host as host_policies
from stella.api.policies import instance as instance_policies
from stella.api.policies import slo as policies
from stella.api.projects import visible_instance
from stella.api.schemas import slo as schema
from stella.api.slo_changes import Asked
from stella.clouds.port import NoRoom
from stella.db import decisions, hosts, slos
from stella.db.database import Session
from stella.db.models import Instance, SloRow
from stella.model.resources import BY_METRIC, CLASSES
from stella.model.slo import InvalidSlo, Slo, parse_slo, show_slo
from stella.model.wire import Json
from stella.sla import offers

_OFFERED_HOSTS = 4
"""A refusal asks so many other hosts, those with the most free CPU: what fits on none of these hardly fits anywhere."""


def _show(call: Call, session: Session, host: str, instance: Instance, row: SloRow) -> dict[str, Json]:
    for_operator = call.allows(instance_policies.SHOW_HOST)
    return {
        "uuid": instance.uuid,
        "generation": row.generation,
        "objectives": json.loads(row.objectives or "{}"),
        "flavor_objectives": json.loads(instance.flavor_objectives or "{}"),
        "added_objectives": json.loads(row.added or "{}"),
        "priority": row.priority,
        "reserved_cpu_cores": row.reserved_cpu_cores,
        "estimated": row.estimated,
        "state": row.state,
        **whys.told(row.reason, host=host, for_operator=for_operator),
        "largest": json.loads(row.largest),
        **limits.show(instance, row),
        "failover": failover.show(call, session, instance),
        "changed_at": times.show(row.changed_at),
    }


def _shown(call: Call, host: str, instance: Instance, row: SloRow, status: int = 200) -> Answer:
    with call.services.database.reader() as session:
        body = _show(call, session, host, instance, row)
    return Answer(status=status, body=body, etag=conditions.etag(row.generation))


@operation(responses={200: schema.SLO}, rules=(policies.SHOW,), errors=("stella.request.not_found",))
def show(call: Call) -> Answer:
    """Show the SLO of an instance.

    Answers 200 with its generation as `ETag`, or 404 when there is no such instance or it has no SLO.
    """
    with call.services.database.reader() as session:
        instance, host, row = visible_instance(call, session, policies.SHOW)
    if row is None or row.objectives is None:
        raise not_found(f"An SLO of instance {instance.uuid}")
    return _shown(call, host, instance, row)


def _asked(body: Mapping[str, Any]) -> Slo:
    """The SLO in the body; its priority is that of each objective that names none. Raises `ApiError`."""
    priority = body.get("priority", 0)
    try:
        asked = {name: {"priority": priority, **_given(keys)} for name, keys in body["objectives"].items()}
        return parse_slo(asked)
    except InvalidSlo as error:
        field = f"objectives.{error.field}" if error.field != "slo" else "objectives"
        raise ApiError("stella.slo.invalid", f"objectives.{error}.", field=field) from None


def _given(keys: Mapping[str, Any]) -> Mapping[str, Any]:
    return {key: value for key, value in keys.items() if value is not None}


def _require_able(present: Asked, slo: Slo) -> None:
    """Raises `ApiError` for what no value of the objectives would cure."""
    if present.instance.state == "gone":
        raise ApiError("stella.slo.instance_not_running", "The instance is not on the host where it last ran.")
    if present.host.capacity_cpu_cores is None:
        raise ApiError(
            "stella.slo.host_not_reported", "The instance's host has not reported its capacity yet; try again."
        )
    if present.host.mode != "enforce":
        raise ApiError("stella.slo.host_not_enforcing", f"The instance's host is in mode {present.host.mode}.")
    missing = verdicts.unsupported(slo, present.host)
    if missing is not None:
        field, reason = missing
        raise ApiError("stella.slo.not_supported", f"objectives.{field}: {reason}.", field=f"objectives.{field}")


def _refused(call: Call, present: Asked, kind: str, refusal: ApiError, slo: Slo) -> ApiError:
    """The refusal, kept as a decision unless nothing was to change anyway."""
    if not call.query.get("dry_run"):
        slo_changes.record(call, present, kind, refusal.detail, slo)
    return refusal


def _require_quota(call: Call, present: Asked, slo: Slo, reserved_cpu_cores: float | None = None) -> None:
    """Raises `ApiError` (403) where the project's quota does not leave what ``slo`` asks for."""
    refusal = present.quota.refusal(slo, reserved_cpu_cores) if present.quota is not None else None
    if refusal is not None:
        raise _refused(call, present, decisions.SLO_OVER_QUOTA, refusal, slo)


def _require_below_limits(call: Call, present: Asked, added: Slo) -> None:
    """Raises `ApiError` (422) for a floor that a limit from outside Stella makes unreachable, unless it was in force before."""
    refusal = limits.refusal(added, present.instance, before=present.all)
    if refusal is not None:
        raise _refused(call, present, decisions.SLO_ABOVE_LIMIT, refusal, added)


def _require_class_allows(call: Call, present: Asked, added: Slo) -> None:
    """Raises `ApiError` (422) for what the SLA class of the instance does not allow, unless it was in force before."""
    with call.services.database.reader() as session:
        row = sla_budgets.of_instance(session, present.instance.id, call.services.clock())
    if row is None:
        return
    size, allowed = sla_budgets.size_of(present.instance), sla_budgets.offers_of(row)
    found = offers.refusal(added, allowed, size, before=present.all)
    if found is not None:
        field = f"objectives.{found.field}"
        extra: dict[str, Json] = (
            {"largest": {found.field.partition(".")[0]: found.largest}} if found.largest is not None else {}
        )
        refusal = ApiError(
            "stella.sla.not_allowed", f"{field}: {found.message} ({row.name}).", field=field, extra=extra
        )
        raise _refused(call, present, decisions.SLO_ABOVE_LIMIT, refusal, added)


def _does_not_fit(call: Call, present: Asked, slo: Slo, verdict: Verdict) -> ApiError:
    """The refusal with its counter-offer: the largest that fits here, where it would fit as asked, and what would have to move."""
    margin = call.services.config.link.reservation_margin_ratio
    fitting: list[str] = []
    with call.services.database.reader() as session:
        others = hosts.candidates(session, except_id=present.host.id, limit=_OFFERED_HOSTS)
        held = slos.holdings(session, [host.id for host in others])
        for host in others:
            if not verdicts.may_fit(slo, host=host, instance=present.instance, margin=margin):
                continue
            if verdicts.would_fit(slo, host=host, instance=present.instance, holdings=held[host.id], margin=margin):
                fitting.append(host.name)
        moving = call.allows(policies.SHOW_MOVES)
        moves = (
            relief.moves(session, present, slo, others=[(host, held[host.id]) for host in others], margin=margin)
            if moving
            else []
        )
    offer: dict[str, Json] = {"largest": dict(verdict.largest), "elsewhere": bool(fitting)}
    if moving:
        offer["moves"] = moves
    if call.allows(host_policies.SHOW):
        offer["hosts"] = list(fitting)
    field = f"objectives.{verdict.field}" if verdict.field != "objectives" else verdict.field
    return ApiError(
        "stella.slo.does_not_fit", f"{field}: {verdict.message}.", field=field, extra={"counter_offer": offer}
    )


@operation(
    query=schema.PUT_QUERY,
    body=schema.PUT,
    responses={200: schema.SLO_OR_DRY_RUN, 201: schema.SLO},
    rules=(policies.SET, policies.SHOW_MOVES),
    errors=(
        "stella.slo.invalid",
        "stella.request.not_found",
        "stella.request.conflict",
        "stella.slo.generation_conflict",
        "stella.slo.instance_not_running",
        "stella.slo.host_not_reported",
        "stella.slo.host_not_enforcing",
        "stella.slo.not_supported",
        "stella.slo.above_limit",
        "stella.slo.does_not_fit",
        "stella.slo.no_failover",
        "stella.sla.not_allowed",
        "stella.quota.exceeded",
        "stella.server.placement_unreachable",
    ),
)
def put(call: Call) -> Answer:
    """Set the SLO of an instance: all that its user asks for, what was there before is replaced. What its flavor sells is added to it.

    Answers 201, or 200 where there was one, with the SLO as `pending` until its host acknowledges it. With `dry_run` it answers
    200 with what would be reserved, and nothing is changed. Who replaces an SLO names its generation, as `generation` or in
    `If-Match`; 409 says that it has another. 422 says that it does not fit, with the largest values that would as `counter_offer`.
    422 `stella.slo.above_limit` says that a limit of the flavor, of Neutron or of Cinder is below the floor, and names it in `limit`.
    422 `stella.sla.not_allowed` says that the instance's SLA class has no such objective, or the largest value that it allows.
    422 `stella.slo.no_failover` says that the class promises to survive the loss of a host, and no other host could take so much.
    403 `stella.quota.exceeded` says that the project's quota does not leave so much, and how much it leaves.
    """
    try:
        answer = _put(call)
    except ApiError as error:
        call.services.metrics.asked(error.code, dry_run=bool(call.query.get("dry_run")))
        raise
    call.services.metrics.asked(None, dry_run=bool(call.query.get("dry_run")))
    return answer


def _put(call: Call) -> Answer:
    added = _asked(call.mapping)
    for _ in attempts():
        with call.services.database.reader() as session:
            present = slo_changes.read(call, session, policies.SET, with_quota=True)
        conditions.check_generation(
            call,
            call.mapping.get("generation"),
            present.kept.generation if present.kept else None,
            code="stella.slo.generation_conflict",
            what="The SLO",
        )
        slo = _beside_flavor(present, added)
        _require_able(present, slo)
        _require_below_limits(call, present, added)
        _require_class_allows(call, present, added)
        _require_quota(call, present, slo)
        verdict = _admitted(call, present, slo)
        _require_quota(call, present, slo, verdict.reserved_cpu_cores)
        place = _place(call, present, slo, verdict)
        if call.query.get("dry_run"):
            return Answer(body=_dry_run(present, slo, verdict))
        stored = _changed(call, present, slo, added, verdict, place)
        if stored is not None:
            return _shown(call, present.host.name, present.instance, stored, status=200 if present.kept else 201)
    raise ApiError("stella.request.conflict", "The host was changed by others each time this was tried; try again.")


def _beside_flavor(present: Asked, added: Slo) -> Slo:
    """All that is to be in force: what the flavor sells, and ``added``. Raises `ApiError` where they contradict one another."""
    try:
        return changes.union(present.flavor, added) or added
    except InvalidSlo as error:
        message = f"objectives.{error}, beside what the instance's flavor guarantees."
        raise ApiError("stella.slo.invalid", message, field=f"objectives.{error.field}") from None


def _admitted(call: Call, present: Asked, slo: Slo) -> Verdict:
    """Raises `ApiError` where ``slo`` does not fit."""
    margin = call.services.config.link.reservation_margin_ratio
    verdict = verdicts.ask(
        slo,
        host=present.host,
        instance=present.instance,
        holdings=present.holdings,
        margin=margin,
        with_room=bool(call.query.get("dry_run")),
    )
    if not verdict.accepted:
        raise _refused(call, present, decisions.SLO_DOES_NOT_FIT, _does_not_fit(call, present, slo, verdict), slo)
    return verdict


def _place(call: Call, present: Asked, slo: Slo, verdict: Verdict) -> Found | None:
    """Raises `ApiError` where the class asks for a place on another host and there is none."""
    try:
        return failover.place(call, present, slo, verdict)
    except ApiError as refusal:
        raise _refused(call, present, decisions.SLO_DOES_NOT_FIT, refusal, slo) from None


def _changed(
    call: Call, present: Asked, slo: Slo, added: Slo | None, verdict: Verdict, place: Found | None
) -> SloRow | None:
    """The SLO as it is then; None: read and decide again. Raises `ApiError` where the ledger has no room."""
    priority = call.mapping.get("priority", 0) if added is not None else 0
    wanted = changes.terms(slo, added=added, verdict=verdict, priority=priority)
    try:
        return slo_changes.change_slo(call, present, wanted, place=place)
    except NoRoom as full:
        raise _refused(
            call, present, decisions.SLO_DOES_NOT_FIT, _does_not_fit(call, present, slo, _without_room(slo, full)), slo
        ) from None


def _without_room(slo: Slo, full: NoRoom) -> Verdict:
    """The refusal of a host whose ledger is full, in the words of admission."""
    metric = next((metric for metric, one in BY_METRIC.items() if one.name == full.resource_class), None)
    sold = next(one for one in CLASSES if one.name == full.resource_class)
    largest = {metric.value: sold.value(full.free)} if metric is not None and full.free > 0 else {}
    return Verdict(
        accepted=False,
        reserved_cpu_cores=0.0,
        reserved_io_ratio=0.0,
        estimated=False,
        field=f"{metric.value}.floor" if metric is not None else "objectives",
        message=f"Placement has room for {full.free} {sold.unit} ({sold.name}) on this host, what the instance holds included",
        largest=largest,
    )


def _dry_run(present: Asked, slo: Slo, verdict: Verdict) -> dict[str, Json]:
    objectives: Any = show_slo(slo)
    largest = present.quota.within(verdict.largest) if present.quota is not None else verdict.largest
    return {
        "accepted": True,
        "reserved_cpu_cores": verdict.reserved_cpu_cores,
        "estimated": verdict.estimated,
        "objectives": objectives,
        "largest": limits.within(largest, slo, present.instance),
        "contradictions": limits.show_contradictions(slo, limits.of_instance(present.instance)),
    }


@operation(
    query=schema.DELETE_QUERY,
    responses={204: None},
    rules=(policies.DELETE,),
    errors=(
        "stella.request.not_found",
        "stella.request.conflict",
        "stella.slo.generation_conflict",
        "stella.slo.of_flavor",
        "stella.slo.does_not_fit",
        "stella.slo.no_failover",
        "stella.server.placement_unreachable",
    ),
)
def delete(call: Call) -> Answer:
    """Withdraw the SLO of an instance: what its flavor sells stays in force.

    Answers 204. The caller names its generation, as `generation` or in `If-Match`; 409 says that it has another. 404 when there is
    none. 409 `stella.slo.of_flavor` when all of it comes with the flavor.
    """
    given = call.query.get("generation")
    for _ in attempts():
        with call.services.database.reader() as session:
            present = slo_changes.read(call, session, policies.DELETE)
        if present.kept is None:
            raise not_found(f"An SLO of instance {present.instance.uuid}")
        conditions.check_generation(
            call,
            given if isinstance(given, int) else None,
            present.kept.generation,
            code="stella.slo.generation_conflict",
            what="The SLO",
        )
        if present.flavor is not None and present.added is None:
            raise ApiError(
                "stella.slo.of_flavor",
                "The SLO comes with the instance's flavor; resize to another flavor to be rid of it.",
            )
        if _withdrawn(call, present) is not None:
            return Answer(status=204)
    raise ApiError("stella.request.conflict", "The host was changed by others each time this was tried; try again.")


def _withdrawn(call: Call, present: Asked) -> SloRow | None:
    """Take away what the user added; None: read and decide again."""
    flavor = present.flavor
    if flavor is None:
        return slo_changes.change_slo(call, present, None)
    row = present.kept
    if row is not None and row.state == slos.SUSPENDED:  # stella-engine resumes it where there is room
        return slo_changes.change_slo(call, present, changes.suspended(flavor, added=None, because=row.reason))
    verdict = _admitted(call, present, flavor)
    return _changed(call, present, flavor, None, verdict, _place(call, present, flavor, verdict))
