"""What a host is to keep."""

from stella.api.schemas.host import MODE
from stella.api.schemas.slo import PRIORITY
from stella.api.schemas.vocabulary import FLAG, GENERATION, HOST_NAME, OBJECTIVES, TEXT, UNIX, UUID, mapping, nullable
from stella.sla.terms import Unknown

_SLA = mapping(
    {
        "name": TEXT,
        "attainment_target_ratio": {"type": "string", "description": "Decimal text."},
        "unknown": {
            "type": "string",
            "enum": [one.value for one in Unknown],
            "description": "What unknown seconds are.",
        },
        "start": {**UNIX, "description": "Since when (Unix seconds) it counts for the instance in this period."},
        "until": {**UNIX, "description": "The end of the period."},
    }
)
INTENT = mapping(
    {
        "host": HOST_NAME,
        "revision": GENERATION,
        "poll_seconds": {
            "type": "number",
            "exclusiveMinimum": 0,
            "description": "How long to wait before asking again.",
        },
        "report_seconds": {
            "type": "number",
            "exclusiveMinimum": 0,
            "description": "How long to wait before reporting again.",
        },
        "watch_until": {"type": ["number", "null"], "description": "The latest of `watched`; null: there is none."},
        "watched": {
            "type": "object",
            "propertyNames": UUID,
            "additionalProperties": UNIX,
            "description": "Report 1 s points of these instances, until then (Unix seconds).",
        },
        "mode": MODE,
        "slos": {
            "type": "object",
            "additionalProperties": mapping(
                {
                    "revision": {**GENERATION, "description": "To acknowledge in `states`."},
                    "objectives": OBJECTIVES,
                    "priority": PRIORITY,
                    "accepted": {
                        **FLAG,
                        "description": "A host has kept it as it is: where it does not fit here it is degraded, not refused.",
                    },
                    "reserved_cpu_cores": {"type": "number", "minimum": 0},
                    "sla": {**nullable(_SLA), "description": "The class that it is under; null: none."},
                }
            ),
            "description": "By uuid of the instance.",
        },
    }
)
