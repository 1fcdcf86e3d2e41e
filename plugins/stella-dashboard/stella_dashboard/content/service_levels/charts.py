"""The points of the charts, as JSON for the script and as CSV for people: spans from the last 15 minutes to 30 days."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from stella_dashboard.api.records import Point, Usage
from stella_dashboard.content.service_levels.detail import cause_of, status_of
from stella_dashboard.words import names, quantities, reasons


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """How long, in steps of how many seconds, under which name."""

    name: str | Promise
    seconds: int
    step: int

    def start(self, now: datetime) -> datetime:
        """When it begins."""
        return now - timedelta(seconds=self.seconds)


SPANS = {
    "live": Span(name=gettext_lazy("15 minutes"), seconds=900, step=1),
    "3h": Span(name=gettext_lazy("3 hours"), seconds=3 * 3600, step=60),
    "24h": Span(name=gettext_lazy("24 hours"), seconds=24 * 3600, step=60),
    "7d": Span(name=gettext_lazy("7 days"), seconds=7 * 86_400, step=3600),
    "30d": Span(name=gettext_lazy("30 days"), seconds=30 * 86_400, step=3600),
}


def as_json(usage: Usage, span: Span, *, before: Usage | None = None) -> dict[str, Any]:
    """Columns by metric: times in Unix seconds, quantities in base units, statuses and causes in the API's words and the user's.

    ``length`` are the seconds that each point stands for. ``before`` has longer steps, for the time before the first point.
    """
    step = before.step if before is not None else 0
    earlier = before.points if before is not None else {}
    return {
        "step": usage.step,
        "seconds": span.seconds,
        "note": _note(usage),
        "objectives": {
            metric: _columns(_placed(earlier.get(metric, ()), usage.points.get(metric, ()), step, usage.step))
            for metric in {**earlier, **usage.points}
        },
    }


def columns(points: Sequence[Point], step: int) -> dict[str, list[Any]]:
    """Those of one objective, whose points all last ``step`` seconds."""
    return _columns(_placed((), points, step, step))


def _placed(
    earlier: Sequence[Point], points: Sequence[Point], earlier_step: int, step: int
) -> list[tuple[int, int, Point]]:
    """Each point with when it begins and how long it lasts; of ``earlier`` what is before the first of ``points``."""
    placed = [(int(point.at.timestamp()), step, point) for point in points]
    first = placed[0][0] if placed else None
    found = []
    for point in earlier:
        at = int(point.at.timestamp())
        length = earlier_step if first is None else min(earlier_step, first - at)
        if length > 0:
            found.append((at, length, point))
    return found + placed


def _columns(placed: Sequence[tuple[int, int, Point]]) -> dict[str, list[Any]]:
    return {
        "at": [at for at, _length, _point in placed],
        "length": [length for _at, length, _point in placed],
        "usage": [point.usage for _at, _length, point in placed],
        "demand": [point.demand for _at, _length, point in placed],
        "status": [status_of(point) for _at, _length, point in placed],
        "cause": [names.of(names.CAUSES, cause_of(point)) for _at, _length, point in placed],
    }


def _note(usage: Usage) -> str:
    said = reasons.show(usage.not_watched)
    return _("No live points come: %(why)s.") % {"why": said} if said else ""


class _Echo:
    """A file that gives back what is written to it, so that a long table is sent line by line."""

    def write(self, text: str) -> str:
        """The text."""
        return text


def as_csv(usage: Usage) -> Iterator[str]:
    """A line for each point of each objective; times in UTC, quantities in the metric's base unit."""
    writer = csv.writer(_Echo())
    yield writer.writerow(
        ("time", "metric", "unit", "usage", "demand", "met_seconds", "missed_seconds", "unknown_seconds", "cause")
    )
    for metric, points in usage.points.items():
        for point in points:
            seconds = point.seconds
            yield writer.writerow(
                (
                    point.at.isoformat(),
                    metric,
                    quantities.UNIT_OF.get(metric, ""),
                    "" if point.usage is None else point.usage,
                    "" if point.demand is None else point.demand,
                    seconds.met,
                    seconds.missed,
                    seconds.unknown,
                    cause_of(point) or "",
                )
            )
