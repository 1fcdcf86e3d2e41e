"""Who holds what on a host, who uses more than it is entitled to, and who offends. For operators."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from stella.api import times
from stella.api.errors import not_found
from stella.api.handlers import host as hosts_shown
from stella.api.handlers import instance as instances_shown
from stella.api.operation import Answer, Call, operation
from stella.api.policies import host as policies
from stella.api.schemas import host_explanation as schema
from stella.control.offender import HOST
from stella.db import hosts, instances, violations
from stella.db.instances import Listed
from stella.db.models import Instance, ViolationRow
from stella.db.paging import Page
from stella.model.wire import Json

SPAN_SECONDS = 3600
_MANY = 10_000
_OF_HOST = ("name", "mode", "silent", "reported_at", "capacity_cpu_cores", "reserved_cpu_cores", "free_cpu_cores")
_OF_INSTANCE = ("uuid", "name", "project_id", "state", "slo_state", "reserved_cpu_cores", "objectives")

Reported = Sequence[tuple[ViolationRow, Instance]]
"""Violations as their host reported them, and whose they are."""


@operation(responses={200: schema.EXPLANATION}, rules=(policies.EXPLAIN,), errors=("stella.request.not_found",))
def show(call: Call) -> Answer:
    """Explain who holds what on a host, who uses more CPU than it is entitled to, and who offended within the last hour.

    Answers 200; 404 when there is no such host, 403 for those who are not operators.
    """
    call.require(policies.EXPLAIN)
    since = call.services.clock() - SPAN_SECONDS
    with call.services.database.reader() as session:
        host = hosts.find(session, call.path["name"])
        if host is None:
            raise not_found(f"Host {call.path['name'][:64]}")
        at = Page(limit=_MANY, marker=None, key="name")
        there = instances.page(session, at, host=host.name, with_gone=False)
        lately = violations.lately_on(session, host.id, since, largest=_MANY)
        (figures,) = hosts_shown.shown(call, session, [host])
    told: Mapping[str, Any] = json.loads(host.reported)
    offences = _by(lambda row, _: row.offender, lately)
    own = _by(lambda _, victim: victim.uuid, lately)
    services = _cpu((told.get("overhead") or {}).get("cpu_cores"), (told.get("reserved") or {}).get("host_cpu_cores"))
    rows = [_show(one, offences.get(one[0].uuid, ()), own.get(one[0].uuid, ())) for one in there]
    rows.sort(key=lambda row: (-row["offences"]["missed_seconds"], -(row["excess_cpu_cores"] or 0.0), row["name"]))
    shown: list[Json] = [*rows]
    return Answer(
        body={
            **{name: figures[name] for name in _OF_HOST},
            "since": times.show(since),
            "host_services": {**services, "offences": _offences(offences.get(HOST, ()))},
            "instances": shown,
        }
    )


def _by(key: Callable[[ViolationRow, Instance], str | None], reported: Reported) -> Mapping[str, Reported]:
    found: dict[str, list[tuple[ViolationRow, Instance]]] = {}
    for one in reported:
        if (uuid := key(*one)) is not None:
            found.setdefault(uuid, []).append(one)
    return found


def _show(listed: Listed, offences: Reported, own: Reported) -> dict[str, Any]:
    instance, _, slo = listed
    shown = instances_shown.shown(listed, with_host=True)
    cpu = json.loads(instance.reported).get("cpu") or {}
    return {
        **{name: shown[name] for name in _OF_INSTANCE},
        **_cpu(cpu.get("used_cores"), cpu.get("entitled_cores")),
        "guaranteed": json.loads(slo.objectives or "{}") if slo is not None else {},
        "violations": len(own),
        "missed_seconds": _missed(row for row, _ in own),
        "offences": _offences(offences),
    }


def _cpu(used: Json, entitled: Json) -> dict[str, Json]:
    used_cores, entitled_cores = hosts_shown.amount(used), hosts_shown.amount(entitled)
    known = used_cores is not None and entitled_cores is not None
    return {
        "used_cpu_cores": used_cores,
        "entitled_cpu_cores": entitled_cores,
        "excess_cpu_cores": max(0.0, (used_cores or 0.0) - (entitled_cores or 0.0)) if known else None,
    }


def _offences(found: Reported) -> dict[str, Json]:
    by_victim: dict[str, list[ViolationRow]] = {}
    names = {instance.uuid: instance.name for _, instance in found}
    for row, instance in found:
        by_victim.setdefault(instance.uuid, []).append(row)
    victims = sorted(by_victim, key=lambda uuid: (-_missed(by_victim[uuid]), names[uuid], uuid))
    return {
        "violations": len(found),
        "lasting": sum(row.closed_at is None for row, _ in found),
        "missed_seconds": _missed(row for row, _ in found),
        "victims": [{"uuid": uuid, "name": names[uuid]} for uuid in victims],
    }


def _missed(rows: Iterable[ViolationRow]) -> float:
    return sum(violations.episode_of(row).missed_seconds or 0.0 for row in rows)
