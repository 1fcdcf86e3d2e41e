"""Candidates: which hosts could take an instance with an SLO, and why the others could not. For schedulers and operators."""

import contextlib
import json
from collections.abc import Sequence
from dataclasses import replace

from stella.admission import verdicts
from stella.api import candidates, whys
from stella.api.candidates import Candidate, Newcomer
from stella.api.errors import ApiError
from stella.api.operation import Answer, Call, operation
from stella.api.policies import candidate as policies
from stella.api.schemas import candidate as schema
from stella.control.admission import InstanceShape
from stella.db import decisions, instances
from stella.db.database import Conflict, Session, Unreachable
from stella.db.models import SloRow
from stella.model.flavor import slo_of
from stella.model.slo import InvalidSlo, Slo, parse_slo, show_slo
from stella.model.slo_union import together
from stella.model.wire import Json

_RECORDED_HOSTS = 50


def _asked(call: Call) -> Slo | None:
    """The SLO in the body, as objectives or as extra specs of a flavor; None: only what the instance has. Raises `ApiError`."""
    if not {"objectives", "extra_specs"} & call.mapping.keys():
        return None
    field = "objectives" if "objectives" in call.mapping else "extra_specs"
    try:
        slo = parse_slo(call.mapping[field]) if field == "objectives" else slo_of(call.mapping[field])
    except InvalidSlo as error:
        raise ApiError("stella.slo.invalid", f"{field}.{error}.", field=f"{field}.{error.field}") from None
    if slo is None:
        raise ApiError("stella.slo.invalid", "extra_specs has no stella:slo_* that guarantees anything.", field=field)
    return slo


def _newcomer(call: Call, session: Session, asked: Slo | None) -> Newcomer | None:
    """What is to be placed; None where nothing is asked for and the instance has no SLO of its own."""
    margin = call.services.config.link.reservation_margin_ratio
    shape = InstanceShape(vcpus=call.mapping["vcpus"])
    uuid = call.mapping.get("instance")
    placed = instances.find_placed(session, uuid.lower()) if uuid else None
    slo = _with_added(asked, placed[2]) if placed is not None else asked
    if slo is None:
        return None
    if placed is None:
        return Newcomer(slo=slo, shape=shape, costs={}, margin=margin)
    instance, _, _ = placed
    return Newcomer(
        slo=slo,
        shape=replace(verdicts.shape_of_text(instance.shape), vcpus=shape.vcpus, allowed_cpus=None),
        costs=verdicts.learned_costs(instance),
        margin=margin,
        instance_id=instance.id,
    )


def _with_added(slo: Slo | None, row: SloRow | None) -> Slo | None:
    """``slo`` with what the instance's user asked for beside its flavor, which stays; what the present flavor sells does not.

    None where there is neither.
    Raises `ApiError` where they contradict one another: nowhere could both be in force.
    """
    if row is None or row.added is None:
        return slo
    added = parse_slo(json.loads(row.added))
    try:
        return together(slo, added) if slo is not None else added
    except InvalidSlo as error:
        message = f"{error}, beside what was added to the instance."
        raise ApiError("stella.slo.invalid", message, field=error.field) from None


def _show(candidate: Candidate) -> dict[str, Json]:
    return {
        "host": candidate.host,
        "fits": candidate.fits,
        "reason": candidate.reason or None,
        "why": whys.of(candidate.reason),
        "reserved_cpu_cores": candidate.reserved_cpu_cores,
        "head_room_ratio": candidate.head_room_ratio,
        "attainment_ratio": candidate.attainment_ratio,
        "largest": dict(candidate.largest or {}),
    }


def _record(call: Call, slo: Slo, found: Sequence[Candidate]) -> None:
    """Keep that no host fits. The scheduler waits, so a database that is busy with others is not waited for twice."""
    detail = {
        "instance": call.mapping.get("instance"),
        "vcpus": call.mapping["vcpus"],
        "objectives": show_slo(slo),
        "hosts": {one.host: one.reason for one in found[:_RECORDED_HOSTS]},
    }
    reason = f"none of {len(found)} hosts can take the instance" if len(found) != 1 else "the one host cannot take it"
    first = f", such as {found[0].host}: {found[0].reason}" if found else ""
    with contextlib.suppress(Unreachable, Conflict):
        call.services.database.write(
            lambda session: decisions.record(
                session, decisions.NO_CANDIDATE, origin=call.origin, reason=reason + first, detail=detail
            )
        )


@operation(
    body=schema.POST,
    responses={200: schema.LIST},
    rules=(policies.LIST,),
    errors=("stella.slo.invalid",),
)
def post(call: Call) -> Answer:
    """List hosts, and whether each could take an instance with this SLO; nothing is reserved.

    Answers 200 with a candidate for each host that was named, in that order, known or not, or for all. Of an `instance` that Stella
    knows, what its user added to its flavor's SLO is counted too; 400 where that contradicts this one. Without an SLO in the request
    what was added is asked for alone; it fits everywhere where there is none. With `record`, a decision
    `no_candidate` is kept where none fits. 403 for those who are neither operators nor a service.
    """
    call.require(policies.LIST)
    asked, services = _asked(call), call.services
    with services.database.reader() as session:
        newcomer = _newcomer(call, session, asked)
        if newcomer is None:
            everywhere: list[Json] = [_show(Candidate(host=name, fits=True)) for name in call.mapping["hosts"]]
            return Answer(body={"candidates": everywhere})
        found = candidates.find(
            session,
            newcomer,
            names=call.mapping.get("hosts"),
            attainments=services.attainments,
            holdings=services.holdings,
            silent_before=services.clock() - services.config.link.silent_seconds,
            with_largest=bool(call.mapping.get("with_largest")),
        )
    if call.mapping.get("record") and not any(one.fits for one in found):
        _record(call, newcomer.slo, found)
    shown: list[Json] = [_show(one) for one in found]
    return Answer(body={"candidates": shown})
