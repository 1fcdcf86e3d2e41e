"""Minutes to hours and hours to days, pure: each minute counts once.

A minute is what its row says. Where there is no row, the seconds of a stretch stand for it: a stretch says only how many seconds of a
span are unknown, and they are spread evenly over its minutes. Of two stretches over the same minute the one with more seconds counts.
Sums do not depend on the order of the parts; means are weighted with the seconds in which a quantity was known.
"""

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, fields

from stella.model.report import MINUTE_SECONDS, StatusCounts

HOUR_SECONDS = 3600
DAY_SECONDS = 86_400
COUNTS = ("met", "violated", "degraded", "no_demand", "self_limited", "unknown")
UNKNOWN_CAUSE = "sensor"


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """Usage or demand over ``seconds`` in which it was known, in the metric's base unit; least and most are not always known."""

    seconds: int = 0
    mean: float | None = None
    least: float | None = None
    most: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Total:
    """A minute, or the sum of several: seconds by status and by cause."""

    counts: StatusCounts = field(default_factory=StatusCounts)
    causes: Mapping[str, int] = field(default_factory=dict)
    usage: Quantity = field(default_factory=Quantity)
    demand: Quantity = field(default_factory=Quantity)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """``unknown_seconds`` somewhere in the span that begins at ``start`` (Unix seconds, a whole minute)."""

    start: int
    span_seconds: int
    unknown_seconds: int


def floor_to(span_seconds: int, at: int) -> int:
    """The beginning of the hour or day (UTC) that this time is in."""
    return at - at % span_seconds


def by_hour(stretch: Stretch) -> list[Stretch]:
    """The same stretch in pieces of which none reaches over the end of an hour; pieces without a second are left out."""
    seconds = _by_minute(stretch)
    hours: dict[int, list[int]] = {}
    for minute in seconds:
        hours.setdefault(floor_to(HOUR_SECONDS, minute), []).append(minute)
    pieces = [
        Stretch(
            start=minutes[0],
            span_seconds=len(minutes) * MINUTE_SECONDS,
            unknown_seconds=sum(seconds[minute] for minute in minutes),
        )
        for minutes in hours.values()
    ]
    return [piece for piece in pieces if piece.unknown_seconds]


def _by_minute(stretch: Stretch) -> Mapping[int, int]:
    minutes = max(1, -(-stretch.span_seconds // MINUTE_SECONDS))
    unknown = min(stretch.unknown_seconds, minutes * MINUTE_SECONDS)
    return {
        stretch.start + number * MINUTE_SECONDS: (number + 1) * unknown // minutes - number * unknown // minutes
        for number in range(minutes)
    }


def unknown_seconds(stretches: Iterable[Stretch], rows: Collection[int], *, start: int, end: int) -> int:
    """The seconds of stretches in minutes that begin from ``start`` to before ``end``, but for those that ``rows`` names."""
    found: dict[int, int] = {}
    for stretch in stretches:
        for minute, seconds in _by_minute(stretch).items():
            if start <= minute < end and minute not in rows:
                found[minute] = max(seconds, found.get(minute, 0))
    return sum(found.values())


def lost(seconds: int) -> Total:
    """Seconds of which nothing is known."""
    return Total(counts=StatusCounts(unknown=seconds), causes={UNKNOWN_CAUSE: seconds} if seconds else {})


def add(parts: Iterable[Total]) -> Total:
    """The sum."""
    totals = list(parts)
    causes: dict[str, int] = {}
    for total in totals:
        for cause, seconds in total.causes.items():
            causes[cause] = causes.get(cause, 0) + seconds
    return Total(
        counts=add_counts(total.counts for total in totals),
        causes={cause: causes[cause] for cause in sorted(causes)},
        usage=_add_quantities([total.usage for total in totals]),
        demand=_add_quantities([total.demand for total in totals]),
    )


def add_counts(parts: Iterable[StatusCounts]) -> StatusCounts:
    """The sum of seconds by status."""
    names = [f.name for f in fields(StatusCounts)]
    sums = dict.fromkeys(names, 0)
    for counts in parts:
        for name in names:
            sums[name] += getattr(counts, name)
    return StatusCounts(**sums)


def _add_quantities(parts: Iterable[Quantity]) -> Quantity:
    known = [part for part in parts if part.mean is not None and part.seconds > 0]
    seconds = sum(part.seconds for part in known)
    if not seconds:
        return Quantity()
    mean = math.fsum((part.mean or 0.0) * part.seconds for part in known) / seconds
    return Quantity(
        seconds=seconds,
        mean=mean,
        least=min((part.least for part in known if part.least is not None), default=None),
        most=max((part.most for part in known if part.most is not None), default=None),
    )
