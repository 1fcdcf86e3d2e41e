"""Human quantities to numbers in base units, and back, in the words of Stella's agent and API.

Base units: cores, packets/s, bytes/s, operations/s, seconds, bytes. Prefixes k, M, G, T are powers of 1000; Ki, Mi, Gi, Ti of 1024.
"""

import math
import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation

UNIT_OF: Mapping[str, str] = {
    "cpu": "cores",
    "network_packets": "packets/s",
    "network_bytes": "bytes/s",
    "block_bytes": "bytes/s",
    "block_operations": "operations/s",
    "block_latency": "seconds",
}
"""The base unit of each metric."""

_EXAMPLES = {
    "cores": "20% or 1.5cores",
    "packets/s": "20kpps or 20000pps",
    "operations/s": "8000iops",
    "bytes/s": "300MB/s or 500Mbit/s",
    "bytes": "64KiB",
    "seconds": "5ms",
}
_POWERS = {
    f"{letter}{binary}": (1024 if binary else 1000) ** power
    for power, letter in enumerate(("k", "m", "g", "t"), start=1)
    for binary in ("", "i")
} | {"": 1}
_WHOLE = {
    "cores": {"cores": "1", "core": "1", "%": "0.01", "mcores": "0.001", "millicores": "0.001"},
    "seconds": {"s": "1", "ms": "0.001", "us": "0.000001", "min": "60", "h": "3600"},
}
_PREFIXED = {
    "packets/s": {"pps": "1", "": "1"},
    "operations/s": {"iops": "1", "": "1"},
    "bytes/s": {"bit/s": "0.125", "B/s": "1"},
    "bytes": {"B": "1"},
}
_TEXT = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)\s*([A-Za-z/%]*)\s*", re.IGNORECASE)
_LARGEST = 1e15


class InvalidQuantity(ValueError):
    """A text is no quantity of the unit; the message is one sentence for a person."""


def _factor(suffix: str, unit: str) -> Decimal | None:
    if suffix == "":
        return Decimal(1)
    if unit in _WHOLE:
        found = _WHOLE[unit].get(suffix.lower())
        return Decimal(found) if found else None
    for ending, scale in _PREFIXED[unit].items():
        power = _POWERS.get(suffix[: len(suffix) - len(ending)].lower()) if suffix.endswith(ending) else None
        if power is not None:
            return Decimal(power) * Decimal(scale)
    return None


def parse(text: str | float, unit: str) -> float:
    """The number in the base unit; a bare number is taken in it.

    Raises `InvalidQuantity` for what is not a quantity of ``unit``, not above zero, or above 1e15.
    """
    shown = repr(str(text)[:60])
    match = None if isinstance(text, bool) else _TEXT.fullmatch(str(text))
    factor = _factor(match[2], unit) if match else None
    if match is None or factor is None:
        raise InvalidQuantity(f"{shown} is not a quantity in {unit}, such as {_EXAMPLES[unit]}")
    try:
        value = float(Decimal(match[1]) * factor)
    except (InvalidOperation, ArithmeticError):
        raise InvalidQuantity(f"{shown} is too large") from None
    if not math.isfinite(value) or value > _LARGEST:
        raise InvalidQuantity(f"{shown} is too large")
    if value <= 0:
        raise InvalidQuantity(f"{shown} must be greater than zero")
    return value


def show(value: float, unit: str) -> str:
    """The quantity for a person, in a form that `parse` reads: ``20kpps``, ``300MB/s``, ``20%``."""
    if unit == "cores":
        return f"{value * 100:.4g}%" if value < 1 else f"{value:.4g}cores"
    if unit == "seconds":
        return f"{value:.4g}s" if value >= 1 else f"{value * 1000:.4g}ms"
    steps = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))
    if unit == "bytes":
        steps = ((2.0**30, "Gi"), (2.0**20, "Mi"), (2.0**10, "Ki"), (1.0, ""))
    size, prefix = next(((s, p) for s, p in steps if abs(value) >= s), steps[-1])
    ending = {"packets/s": "pps", "operations/s": "iops", "bytes/s": "B/s", "bytes": "B"}[unit]
    return f"{value / size:.4g}{prefix}{ending}"


def round_down(value: float) -> float:
    """The largest number of four digits that is not above ``value`` (0 or more)."""
    if value <= 0:
        return 0.0
    exponent = math.floor(math.log10(value)) - 3
    digits = math.floor(Decimal(repr(value)).scaleb(-exponent))
    return float(Decimal(digits).scaleb(exponent))


def show_metric(metric: str, value: float | None) -> str:
    """The quantity of a metric for a person; ``-`` for none, the bare number for a metric of a later release."""
    if value is None:
        return "-"
    unit = UNIT_OF.get(metric)
    return show(value, unit) if unit else f"{value:g}"
