"""Seconds with demand, met and missed: what attainment, budget and credit are made of.

Idle, self-limited and pending seconds neither earn nor burn. Seconds of which nothing is known count as the terms say, by default
against the provider: as seconds with demand that were missed.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction

from stella.control.rollup import COUNTS
from stella.model.report import StatusCounts
from stella.sla.exact import PPM, show_share
from stella.sla.terms import Terms, Unknown

STATUSES = COUNTS
"""The statuses that seconds are counted by, as the roll-ups have them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Seconds with demand: ``met`` and ``missed``."""

    met: int
    missed: int

    @property
    def with_demand(self) -> int:
        """All of them."""
        return self.met + self.missed

    @property
    def attainment(self) -> str | None:
        """The share that was met with six decimals, cut off; None without demand."""
        return show_share(self.met, self.with_demand)

    @property
    def exact_attainment(self) -> Fraction:
        """The share that was met, 1 without demand: to compare by."""
        return Fraction(self.met, self.with_demand) if self.with_demand else Fraction(1)

    def allowed(self, terms: Terms) -> int:
        """How many seconds may be missed among these without missing the target, whole seconds."""
        return (PPM - terms.target_ppm) * self.with_demand // PPM

    def is_met(self, terms: Terms) -> bool:
        """Whether the target is met; without demand it is."""
        return self.missed <= self.allowed(terms)


def tally(counts: StatusCounts, unknown: Unknown) -> Tally:
    """What these seconds come to under the rule for unknown ones."""
    missed = counts.violated + counts.degraded + (counts.unknown if unknown is Unknown.MISSED else 0)
    return Tally(met=counts.met, missed=missed)


def subtract(counts: StatusCounts, parts: Iterable[StatusCounts]) -> StatusCounts:
    """What is left without these parts. Raises ValueError where a part is more than there is."""
    left = {name: getattr(counts, name) for name in STATUSES}
    for part in parts:
        for name in STATUSES:
            left[name] -= getattr(part, name)
            if left[name] < 0:
                raise ValueError(f"more {name} seconds are taken out than there are")
    return StatusCounts(**left)


def move(counts: StatusCounts, *, seconds: int, source: str, target: str) -> StatusCounts:
    """Count up to ``seconds`` of one status as another: no more than there are, so that the sum stays."""
    moved = min(seconds, getattr(counts, source))
    return replace(counts, **{source: getattr(counts, source) - moved, target: getattr(counts, target) + moved})
