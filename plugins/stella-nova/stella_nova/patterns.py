"""The extra specs that sell an SLO, as the validators check them. Stella itself decides what they mean together."""

from collections.abc import Mapping
from dataclasses import dataclass

PREFIX = "stella:slo_"
AMOUNT = r"(?=[0-9.]*[1-9])[0-9]{1,16}(\.[0-9]{1,30})?"
"""A decimal number above zero, in the metric's base unit."""

LARGEST_PRIORITY = 100
_UNITS = {
    "cpu": "cores",
    "network_packets": "packets/s",
    "network_bytes": "bytes/s",
    "block_bytes": "bytes/s",
    "block_operations": "operations/s",
}
_DIRECTIONS = {"cpu": ("both",), "network": ("tx", "rx", "both"), "block": ("read", "write", "both")}
_MEANING = {
    "floor": "Guaranteed when asked for, in {unit}.",
    "ceiling": "Never exceeded, in {unit}.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """One extra spec: a number by ``pattern``, one of ``choices``, or a whole number up to ``largest``."""

    name: str
    description: str
    pattern: str | None = None
    choices: tuple[str, ...] = ()
    largest: int | None = None


def _priority(name: str, what: str) -> Spec:
    text = f"Of floors that do not all fit on a host, those of the higher priority are kept. For {what}."
    return Spec(name=name, description=text, largest=LARGEST_PRIORITY)


def _of_metric(metric: str) -> list[Spec]:
    start = f"{PREFIX}{metric}_"
    amounts = {key: text.format(unit=_UNITS[metric]) for key, text in _MEANING.items()} if metric in _UNITS else {}
    if metric in _UNITS:
        amounts["weight"] = "Share of what is left beside all floors."
        if metric != "cpu":
            amounts["unit"] = "The smallest packet or request that the floor guarantees, in bytes."
    else:
        amounts["target"] = "Mean latency over a window, at most, in seconds."
    return [
        *(Spec(name=f"{start}{key}", description=text, pattern=AMOUNT) for key, text in amounts.items()),
        Spec(
            name=f"{start}direction",
            description="The way of the data, seen from the guest.",
            choices=_DIRECTIONS[metric.partition("_")[0]],
        ),
        _priority(f"{start}priority", f"the {metric} objective"),
    ]


SPECS: Mapping[str, Spec] = {
    spec.name: spec
    for spec in (
        _priority(f"{PREFIX}priority", "objectives that name none of their own"),
        *(spec for metric in (*_UNITS, "block_latency") for spec in _of_metric(metric)),
    )
}


def slo_specs(extra_specs: Mapping[str, str]) -> dict[str, str]:
    """Those of a flavor's extra specs that sell an SLO; none where it sells none."""
    return {name: value for name, value in extra_specs.items() if name.startswith(PREFIX)}
