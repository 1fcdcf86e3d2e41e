"""The report of a period of an SLA class: no key of it is a float."""

from stella.api.schemas.correction import CORRECTION, PERIOD
from stella.api.schemas.exclusion import EXCLUSION
from stella.api.schemas.sla import AMOUNT_OF_MONEY, RATIO, SLA_ID, TERMS
from stella.api.schemas.vocabulary import (
    FLAG,
    METRIC,
    PROJECT,
    SECONDS_BY_STATUS,
    TEXT,
    TIME,
    UUID,
    Schema,
    listing,
    mapping,
    nullable,
    query,
)
from stella.sla.report import FORMAT

FORMATS = ("json", "csv", "html")
LARGEST_REPORTED = 20_000
"""A report of more instances is not made at once."""

_SECONDS: Schema = {"type": "integer", "minimum": 0}
_RATIO = nullable(RATIO)
_OBJECTIVE = mapping(
    {
        "metric": METRIC,
        "attainment_ratio": {**_RATIO, "description": "What counts: without what is excluded, and corrected."},
        "attainment_ratio_measured": _RATIO,
        "attainment_ratio_without_exclusions": _RATIO,
        "met_seconds": _SECONDS,
        "missed_seconds": _SECONDS,
        "allowed_seconds": _SECONDS,
        "unknown_seconds": _SECONDS,
        "own_limits_seconds": {
            **_SECONDS,
            "description": "It asked, and its own vCPUs or queue were the limit; not counted.",
        },
        "is_met": FLAG,
    }
)
_RESULT = mapping(
    {
        "uuid": UUID,
        "objectives": listing(_OBJECTIVE),
        "attainment_ratio": {**_RATIO, "description": "Of the objective that was met least."},
        "attainment_ratio_measured": _RATIO,
        "is_met": FLAG,
        "credit_ratio": RATIO,
        "credit_ratio_measured": {**RATIO, "description": "What would be owed without exclusions and corrections."},
        "credit_amount": nullable(AMOUNT_OF_MONEY),
    }
)
REPORT = mapping(
    {
        "format": {"type": "string", "enum": [FORMAT]},
        "sla": mapping({"uuid": SLA_ID, "name": TEXT, "generation": {"type": "integer"}}),
        "terms": TERMS,
        "project_id": {**nullable(TEXT), "description": "Whose instances are in it; null: those of all projects."},
        "period": mapping(
            {
                "name": TEXT,
                "time_zone": TEXT,
                "start": TIME,
                "end": TIME,
                "until": {**TIME, "description": "Up to this time it counts; whole minutes that begin before."},
                "final": {**FLAG, "description": "Whether what is measured is settled; corrections can still be made."},
            }
        ),
        "rollups": listing(
            mapping(
                {
                    "uuid": UUID,
                    "name": TEXT,
                    "project_id": TEXT,
                    "metric": METRIC,
                    "seconds": SECONDS_BY_STATUS,
                    "excluded": listing(mapping({"exclusion": {"type": "integer"}, "seconds": SECONDS_BY_STATUS})),
                }
            ),
            description="What it rests on: the seconds of the period by status, and those that each exclusion takes out.",
        ),
        "exclusions": listing(EXCLUSION),
        "corrections": listing(CORRECTION),
        "results": listing(_RESULT),
        "totals": mapping(
            {
                "instances": _SECONDS,
                "instances_missed": _SECONDS,
                "instances_credited": _SECONDS,
                "met_seconds": _SECONDS,
                "missed_seconds": _SECONDS,
                "attainment_ratio": _RATIO,
                "attainment_ratio_measured": _RATIO,
                "credit_amount": nullable(AMOUNT_OF_MONEY),
                "currency": nullable(TEXT),
            }
        ),
        "sha256": {"type": "string", "description": "Of the canonical JSON of all other keys."},
    }
)
QUERY = query(
    {
        "period": {**PERIOD, "title": "Default: the present one."},
        "project": PROJECT,
        "format": {"type": "string", "enum": list(FORMATS), "description": "html is to be printed; default: json."},
    }
)
