"""The summary of a project, or of all of them."""

from stella.api.schemas.instance import ATTAINED
from stella.api.schemas.vocabulary import AMOUNT, COUNT, PROJECT, TEXT, mapping, nullable, query
from stella.db.instances import HEALTHS

LARGEST_COUNTED = 500
"""Attainment is read instance by instance; of a project with more than so many it is not told."""

HOSTS = mapping(
    {
        "total": COUNT,
        "silent": {**COUNT, "description": "Have not reported for longer than they may."},
        "modes": {"type": "object", "additionalProperties": COUNT, "description": "How many are in each mode."},
        "capacity_cpu_cores": AMOUNT,
        "reserved_cpu_cores": AMOUNT,
        "free_cpu_cores": {
            **AMOUNT,
            "description": "What can still be guaranteed, on hosts in enforce that are not silent.",
        },
        "free_without_one_cpu_cores": {
            "type": "number",
            "description": "The same with any one host lost and what it holds placed on the others; below 0: so much finds no place. "
            "In sum: for one that needs much on one host there may be less.",
        },
    }
)
SUMMARY = mapping(
    {
        "project_id": {**nullable(TEXT), "description": "null: of all projects."},
        "instances": mapping({name: COUNT for name in HEALTHS}, description="By health, without those that are gone."),
        "open_violations": COUNT,
        "attainment": {
            **nullable(ATTAINED),
            "description": f"Of all its instances together, this day and this month (UTC) until now; null for all projects, and with "
            f"more than {LARGEST_COUNTED} guaranteed instances.",
        },
        "hosts": {**nullable(HOSTS), "description": "All hosts together, for operators; null with a project."},
    }
)
QUERY = query({"project": PROJECT})
