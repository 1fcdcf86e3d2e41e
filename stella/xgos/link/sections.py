"""What a report tells of the host as it is now: host and instances, from the last published tick."""

import math
from collections.abc import Mapping, Sequence

import stella
from stella.control.admission import shape_of
from stella.model import wire
from stella.model.allocation import InstanceDecision, ObjectiveReport
from stella.model.intent import IntentState, Mode
from stella.model.report import StateRow
from stella.model.snapshot import InstanceReading
from stella.model.wire import Json
from stella.xgos.accounting.live_points import LivePoint
from stella.xgos.intents.source import CLOUD
from stella.xgos.local_api.agent_api import Published

_LARGEST_REASON = 1000
_LARGEST_AMOUNT = 1e15
_LARGEST_CAUSE_TEXT = 255
SHUT_OFF = "shut_off"
OBSERVES = 'the host observes and enforces nothing; set mode = "enforce" in its configuration'
API_OBSERVES = (
    "the API has the host in mode observe, so it enforces nothing; an operator sets it with "
    "`openstack slo host set --mode enforce HOST`"
)


def host_section(published: Published) -> dict[str, Json]:
    """The host. Its capacity is rounded down, since each change of it is a new generation of the host for the API."""
    cpus = published.snapshot.host.cpus or tuple(range(published.snapshot.host.cores))
    usage = published.decision.host
    return {
        "capacity": {
            "cpu_cores": _down(published.capacity_cpu_cores),
            "one_cpu_cores": min(1.0, _down(published.one_cpu_capacity_cores)),
            "cpus": list(cpus),
            "reservation_margin_ratio": published.reservation_margin_ratio,
        },
        "overhead": {"cpu_cores": usage.overhead_cores},
        "used": {"cpu_cores": usage.instances_cores},
        "reserved": {"cpu_cores": published.reserved_cpu_cores, "host_cpu_cores": published.host_reserved_cpu_cores},
        "capabilities": {name: why[:_LARGEST_REASON] or True for name, why in published.capabilities.items()},
        "versions": {"xgos": stella.__version__},
        "mode": published.mode.value,
    }


def _down(cores: float) -> float:
    return math.floor(max(0.0, cores) * 100.0) / 100.0


def running_instances(published: Published) -> frozenset[str] | None:
    """Those that run here, by uuid; None while that is not known."""
    if any(sensor.name == "hypervisor" and not sensor.ok for sensor in published.snapshot.sensors):
        return None
    return frozenset(reading.uuid for reading in published.snapshot.instances)


def instances_section(published: Published) -> list[Json] | None:
    """All instances of this host; None while that is not known, since for the API what is missing is gone."""
    seen = running_instances(published)
    if seen is None:
        return None
    decisions = {decision.uuid: decision for decision in published.decision.instances}
    running = [_instance(reading, decisions.get(reading.uuid), published) for reading in published.snapshot.instances]
    off: list[dict[str, Json]] = [
        {"uuid": uuid, "state": SHUT_OFF} for uuid in published.snapshot.shut_off or () if uuid not in seen
    ]
    return [*running, *off]


def _instance(reading: InstanceReading, decision: InstanceDecision | None, published: Published) -> dict[str, Json]:
    objectives = decision.objectives if decision else ()
    return {
        "uuid": reading.uuid,
        "name": (reading.title or reading.name)[:_LARGEST_CAUSE_TEXT],
        "project": reading.project[:_LARGEST_CAUSE_TEXT] or None,
        "state": reading.state.value,
        "shape": wire.encode(shape_of(reading)),
        "costs": _costs(published.costs.get(reading.uuid)),
        "cpu": _cpu(decision),
        "objectives": [_objective(one) for one in objectives],
    }


def _cpu(decision: InstanceDecision | None) -> Json:
    """What it uses, and what it is entitled to while all want more than there is; `stella.control.offender` compares the same."""
    if decision is None:
        return None
    return {"used_cores": _amount(decision.usage_cores), "entitled_cores": _amount(decision.cpu.allocation_cores)}


def _objective(report: ObjectiveReport) -> Json:
    return {
        "metric": report.metric.value,
        "kind": report.kind,
        "usage": _amount(report.usage),
        "demand": _amount(report.demand),
        "status": report.status.value,
        "cause": report.cause.value if report.cause else None,
    }


def points_section(points: Sequence[LivePoint]) -> list[Json]:
    """Live points of watched instances."""
    return [
        {
            "uuid": point.uuid,
            "at": point.at,
            "objectives": [
                {
                    "metric": report.metric.value,
                    "usage": _amount(report.usage),
                    "demand": _amount(report.demand),
                    "status": report.status.value,
                    "cause": report.cause.value if report.cause else None,
                }
                for report in point.objectives
            ],
        }
        for point in points
    ]


def _amount(value: float | None) -> float | None:
    """What the API takes: finite, not negative, below its bound."""
    return None if value is None or not math.isfinite(value) else min(max(value, 0.0), _LARGEST_AMOUNT)


def _costs(known: Json) -> dict[str, Json]:
    """The learned costs by metric; an estimate is no news to the API, which has the same priors."""
    found: dict[str, Json] = {}
    for metric, cost in known.items() if isinstance(known, dict) else ():
        if isinstance(cost, Mapping) and not cost.get("estimated", True):
            found[metric] = {
                "unit_bytes": cost.get("unit_bytes", 0.0),
                "vcpu": cost.get("vcpu_seconds_per_unit", 0.0),
                "io": cost.get("io_seconds_per_unit", 0.0),
                "seconds": cost.get("history_seconds", 0.0),
            }
    return found


def observes_reason(published: Published) -> str:
    """Why a host that observes does. Its configuration comes first: what that does not allow, the API cannot ask for."""
    return API_OBSERVES if published.configured_mode is Mode.ENFORCE else OBSERVES


def state_section(row: StateRow, mode: Mode, why: str = OBSERVES) -> Json:
    """One acknowledgement. A host that observes enforces nothing: what it has admitted is pending, and ``why`` is told."""
    largest: dict[str, Json] = {metric.value: _amount(value) for metric, value in row.largest.items()}
    observed = mode is Mode.OBSERVE and row.state is IntentState.ENFORCED
    return {
        "revision": row.revision,
        "state": (IntentState.PENDING if observed else row.state).value,
        "reason": why if observed else row.reason[:_LARGEST_REASON],
        "largest": largest,
    }


def standing_states(published: Published) -> dict[str, StateRow]:
    """The states of the cloud's intents as they are now: told again now and then, in case the API lost them."""
    return {
        uuid: StateRow(
            revision=standing.revision, state=standing.state, reason=standing.reason, largest=dict(standing.largest)
        )
        for uuid, standing in published.standings.items()
        if standing.source == CLOUD
    }
