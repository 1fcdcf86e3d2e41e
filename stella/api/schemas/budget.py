"""Error budgets."""

from stella.api.schemas.sla import AMOUNT_OF_MONEY, OFFERS, RATIO, SLA_ID, TERMS
from stella.api.schemas.vocabulary import (
    METRIC,
    PROJECT,
    TEXT,
    TIME,
    UUID,
    Schema,
    listing,
    mapping,
    nullable,
    query,
    sort,
)
from stella.sla.budget import BURN_SPANS

_SECONDS: Schema = {"type": "integer"}
LARGEST_LISTED = 1000
"""Budgets of more instances are not computed at once."""

PERIOD = mapping({"name": TEXT, "time_zone": TEXT, "start": TIME, "end": TIME})
OBJECTIVE = mapping(
    {
        "metric": METRIC,
        "attainment_ratio": {**nullable(RATIO), "description": "Met among those with demand; null: there was none."},
        "with_demand_seconds": _SECONDS,
        "allowed_seconds": {**_SECONDS, "description": "So many may be missed: (1 - target) x with_demand_seconds."},
        "used_seconds": {**_SECONDS, "description": "So many were missed."},
        "left_seconds": {**_SECONDS, "description": "Below 0: the target is missed."},
        "unknown_seconds": {**_SECONDS, "description": "Of which nothing is known; the terms say what they count as."},
        "burn_rates": {
            **mapping({name: {"type": ["number", "null"]} for name in BURN_SPANS}),
            "description": "How many times faster than evenly the budget was used; null: no demand, or no budget at all.",
        },
        "exhausted_at": {
            **nullable(TIME),
            "description": "When it ends at the pace of the last 6 hours, within the period.",
        },
        "exhausted_on": {**nullable(TEXT), "description": "That day in the class's time zone."},
    }
)
NEXT_CREDIT = mapping(
    {
        "below_ratio": RATIO,
        "credit_ratio": RATIO,
        "credit_amount": nullable(AMOUNT_OF_MONEY),
        "left_seconds": {**_SECONDS, "description": "So many more seconds may be missed before it is owed."},
    }
)
BUDGET = mapping(
    {
        "uuid": UUID,
        "name": {**TEXT, "description": "Of the instance."},
        "project_id": TEXT,
        "sla": mapping({"uuid": SLA_ID, "name": TEXT}),
        "period": PERIOD,
        "left_seconds": {
            **_SECONDS,
            "description": "Of the objective that has least left in relation to what is allowed.",
        },
        "left_ratio": {
            "type": ["number", "null"],
            "description": "That part of its budget; below 0: missed; null: nothing had demand.",
        },
        "credit_ratio": {**RATIO, "description": "Owed if the period ends as it is now."},
        "credit_amount": nullable(AMOUNT_OF_MONEY),
        "currency": nullable(TEXT),
        "next_credit": {**nullable(NEXT_CREDIT), "description": "What is at stake: owed when more is missed."},
        "objectives": listing(OBJECTIVE),
    }
)
SHOWN = mapping(
    {
        **BUDGET["properties"],
        "terms": TERMS,
        "offers": OFFERS,
        "default_objectives": {
            "type": "object",
            "description": "The SLO that the class offers to an instance of this size.",
        },
        "limits": {
            "type": "object",
            "description": "The largest floors (of latency the smallest target) by metric that it allows.",
        },
    }
)
LIST = mapping({"budgets": listing(BUDGET)})
LIST_QUERY = query(
    {
        "project": PROJECT,
        "sla": SLA_ID,
        "sort": sort("left_ratio", "left_seconds", "name"),
        "limit": {"type": "integer", "minimum": 1, "maximum": LARGEST_LISTED, "description": "The most to return."},
    }
)
