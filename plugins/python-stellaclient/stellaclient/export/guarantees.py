"""What is exported: the SLO of an instance with the terms it is under, and the PromQL that counts its seconds."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from stellaclient import units

WINDOWS = "stella_objective_windows_total"
"""The agent's counter of seconds by status (docs/metrics.md)."""
_MISSED = ("VIOLATED", "DEGRADED")
QUANTITIES = ("floor", "target")
"""Keys that make an objective one that can be missed; a ceiling or a weight alone cannot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """``target_ratio`` of the seconds with demand are to be met; ``sla`` None: no class says so, it was given for the export.

    ``unknown_missed``: seconds of which nothing is known count as missed. Months are those of ``time_zone`` (IANA).
    """

    sla: str | None
    target_ratio: Decimal
    unknown_missed: bool
    time_zone: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarantee:
    """The SLO of an instance. Objectives by metric, in base units; ``added`` are those of its user, the others its flavor sells."""

    uuid: str
    name: str
    project: str
    terms: Terms
    objectives: Mapping[str, Mapping[str, Any]]
    added: Mapping[str, Mapping[str, Any]]

    def measured(self) -> Iterator[str]:
        """The metrics whose objective can be missed, sorted."""
        return (metric for metric, keys in sorted(self.objectives.items()) if any(key in keys for key in QUANTITIES))


def statuses(terms: Terms, *, met: bool, missed: bool) -> str:
    """The matcher of these seconds: ``status=~"MET|VIOLATED"``."""
    named = ["MET"] * met + [*_MISSED] * missed + ["UNKNOWN"] * (missed and terms.unknown_missed)
    return f'status="{named[0]}"' if len(named) == 1 else f'status=~"{"|".join(named)}"'


def selector(found: Guarantee, metric: str, *, met: bool, missed: bool) -> str:
    """The counters of an objective's seconds, of all hosts on which the instance ran."""
    return f'{WINDOWS}{{uuid="{found.uuid}",metric="{metric}",{statuses(found.terms, met=met, missed=missed)}}}'


def sentence(found: Guarantee, metric: str) -> str:
    """``99.9% of the seconds with demand: network_packets floor 20kpps``."""
    keys = found.objectives[metric]
    amounts = ", ".join(f"{key} {units.show_metric(metric, keys[key])}" for key in QUANTITIES if key in keys)
    return f"{percent(found.terms.target_ratio)}% of the seconds with demand: {metric} {amounts}"


def percent(ratio: Decimal) -> str:
    """``99.9`` of 0.999, exact."""
    text = format(ratio * 100, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
