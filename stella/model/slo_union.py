"""Two SLOs of one instance at once: what its flavor sells, and what its user asks for beside it."""

from dataclasses import replace

from stella.model.slo import InvalidSlo, Metric, Objective, Slo, parse_slo, show_slo


def together(one: Slo, other: Slo) -> Slo:
    """Both SLOs at once: per metric the larger floor and weight, the smaller ceiling and target, the higher priority.

    Raises `stella.model.slo.InvalidSlo` where they contradict one another, such as a ceiling of one below a floor of the other.
    """
    merged = {objective.metric: objective for objective in one.objectives}
    for objective in other.objectives:
        mine = merged.get(objective.metric)
        merged[objective.metric] = objective if mine is None else _both(mine, objective)
    return parse_slo(show_slo(Slo(tuple(merged[metric] for metric in Metric if metric in merged))))


def _both(one: Objective, other: Objective) -> Objective:
    if one.direction is not other.direction:
        raise InvalidSlo(
            f"{one.metric.value}.direction", f"must be {one.direction.value}, as what is guaranteed already"
        )
    dearer = one if (one.floor or 0.0) >= (other.floor or 0.0) else other
    units = [o.unit_bytes for o in (one, other) if o.unit_bytes > 0]
    return replace(
        dearer,
        floor=max((o.floor for o in (one, other) if o.floor is not None), default=None),
        ceiling=min((o.ceiling for o in (one, other) if o.ceiling is not None), default=None),
        weight=max((o.weight for o in (one, other) if o.weight is not None), default=None),
        target=min((o.target for o in (one, other) if o.target is not None), default=None),
        priority=max(one.priority, other.priority),
        unit_bytes=min(units, default=0.0),
    )
