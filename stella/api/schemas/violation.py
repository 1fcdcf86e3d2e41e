"""Violations."""

from stella.api.schemas.vocabulary import (
    CAUSE,
    FLAG,
    HOST_NAME,
    LIMIT,
    MARKER,
    METRIC,
    PROJECT,
    SECONDS_BY_STATUS,
    SPAN,
    TEXT,
    TIME,
    UUID,
    listing,
    mapping,
    nullable,
    page,
    query,
    sort,
)

VIOLATION = mapping(
    {
        "id": {"type": "integer"},
        "uuid": UUID,
        "name": {**TEXT, "description": "Of the instance."},
        "project_id": TEXT,
        "host": nullable(HOST_NAME),
        "metric": METRIC,
        "opened_at": TIME,
        "closed_at": nullable(TIME),
        "cause": nullable(CAUSE),
        "offender": {
            **nullable(TEXT),
            "description": "The instance that took the most above its entitlement, or host. For operators.",
        },
        "offender_name": {**nullable(TEXT), "description": "Of the instance that offends. For operators."},
    }
)
LIST = page("violations", VIOLATION)
_PART = mapping(
    {
        "opened_at": TIME,
        "closed_at": nullable(TIME),
        "cause": nullable(CAUSE),
        "missed_seconds": nullable({"type": "number"}),
        "host": nullable(HOST_NAME),
        "offender": nullable(TEXT),
        "evidence": {
            "type": "object",
            "description": "Figures by name, each with its unit in the name. For operators; worst and value for all.",
        },
    }
)
_MINUTE = mapping(
    {
        "start": TIME,
        "seconds": SECONDS_BY_STATUS,
        "causes": {"type": "object", "description": "Missed seconds by cause."},
        "usage_mean": {"type": ["number", "null"], "description": "In the metric's base unit, as all of these."},
        "usage_min": {"type": ["number", "null"]},
        "usage_max": {"type": ["number", "null"]},
        "demand_mean": {"type": ["number", "null"]},
    }
)
LARGEST_MINUTES = 240
SHOWN = mapping(
    {
        **VIOLATION["properties"],
        "missed_seconds": nullable({"type": "number"}),
        "parts": listing(_PART, description="What hosts reported as one episode each, the earliest first."),
        "timeline": listing(
            _MINUTE,
            description=f"The minutes from 5 before it to 5 after it, while minutes are kept; the first {LARGEST_MINUTES}.",
        ),
    }
)
LIST_QUERY = query(
    {
        "open": {**FLAG, "description": "Only those that last, or only those that are over."},
        "uuid": UUID,
        "host": HOST_NAME,
        "project": PROJECT,
        "from": {**SPAN["from"], "title": "Those that lasted after this time."},
        "to": {**SPAN["to"], "title": "Those that began before this time."},
        "sort": sort("id", "opened_at", "metric"),
        "limit": LIMIT,
        "marker": MARKER,
    }
)
