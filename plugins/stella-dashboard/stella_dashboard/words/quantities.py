"""Quantities as people read and write them. Inside they are in base units."""

import math
import re
from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from stellaclient import units

from stella_dashboard.words import names

UNIT_OF = units.UNIT_OF
EXAMPLES = {
    "cpu": "20 %",
    "network_packets": "20 kpps",
    "network_bytes": "500 Mbit/s",
    "block_bytes": "300 MB/s",
    "block_operations": "8000 iops",
    "block_latency": "5 ms",
}
"""Of each metric a quantity as it may be written."""

_PARTS = re.compile(r"(-?[\d.]+(?:e[+-]?\d+)?)\s*(.*)")
_MANY_CORES = 1000
"""From here on they are written out, as what is asked for by mistake is."""
_NO_BREAK = "\N{NO-BREAK SPACE}"


def show(metric: str, value: float | None) -> str:
    """``20 kpps``, ``300 MB/s``, ``20 %``, ``1.5 cores``; a dash where nothing is known."""
    if value is None:
        return "\N{EN DASH}"
    unit = UNIT_OF.get(metric)
    if unit is None:
        return f"{value:g}"
    if value == 0:
        return _with_unit(
            "0", {"cores": "%", "seconds": "ms", "packets/s": "pps", "operations/s": "iops"}.get(unit, "B/s")
        )
    if unit == "cores" and value >= _MANY_CORES:
        return cores(f"{value:.0f}")
    match = _PARTS.fullmatch(units.show(value, unit))
    return _with_unit(match[1], match[2]) if match else units.show(value, unit)


def show_measured(metric: str, value: float | None) -> str:
    """`show` of what was measured, to three digits."""
    return show(metric, float(f"{value:.3g}") if value else value)


def cores(number: str) -> str:
    """A number of cores with its unit."""
    return ngettext("%(number)s core", "%(number)s cores", 1 if number == "1" else 2) % {"number": number}


def core_words() -> dict[str, str]:
    """The word of the unit after "1" and after other numbers, for scripts."""
    return {"one": cores("1").removeprefix("1").strip(), "more": cores("2").removeprefix("2").strip()}


def _with_unit(number: str, unit: str) -> str:
    if unit == "cores":
        return cores(number)
    return f"{number}{_NO_BREAK}{unit}"


def show_to_ask(metric: str, value: float) -> str:
    """`show` of the largest value of four digits that is not above ``value``: what may be asked for where ``value`` fits."""
    return show(metric, units.round_down(value))


def parse(metric: str, text: str) -> float:
    """The number in the metric's base unit. Raises `ValueError` with a sentence for the user."""
    example = EXAMPLES[metric]
    if metric == "cpu" and re.fullmatch(r"\s*[\d.]+\s*", text):
        raise ValueError(_("Add the unit: %(text)s%% of one core, or %(text)s cores?") % {"text": text.strip()[:20]})
    try:
        return units.parse(text.replace(_NO_BREAK, " "), UNIT_OF[metric])
    except units.InvalidQuantity:
        raise ValueError(_("Enter a quantity above zero, such as %(example)s.") % {"example": example}) from None


def show_promise(metric: str, promise: Mapping[str, Any]) -> str:
    """``at least 20 kpps sent, at most 50 kpps``."""
    parts = []
    direction = promise.get("direction")
    shown = names.of(names.DIRECTIONS, direction) if direction and direction != "both" else ""
    for key, sentence in (
        ("floor", _("at least %(quantity)s")),
        ("ceiling", _("at most %(quantity)s")),
        ("target", _("at most %(quantity)s on average")),
    ):
        if promise.get(key) is not None:
            parts.append(sentence % {"quantity": show(metric, promise[key])})
    if not parts and promise.get("weight") is not None:
        parts.append(_("weight %(weight)g") % {"weight": promise["weight"]})
    if shown and parts:
        parts[0] = f"{parts[0]} {shown}"
    return ", ".join(parts)


def show_ratio(ratio: float | None) -> str:
    """``99.97 %``, rounded down so that only what was always kept is 100 %; a dash where there was no demand."""
    if ratio is None:
        return "\N{EN DASH}"
    percent = math.floor(ratio * 10_000 + 1e-6) / 100
    return f"{percent:.0f}{_NO_BREAK}%" if percent in (0, 100) else f"{percent:.2f}{_NO_BREAK}%"
