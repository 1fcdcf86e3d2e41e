"""Instances."""

from stella.api.schemas.vocabulary import (
    AMOUNT,
    BY_METRIC,
    CONTRADICTIONS,
    COUNT,
    EXISTING_LIMITS,
    FLAG,
    GENERATION,
    HOST_NAME,
    LIMIT,
    METRIC,
    OBJECTIVES,
    PART_OF_NAME,
    PROJECT,
    TEXT,
    TIME,
    UUID,
    WHY,
    Schema,
    listing,
    mapping,
    nullable,
    page,
    query,
    sort,
)
from stella.db.instances import HEALTHS
from stella.db.slos import STATES

STATUS: Schema = {
    "type": "string",
    "description": "MET, NO_DEMAND, SELF_LIMITED, DEGRADED, VIOLATED, UNKNOWN or PENDING.",
}
CURRENT = mapping(
    {
        "metric": METRIC,
        "usage": nullable(AMOUNT),
        "demand": nullable(AMOUNT),
        "status": STATUS,
        "cause": nullable(TEXT),
    }
)
SLO = mapping(
    {
        "generation": GENERATION,
        "objectives": {**OBJECTIVES, "description": "All of it: what the flavor sells and what was added."},
        "flavor_objectives": OBJECTIVES,
        "added_objectives": OBJECTIVES,
        "state": {"type": "string", "enum": list(STATES)},
        "reason": TEXT,
        "why": WHY,
        "largest": BY_METRIC,
        "changed_at": TIME,
    }
)
_RATIOS: Schema = {
    "type": "object",
    "properties": {metric: {"type": ["number", "null"], "minimum": 0, "maximum": 1} for metric in METRIC["enum"]},
    "additionalProperties": False,
    "description": "By metric the share of the seconds with demand that were met; null: there were none.",
}
ATTAINED = mapping({"today": _RATIOS, "month": _RATIOS})
INSTANCE = mapping(
    {
        "uuid": UUID,
        "name": TEXT,
        "project_id": TEXT,
        "host": nullable(HOST_NAME),
        "state": TEXT,
        "vcpus": COUNT,
        "slo_state": {"type": ["string", "null"], "enum": [*STATES, None], "description": "None: it has no SLO."},
        "reserved_cpu_cores": {**AMOUNT, "description": "What its SLO holds of its host."},
        "objectives": listing(CURRENT, description="As the host last reported them."),
        "limits": EXISTING_LIMITS,
        "contradictions": CONTRADICTIONS,
        "relief_opt_out": {**FLAG, "description": "Relief never moves it to another host."},
        "slo": {**nullable(SLO), "description": "What it is guaranteed; null: nothing."},
        "costs": {
            "type": "object",
            "additionalProperties": mapping({"vcpu": AMOUNT, "io": AMOUNT, "estimated": FLAG}),
            "description": "Of one instance, by metric with a floor: CPU seconds that a unit of its I/O costs in guest and QEMU.",
        },
        "attainment": {**ATTAINED, "description": "Where it was asked for: this day and this month (UTC) until now."},
        "reported_at": TIME,
    },
    optional=("attainment", "costs"),
)
LIST = page("instances", INSTANCE)
LIST_QUERY = query(
    {
        "host": HOST_NAME,
        "project": PROJECT,
        "status": {"type": "string", "enum": list(STATES), "description": "State of the SLO."},
        "name": {"type": "string", "minLength": 1, "maxLength": 255, "description": "Exactly this name."},
        "name_contains": PART_OF_NAME,
        "health": {
            "type": "string",
            "enum": list(HEALTHS),
            "description": "troubled: a violation is open, or its host does not hold the SLO; pending: awaits its host, or is "
            "suspended; guaranteed; best_effort: without SLO.",
        },
        "gone": {**FLAG, "description": "false: without those that their host no longer has."},
        "attainment": {**FLAG, "description": "Also tell the attainment of today and this month."},
        "sort": {
            **sort("uuid", "name", "project_id", "state", "health", "reserved_cpu_cores"),
            "description": "A key and a direction, which is asc where none is given. health: troubled ones first, by name.",
        },
        "limit": LIMIT,
        "marker": UUID,
    }
)
PATCH = mapping({"relief_opt_out": FLAG})
