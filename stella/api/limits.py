"""Limits from outside Stella beside an SLO: shown with it, and held against the floors that a user asks for.

Those of an instance are as stella-engine last read them (`stella.engine.duties.limits`).
"""

import json
import math
from collections.abc import Iterable, Mapping

from stella.api.errors import ApiError
from stella.db.models import Instance, SloRow
from stella.model import units, wire
from stella.model.limits import Contradiction, Limit, contradictions, from_text
from stella.model.slo import Slo, parse_slo
from stella.model.wire import Json


def of_instance(instance: Instance) -> tuple[Limit, ...]:
    """What limits an instance, as far as it is known."""
    return from_text(instance.limits)


def show(instance: Instance, slo: SloRow | None) -> dict[str, Json]:
    """``limits`` and ``contradictions`` of an instance with this SLO."""
    limits = of_instance(instance)
    kept = parse_slo(json.loads(slo.objectives)) if limits and slo is not None and slo.objectives is not None else None
    return {
        "limits": [wire.encode(one) for one in limits],
        "contradictions": show_contradictions(kept, limits) if kept is not None else [],
    }


def show_contradictions(slo: Slo, limits: Iterable[Limit]) -> list[Json]:
    """``contradictions`` of an SLO beside these limits."""
    return [_show(one) for one in contradictions(slo, limits)]


def _show(one: Contradiction) -> dict[str, Json]:
    return {
        "field": f"objectives.{one.field}",
        "name": one.limit.name,
        "source": one.limit.source.value,
        "device": one.limit.device,
        "value": one.limit.value,
        "reachable": one.is_reachable,
        "message": f"{one.field}: {one.message}",
    }


def within(largest: Mapping[str, float], slo: Slo, instance: Instance) -> dict[str, Json]:
    """The largest floors by metric, no more than the limits of ``instance`` leave, and no less than ``slo`` asks for."""
    found: dict[str, float] = dict(largest)
    for one in of_instance(instance):
        if one.metric.value in found and not one.is_floor:
            reach = max(one.value * one.devices, slo.floor(one.metric))
            found[one.metric.value] = min(found[one.metric.value], reach)
    return {**found}


def refusal(slo: Slo, instance: Instance, *, before: Slo | None) -> ApiError | None:
    """The answer (422) for the first floor of ``slo`` that the limits of ``instance`` make unreachable; None: there is none.

    A floor that is no larger than in ``before``, what the instance has already, is not refused: it is only shown.
    """
    for one in contradictions(slo, of_instance(instance)):
        held = before.floor(one.metric) if before is not None else 0.0
        if not one.is_reachable and one.floor > held:
            return _above(one)
    return None


def _above(one: Contradiction) -> ApiError:
    field = f"objectives.{one.field}"
    detail = f"{field}: {one.message}"
    if not math.isclose(one.reach, one.limit.value):
        detail += f"; all limits together leave {units.show(one.reach, one.metric.unit)}"
    extra: dict[str, Json] = {"limit": wire.encode(one.limit), "largest": {one.metric.value: one.reach}}
    return ApiError("stella.slo.above_limit", f"{detail}.", field=field, extra=extra)
