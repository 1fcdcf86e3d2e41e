"""The error budget on the page of an instance: tiles, and over its period what was missed against what an even burn would use.

An even burn uses up just what is allowed: (1 - target) x the seconds with demand until then.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext as _

from stella_dashboard import access
from stella_dashboard.api import budgets, records
from stella_dashboard.api.budgets import ObjectiveBudget, Shown
from stella_dashboard.api.instances import Instance
from stella_dashboard.api.problems import PROBLEMS, Problem
from stella_dashboard.api.records import Point, Usage
from stella_dashboard.content.budgets import rows
from stella_dashboard.content.slas.rows import PROJECT
from stella_dashboard.words import names, quantities, refusals, slas

_HOUR, _MINUTE = 3600, 60
_LONGEST_IN_MINUTES = timedelta(hours=24)
"""What is not rolled up yet is asked for in minutes, so far back at most."""


def context(request: HttpRequest, instance: Instance) -> dict[str, Any]:
    """What the template shows; ``budget`` None: it is under no class."""
    if not access.may(request, access.SHOW_BUDGET, instance.project_id):
        return {"budget": None}
    found = budgets.show(request, instance.uuid)
    if found is None or isinstance(found, PROBLEMS):
        return {"budget": None, "budget_problem": refusals.sentence(found) if found is not None else ""}
    return {"budget": _show(found, may_report=access.may(request, access.REPORT))}


def _show(found: Shown, *, may_report: bool) -> dict[str, Any]:
    report = f"{reverse(f'{PROJECT}:report', args=[found.sla])}?{urlencode({'period': found.period})}"
    return {
        "sla": found.sla_name,
        "period": found.period,
        "time_zone": found.time_zone,
        "target": slas.percent(found.target),
        "verdict": _verdict(found),
        "credit": rows.owed(found.credit, found.currency),
        "at_stake": rows.at_stake(found),
        "report_url": report if may_report else "",
        "burn_url": reverse("horizon:project:service_levels:burn", args=[found.uuid]),
        "csv_url": reverse("horizon:project:service_levels:burn_csv", args=[found.uuid]),
        "objectives": [_objective(one) for one in found.objectives],
    }


def _verdict(found: Shown) -> str:
    worst = found.worst
    if worst is None:
        return _("SLA class %(sla)s: nothing had demand yet this month.") % {"sla": found.sla_name}
    shown = {
        "sla": found.sla_name,
        "objective": names.of(names.METRICS, worst.metric),
        "minutes": slas.minutes(abs(worst.left)),
        "allowed": slas.minutes(worst.allowed),
    }
    if worst.left < 0:
        return _("SLA class %(sla)s: the target of %(objective)s is missed, by %(minutes)s.") % shown
    return _("SLA class %(sla)s: %(minutes)s of %(allowed)s are left of the error budget (%(objective)s).") % shown


def _objective(found: ObjectiveBudget) -> dict[str, Any]:
    left = quantities.show_ratio(found.left / found.allowed) if found.allowed and found.left >= 0 else ""
    return {
        "metric": found.metric,
        "name": names.of(names.METRICS, found.metric),
        "attainment": slas.percent(found.attainment),
        "allowed": slas.minutes(found.allowed),
        "used": slas.minutes(found.used),
        "left": slas.minutes(found.left),
        "left_ratio": left,
        "is_missed": found.left < 0,
        "unknown": slas.minutes(found.unknown) if found.unknown else "",
        "burn": rows.burn(found),
        "exhausted_on": found.exhausted_on or slas.DASH,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One objective: until each time (Unix seconds), in seconds, what was missed and what an even burn would have used."""

    at: Sequence[int]
    used: Sequence[int]
    even: Sequence[float]


def read(request: HttpRequest, uuid: str, now: datetime) -> tuple[Shown, dict[str, Line]] | Problem | None:
    """The budget and its lines by metric; None: it is under no class. Three requests."""
    found = budgets.show(request, uuid)
    if found is None or isinstance(found, PROBLEMS):
        return found
    hours = records.usage(request, uuid, step=_HOUR, start=found.start)
    if isinstance(hours, PROBLEMS):
        return hours
    ends = [points[-1].at + timedelta(seconds=_HOUR) for points in hours.points.values() if points]
    since = max([found.start, now - _LONGEST_IN_MINUTES, *ends])
    minutes = records.usage(request, uuid, step=_MINUTE, start=since)
    if isinstance(minutes, PROBLEMS):
        return minutes
    return found, lines(found, hours, minutes)


def lines(found: Shown, hours: Usage, minutes: Usage) -> dict[str, Line]:
    """The lines of hours and of the minutes after them."""
    share = 1.0 - float(found.target)
    steps = ((hours, _HOUR), (minutes, _MINUTE))
    return {
        one.metric: _line(
            ((point, step) for usage, step in steps for point in usage.points.get(one.metric, ())),
            share,
            counts_unknown=found.counts_unknown,
        )
        for one in found.objectives
    }


def _line(points: Iterable[tuple[Point, int]], share: float, *, counts_unknown: bool) -> Line:
    at: list[int] = []
    used: list[int] = []
    demand: list[int] = []
    for point, step in points:
        begins = int(point.at.timestamp())
        if not at:
            at, used, demand = [begins], [0], [0]
        missed = point.seconds.missed + (point.seconds.unknown if counts_unknown else 0)
        at.append(begins + step)
        used.append(used[-1] + missed)
        demand.append(demand[-1] + point.seconds.met + missed)
    return Line(at=at, used=used, even=[round(share * seconds, 3) for seconds in demand])


def as_json(found: Shown, drawn: Mapping[str, Line]) -> dict[str, Any]:
    """Minutes for the script."""
    return {
        "start": found.start.timestamp(),
        "end": found.end.timestamp(),
        "objectives": {
            metric: {
                "at": list(line.at),
                "used": [seconds / 60 for seconds in line.used],
                "even": [seconds / 60 for seconds in line.even],
            }
            for metric, line in drawn.items()
        },
        "notes": {one.metric: note(one, drawn[one.metric]) for one in found.objectives},
    }


def note(found: ObjectiveBudget, line: Line) -> str:
    """What is said where the line ends elsewhere than the figures do: it is as measured, they count what counts."""
    used = line.used[-1] if line.used else 0
    if abs(used - found.used) < _MINUTE:
        return ""
    shown = {"line": slas.minutes(used), "used": slas.minutes(found.used)}
    return (
        _(
            "The line is as measured and ends at %(line)s. Of that %(used)s count: what is excluded or corrected, "
            "and the time before the class was attached, do not."
        )
        % shown
    )


def as_csv(drawn: Mapping[str, Line]) -> Iterator[tuple[object, ...]]:
    """The same in seconds, with a head."""
    yield "time", "metric", "used_seconds", "even_burn_seconds"
    for metric, line in drawn.items():
        for at, used, even in zip(line.at, line.used, line.even, strict=True):
            yield datetime.fromtimestamp(at, UTC).isoformat(), metric, used, even
