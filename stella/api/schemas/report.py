"""What a host reports. Keys that are not known are ignored: agents of the release before and after speak with this one."""

from stella.api.schemas.vocabulary import (
    AMOUNT,
    CAUSE,
    COUNT,
    METRIC,
    SEQUENCE,
    TEXT,
    UNIX,
    UUID,
    Schema,
    listing,
    mapping,
    nullable,
)

_CORES: Schema = {"type": "number", "minimum": 0, "maximum": 1e5}
_SHORT: Schema = {"type": "string", "maxLength": 255}
_IDENTIFIER: Schema = {"type": "string", "minLength": 1, "maxLength": 64}
_LONG: Schema = {"type": "string", "maxLength": 1000}

_CPUS: Schema = {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 8191}, "maxItems": 8192}
HOST = mapping(
    {
        "capacity": mapping(
            {
                "cpu_cores": {**_CORES, "description": "What instances can have in all, net of the host's own work."},
                "one_cpu_cores": {**_CORES, "maximum": 1, "description": "The same on any one CPU."},
                "cpus": {**_CPUS, "minItems": 1, "description": "Numbers of the CPUs that instances may use."},
                "reservation_margin_ratio": {"type": "number", "minimum": 1, "maximum": 10},
            },
            optional=("reservation_margin_ratio",),
            open_=True,
        ),
        "overhead": {"type": "object", "description": "What the host itself uses, by resource."},
        "used": {"type": "object", "description": "What all instances use, by resource."},
        "reserved": {"type": "object", "description": "What the agent has set aside, by resource."},
        "capabilities": {
            "type": "object",
            "additionalProperties": {"type": ["boolean", "string"], "maxLength": 1000},
            "maxProperties": 200,
        },
        "versions": {"type": "object", "additionalProperties": _SHORT, "maxProperties": 50},
    },
    optional=("overhead", "used", "reserved", "capabilities", "versions"),
    open_=True,
)
COST = mapping(
    {"unit_bytes": AMOUNT, "vcpu": AMOUNT, "io": AMOUNT, "seconds": AMOUNT},
    open_=True,
    description="CPU seconds per unit in the guest and in QEMU, and the seconds of history behind them.",
)
OBJECTIVE = mapping(
    {
        "metric": _SHORT,
        "usage": nullable(AMOUNT),
        "demand": nullable(AMOUNT),
        "status": _SHORT,
        "cause": nullable(_SHORT),
    },
    optional=("usage", "demand", "cause"),
    open_=True,
)
INSTANCE = mapping(
    {
        "uuid": UUID,
        "project": {"type": ["string", "null"], "maxLength": 255},
        "name": _SHORT,
        "state": {"type": "string", "maxLength": 16},
        "shape": mapping(
            {
                "vcpus": {"type": "integer", "minimum": 1, "maximum": 8192},
                "iothreads": COUNT,
                "links": nullable(COUNT),
                "disks": nullable(COUNT),
                "allowed_cpus": {**_CPUS, "type": ["array", "null"]},
            },
            optional=("iothreads", "links", "disks", "allowed_cpus"),
            open_=True,
        ),
        "costs": {"type": "object", "additionalProperties": COST, "maxProperties": 20},
        "cpu_cores": {**nullable(_CORES), "description": "What it uses."},
        "objectives": listing(OBJECTIVE, maxItems=20),
    },
    optional=("project", "name", "shape", "costs", "cpu_cores", "objectives"),
    open_=True,
)
MINUTE = mapping(
    {
        "uuid": UUID,
        "metric": METRIC,
        "start": {"type": "integer", "minimum": 0, "maximum": 10**11, "multipleOf": 60, "description": "Unix seconds."},
        "counts": mapping(
            {
                name: {"type": "integer", "minimum": 0, "maximum": 10**8}
                for name in ("met", "violated", "degraded", "no_demand", "self_limited", "unknown")
            },
            optional=("met", "violated", "degraded", "no_demand", "self_limited", "unknown"),
            open_=True,
        ),
        "causes": {"type": "object", "additionalProperties": COUNT, "maxProperties": 20},
        "usage": {
            **mapping({"mean": nullable(AMOUNT), "min": nullable(AMOUNT), "max": nullable(AMOUNT)}, open_=True),
            "type": ["object", "null"],
        },
        "demand_mean": nullable(AMOUNT),
        "span_seconds": {
            "type": "integer",
            "minimum": 60,
            "maximum": 10**8,
            "description": "Above 60: nothing is known of that stretch but counts.unknown.",
        },
    },
    optional=("causes", "usage", "demand_mean", "span_seconds"),
    open_=True,
)
VIOLATION = mapping(
    {
        "id": {"type": "string", "minLength": 1, "maxLength": 128},
        "uuid": UUID,
        "metric": METRIC,
        "opened_at": UNIX,
        "closed_at": nullable(UNIX),
        "cause": nullable(CAUSE),
        "offender": {"type": ["string", "null"], "maxLength": 36, "description": "Uuid of an instance, or host."},
        "evidence": {"type": "object"},
    },
    optional=("closed_at", "cause", "offender", "evidence"),
    open_=True,
)
POINT = mapping(
    {
        "uuid": UUID,
        "at": {"type": "integer", "minimum": 0, "maximum": 10**11, "description": "Unix seconds."},
        "objectives": listing(OBJECTIVE, maxItems=20),
    },
    open_=True,
)
LARGEST_POINTS = 1000
STATE = mapping(
    {
        "revision": SEQUENCE,
        "state": {"type": "string", "enum": ["enforced", "pending", "refused", "degraded"]},
        "reason": _LONG,
        "largest": {"type": "object", "additionalProperties": AMOUNT, "maxProperties": 20},
    },
    optional=("reason", "largest"),
    open_=True,
)
REPORT = mapping(
    {
        "agent": {**_IDENTIFIER, "maxLength": 255, "description": "Name of the agent."},
        "epoch": {**_IDENTIFIER, "description": "New whenever the agent lost its state."},
        "sequence": SEQUENCE,
        "sent_at": UNIX,
        "host": HOST,
        "instances": listing(INSTANCE, maxItems=2000, description="All that the host has: what is missing is gone."),
        "minutes": listing(MINUTE, maxItems=10000),
        "violations": listing(VIOLATION, maxItems=2000),
        "points": listing(
            POINT,
            maxItems=LARGEST_POINTS,
            description="One for each second of each instance in `watched` of the intent.",
        ),
        "states": {"type": "object", "propertyNames": UUID, "additionalProperties": STATE, "maxProperties": 2000},
    },
    optional=("host", "instances", "minutes", "violations", "points", "states"),
    open_=True,
)
ACCEPTED = mapping(
    {
        "accepted_sequence": {**SEQUENCE, "description": "The largest sequence of this epoch that came."},
        "stored_minutes": COUNT,
        "ignored": listing(
            mapping({"uuid": TEXT, "reason": TEXT}),
            description="What was not taken, and why: nothing is dropped silently.",
        ),
    }
)
