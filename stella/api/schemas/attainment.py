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
ATTAINMENT = mapping({"uuid": UUID, "from": TIME, "to": TIME, "objectives": listing(OBJECTIVE)})
