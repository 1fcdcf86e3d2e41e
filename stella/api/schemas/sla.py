"""SLA classes, and what they are attached to."""

from stella.api.schemas.vocabulary import (
    FLAG,
    GENERATION,
    LARGEST_QUANTITY,
    LIMIT,
    MARKER,
    NAME_PATTERN,
    TEXT,
    TIME,
    UUID,
    UUID_PATTERN,
    Schema,
    mapping,
    nullable,
    page,
    query,
    sort,
)
from stella.model.slo import Metric
from stella.sla.offers import PARTS
from stella.sla.spans import Scope
from stella.sla.terms import LARGEST_CREDITS, Unknown

SLA_ID: Schema = {"type": "string", "pattern": UUID_PATTERN, "description": "Uuid of an SLA class."}
NAME: Schema = {
    "type": "string",
    "pattern": NAME_PATTERN,
    "description": "Such as gold; letters, digits, dot, dash and underscore.",
}
ZONE: Schema = {
    "type": "string",
    "minLength": 1,
    "maxLength": 64,
    "description": "IANA name, such as Asia/Seoul; its months are the periods.",
}
RATIO: Schema = {"type": "string", "description": "Decimal text, such as 0.999."}
AMOUNT_OF_MONEY: Schema = {"type": "string", "description": "Decimal text, such as 49.90."}
_RATIO_IN: Schema = {
    "type": ["string", "number"],
    "minimum": 0,
    "maximum": 1,
    "maxLength": 10,
    "description": "Such as 0.999; at most 6 decimals.",
}
_UNKNOWN: Schema = {
    "type": "string",
    "enum": [one.value for one in Unknown],
    "description": "What becomes of seconds of which nothing is known: missed (against the provider), or ignored.",
}
_PRICE: Schema = {
    **mapping(
        {
            "amount": {**AMOUNT_OF_MONEY, "maxLength": 20},
            "currency": {"type": "string", "pattern": "^[A-Z]{3}$", "description": "Such as EUR."},
        }
    ),
    "description": "Of an instance in a period.",
}


def _terms(ratio: Schema, *, optional: tuple[str, ...] = ()) -> Schema:
    return mapping(
        {
            "attainment_target_ratio": {**ratio, "title": "Of the seconds with demand, so many are to be met."},
            "unknown": _UNKNOWN,
            "credits": {
                "type": "array",
                "items": mapping({"below_ratio": ratio, "credit_ratio": ratio}),
                "maxItems": LARGEST_CREDITS,
                "description": "Below which attainment which share of the price is owed, the least grave first.",
            },
            "price": nullable(_PRICE),
        },
        optional=optional,
    )


TERMS = _terms(RATIO)
TERMS_IN = _terms(_RATIO_IN, optional=("unknown", "credits", "price"))
_QUANTITY_IN: Schema = {
    "type": ["number", "string", "null"],
    "exclusiveMinimum": 0,
    "maximum": LARGEST_QUANTITY,
    "maxLength": 60,
}
_AMOUNT_IN: Schema = {
    "type": ["number", "string", "object", "null"],
    "exclusiveMinimum": 0,
    "maximum": LARGEST_QUANTITY,
    "maxLength": 60,
    "properties": dict.fromkeys(PARTS, _QUANTITY_IN),
    "additionalProperties": False,
    "description": "A quantity, such as 20kpps, or by size: base + per_vcpu x vCPUs + per_disk_gib x GiB of the flavor's disks.",
}
_AMOUNT: Schema = nullable(mapping({part: {"type": "number", "minimum": 0} for part in PARTS}, optional=PARTS))


def _offers(amount: Schema, *, optional: tuple[str, ...] = ()) -> Schema:
    offer = mapping(
        {
            "limit": {**amount, "title": "The largest floor, of latency the smallest target, that may be asked for."},
            "default": {**amount, "title": "The floor or target that is offered."},
        },
        optional=optional,
    )
    return {
        "type": "object",
        "properties": {metric.value: offer for metric in Metric},
        "additionalProperties": False,
        "description": "The metrics that an SLO may have; none: every one, without a limit.",
    }


OFFERS = _offers(_AMOUNT)
OFFERS_IN = _offers(_AMOUNT_IN, optional=("limit", "default"))
FAILOVER: Schema = {
    **FLAG,
    "description": "An SLO under it is to survive the loss of any one host: another one keeps a place for it.",
}
SLA = mapping(
    {
        "uuid": UUID | {"description": "Of the class."},
        "name": TEXT,
        "time_zone": ZONE,
        "generation": GENERATION,
        "terms": {**TERMS, "description": "Those of the present period."},
        "next_terms": {
            **nullable(TERMS),
            "description": "Those that were set since, for periods from next_terms_from on.",
        },
        "next_terms_from": nullable(TIME),
        "tolerance_ratio": {**RATIO, "description": "A second is met from this share of an objective's value on."},
        "objectives": OFFERS,
        "failover": FAILOVER,
        "created_at": TIME,
        "withdrawn_at": nullable(TIME),
    }
)
LIST = page("slas", SLA)
LIST_QUERY = query(
    {
        "name": {**NAME, "description": "Only the one of this name."},
        "withdrawn": {**FLAG, "description": "Also those that are withdrawn."},
        "sort": sort("name", "uuid"),
        "limit": LIMIT,
        "marker": {**SLA_ID, "description": "Uuid of the last one on the page before."},
    }
)
POST = mapping(
    {"name": NAME, "time_zone": ZONE, "terms": TERMS_IN, "objectives": OFFERS_IN, "failover": FAILOVER},
    optional=("time_zone", "objectives", "failover"),
)
PATCH = mapping(
    {"name": NAME, "terms": TERMS_IN, "objectives": OFFERS_IN, "failover": FAILOVER, "generation": GENERATION},
    optional=("name", "terms", "objectives", "failover", "generation"),
    minProperties=1,
)
DELETE_QUERY = query({"detach": {**FLAG, "description": "Also where it is attached: it is detached then."}})

ATTACHMENT = mapping(
    {
        "id": {"type": "integer"},
        "scope": {"type": "string", "enum": [one.value for one in Scope]},
        "target": {**TEXT, "description": "Uuid of the instance, name of the flavor, or id of the project."},
        "start": TIME,
        "user_id": TEXT,
    }
)
ATTACHMENTS = page("attachments", ATTACHMENT)
ATTACHMENTS_QUERY = query({"limit": LIMIT, "marker": MARKER})
ATTACH = mapping(
    {
        "scope": ATTACHMENT["properties"]["scope"],
        "target": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": r"^[^\x00-\x1f\x7f]+$"},
        "replace": {**FLAG, "description": "Also where another class is attached to it: that one is detached."},
    },
    optional=("replace",),
)
