"""The SLO of an instance."""

from stella.api.schemas.vocabulary import (
    BY_METRIC,
    CONTRADICTIONS,
    EXISTING_LIMITS,
    FLAG,
    GENERATION,
    OBJECTIVES,
    OBJECTIVES_INPUT,
    TEXT,
    TIME,
    UUID,
    WHY,
    Schema,
    mapping,
    nullable,
    query,
)
from stella.db.slos import STATES
from stella.model.slo import LARGEST_PRIORITY

PRIORITY = {
    "type": "integer",
    "minimum": 0,
    "maximum": LARGEST_PRIORITY,
    "description": "Of floors that do not all fit, those of the higher priority are kept.",
}
PUT = mapping(
    {"objectives": OBJECTIVES_INPUT, "priority": PRIORITY, "generation": GENERATION},
    optional=("priority", "generation"),
)
PUT_QUERY = query({"dry_run": {**FLAG, "description": "Answer whether it would be accepted, and change nothing."}})
DELETE_QUERY = query({"generation": GENERATION})
SLO = mapping(
    {
        "uuid": UUID,
        "generation": GENERATION,
        "objectives": {**OBJECTIVES, "description": "All that is in force."},
        "flavor_objectives": {**OBJECTIVES, "description": "What the flavor sells of it."},
        "added_objectives": {**OBJECTIVES, "description": "What its user asked for."},
        "priority": PRIORITY,
        "reserved_cpu_cores": {"type": "number", "minimum": 0, "description": "CPU set aside for the floors."},
        "estimated": {
            "type": "boolean",
            "description": "The CPU cost of I/O comes from the host's priors, not from history.",
        },
        "state": {
            "type": "string",
            "enum": list(STATES),
            "description": "pending until the host acknowledges it; suspended: kept but not in force, see reason.",
        },
        "reason": TEXT,
        "why": WHY,
        "largest": {
            **BY_METRIC,
            "description": "Where the host refused it: for each floor the largest value that fits.",
        },
        "limits": EXISTING_LIMITS,
        "contradictions": CONTRADICTIONS,
        "failover": {
            **nullable(
                mapping(
                    {
                        "kept": FLAG,
                        "host": {**nullable(TEXT), "description": "The host that keeps it; null for tenants."},
                    }
                )
            ),
            "description": "Whether another host keeps a place should its own be lost; null: its SLA class asks for none.",
        },
        "changed_at": TIME,
    }
)
DRY_RUN = mapping(
    {
        "accepted": FLAG,
        "reserved_cpu_cores": {"type": "number"},
        "estimated": FLAG,
        "objectives": OBJECTIVES,
        "largest": {
            **BY_METRIC,
            "description": "For each floor the largest value that would be accepted here, the others as asked. Empty where a quota of "
            "reserved CPU makes it unknown.",
        },
        "contradictions": CONTRADICTIONS,
    }
)
SLO_OR_DRY_RUN: Schema = {"oneOf": [SLO, DRY_RUN]}
COUNTER_OFFER = mapping(
    {
        "largest": {
            **BY_METRIC,
            "description": "For each floor the largest value that fits here, the others as asked.",
        },
        "hosts": {
            "type": "array",
            "items": TEXT,
            "description": "Hosts where it would fit as asked. Only for those who may see hosts.",
        },
        "moves": {
            "type": "array",
            "items": mapping(
                {
                    "uuid": UUID,
                    "name": TEXT,
                    "project_id": TEXT,
                    "priority": PRIORITY,
                    "reserved_cpu_cores": {"type": "number", "minimum": 0},
                    "to": {"type": "string", "description": "The host that has room for it."},
                }
            ),
            "description": "Instances whose move would make room here. Only for administrators; none were found: empty.",
        },
        "elsewhere": {"type": "boolean", "description": "Whether it would fit on another host."},
    },
    optional=("hosts", "moves"),
)
