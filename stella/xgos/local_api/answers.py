"""What the control socket answers: a request into ``{"ok": true, …}``, or ``{"ok": false, "error": {"field": …, "message": …}}``.

Nothing was changed when the answer is not ``ok``.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import cast

import stella
from stella.control.attribution import EvaluationContext, evaluate
from stella.control.capabilities import receiving_note
from stella.control.uplinks import uplinks_of
from stella.model import wire
from stella.model.allocation import InstanceDecision, Intent, ObjectiveReport
from stella.model.attainment import Status
from stella.model.intent import IntentState, Standing
from stella.model.slo import InvalidSlo, Metric, Slo, show_slo
from stella.model.snapshot import UplinkReading
from stella.model.wire import Json
from stella.xgos import supervision
from stella.xgos.accounting.history import primary_reports
from stella.xgos.accounting.violations import Violation
from stella.xgos.intents.changes import Refused
from stella.xgos.local_api.agent_api import AgentApi, Busy, Published
from stella.xgos.local_api.objective_accounts import Accounts, read_accounts
from stella.xgos.local_api.requests import (
    BadRequest,
    Request,
    error_answer,
    find_instance,
    merge_slo,
    parse_request,
    without,
)


def _published(port: AgentApi) -> Published:
    found = port.published()
    if found is None:
        raise BadRequest("agent", "has not finished its first tick yet")
    return found


def _known(published: Published) -> list[tuple[str, str]]:
    names = [(i.uuid, i.name) for i in published.snapshot.instances]
    unnamed = [(uuid, "") for uuid in (*published.intents, *published.standings)]
    return [*names, *((i.uuid, i.name) for i in published.decision.instances), *unnamed]


def _set(request: Request, port: AgentApi, _now: float) -> dict[str, Json]:
    keys, replace, dry_run = request.keys.get("slo"), request.flag("replace"), request.flag("dry_run")
    if not isinstance(keys, Mapping) or not keys:
        raise BadRequest("slo", "must be a mapping of metrics to objectives")
    uuid = find_instance(request.text("instance"), _known(_published(port)))
    accepted = port.change_slo(uuid, lambda old: merge_slo(old, keys, replace=replace), dry_run=dry_run)
    return {
        "uuid": accepted.uuid,
        "generation": accepted.generation,
        "slo": cast(Json, show_slo(accepted.slo)) if accepted.slo else None,
        "reserved_cpu_cores": accepted.reserved_cpu_cores,
        "estimated": accepted.estimated,
        "note": receiving_note(accepted.slo, _published(port).capabilities) if accepted.slo else "",
        "dry_run": dry_run,
    }


def _unset(request: Request, port: AgentApi, _now: float) -> dict[str, Json]:
    named = request.keys.get("metrics") or []
    if not isinstance(named, list):
        raise BadRequest("metrics", "must be a list of metrics")
    try:
        metrics = frozenset(Metric(str(name)) for name in named)
    except ValueError as error:
        raise BadRequest("metrics", f"{error} (there are: {', '.join(Metric)})") from None
    published = _published(port)
    uuid = find_instance(request.text("instance"), _known(published))
    accepted = port.change_slo(uuid, lambda old: without(old, metrics), dry_run=request.flag("dry_run"))
    return {
        "uuid": accepted.uuid,
        "generation": accepted.generation,
        "slo": cast(Json, show_slo(accepted.slo)) if accepted.slo else None,
        "reserved_cpu_cores": accepted.reserved_cpu_cores,
        "dry_run": request.flag("dry_run"),
    }


def _report(report: ObjectiveReport) -> dict[str, Json]:
    return {
        "kind": report.kind,
        "value": report.value,
        "usage": report.usage,
        "demand": report.demand,
        "status": report.status.value,
        "cause": report.cause.value if report.cause else None,
        "offender": report.offender,
    }


def _pending(slo: Slo, reports: Iterable[ObjectiveReport]) -> tuple[ObjectiveReport, ...]:
    """The reports of an SLO of which no window has closed yet: what was seen in the last tick stands, no verdict."""
    found = tuple(reports) or tuple(r for o in slo.objectives for r in evaluate(o, None, EvaluationContext()))
    return tuple(replace(report, status=Status.PENDING, cause=None) for report in found)


def _standing(standing: Standing | None, intent: Intent | None) -> Json:
    """What became of what is asked for an instance; null for one without SLO.

    ``slo`` is what is asked, ``in_force_revision`` the revision that is kept meanwhile (null: none is).
    """
    if standing is None:
        return None
    in_force = intent is not None and intent.state is not IntentState.PENDING
    return {
        "source": standing.source,
        "revision": standing.revision,
        "state": standing.state.value,
        "reason": standing.reason,
        "largest": {metric.value: value for metric, value in standing.largest},
        "slo": cast(Json, show_slo(standing.slo)) if standing.slo else None,
        "in_force_source": intent.source if intent and in_force else None,
        "in_force_revision": intent.revision if intent and in_force else None,
    }


def _instance(uuid: str, published: Published, accounts: Accounts) -> dict[str, Json]:
    """One instance as `slo.show` and `instances` tell it."""
    reading = published.snapshot.instance(uuid)
    decision: InstanceDecision | None = next((d for d in published.decision.instances if d.uuid == uuid), None)
    intent = published.intents.get(uuid)
    reports = decision.objectives if decision else ()
    if intent and uuid in published.pending:
        reports = _pending(intent.slo, reports)
    shown: dict[str, Json] = {
        "uuid": uuid,
        "name": reading.name if reading else decision.name if decision else "",
        "project": reading.project if reading else "",
        "flavor": reading.flavor if reading else "",
        "state": reading.state.value if reading else None,
        "vcpus": reading.vcpus if reading else None,
        "slo": cast(Json, show_slo(intent.slo)) if intent else None,
        "generation": intent.generation if intent else None,
        "reserved_cpu_cores": intent.reserved_cpu_cores if intent else 0.0,
        "estimated": intent.estimated if intent else None,
        "intent": _standing(published.standings.get(uuid), intent),
        "cpu_cost": published.costs.get(uuid),
        "offends": accounts.offends(uuid),
        "objectives": [
            {"metric": report.metric.value, **_report(report), **accounts.of(uuid, report.metric)} for report in reports
        ],
    }
    if decision:
        shown["frozen"] = decision.frozen
        shown["cpu"] = {
            "usage_cores": decision.usage_cores,
            "demand_cores": decision.demand_cores,
            "reservation_cores": decision.cpu.reservation_cores,
            "allocation_cores": decision.cpu.allocation_cores,
            "io_ratio": decision.cpu.io_ratio,
            "starved_ratio": decision.starved_ratio,
        }
        shown["reason"] = decision.reason
    return shown


def _show(request: Request, port: AgentApi, now: float) -> dict[str, Json]:
    published = _published(port)
    uuid = find_instance(request.text("instance"), _known(published))
    return {"instance": _instance(uuid, published, read_accounts(port, published, now))}


def _list(_request: Request, port: AgentApi, now: float) -> dict[str, Json]:
    published = _published(port)
    accounts = read_accounts(port, published, now)
    uuids = sorted({*published.intents, *published.standings})
    return {"instances": [_instance(uuid, published, accounts) for uuid in uuids]}


def _instances(request: Request, port: AgentApi, now: float) -> dict[str, Json]:
    published = _published(port)
    accounts = read_accounts(port, published, now, month=request.flag("month"))
    uuids = sorted({uuid for uuid, _ in _known(published)})
    return {"instances": [_instance(uuid, published, accounts) for uuid in uuids]}


def _windows(request: Request, port: AgentApi, _now: float) -> dict[str, Json]:
    windows, more = port.history.windows(request.number("after"))
    return {
        "more": more,
        "windows": [
            {
                "start": window.start_seconds,
                "seconds": window.seconds,
                "instances": {
                    uuid: {metric.value: _report(report) for metric, report in primary_reports(reports).items()}
                    for uuid, reports in window.instances
                },
            }
            for window in windows
        ],
    }


def show_violation(episode: Violation) -> dict[str, Json]:
    """An episode as the socket tells it."""
    shown = cast(dict[str, Json], wire.encode(episode))
    named = {"cause": episode.cause.value if episode.cause else None, "offender": episode.offender}
    return {**shown, **named, "open": episode.end_seconds is None}


def _violations(request: Request, port: AgentApi, _now: float) -> dict[str, Json]:
    uuid = None
    if request.keys.get("instance") is not None:
        text = request.text("instance")
        past = [(v.uuid, v.name) for v in port.violations.list()]
        uuid = find_instance(text, [*_known(_published(port)), *past])
    found = port.violations.list(only_open=request.flag("open"), uuid=uuid, since=request.number("since"))
    return {"violations": [show_violation(episode) for episode in found]}


def _status(_request: Request, port: AgentApi, _now: float) -> dict[str, Json]:
    published = _published(port)
    return {
        "version": stella.__version__,
        "mode": published.mode.value,
        "configured_mode": (published.configured_mode or published.mode).value,
        "started": published.started_wall_seconds,
        "ticks": published.counters.ticks,
        "late_ticks": published.counters.late_ticks,
        "failed_ticks": published.counters.failed_ticks,
        "last_tick": published.decision.wall_seconds,
        "reasserted_writes": published.counters.reasserted_writes,
        "writes": cast(Json, dict(published.counters.writes)),
        "sensors": wire.encode(published.snapshot.sensors),
        "host": wire.encode(published.decision.host),
        "capacity_cpu_cores": published.capacity_cpu_cores,
        "host_reserved_cpu_cores": published.host_reserved_cpu_cores,
        "reserved_cpu_cores": published.reserved_cpu_cores,
        "admission_refusals": published.counters.admission_refusals,
        "instances": len(published.snapshot.instances),
        "instances_with_slo": len(published.intents),
        "open_violations": port.violations.open_count(),
        "history_dropped_lines": port.history.dropped_lines,
        "persisted": published.persisted,
        "intent_states": _counted(tuple(published.standings.values())),
        "intent_events": wire.encode(published.events),
        "capabilities": cast(Json, dict(published.capabilities)),
        "uplinks": [{"name": one.name, "instances": count} for one, count in _uplink_counts(published)],
        "links_not_limited": _links_not_limited(published),
        "link": _link(port),
        "thread_restarts": cast(Json, dict(supervision.restarts())),
    }


def _uplink_counts(published: Published) -> list[tuple[UplinkReading, int]]:
    """Each uplink that is divided, and how many instances reach it."""
    at = [uplinks_of(instance) for instance in published.snapshot.instances]
    return [(one, sum(one.name in names for names in at)) for one in published.snapshot.host.uplinks]


def _links_not_limited(published: Published) -> Json:
    """The links on which limits cannot act, with what and why: ``tx_bytes`` and the like, or ``uplink`` where that is not known."""
    return [
        {"uuid": instance.uuid, "name": instance.name, "link": link.name, "limits": cast(Json, limits)}
        for instance in published.snapshot.instances
        for link in instance.links or ()
        if (limits := dict(link.unlimited_because) | ({"uplink": link.uplink_lack} if link.uplink_lack else {}))
    ]


def _link(port: AgentApi) -> Json:
    """The link to stella-api; null where none is configured."""
    status = port.link_status()
    if status is None:
        return None
    shown = cast(dict[str, Json], wire.encode(replace(status, classes={})))
    return {name: value for name, value in shown.items() if name != "classes"} | {"connected": status.connected}


def _counted(standings: Sequence[Standing]) -> Json:
    """How many intents there are of each state."""
    counted: dict[str, Json] = {}
    for state in IntentState:
        counted[state.value] = sum(1 for standing in standings if standing.state is state)
    return counted


def _snapshot(_request: Request, port: AgentApi, _now: float) -> dict[str, Json]:
    published = _published(port)
    return {
        "snapshot": wire.encode(published.snapshot),
        "decision": wire.encode(published.decision),
        "outcomes": wire.encode(published.outcomes),
        "intents": [
            {
                "uuid": i.uuid,
                "slo": cast(Json, show_slo(i.slo)),
                "generation": i.generation,
                "source": i.source,
                "revision": i.revision,
                "state": i.state.value,
                "reserved_cpu_cores": i.reserved_cpu_cores,
            }
            for i in published.intents.values()
        ],
    }


def _calibrate(_request: Request, port: AgentApi, _now: float) -> dict[str, Json]:
    return {"priors": dict(port.calibrate())}


_ANSWERS: Mapping[str, Callable[[Request, AgentApi, float], dict[str, Json]]] = {
    "slo.set": _set,
    "slo.unset": _unset,
    "slo.list": _list,
    "slo.show": _show,
    "windows": _windows,
    "violations": _violations,
    "status": _status,
    "instances": _instances,
    "snapshot": _snapshot,
    "calibrate": _calibrate,
}


def answer(line: bytes, port: AgentApi, now_seconds: float) -> dict[str, Json]:
    """The answer to one line; ``now_seconds`` is Unix time. Does not raise for what is wrong with the request."""
    try:
        request = parse_request(line)
        return {"ok": True, **_ANSWERS[request.op](request, port, now_seconds)}
    except BadRequest as error:
        return error_answer(error.field, error.message)
    except Refused as error:
        return error_answer(error.field, error.message, error.largest)
    except InvalidSlo as error:
        return error_answer(error.field, str(error).removeprefix(f"{error.field}: "))
    except Busy as error:
        return error_answer("agent", str(error))
