"""Corrections of reports."""

from stella.api.schemas.exclusion import REASON, WITHDRAWN
from stella.api.schemas.sla import SLA_ID
from stella.api.schemas.vocabulary import LIMIT, MARKER, METRIC, PROJECT, TEXT, UUID, Schema, mapping, page, query, sort
from stella.sla.tally import STATUSES

PERIOD: Schema = {
    "type": "string",
    "minLength": 7,
    "maxLength": 7,
    "pattern": "^20[0-9]{2}-(0[1-9]|1[0-2])$",
    "description": "Such as 2026-11.",
}
_STATUS: Schema = {"type": "string", "enum": list(STATUSES)}
_CORRECTION = {
    "sla": SLA_ID,
    "period": PERIOD,
    "uuid": UUID,
    "metric": METRIC,
    "seconds": {
        "type": "integer",
        "minimum": 1,
        "maximum": 31 * 86_400 + 7200,
        "description": "So many seconds that were counted as source count as target; no more than there are.",
    },
    "source": _STATUS,
    "target": _STATUS,
}
CORRECTION = mapping({"id": {"type": "integer"}, **_CORRECTION, "reason": TEXT, **WITHDRAWN})
LIST = page("corrections", CORRECTION)
LIST_QUERY = query(
    {
        "project": PROJECT,
        "sla": SLA_ID,
        "period": PERIOD,
        "uuid": UUID,
        "sort": sort("id"),
        "limit": LIMIT,
        "marker": MARKER,
    }
)
POST = mapping({**_CORRECTION, "reason": REASON})
