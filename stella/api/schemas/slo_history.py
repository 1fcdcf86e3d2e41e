"""Changes of an instance's SLO."""

from stella.api.schemas.vocabulary import GENERATION, LIMIT, MARKER, OBJECTIVES, TEXT, TIME, mapping, page, query

_OBJECTIVES = {**OBJECTIVES, "type": ["object", "null"], "description": "In base units; null: it had no SLO."}
CHANGE = mapping(
    {
        "generation": GENERATION,
        "changed_at": TIME,
        "user_id": TEXT,
        "request_id": TEXT,
        "remote_address": TEXT,
        "before": _OBJECTIVES,
        "after": _OBJECTIVES,
    }
)
LIST = page("changes", CHANGE)
LIST_QUERY = query(
    {"limit": LIMIT, "marker": {**MARKER, "description": "Generation of the last one on the page before."}}
)
