"""Decisions."""

from stella.api.schemas.vocabulary import (
    AMOUNT,
    FLAG,
    HOST_NAME,
    LIMIT,
    MARKER,
    PROJECT,
    SPAN,
    TEXT,
    TIME,
    UUID,
    WHY,
    listing,
    mapping,
    nullable,
    page,
    query,
    sort,
)
from stella.control.relief_view import State
from stella.db.decisions import KINDS

KIND = {"type": "string", "enum": list(KINDS)}
STATE = {
    "type": "string",
    "enum": [state.value for state in State],
    "description": "suggested: to an operator; reserved: its place is held; moving; done; failed; refused: nothing may or can move; "
    "stopped: moves from the host did not help.",
}
_EFFECT = "Violated seconds an hour"
MOVE = mapping(
    {
        "state": STATE,
        "from": nullable(HOST_NAME),
        "to": nullable(HOST_NAME),
        "freed_cpu_cores": {**AMOUNT, "description": "What others on the host that it leaves can have."},
        "predicted_effect_seconds_per_hour": {
            **nullable(AMOUNT),
            "description": f"{_EFFECT} that should end; null for tenants: they are those of others too.",
        },
        "measured_effect_seconds_per_hour": {
            "type": ["number", "null"],
            "description": f"{_EFFECT} that ended on both hosts; below 0: there are more. Null until some minutes after the move.",
        },
        "helped": {
            "type": ["boolean", "null"],
            "description": "Whether at least a quarter of the prediction came true.",
        },
        "victims": listing(UUID, description="Instances whose floor is missed."),
        "changed_at": TIME,
        "reason": {**TEXT, "description": "Why it failed."},
        "why": WHY,
    }
)
DECISION = mapping(
    {
        "id": {"type": "integer"},
        "decided_at": TIME,
        "kind": KIND,
        "host": nullable(HOST_NAME),
        "uuid": nullable(UUID),
        "name": {**nullable(TEXT), "description": "Of the instance."},
        "project_id": nullable(TEXT),
        "user_id": TEXT,
        "request_id": TEXT,
        "reason": TEXT,
        "why": WHY,
        "detail": {"type": "object"},
        "hosts_why": {
            "type": "object",
            "additionalProperties": WHY,
            "description": "By host, where detail has a reason for each.",
        },
        "move": {
            **nullable(MOVE),
            "description": "Of the kinds relief and evacuation: what is moved, and what became of it.",
        },
    }
)
LIST = page("decisions", DECISION)
LIST_QUERY = query(
    {
        "kind": KIND,
        "state": {**STATE, "description": "Of the move that it is about."},
        "refusals": {**FLAG, "description": "true: only those by which something asked for is not given."},
        "uuid": UUID,
        "host": HOST_NAME,
        "project": PROJECT,
        **SPAN,
        "sort": sort("id", "decided_at", "kind"),
        "limit": LIMIT,
        "marker": MARKER,
    }
)
