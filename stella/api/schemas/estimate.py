"""What an SLO would take."""

from stella.api.schemas.vocabulary import CONTRADICTIONS, OBJECTIVES_INPUT, mapping
from stella.model.resources import CLASSES

VCPUS = {"type": "integer", "minimum": 1, "maximum": 1024, "description": "vCPUs of the instance."}
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
POST = mapping(
    {
        "objectives": OBJECTIVES_INPUT,
        "vcpus": VCPUS,
        "extra_specs": {
            **EXTRA_SPECS,
            "maxProperties": 1000,
            "description": "Those of the flavor that is to sell it; its limits (quota:*) are compared with the floors.",
        },
    },
    optional=("extra_specs",),
)
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
        "contradictions": {
            **CONTRADICTIONS,
            "description": "Floors above a limit of the flavor, for one NIC and one disk.",
        },
    }
)
