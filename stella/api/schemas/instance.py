"""Instances."""

from stella.api.schemas.vocabulary import (
    AMOUNT,
    CONTRADICTIONS,
    COUNT,
    EXISTING_LIMITS,
    HOST_NAME,
    LIMIT,
    METRIC,
    PROJECT,
    TEXT,
    TIME,
    UUID,
    Schema,
    listing,
    mapping,
    nullable,
    page,
    query,
    sort,
)
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
INSTANCE = mapping(
    {
        "uuid": UUID,
        "name": TEXT,
        "project_id": TEXT,
        "host": nullable(HOST_NAME),
        "state": TEXT,
        "vcpus": COUNT,
        "slo_state": {"type": ["string", "null"], "enum": [*STATES, None], "description": "None: it has no SLO."},
        "objectives": listing(CURRENT, description="As the host last reported them."),
        "limits": EXISTING_LIMITS,
        "contradictions": CONTRADICTIONS,
        "reported_at": TIME,
    }
)
LIST = page("instances", INSTANCE)
LIST_QUERY = query(
    {
        "host": HOST_NAME,
        "project": PROJECT,
        "status": {"type": "string", "enum": list(STATES), "description": "State of the SLO."},
        "name": {"type": "string", "minLength": 1, "maxLength": 255, "description": "Exactly this name."},
        "sort": sort("uuid", "name", "project_id", "state"),
        "limit": LIMIT,
        "marker": UUID,
    }
)
