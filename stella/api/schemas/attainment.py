"""Attainment of an instance's objectives over a span."""

from stella.api.schemas.vocabulary import METRIC, SECONDS_BY_STATUS, TIME, TIME_INPUT, UUID, listing, mapping, query

QUERY = query(
    {
        "from": {**TIME_INPUT, "title": "Default: the beginning of this month (UTC)."},
        "to": {**TIME_INPUT, "title": "Default: now."},
    }
)
OBJECTIVE = mapping(
    {
        "metric": METRIC,
        "seconds": SECONDS_BY_STATUS,
        "attainment_ratio": {
            "type": ["number", "null"],
            "minimum": 0,
            "maximum": 1,
            "description": "Met seconds among those with demand (met, violated, degraded); null: there was none.",
        },
    }
)
_SPAN = {"from": TIME, "to": TIME, "objectives": listing(OBJECTIVE)}
ATTAINMENT = mapping(
    {
        "uuid": UUID,
        **_SPAN,
        "today": mapping(_SPAN, description="This calendar day (UTC) until now."),
        "month": mapping(_SPAN, description="This calendar month (UTC) until now."),
    }
)
