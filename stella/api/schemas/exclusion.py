"""Windows that do not count towards SLAs."""

from stella.api.schemas.vocabulary import (
    LIMIT,
    MARKER,
    PROJECT,
    SPAN,
    TEXT,
    TIME,
    TIME_INPUT,
    Schema,
    mapping,
    nullable,
    page,
    query,
    sort,
)
from stella.db.sla_exclusions import Where

KINDS = ("maintenance", "tenant")
KIND: Schema = {
    "type": "string",
    "enum": list(KINDS),
    "description": "maintenance: work of the provider; tenant: the tenant's own doing kept it from what it asked for.",
}
SCOPE: Schema = {"type": "string", "enum": [one.value for one in Where]}
_TARGET = "Name of the host, id of the project, uuid of the instance; none for all."
REASON: Schema = {"type": "string", "minLength": 3, "maxLength": 1000, "pattern": r"^[^\x00-\x1f\x7f]+$"}
WITHDRAWN = {
    "created_at": TIME,
    "author": {**TEXT, "description": "Who made it."},
    "withdrawn_at": nullable(TIME),
    "withdrawn_by": nullable(TEXT),
    "withdrawn_reason": nullable(TEXT),
}
EXCLUSION = mapping(
    {
        "id": {"type": "integer"},
        "kind": KIND,
        "scope": SCOPE,
        "target": {**nullable(TEXT), "description": f"{_TARGET} Hosts are named to operators alone."},
        "start": TIME,
        "until": TIME,
        "reason": TEXT,
        **WITHDRAWN,
    }
)
LIST = page("exclusions", EXCLUSION)
LIST_QUERY = query(
    {
        "project": PROJECT,
        "from": {**SPAN["from"], "title": "Those that last after this time."},
        "to": {**SPAN["to"], "title": "Those that begin before this time."},
        "sort": sort("id", "start"),
        "limit": LIMIT,
        "marker": MARKER,
    }
)
POST = mapping(
    {
        "kind": KIND,
        "scope": SCOPE,
        "target": {"type": ["string", "null"], "minLength": 1, "maxLength": 255, "description": _TARGET},
        "start": {**TIME_INPUT, "title": "A whole minute, at most 7 days ago."},
        "until": {**TIME_INPUT, "title": "A whole minute, at most 31 days later."},
        "reason": REASON,
    },
    optional=("target",),
)
WITHDRAW_QUERY = query({"reason": {**REASON, "title": "Why; must be given."}})
