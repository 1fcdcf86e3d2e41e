"""Usage of an instance over time."""

from stella.api.schemas.vocabulary import (
    AMOUNT,
    COUNT,
    SECONDS_BY_STATUS,
    TEXT,
    TIME,
    TIME_INPUT,
    UUID,
    WHY,
    Schema,
    listing,
    mapping,
    nullable,
    query,
)

STEPS = (1, 60, 3600, 86400)
STEP: Schema = {"type": "integer", "enum": list(STEPS)}

QUERY = query(
    {
        "from": {**TIME_INPUT, "title": "Default: 15 minutes, 3 hours, 3 days or 60 days ago, by the step."},
        "to": {**TIME_INPUT, "title": "Default: now. Points that begin before it are shown."},
        "step": {
            **STEP,
            "title": "Seconds of a point: 1 (live), 60 (the default), 3600 or 86400.",
            "description": "Asking for 1 makes the host send a point each second for the next 30 s.",
        },
    }
)
OBJECTIVE = mapping(
    {
        "metric": TEXT,
        "usage": {**nullable(AMOUNT), "description": "In the metric's base unit; above 1 s the mean."},
        "usage_min": nullable(AMOUNT),
        "usage_max": nullable(AMOUNT),
        "demand": {**nullable(AMOUNT), "description": "What it would use if nothing held it back."},
        "status": {"type": "string", "description": "With step 1: that second's status."},
        "cause": {"type": ["string", "null"], "description": "With step 1: why it was missed."},
        "seconds": {**SECONDS_BY_STATUS, "description": "Above 1 s: seconds by status."},
        "causes": {
            "type": "object",
            "additionalProperties": COUNT,
            "description": "Above 1 s: missed seconds by cause.",
        },
    },
    optional=("usage_min", "usage_max", "status", "cause", "seconds", "causes"),
)
USAGE = mapping(
    {
        "uuid": UUID,
        "from": TIME,
        "to": TIME,
        "step": STEP,
        "watched_until": {**nullable(TIME), "description": "Until then its host sends a point each second."},
        "not_watched_reason": {"type": ["string", "null"], "description": "With step 1: why no live points come."},
        "not_watched_why": WHY,
        "points": listing(
            mapping({"at": {**TIME, "description": "When it begins."}, "objectives": listing(OBJECTIVE)}),
            description="The oldest first. A step of which nothing is known is left out.",
        ),
    }
)
