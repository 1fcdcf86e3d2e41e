"""Hosts: what they can hold, what they hold, what they are to do. For operators."""

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import cast

from stella.api import conditions, pages, times, whys
from stella.api.attempts import attempts
from stella.api.errors import ApiError, not_found
from stella.api.operation import Answer, Call, operation
from stella.api.policies import host as policies
from stella.api.schemas import host as schema
from stella.db import decisions, hosts, instances, violations
from stella.db.database import Session
from stella.db.models import Host
from stella.model.wire import Json


def _silent_before(call: Call) -> float:
    return float(call.services.clock() - call.services.config.link.silent_seconds)


def _show(call: Call, session: Session, found: Sequence[Host]) -> list[Json]:
    ids = [host.id for host in found]
    counts, lasting = instances.counts(session, ids), violations.open_by_host(session, ids)
    return [_show_one(call, host, counts.get(host.id, 0), lasting.get(host.id, 0)) for host in found]


def _show_one(call: Call, host: Host, count: int, lasting: int) -> dict[str, Json]:
    reported = json.loads(host.reported)
    return {
        "name": host.name,
        "generation": host.generation,
        "mode": host.mode,
        "enrolled": host.credential_sha256 is not None,
        "silent": host.reported_at is None or host.reported_at < _silent_before(call),
        "capacity_cpu_cores": host.capacity_cpu_cores,
        "reserved_cpu_cores": max(0.0, host.reserved_cpu_cores),
        "free_cpu_cores": None if host.capacity_cpu_cores is None else host.free_cpu_cores,
        "overhead_cpu_cores": _amount(reported.get("overhead", {}).get("cpu_cores")),
        "cpus": len(json.loads(host.cpus)),
        "instances": count,
        "open_violations": lasting,
        "agent": host.agent,
        "capabilities": reported.get("capabilities", {}),
        "lacking_why": _lacking(reported.get("capabilities", {})),
        "versions": reported.get("versions", {}),
        "reported_at": times.show_known(host.reported_at),
        "relief_mode": host.relief_mode,
        "fenced_at": times.show_known(host.fenced_at if _is_fenced(host) else None),
    }


def _is_fenced(host: Host) -> bool:
    return host.fenced_at is not None and host.fenced_at >= (host.reported_at or 0.0)


def _lacking(capabilities: Mapping[str, Json]) -> dict[str, Json]:
    return {name: whys.of(str(told or "")) for name, told in capabilities.items() if told is not True}


def _amount(told: Json) -> float | None:
    """What a host tells of itself in an open part of its report."""
    is_amount = isinstance(told, int | float) and not isinstance(told, bool) and told >= 0
    return float(cast(float, told)) if is_amount else None


@operation(query=schema.LIST_QUERY, responses={200: schema.LIST}, rules=(policies.LIST,))
def index(call: Call) -> Answer:
    """List hosts, by name or as `sort` has it.

    Answers 200; 403 for those who are not operators.
    """
    call.require(policies.LIST)
    with call.services.database.reader() as session, pages.marked():
        at = pages.at(call, default="name", marker=pages.text(call, "marker"))
        found = hosts.page(
            session,
            at,
            mode=pages.text(call, "mode"),
            name_contains=pages.text(call, "name_contains"),
            silent=None if call.query.get("silent") is None else bool(call.query["silent"]),
            silent_before=_silent_before(call),
        )
        shown = _show(call, session, found)
    return Answer(body=pages.page(call, "hosts", shown, found[-1].name if found else None))


def _find(call: Call, session: Session) -> Host:
    host = hosts.find(session, call.path["name"])
    if host is None:
        raise not_found(f"Host {call.path['name'][:64]}")
    return host


def _shown(call: Call) -> Answer:
    with call.services.database.reader() as session:
        host = _find(call, session)
        (shown,) = _show(call, session, [host])
    return Answer(body=shown, etag=conditions.etag(host.generation))


@operation(responses={200: schema.HOST}, rules=(policies.SHOW,), errors=("stella.request.not_found",))
def show(call: Call) -> Answer:
    """Show a host.

    Answers 200 with its generation as `ETag`; 404 when there is no such host, 403 for those who are not operators.
    """
    call.require(policies.SHOW)
    return _shown(call)


@operation(
    body=schema.PATCH,
    responses={200: schema.HOST},
    rules=(policies.UPDATE,),
    errors=(
        "stella.request.not_found",
        "stella.request.conflict",
        "stella.host.generation_conflict",
        "stella.host.reports",
    ),
)
def patch(call: Call) -> Answer:
    """Change the mode of a host, its mode of relief, or say that it is fenced.

    `mode`: `observe` changes nothing on it, `enforce` keeps SLOs, `maintenance` leaves it out. `fenced` says that nothing runs on a
    dead host any more: its instances may then be started elsewhere. Answers 200 with the host. Where `generation` or `If-Match` is
    given it must be the host's, else 409; 409 also for a fence of a host that reports.
    """
    call.require(policies.UPDATE)
    given = call.mapping.get("generation")
    for _ in attempts():
        with call.services.database.reader() as session:
            host = _find(call, session)
        if given is not None or call.if_match is not None:
            conditions.check_generation(
                call, given, host.generation, code="stella.host.generation_conflict", what=f"Host {host.name}"
            )
        wanted = _changes(call, host)
        if not wanted or call.services.database.write(partial(_set, call, host=host, wanted=wanted)):
            return _shown(call)
    raise ApiError("stella.request.conflict", "The host was changed by others each time this was tried; try again.")


def _changes(call: Call, host: Host) -> dict[str, object]:
    """The columns that are to be set. Raises `ApiError`."""
    body = call.mapping
    wanted: dict[str, object] = {name: body[name] for name in ("mode", "relief_mode") if name in body}
    if body.get("fenced") and not _is_fenced(host):
        if host.reported_at is not None and host.reported_at >= _silent_before(call):
            reason = f"Host {host.name} reports, so it runs; stop it, and say that it is fenced once it is silent."
            raise ApiError("stella.host.reports", reason, field="fenced")
        wanted["fenced_at"] = call.services.clock()
    elif body.get("fenced") is False:
        wanted["fenced_at"] = None
    return {name: value for name, value in wanted.items() if getattr(host, name) != value}


def _set(call: Call, session: Session, *, host: Host, wanted: Mapping[str, object]) -> bool:
    more = {"intent_revision": host.intent_revision + 1} if "mode" in wanted else {}
    if not hosts.swap(session, host, **wanted, **more):
        return False
    told = {
        "mode": (decisions.HOST_MODE, f"mode {host.mode} -> {wanted.get('mode')}"),
        "relief_mode": (
            decisions.HOST_MODE,
            f"relief {_relief(host.relief_mode)} -> {_relief(wanted.get('relief_mode'))}",
        ),
        "fenced_at": (
            decisions.HOST_FENCED,
            "fenced" if wanted.get("fenced_at") is not None else "not fenced any more",
        ),
    }
    for name in wanted:
        kind, reason = told[name]
        decisions.record(session, kind, origin=call.origin, reason=reason, host_id=host.id)
    return True


def _relief(mode: object) -> str:
    return str(mode) if mode is not None else "as the cloud"
