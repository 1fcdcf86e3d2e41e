"""The part of an SLO that a flavor sells: extra specs ``stella:slo_*`` parsed and printed.

stella:slo_<metric>_<key>       a number in the metric's base unit, as decimal text; ``direction`` is a word
stella:slo_priority             the priority of every objective that names none of its own
resources:CUSTOM_STELLA_*       what Nova allocates for it (`stella.model.resources`)
"""

import re
from collections.abc import Mapping
from decimal import Decimal

from stella.model.slo import InvalidSlo, Metric, Slo, parse_slo, show_objective

PREFIX = "stella:slo_"
RESOURCES_PREFIX = "resources:"
PRIORITY = f"{PREFIX}priority"
_METRIC_KEYS = ("floor", "ceiling", "weight", "target", "direction", "unit", "priority")
SPECS: Mapping[str, tuple[Metric, str]] = {
    f"{PREFIX}{metric.value}_{key}": (metric, key) for metric in Metric for key in _METRIC_KEYS
}
"""Each extra spec of an objective with its metric and the key of the SLO."""

_NUMBER = re.compile(r"[0-9]{1,16}(\.[0-9]{1,30})?")


def slo_of(extra_specs: Mapping[str, str]) -> Slo | None:
    """The SLO that a flavor with these extra specs sells; None where it sells none. Other extra specs are not looked at.

    Raises `InvalidSlo` whose field is the name of the extra spec.
    """
    ours = {name: value for name, value in extra_specs.items() if name.startswith(PREFIX)}
    if not ours:
        return None
    priority = _number(PRIORITY, ours.pop(PRIORITY, "0"))
    objectives: dict[str, dict[str, object]] = {}
    for name, value in sorted(ours.items()):
        if name not in SPECS:
            raise InvalidSlo(name[:255], f"no such extra spec; one is {PREFIX}network_packets_floor")
        metric, key = SPECS[name]
        objectives.setdefault(metric.value, {})[key] = value if key == "direction" else _number(name, value)
    if not objectives:
        raise InvalidSlo(PRIORITY, f"needs an objective, such as {PREFIX}cpu_floor")
    try:
        return parse_slo({metric: {"priority": priority, **keys} for metric, keys in objectives.items()})
    except InvalidSlo as error:
        raise InvalidSlo(_spec_of(error.field, ours), str(error).partition(": ")[2]) from None


def _number(name: str, value: str) -> int | float:
    if not _NUMBER.fullmatch(value):
        raise InvalidSlo(name, "must be a number in the metric's base unit, without unit, sign or exponent")
    return float(value) if "." in value else int(value)


def _spec_of(field: str, given: Mapping[str, str]) -> str:
    """The extra spec that a field of the SLO came from: ``cpu.floor``, or ``cpu`` for what is wrong with all of its keys."""
    metric, _, key = field.partition(".")
    named = f"{PREFIX}{metric}_{key}"
    if named in given:
        return named
    return PRIORITY if key == "priority" else next(name for name in given if SPECS[name][0].value == metric)


def extra_specs_of(slo: Slo, resources: Mapping[str, int]) -> Mapping[str, str]:
    """The extra specs of a flavor that sells ``slo``, for which Nova allocates ``resources`` by class. `slo_of` reads them."""
    priorities = {objective.priority for objective in slo.objectives}
    shared = priorities.pop() if len(priorities) == 1 else 0
    found = {PRIORITY: str(shared)} if shared else {}
    for objective in slo.objectives:
        for key, value in show_objective(objective).items():
            if key != "priority" or not shared:
                found[f"{PREFIX}{objective.metric.value}_{key}"] = _text(value)
    return found | {f"{RESOURCES_PREFIX}{name}": str(amount) for name, amount in resources.items()}


def _text(value: object) -> str:
    if isinstance(value, float):
        text = format(Decimal(repr(value)), "f")
        return text.removesuffix(".0")
    return str(value)
