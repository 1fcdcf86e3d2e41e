"""Human quantities to exact numbers in base units, and back.

Inside Stella every quantity is in its base unit: cores, packets/s, bytes/s, operations/s, seconds, bytes.
Only this module and the edge to the kernel convert. Decimal prefixes (k, M, G) are powers of 1000, binary ones (Ki, Mi, Gi)
powers of 1024, as IEC 80000-13 has them.
"""

import math
import re
from decimal import Decimal

_PREFIXES = {
    "": 1,
    "k": 10**3,
    "m": 10**6,
    "g": 10**9,
    "t": 10**12,
    "ki": 2**10,
    "mi": 2**20,
    "gi": 2**30,
    "ti": 2**40,
}
_QUANTITY = re.compile(r"^\s*([+-]?[0-9.]+(?:e[+-]?[0-9]+)?)\s*([A-Za-z/%_]*)\s*$", re.IGNORECASE)
_LARGEST = 1e15

_SUFFIXES: dict[str, dict[str, float]] = {
    "cores": {"cores": 1, "core": 1, "%": 0.01, "mcores": 0.001, "millicores": 0.001},
    "seconds": {"s": 1, "ms": 1e-3, "us": 1e-6, "min": 60, "h": 3600},
}
_RATES = {
    "packets/s": {"pps": 1.0},
    "operations/s": {"iops": 1.0},
    "bytes/s": {
        "B/s": 1.0,
        "bit/s": 0.125,
    },  # "b/s" would be read as bits by some and bytes by others: refused
    "bytes": {"B": 1.0},
}
UNITS = (*_SUFFIXES, *_RATES)
EXAMPLES = {
    "cores": "20% or 1.5cores",
    "packets/s": "20kpps or 20000pps",
    "operations/s": "8000iops or 8kiops",
    "bytes/s": "300MB/s or 500Mbit/s",
    "bytes": "64KiB",
    "seconds": "5ms",
}


class InvalidQuantity(ValueError):
    """A text is no quantity of the unit asked for; the message is one line for a person."""


def _factor(suffix: str, unit: str) -> float | None:
    if unit in _SUFFIXES:
        return _SUFFIXES[unit].get(suffix.lower())
    for ending, scale in _RATES[unit].items():
        prefix = suffix.removesuffix(ending).lower()
        if suffix.endswith(ending) and prefix in _PREFIXES:
            return _PREFIXES[prefix] * scale
    if unit in ("packets/s", "operations/s") and suffix.lower() in _PREFIXES:
        return float(_PREFIXES[suffix.lower()])
    return None


def parse(text: str | float, unit: str) -> float:
    """Read a human quantity, such as ``20kpps`` or ``300MB/s``.

    A bare number is taken in the base unit. ``unit`` is one of `UNITS`.
    Raises `InvalidQuantity` for anything else, and for what is not positive, not finite or above 1e15.
    """
    match = None if isinstance(text, bool) else _QUANTITY.match(str(text))
    factor = None
    if match:
        factor = 1.0 if match[2] == "" else _factor(match[2], unit)
    if match is None or factor is None:
        raise InvalidQuantity(f"{str(text)[:60]!r} is not a quantity in {unit}, such as {EXAMPLES[unit]}")
    try:
        value = float(Decimal(match[1]) * Decimal(repr(factor)))
    except ArithmeticError:  # decimal.InvalidOperation, decimal.Overflow and OverflowError
        raise InvalidQuantity(f"{str(text)[:60]!r} is not a number") from None
    if not math.isfinite(value) or value > _LARGEST:
        raise InvalidQuantity(f"{str(text)[:60]!r} is too large")
    if value <= 0:
        raise InvalidQuantity(f"{str(text)[:60]!r} must be greater than zero")
    return value


def _scaled(value: float, steps: tuple[tuple[float, str], ...]) -> str:
    for size, prefix in steps:
        if abs(value) >= size:
            return f"{value / size:.4g} {prefix}"
    return f"{value:.4g} "


_DECIMAL = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


def show(value: float, unit: str) -> str:
    """Print a quantity for a person: four digits and a fitting prefix (``20 kpps``, ``300 MB/s``, ``20%``)."""
    match unit:
        case "cores":
            return f"{value * 100:.4g}%" if value < 1 else f"{value:.4g} cores"
        case "packets/s":
            return _scaled(value, _DECIMAL) + "pps"
        case "operations/s":
            return _scaled(value, _DECIMAL) + "iops"
        case "bytes/s":
            return _scaled(value, _DECIMAL) + "B/s"
        case "bytes":
            return _scaled(value, ((2.0**30, "Gi"), (2.0**20, "Mi"), (2.0**10, "Ki"))) + "B"
        case "seconds":
            return f"{value:.4g} s" if value >= 1 else f"{value * 1e3:.4g} ms"
    raise ValueError(f"no such unit: {unit}")
