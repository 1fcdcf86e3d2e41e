"""What a host is to keep."""

from stella.api.schemas.host import MODE
from stella.api.schemas.slo import PRIORITY
from stella.api.schemas.vocabulary import GENERATION, HOST_NAME, OBJECTIVES, mapping

INTENT = mapping(
    {
        "host": HOST_NAME,
        "revision": GENERATION,
        "poll_seconds": {
            "type": "number",
            "exclusiveMinimum": 0,
            "description": "How long to wait before asking again.",
        },
        "watch_until": {"type": ["number", "null"], "description": "Report 1 s points until then (Unix seconds)."},
        "mode": MODE,
        "slos": {
            "type": "object",
            "additionalProperties": mapping(
                {
                    "revision": {**GENERATION, "description": "To acknowledge in `states`."},
                    "objectives": OBJECTIVES,
                    "priority": PRIORITY,
                    "reserved_cpu_cores": {"type": "number", "minimum": 0},
                    "sla": {"type": ["string", "null"]},
                }
            ),
            "description": "By uuid of the instance.",
        },
    }
)
