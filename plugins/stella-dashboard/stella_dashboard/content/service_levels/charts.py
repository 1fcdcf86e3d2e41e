"""The points of the charts, as JSON for the script and as CSV for people: spans from the last 15 minutes to 30 days."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from stella_dashboard.api.records import Usage
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
    "live": Span(name=_("15 minutes"), seconds=900, step=1),
    "3h": Span(name=_("3 hours"), seconds=3 * 3600, step=60),
    "24h": Span(name=_("24 hours"), seconds=24 * 3600, step=60),
    "7d": Span(name=_("7 days"), seconds=7 * 86_400, step=3600),
    "30d": Span(name=_("30 days"), seconds=30 * 86_400, step=3600),
}


def as_json(usage: Usage, span: Span) -> dict[str, Any]:
    """Columns by metric: times in Unix seconds, quantities in base units, statuses and causes in the API's words and the user's."""
    return {
        "step": usage.step,
        "seconds": span.seconds,
        "note": reasons.show(usage.not_watched_reason),
        "objectives": {
            metric: {
                "at": [int(point.at.timestamp()) for point in points],
                "usage": [point.usage for point in points],
                "demand": [point.demand for point in points],
                "status": [status_of(point) for point in points],
                "cause": [names.of(names.CAUSES, cause_of(point)) for point in points],
            }
            for metric, points in usage.points.items()
        },
    }


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
