"""What an SLO under a class may ask for, and what is offered where it asks for nothing: fixed, or by the size of the instance."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stella.model import units
from stella.model.slo import Metric, Objective, Slo
from stella.sla.terms import InvalidTerms

GIBIBYTE = 2**30
_TOLERANCE_RATIO = 1e-9
PARTS = ("base", "per_vcpu", "per_disk_gib")


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """The size of an instance; ``disk_bytes`` None: not known, as without OpenStack."""

    vcpus: int
    disk_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """``base`` + ``per_vcpu`` x vCPUs + ``per_disk_gib`` x GiB of the flavor's disks, in the metric's base unit."""

    base: float = 0.0
    per_vcpu: float = 0.0
    per_disk_gib: float = 0.0

    def of(self, size: Size) -> float:
        """The amount for an instance; of disks of which nothing is known nothing comes."""
        return self.base + self.per_vcpu * size.vcpus + self.per_disk_gib * (size.disk_bytes or 0) / GIBIBYTE


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """Of one metric: the largest floor (of latency the smallest target) that may be asked for, and the ``default``; None: none."""

    limit: Amount | None = None
    default: Amount | None = None


Offers = Mapping[Metric, Offer]
"""The metrics that an SLO may have; none at all: every one, without a limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """``field`` of the SLO that the class does not allow, why, and what it allows in its place (None: nothing)."""

    field: str
    message: str
    largest: float | None = None


def _quantity(field: str, value: object, metric: Metric) -> float:
    try:
        return units.parse(value, metric.unit) if isinstance(value, str | int | float) else units.parse("", metric.unit)
    except units.InvalidQuantity as error:
        raise InvalidTerms(field, str(error)) from None


def _amount(field: str, given: object, metric: Metric) -> Amount | None:
    if given is None:
        return None
    if not isinstance(given, Mapping):
        return Amount(base=_quantity(field, given, metric))
    parts = {name: value for name, value in given.items() if value is not None}
    if not parts:
        raise InvalidTerms(field, f"must have one of {', '.join(PARTS)}")
    if metric is Metric.BLOCK_LATENCY and set(parts) != {"base"}:
        raise InvalidTerms(field, "latency does not grow with the size of an instance; give a quantity")
    return Amount(**{name: _quantity(f"{field}.{name}", value, metric) for name, value in parts.items()})


def parse(given: Mapping[str, Mapping[str, Any]]) -> dict[Metric, Offer]:
    """Offers from a mapping by metric with ``limit`` and ``default``. Raises `InvalidTerms` that names the field."""
    found: dict[Metric, Offer] = {}
    for name, keys in given.items():
        try:
            metric = Metric(name)
        except ValueError:
            raise InvalidTerms(f"objectives.{name}", f"no such metric (there are: {', '.join(Metric)})") from None
        limit = _amount(f"objectives.{name}.limit", keys.get("limit"), metric)
        default = _amount(f"objectives.{name}.default", keys.get("default"), metric)
        if limit is not None and default is not None and not _default_is_allowed(metric, default, limit):
            raise InvalidTerms(f"objectives.{name}.default", "is not within the limit for every size")
        found[metric] = Offer(limit=limit, default=default)
    return found


def _default_is_allowed(metric: Metric, default: Amount, limit: Amount) -> bool:
    if metric is Metric.BLOCK_LATENCY:
        return default.base >= limit.base
    smallest = Size(vcpus=1, disk_bytes=0)  # and what grows with the size grows no faster than the limit
    return (
        default.of(smallest) <= limit.of(smallest)
        and default.per_vcpu <= limit.per_vcpu
        and default.per_disk_gib <= limit.per_disk_gib
    )


def show(offers: Offers) -> dict[str, dict[str, Any]]:
    """The mapping that `parse` reads, in base units."""
    return {
        metric.value: {"limit": _show(offer.limit), "default": _show(offer.default)} for metric, offer in offers.items()
    }


def _show(amount: Amount | None) -> dict[str, float] | None:
    return None if amount is None else {part: value for part in PARTS if (value := getattr(amount, part))}


def default_slo(offers: Offers, size: Size) -> dict[str, dict[str, float]]:
    """The objectives that are offered to an instance of this size, by metric, in base units."""
    found: dict[str, dict[str, float]] = {}
    for metric, offer in offers.items():
        value = offer.default.of(size) if offer.default is not None else 0.0
        if value > 0:
            found[metric.value] = {"target" if metric is Metric.BLOCK_LATENCY else "floor": value}
    return found


def limits(offers: Offers, size: Size) -> dict[str, float]:
    """The largest floors (of latency the smallest target) by metric for an instance of this size, where there are any."""
    return {metric.value: offer.limit.of(size) for metric, offer in offers.items() if offer.limit is not None}


def refusal(slo: Slo, offers: Offers, size: Size, *, before: Slo | None) -> Refusal | None:
    """The first objective that the class does not allow; None: there is none.

    One that is no larger than ``before``, what the instance has already, is never refused: an instance keeps what it has when it
    comes under a class.
    """
    if not offers:
        return None
    for objective in slo.objectives:
        found = _refused(objective, offers, size, before.objective(objective.metric) if before is not None else None)
        if found is not None:
            return found
    return None


def _refused(asked: Objective, offers: Offers, size: Size, before: Objective | None) -> Refusal | None:
    metric = asked.metric
    offer = offers.get(metric)
    if offer is None:
        if before is not None and (before.floor, before.target) == (asked.floor, asked.target):
            return None
        names = ", ".join(one.value for one in offers)
        return Refusal(field=metric.value, message=f"the SLA class has no objective of this metric (it has: {names})")
    if offer.limit is None:
        return None
    limit = offer.limit.of(size)
    if metric is Metric.BLOCK_LATENCY:
        known = before.target if before is not None else None
        if asked.target is None or asked.target >= limit * (1 - _TOLERANCE_RATIO) or _at_least(asked.target, known):
            return None
        shown = f"the SLA class allows a target of {units.show(limit, metric.unit)} or more"
        return Refusal(field=f"{metric.value}.target", message=shown, largest=limit)
    known = before.floor if before is not None else None
    if asked.floor is None or asked.floor <= limit * (1 + _TOLERANCE_RATIO) or asked.floor <= (known or 0.0):
        return None
    shown = f"the SLA class allows at most {units.show(limit, metric.unit)} for an instance of this size"
    return Refusal(field=f"{metric.value}.floor", message=shown, largest=limit)


def _at_least(target: float, known: float | None) -> bool:
    return known is not None and target >= known
