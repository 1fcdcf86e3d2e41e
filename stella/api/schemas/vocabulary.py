"""What the schemas of all resources share: names, times, quantities, objectives, pages."""

from collections.abc import Mapping, Sequence
from typing import Any

from stella.model import reasons
from stella.model.attainment import Cause
from stella.model.limits import Source
from stella.model.slo import LARGEST_PRIORITY, LARGEST_WEIGHT, Direction, Metric

Schema = dict[str, Any]

LARGEST_QUANTITY = 1e15
UUID_PATTERN = r"^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"
NAME_PATTERN = r"^[A-Za-z0-9]([A-Za-z0-9_.-]{0,253}[A-Za-z0-9])?$"

UUID: Schema = {"type": "string", "pattern": UUID_PATTERN, "description": "Uuid of an instance."}
HOST_NAME: Schema = {"type": "string", "pattern": NAME_PATTERN, "description": "Name of a host."}
PROJECT: Schema = {"type": "string", "minLength": 1, "maxLength": 255, "description": "Id of a project."}
PART_OF_NAME: Schema = {
    "type": "string",
    "minLength": 1,
    "maxLength": 255,
    "pattern": r"^[^\x00-\x1f\x7f]+$",  # a database may end a search at a zero byte, and find all
    "description": "The name has this in it, in large or small letters.",
}
TEXT: Schema = {"type": "string"}
TIME: Schema = {"type": "string", "format": "date-time", "description": "RFC 3339, in UTC."}
TIME_INPUT: Schema = {
    "type": "string",
    "minLength": 20,
    "maxLength": 35,
    "pattern": (
        r"^(19[7-9][0-9]|2[0-9]{3})-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
        r"T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]+)?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$"
    ),
    "description": "RFC 3339, such as 2026-11-24T00:00:00Z.",
}
UNIX: Schema = {"type": "number", "minimum": 0, "maximum": 1e11, "description": "Unix seconds."}
COUNT: Schema = {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}
SEQUENCE: Schema = {"type": "integer", "minimum": 0, "maximum": 2**53}
AMOUNT: Schema = {"type": "number", "minimum": 0, "maximum": LARGEST_QUANTITY}
GENERATION: Schema = {
    "type": "integer",
    "minimum": 0,
    "maximum": 2**31 - 1,
    "description": "Moves on with every change.",
}
METRIC: Schema = {"type": "string", "enum": [m.value for m in Metric]}
CAUSE: Schema = {"type": "string", "enum": [c.value for c in Cause]}
FLAG: Schema = {"type": "boolean"}


def nullable(schema: Mapping[str, Any]) -> Schema:
    """The schema, or null."""
    if "enum" in schema:
        return {**schema, "type": [schema["type"], "null"], "enum": [*schema["enum"], None]}
    return {**schema, "type": [schema["type"], "null"]}


def mapping(
    properties: Mapping[str, Mapping[str, Any]], *, optional: Sequence[str] = (), open_: bool = False, **keywords: Any
) -> Schema:
    """An object whose keys must be there unless ``optional``. ``open_``: keys that are not known are ignored, not refused."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": [name for name in properties if name not in optional],
        "additionalProperties": open_,
        **keywords,
    }


def query(properties: Mapping[str, Mapping[str, Any]]) -> Schema:
    """Query parameters, none of which must be given."""
    return mapping(properties, optional=tuple(properties))


def listing(items: Mapping[str, Any], **keywords: Any) -> Schema:
    """An array."""
    return {"type": "array", "items": items, **keywords}


def page(name: str, items: Mapping[str, Any]) -> Schema:
    """One page of a list, and the link to the next."""
    link = mapping({"rel": {"type": "string", "enum": ["next"]}, "href": TEXT})
    return mapping({name: listing(items), "links": listing(link)})


def sort(*keys: str) -> Schema:
    """In which order a list comes."""
    orders = [f"{key}{direction}" for key in keys for direction in ("", ":asc", ":desc")]
    return {"type": "string", "enum": orders, "description": "A key and a direction, which is asc where none is given."}


_WHY: dict[str, Schema] = {
    "code": {"type": "string", "description": "One of those of `why` in errors."},
    "values": {"type": "object", "additionalProperties": {"type": ["string", "number"]}},
}
WHY: Schema = listing(
    mapping(_WHY),
    description="The reason for programs: its sentences, the outermost first, each with a stable code and the values that "
    "stand in it; field is the key that it is about. What has no code is other, with its text. Empty: no part has a code.",
)
WHY_OF_ERROR: Schema = {
    **WHY,
    "items": mapping({**_WHY, "code": {"type": "string", "enum": [*reasons.CODES, reasons.OTHER]}}),
}

SPAN: Schema = {
    "from": {**TIME_INPUT, "title": "Not before this time."},
    "to": {**TIME_INPUT, "title": "Before this time."},
}
LIMIT: Schema = {"type": "integer", "minimum": 1, "maximum": 2**31 - 1, "description": "The most to return."}
MARKER: Schema = {
    "type": "integer",
    "minimum": 1,
    "maximum": 2**53,
    "description": "Id of the last one on the page before.",
}


def _quantity(example: str) -> Schema:
    return {
        "type": ["number", "string", "null"],
        "exclusiveMinimum": 0,
        "maximum": LARGEST_QUANTITY,
        "maxLength": 60,
        "description": f"In the metric's base unit, or as text with a unit, such as {example}.",
    }


OBJECTIVE_INPUT = mapping(
    {
        "floor": {**_quantity("20kpps"), "title": "Guaranteed when asked for."},
        "ceiling": {**_quantity("500MB/s"), "title": "Never more."},
        "target": {**_quantity("5ms"), "title": "Mean latency over a window, at most. For block_latency alone."},
        "weight": {"type": ["number", "null"], "exclusiveMinimum": 0, "maximum": LARGEST_WEIGHT},
        "priority": {"type": ["integer", "null"], "minimum": 0, "maximum": LARGEST_PRIORITY},
        "direction": {"type": ["string", "null"], "enum": ["tx", "rx", "read", "write", "both", None]},
        "unit": {**_quantity("64KiB"), "title": "The smallest packet or request that the floor guarantees."},
    },
    optional=("floor", "ceiling", "target", "weight", "priority", "direction", "unit"),
)

OBJECTIVES_INPUT: Schema = {
    "type": "object",
    "properties": {metric.value: OBJECTIVE_INPUT for metric in Metric},
    "additionalProperties": False,
    "minProperties": 1,
    "description": "One objective for each metric that has one.",
}

_AMOUNT_IN_BASE_UNIT: Schema = {"type": "number", "exclusiveMinimum": 0}
OBJECTIVE = mapping(
    {
        "floor": _AMOUNT_IN_BASE_UNIT,
        "ceiling": _AMOUNT_IN_BASE_UNIT,
        "target": _AMOUNT_IN_BASE_UNIT,
        "weight": _AMOUNT_IN_BASE_UNIT,
        "priority": {"type": "integer"},
        "direction": {"type": "string"},
        "unit": {"type": "number"},
    },
    optional=("floor", "ceiling", "target", "weight", "priority", "direction", "unit"),
)
OBJECTIVES: Schema = {
    "type": "object",
    "properties": {metric.value: OBJECTIVE for metric in Metric},
    "additionalProperties": False,
    "description": "In base units: cores, packets/s, bytes/s, operations/s, seconds.",
}
BY_METRIC: Schema = {
    "type": "object",
    "properties": {metric.value: {"type": "number", "minimum": 0} for metric in Metric},
    "additionalProperties": False,
}
EXISTING_LIMIT = mapping(
    {
        "source": {"type": "string", "enum": [one.value for one in Source], "description": "Whose limit it is."},
        "name": {
            "type": "string",
            "description": "As its source calls it, such as quota:cpu_quota or bandwidth_limit.",
        },
        "metric": METRIC,
        "direction": {
            "type": "string",
            "enum": [one.value for one in Direction],
            "description": "As the guest sees it.",
        },
        "value": {"type": "number", "exclusiveMinimum": 0, "description": "In the metric's base unit."},
        "device": {
            "type": "string",
            "description": "The NIC or disk that is limited; empty: each, or the CPU of all vCPUs.",
        },
        "devices": {"type": "integer", "minimum": 0, "description": "How many such devices the instance has."},
        "is_floor": {"type": "boolean", "description": "A minimum that Neutron keeps: shown, never compared."},
    }
)
EXISTING_LIMITS: Schema = listing(
    EXISTING_LIMIT, description="Limits from outside Stella: of the flavor, Neutron and Cinder."
)
CONTRADICTIONS: Schema = listing(
    mapping(
        {
            "field": {"type": "string", "description": "The floor, such as objectives.cpu.floor."},
            "name": TEXT,
            "source": EXISTING_LIMIT["properties"]["source"],
            "device": TEXT,
            "value": {
                "type": "number",
                "exclusiveMinimum": 0,
                "description": "Of the limit, in the metric's base unit.",
            },
            "reachable": {
                "type": "boolean",
                "description": "Other devices or the other direction can make up for it; if false, the floor cannot be reached.",
            },
            "message": TEXT,
        }
    ),
    description="Floors above a limit from outside Stella.",
)
SECONDS_BY_STATUS = mapping(
    {name: COUNT for name in ("met", "violated", "degraded", "no_demand", "self_limited", "unknown")}
)
