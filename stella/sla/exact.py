"""Ratios and amounts without floats: parts per million inside, decimal text outside, so that everybody computes the same.

A ratio has at most six decimals. What is measured is cut off, never rounded up: 0.9989999 is shown as 0.998999 and is below 0.999.
"""

import hashlib
import json
import re
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

PPM = 1_000_000
_RATIO = re.compile(r"^(0(\.[0-9]{1,6})?|1(\.0{1,6})?)$")
_AMOUNT = re.compile(r"^(0|[1-9][0-9]{0,11})(\.[0-9]{1,4})?$")


def parse_ratio(given: object) -> int:
    """Parts per million of ``0.999``, given as text or as a JSON number. Raises ValueError."""
    text = format(Decimal(repr(given)), "f") if isinstance(given, float) else str(given)
    if isinstance(given, bool) or not _RATIO.fullmatch(text):
        raise ValueError(f"{str(given)[:40]!r} is not a ratio from 0 to 1 with at most 6 decimals, such as 0.999")
    return int(Decimal(text) * PPM)


def show_ratio(ppm: int) -> str:
    """``0.999`` of 999000: without zeros at the end."""
    whole, part = divmod(ppm, PPM)
    return f"{whole}.{part:06d}".rstrip("0").rstrip(".")


def show_share(part: int, whole: int) -> str | None:
    """``part`` of ``whole`` with six decimals, cut off; None of nothing."""
    return f"{part * PPM // whole // PPM}.{part * PPM // whole % PPM:06d}" if whole else None


def parse_amount(given: object) -> Decimal:
    """An amount of money, such as ``49.90``: text with at most four decimals. Raises ValueError."""
    if not isinstance(given, str) or not _AMOUNT.fullmatch(given):
        raise ValueError(f"{str(given)[:40]!r} is not an amount with at most 4 decimals as text, such as 49.90")
    return Decimal(given)


def share_of(amount: Decimal, ppm: int) -> Decimal:
    """This share of the amount, with its decimals but at least two; half a unit of the last is rounded up."""
    decimals = max(2, -int(amount.as_tuple().exponent))
    return (amount * ppm / PPM).quantize(Decimal(1).scaleb(-decimals), rounding=ROUND_HALF_UP)


def canonical(value: Any) -> bytes:
    """The one JSON text of a value: keys sorted, no blanks, UTF-8. Raises TypeError for a float, of which there are many texts."""
    _refuse_floats(value)
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8")


def _refuse_floats(value: Any) -> None:
    match value:
        case float():
            raise TypeError(f"{value!r} is a float")
        case dict():
            for inner in value.values():
                _refuse_floats(inner)
        case list() | tuple():
            for inner in value:
                _refuse_floats(inner)


def digest(value: Any) -> str:
    """SHA-256 of the canonical JSON, in hexadecimal."""
    return hashlib.sha256(canonical(value)).hexdigest()
