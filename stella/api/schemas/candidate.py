"""Hosts that could take an instance with an SLO."""

from stella.api.candidates import LARGEST_HOSTS
from stella.api.schemas.estimate import EXTRA_SPECS, VCPUS
from stella.api.schemas.vocabulary import (
    BY_METRIC,
    HOST_NAME,
    OBJECTIVES_INPUT,
    TEXT,
    UUID,
    WHY,
    listing,
    mapping,
    nullable,
)

_LARGEST_SPECS = 256
_SLO = ("objectives", "extra_specs")
"""Either may be given, not both."""

POST = mapping(
    {
        "objectives": OBJECTIVES_INPUT,
        "extra_specs": {**EXTRA_SPECS, "maxProperties": _LARGEST_SPECS, "minProperties": 1},
        "vcpus": VCPUS,
        "hosts": listing(
            HOST_NAME,
            minItems=1,
            maxItems=LARGEST_HOSTS,
            description=f"Only these; else those with most free CPU, at most {LARGEST_HOSTS}.",
        ),
        "instance": {**UUID, "description": "The instance that is to be moved or resized; its own SLO is counted too."},
        "with_largest": {
            "type": "boolean",
            "description": "Also search what would fit where it does not fit as asked, which takes longer.",
        },
        "record": {
            "type": "boolean",
            "description": "Where none fits, keep that as a decision, with the reason of each host. Schedulers ask for it.",
        },
    },
    optional=("objectives", "extra_specs", "hosts", "instance", "with_largest", "record"),
    oneOf=[
        {"required": ["objectives"]},
        {"required": ["extra_specs"]},
        {"required": ["instance", "hosts"], "not": {"anyOf": [{"required": [name]} for name in _SLO]}},
    ],
)
_RATIO = {"type": ["number", "null"], "minimum": 0, "maximum": 1}
CANDIDATE = mapping(
    {
        "host": HOST_NAME,
        "fits": {"type": "boolean"},
        "reason": nullable({**TEXT, "description": "Why it does not fit; null where it does."}),
        "why": WHY,
        "reserved_cpu_cores": {
            "type": ["number", "null"],
            "minimum": 0,
            "description": "CPU that would be set aside; null where it does not fit.",
        },
        "head_room_ratio": {**_RATIO, "description": "The part of what the host may guarantee that is left then."},
        "attainment_ratio": {
            **_RATIO,
            "description": "Met among the seconds with demand of all objectives on the host in the last hour; null: none."
            " Of many hosts it comes with the next requests.",
        },
        "largest": {
            **BY_METRIC,
            "description": "With `with_largest`, for each floor the largest value that would fit, the others as asked.",
        },
    }
)
LIST = mapping({"candidates": listing(CANDIDATE)})
