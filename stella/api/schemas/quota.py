"""Quotas of projects."""

from stella.api.schemas.vocabulary import LARGEST_QUANTITY, LIMIT, TEXT, Schema, mapping, page, query
from stella.db.projects import FLOORS, RESERVED, RESOURCES, SLOS
from stella.model.slo import Metric
from stella.model.units import EXAMPLES

PROJECT_ID_PATTERN = r"^[A-Za-z0-9_@:-][A-Za-z0-9_.@:-]{0,254}$"
PROJECT_ID: Schema = {"type": "string", "pattern": PROJECT_ID_PATTERN, "description": "Id of a project."}

_LIMIT_OUT: Schema = {"type": "number", "minimum": -1, "description": "-1: no limit."}
_RESOURCE = mapping(
    {
        "limit": _LIMIT_OUT,
        "used": {"type": "number", "minimum": 0, "description": "What the project's SLOs hold."},
        "is_default": {"type": "boolean", "description": "The limit is the configured one, not the project's own."},
    }
)
QUOTA = mapping(
    {
        "project_id": TEXT,
        "resources": {
            "type": "object",
            "properties": dict.fromkeys(RESOURCES, _RESOURCE),
            "required": list(RESOURCES),
            "additionalProperties": False,
            "description": "In base units: sums of floors by metric, CPU set aside in cores, number of SLOs.",
        },
    }
)
LIST = page("quotas", QUOTA)
LIST_QUERY = query({"limit": LIMIT, "marker": PROJECT_ID})


def _limit_in(unit: str) -> Schema:
    return {
        "type": ["number", "string", "null"],
        "minimum": -1,
        "maximum": LARGEST_QUANTITY,
        "maxLength": 60,
        "description": f"In {unit}, or as text with a unit, such as {EXAMPLES[unit]}; 0: nothing; -1: no limit; null: as configured.",
    }


LIMITS: Schema = {
    "type": "object",
    "properties": {
        **{name: _limit_in(Metric(name).unit) for name in FLOORS},
        RESERVED: _limit_in("cores"),
        SLOS: {
            "type": ["integer", "null"],
            "minimum": -1,
            "maximum": 2**31 - 1,
            "description": "A number; 0: none; -1: no limit; null: as configured.",
        },
    },
    "additionalProperties": False,
    "minProperties": 1,
    "description": "Only the resources that are named change.",
}
PUT = mapping({"limits": LIMITS})
EXCEEDED = mapping(
    {
        "resource": {"type": "string", "enum": list(RESOURCES)},
        "limit": {"type": "number"},
        "used": {"type": "number", "description": "What the project's other SLOs hold."},
        "asked": {"type": "number", "description": "What this SLO asks for."},
        "largest": {"type": "number", "description": "The most that this SLO may ask for."},
    }
)
