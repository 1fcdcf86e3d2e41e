"""What an SLO holds in Placement: whole numbers of resource classes, rounded up, so that a ledger of them never says too little."""

import decimal
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from stella.model.slo import InvalidSlo, Metric, Slo

LARGEST_AMOUNT = 2**31 - 1
"""Placement keeps amounts as 32-bit integers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceClass:
    """A resource class of Placement. One of it is ``base_units`` of its metric's base unit; ``unit`` is that for a person."""

    name: str
    unit: str
    base_units: Decimal

    def amount(self, value: float) -> int:
        """How many hold ``value``, in the metric's base unit: rounded up, exactly as the number is written."""
        exact = _EXACT.divide(Decimal(repr(float(value))), self.base_units)
        return int(exact.to_integral_value(rounding=decimal.ROUND_CEILING))

    def value(self, amount: int) -> float:
        """What so many hold, in the metric's base unit."""
        return float(amount * self.base_units)


_EXACT = decimal.Context(prec=60)

CPU_MILLICORES = ResourceClass(name="CUSTOM_STELLA_CPU_MILLICORES", unit="millicores", base_units=Decimal("0.001"))
"""Of the CPU that admission sets aside for the whole SLO, the cost of its I/O included; not of the CPU floor."""

BY_METRIC: Mapping[Metric, ResourceClass] = {
    Metric.NETWORK_PACKETS: ResourceClass(
        name="CUSTOM_STELLA_NET_KPPS", unit="thousand packets/s", base_units=Decimal(1000)
    ),
    Metric.NETWORK_BYTES: ResourceClass(name="CUSTOM_STELLA_NET_MBPS", unit="Mbit/s", base_units=Decimal(125_000)),
    Metric.BLOCK_BYTES: ResourceClass(name="CUSTOM_STELLA_BLOCK_MBPS", unit="MB/s", base_units=Decimal(1_000_000)),
    Metric.BLOCK_OPERATIONS: ResourceClass(name="CUSTOM_STELLA_BLOCK_IOPS", unit="operations/s", base_units=Decimal(1)),
}
"""The class of each metric whose floors take something that is counted apart from CPU."""

CLASSES = (CPU_MILLICORES, *BY_METRIC.values())
NAMES = tuple(one.name for one in CLASSES)


def resources_of(slo: Slo, reserved_cpu_cores: float) -> Mapping[str, int]:
    """What ``slo`` holds of each resource class; classes of which it holds nothing are left out.

    ``reserved_cpu_cores`` is what admission sets aside for its floors. Raises `InvalidSlo` where Placement could not count so much.
    """
    wanted = [("cpu.floor", CPU_MILLICORES, reserved_cpu_cores)]
    wanted += [(f"{metric.value}.floor", one, slo.floor(metric)) for metric, one in BY_METRIC.items()]
    found: dict[str, int] = {}
    for field, one, value in wanted:
        amount = one.amount(value)
        if amount > LARGEST_AMOUNT:
            raise InvalidSlo(field, f"is more than Placement can count ({LARGEST_AMOUNT} {one.unit})")
        if amount > 0:
            found[one.name] = amount
    return found


def beyond(whole: Mapping[str, int], part: Mapping[str, int]) -> Mapping[str, int]:
    """What of ``whole`` ``part`` does not hold, by class; classes of which nothing is left are left out."""
    rest = {name: amount - part.get(name, 0) for name, amount in whole.items()}
    return {name: amount for name, amount in rest.items() if amount > 0}


def at_least(one: Mapping[str, int], other: Mapping[str, int]) -> Mapping[str, int]:
    """The larger amount of each class: what holds ``one`` and ``other`` while it is not known which of them is in force."""
    return {name: max(one.get(name, 0), other.get(name, 0)) for name in sorted({*one, *other})}
