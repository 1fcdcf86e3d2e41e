"""Decisions."""

from stella.api.schemas.vocabulary import (
    FLAG,
    HOST_NAME,
    LIMIT,
    MARKER,
    PROJECT,
    SPAN,
    TEXT,
    TIME,
    UUID,
    WHY,
    mapping,
    nullable,
    page,
    query,
    sort,
)
from stella.db.decisions import KINDS

KIND = {"type": "string", "enum": list(KINDS)}
DECISION = mapping(
    {
        "id": {"type": "integer"},
        "decided_at": TIME,
        "kind": KIND,
        "host": nullable(HOST_NAME),
        "uuid": nullable(UUID),
        "name": {**nullable(TEXT), "description": "Of the instance."},
        "project_id": nullable(TEXT),
        "user_id": TEXT,
        "request_id": TEXT,
        "reason": TEXT,
        "why": WHY,
        "detail": {"type": "object"},
        "hosts_why": {
            "type": "object",
            "additionalProperties": WHY,
            "description": "By host, where detail has a reason for each.",
        },
    }
)
LIST = page("decisions", DECISION)
LIST_QUERY = query(
    {
        "kind": KIND,
        "refusals": {**FLAG, "description": "true: only those by which something asked for is not given."},
        "uuid": UUID,
        "host": HOST_NAME,
        "project": PROJECT,
        **SPAN,
        "sort": sort("id", "decided_at", "kind"),
        "limit": LIMIT,
        "marker": MARKER,
    }
)
