"""Validators of the extra specs ``stella:slo_*``, which Nova finds by the entry point ``nova.api.extra_spec_validators``."""

from typing import Any

from nova.api.validation.extra_specs import base

from stella_nova.patterns import SPECS, Spec


def _value(spec: Spec) -> dict[str, Any]:
    if spec.pattern is not None:
        return {"type": str, "pattern": spec.pattern}
    if spec.choices:
        return {"type": str, "enum": list(spec.choices)}
    return {"type": int, "min": 0, "max": spec.largest}


def register() -> list[Any]:
    """One validator for each extra spec; with them Nova refuses every other name that begins with ``stella:``."""
    return [
        base.ExtraSpecValidator(name=spec.name, description=spec.description, value=_value(spec))
        for spec in SPECS.values()
    ]
