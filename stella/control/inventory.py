"""What a host has to guarantee, as totals of Placement's resource classes: whole, rounded down, so that they never say too much.

CPU is what admission may guarantee in all. For each kind of I/O, the total is what the host's CPU could carry if it did nothing else,
or the limit of its devices where one is configured. CPU is what runs out first where SLOs are mixed: I/O costs CPU, and what it costs
is part of `CUSTOM_STELLA_CPU_MILLICORES`.
"""

import decimal
import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from stella.control.cost import Prior
from stella.model.resources import BY_METRIC, CPU_MILLICORES, LARGEST_AMOUNT, ResourceClass
from stella.model.slo import Metric

NOISE_RATIO = 0.02
"""A total that differs by less is left as it is: measured capacity is not steady to 1 %."""

_UNIT_BYTES = {Metric.BLOCK_BYTES: 65_536.0, Metric.BLOCK_OPERATIONS: 16_384.0}
_EXACT = decimal.Context(prec=60)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What is to be written. ``short`` has, by class, how much more is in use than the host has."""

    totals: Mapping[str, int]
    short: Mapping[str, int]


def totals_of(
    guaranteed_cores: float, *, limits: Mapping[Metric, float] | None = None, prior: Prior | None = None
) -> Mapping[str, int]:
    """The total of each class; a class of which there is not one whole is left out.

    ``guaranteed_cores`` is what may be guaranteed in all (`stella.control.capacity.sellable_cores`); ``limits`` what the devices can
    do, in each metric's base unit, where that is known; ``prior`` what I/O costs.
    """
    cores = guaranteed_cores if math.isfinite(guaranteed_cores) else 0.0
    known, limited = prior or Prior(), limits or {}
    found = {CPU_MILLICORES.name: _whole(CPU_MILLICORES, cores)}
    for metric, one in BY_METRIC.items():
        cost = sum(known.unit_costs(metric, _UNIT_BYTES.get(metric, 0.0)))
        carried = cores / cost if cost > 0 else math.inf
        found[one.name] = _whole(one, min(carried, limited.get(metric, math.inf)))
    return {name: total for name, total in found.items() if total > 0}


def _whole(one: ResourceClass, value: float) -> int:
    if not value > 0:
        return 0
    if value == math.inf:
        return LARGEST_AMOUNT
    exact = _EXACT.divide(Decimal(repr(float(value))), one.base_units)
    return min(LARGEST_AMOUNT, int(exact.to_integral_value(rounding=decimal.ROUND_FLOOR)))


def settle(wanted: Mapping[str, int], *, current: Mapping[str, int], used: Mapping[str, int]) -> Settled:
    """The totals to write where ``current`` are written and ``used`` is allocated: noise is left out, and none is below what is used.

    Placement would take a total below what is used. But the largest single allocation is bounded by the total too: a server that holds
    more could not be moved away any more.
    """
    short = {name: amount - wanted.get(name, 0) for name, amount in used.items() if amount > wanted.get(name, 0)}
    totals = {name: _steady(current.get(name), total) for name, total in wanted.items()}
    for name, amount in used.items():
        totals[name] = max(amount, totals.get(name, 0))
    return Settled(totals={name: total for name, total in totals.items() if total > 0}, short=short)


def _steady(current: int | None, wanted: int) -> int:
    if current is not None and abs(wanted - current) <= NOISE_RATIO * current:
        return current
    return wanted
