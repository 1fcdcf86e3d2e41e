"""Who holds what on a host."""

from stella.api.schemas.host import HOST, MODE
from stella.api.schemas.instance import CURRENT
from stella.api.schemas.vocabulary import AMOUNT, COUNT, OBJECTIVES, TEXT, TIME, UUID, listing, mapping, nullable
from stella.db.slos import STATES

_OFFENCES = mapping(
    {
        "violations": {**COUNT, "description": "Those that name it as their offender."},
        "lasting": {**COUNT, "description": "Those of them that last."},
        "missed_seconds": {**AMOUNT, "description": "Missed in all of them."},
        "victims": listing(mapping({"uuid": UUID, "name": TEXT}), description="Whose they are, the most missed first."),
    }
)
_CPU = {
    "used_cpu_cores": nullable(AMOUNT),
    "entitled_cpu_cores": {
        **nullable(AMOUNT),
        "description": "What it has when all want more than there is; null where its host does not tell.",
    },
    "excess_cpu_cores": {
        **nullable(AMOUNT),
        "description": "Used above its entitlement. No offence by itself: what others leave idle may be used.",
    },
    "offences": _OFFENCES,
}
_FIGURES = HOST["properties"]
EXPLANATION = mapping(
    {
        "name": _FIGURES["name"],
        "mode": MODE,
        **{
            name: _FIGURES[name]
            for name in ("silent", "reported_at", "capacity_cpu_cores", "reserved_cpu_cores", "free_cpu_cores")
        },
        "since": {**TIME, "description": "Violations that last or ended from this time on are counted."},
        "host_services": mapping({**_CPU}, description="All that runs on the host beside instances."),
        "instances": listing(
            mapping(
                {
                    "uuid": UUID,
                    "name": TEXT,
                    "project_id": TEXT,
                    "state": TEXT,
                    "slo_state": {"type": ["string", "null"], "enum": [*STATES, None]},
                    "reserved_cpu_cores": {**AMOUNT, "description": "What its SLO holds of the host."},
                    **_CPU,
                    "guaranteed": {**OBJECTIVES, "description": "Its SLO; empty: best-effort."},
                    "objectives": listing(CURRENT, description="As the host last reported them."),
                    "violations": {**COUNT, "description": "Of its own objectives."},
                    "missed_seconds": {**AMOUNT, "description": "Missed in all of them."},
                }
            ),
            description="Those that offend first, then by what is used above the entitlement.",
        ),
    }
)
