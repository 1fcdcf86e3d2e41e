"""The error budget: how long an objective may still be missed, how fast that goes, when it ends, and what is then owed.

allowed = (1 - target) x seconds with demand so far, so an idle instance neither earns nor burns.
burn rate over a span = missed there / what an even burn would miss there = missed / ((1 - target) x with demand). At 1 the budget
of the span is just used up; 14.4 for an hour uses 2 % of the budget of 30 days (Google SRE workbook, chapter 5).
exhaustion: at the pace of the last 6 hours, per second d seconds with demand come and m of them are missed. The budget that is left
shrinks by m - (1 - target) d each second and ends after left / (m - (1 - target) d).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from stella.sla.exact import PPM
from stella.sla.tally import Tally
from stella.sla.terms import Terms

BURN_SPANS: Mapping[str, int] = {"5m": 300, "1h": 3600, "6h": 21_600, "3d": 259_200}
"""Seconds of the spans over which the burn rate is told."""
PROJECTED_BY = "6h"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The next step of the credit table: below which attainment, what is owed then, how many missed seconds away."""

    below_ppm: int
    credit_ppm: int
    left_seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Whole seconds; ``left`` is below 0 once the target is missed. ``burn_rates`` by span, None without demand or without budget.

    ``exhausted_at`` (Unix seconds) within the period: None where the pace of the last 6 hours does not lead there. ``credit_ppm`` is
    owed if the period ends as it is now, ``next_step`` what comes after that.
    """

    tally: Tally
    allowed: int
    left: int
    burn_rates: Mapping[str, Fraction | None]
    exhausted_at: int | None
    credit_ppm: int
    next_step: Step | None

    def credit(self, terms: Terms) -> Decimal | None:
        """What is owed now, in the currency of the price; None without a price."""
        return terms.price.credit(self.credit_ppm) if terms.price is not None else None


def burn_rate(found: Tally, terms: Terms) -> Fraction | None:
    """How many times faster than evenly the budget is used; None without demand, and where nothing may be missed at all."""
    allowed = (PPM - terms.target_ppm) * found.with_demand
    return Fraction(found.missed * PPM, allowed) if allowed else None


def _exhausted_at(period: Tally, recent: Tally, terms: Terms, *, now: int, end: int) -> int | None:
    share = Fraction(PPM - terms.target_ppm, PPM)
    left = share * period.with_demand - period.missed
    if left < 0:
        return now
    span = BURN_SPANS[PROJECTED_BY]
    pace = Fraction(recent.missed, span) - share * Fraction(recent.with_demand, span)
    if pace <= 0:
        return None
    at = now + int(left / pace)
    return at if at < end else None


def _next_step(period: Tally, terms: Terms) -> Step | None:
    """Further seconds with demand that are all missed: from the k-th on, met < below x (with demand + k)."""
    for credit in terms.credits:
        if period.met * PPM >= credit.below_ppm * period.with_demand:
            left = period.met * PPM // credit.below_ppm - period.with_demand
            return Step(below_ppm=credit.below_ppm, credit_ppm=credit.credit_ppm, left_seconds=left)
    return None


def budget(period: Tally, recent: Mapping[str, Tally], terms: Terms, *, now: int, end: int) -> Budget:
    """The budget at ``now`` of a period that ends at ``end`` (Unix seconds); ``recent`` by the names of `BURN_SPANS`."""
    allowed = period.allowed(terms)
    return Budget(
        tally=period,
        allowed=allowed,
        left=allowed - period.missed,
        burn_rates={name: burn_rate(recent[name], terms) for name in BURN_SPANS},
        exhausted_at=_exhausted_at(period, recent[PROJECTED_BY], terms, now=now, end=end),
        credit_ppm=terms.credit_ppm(period.met, period.with_demand),
        next_step=_next_step(period, terms),
    )
