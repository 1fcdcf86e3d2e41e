"""Hosts."""

from stella.api.schemas.vocabulary import (
    COUNT,
    FLAG,
    GENERATION,
    HOST_NAME,
    LIMIT,
    PART_OF_NAME,
    TEXT,
    TIME,
    WHY,
    Schema,
    mapping,
    nullable,
    page,
    query,
    sort,
)
from stella.control.relief_view import Mode

MODES = ("observe", "enforce", "maintenance")
MODE: Schema = {"type": "string", "enum": list(MODES)}
RELIEF_MODE: Schema = {
    "type": ["string", "null"],
    "enum": [*(mode.value for mode in Mode), None],
    "description": "What is done about floors that it cannot keep; null: as the cloud has it.",
}
_CORES: Schema = {"type": ["number", "null"], "description": "In cores; null before the first report."}

HOST = mapping(
    {
        "name": HOST_NAME,
        "generation": GENERATION,
        "mode": MODE,
        "enrolled": {"type": "boolean", "description": "False once its credential is revoked."},
        "silent": {"type": "boolean", "description": "It has not reported for longer than it may."},
        "capacity_cpu_cores": {**_CORES, "description": "What instances can have, net of the host's own work."},
        "reserved_cpu_cores": {"type": "number", "description": "Set aside for the floors of its instances."},
        "free_cpu_cores": {**_CORES, "description": "The head-room: capacity less what is set aside."},
        "overhead_cpu_cores": {
            "type": ["number", "null"],
            "description": "What everything on the host but instances uses now; null where it does not tell.",
        },
        "cpus": COUNT,
        "instances": COUNT,
        "open_violations": {**COUNT, "description": "Violations that last and began on it."},
        "agent": nullable(TEXT),
        "capabilities": {
            "type": "object",
            "additionalProperties": {"type": ["boolean", "string"]},
            "description": "What it can enforce: true, or why it cannot.",
        },
        "lacking_why": {"type": "object", "additionalProperties": WHY, "description": "Of what it cannot enforce."},
        "versions": {"type": "object", "additionalProperties": TEXT},
        "reported_at": nullable(TIME),
        "relief_mode": RELIEF_MODE,
        "fenced_at": {
            **nullable(TIME),
            "description": "Since when it is certain that nothing runs on it; null: it is not, or it reported since.",
        },
    }
)
LIST = page("hosts", HOST)
LIST_QUERY = query(
    {
        "mode": MODE,
        "name_contains": PART_OF_NAME,
        "silent": {**FLAG, "description": "Only those that are silent, or only the others."},
        "sort": sort("name", "mode", "capacity_cpu_cores", "reserved_cpu_cores", "free_cpu_cores", "open_violations"),
        "limit": LIMIT,
        "marker": HOST_NAME,
    }
)
PATCH = mapping(
    {
        "mode": MODE,
        "relief_mode": RELIEF_MODE,
        "fenced": {
            **FLAG,
            "description": "true: nothing runs on it any more, for certain. Only of a host that is silent.",
        },
        "generation": GENERATION,
    },
    optional=("mode", "relief_mode", "fenced", "generation"),
    minProperties=1,
)
