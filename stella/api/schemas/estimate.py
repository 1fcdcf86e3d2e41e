"""What an SLO would take."""

from stella.api.schemas.vocabulary import OBJECTIVES_INPUT, mapping
from stella.model.resources import CLASSES

VCPUS = {"type": "integer", "minimum": 1, "maximum": 1024, "description": "vCPUs of the instance."}
POST = mapping({"objectives": OBJECTIVES_INPUT, "vcpus": VCPUS})
RESOURCES = {
    "type": "object",
    "properties": {
        one.name: {"type": "integer", "minimum": 1, "description": f"In {one.unit}, rounded up."} for one in CLASSES
    },
    "additionalProperties": False,
    "description": "By resource class of Placement; classes of which nothing is needed are left out.",
}
EXTRA_SPECS = {
    "type": "object",
    "additionalProperties": {"type": "string", "maxLength": 255},
    "description": "By name, as Nova keeps them with a flavor.",
}
ESTIMATE = mapping(
    {
        "reserved_cpu_cores": {
            "type": "number",
            "minimum": 0,
            "description": "CPU that is set aside for the floors, the cost of their I/O included.",
        },
        "estimated": {
            "type": "boolean",
            "description": "Part of it is the CPU cost of I/O, which comes from priors, not from history.",
        },
        "resources": RESOURCES,
        "extra_specs": {**EXTRA_SPECS, "description": "Those with which a flavor sells this SLO."},
    }
)
