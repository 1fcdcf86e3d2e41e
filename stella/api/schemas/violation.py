"""Violations."""

from stella.api.schemas.vocabulary import (
    CAUSE,
    FLAG,
    HOST_NAME,
    LIMIT,
    METRIC,
    PROJECT,
    SPAN,
    TEXT,
    TIME,
    UUID,
    Schema,
    mapping,
    nullable,
    page,
    query,
    sort,
)

MARKER: Schema = {
    "type": "integer",
    "minimum": 1,
    "maximum": 2**53,
    "description": "Id of the last one on the page before.",
}
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
