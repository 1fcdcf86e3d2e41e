"""What the page of one instance shows, put together from what the API tells. Asking is `read`; all else is pure."""

import calendar
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from stella_dashboard.api import instances, records
from stella_dashboard.api.instances import Instance, Objective
from stella_dashboard.api.problems import PROBLEMS, Problem
from stella_dashboard.api.records import Attainment, Change, Point, Seconds, Usage, Violation
from stella_dashboard.words import names, operators, quantities

_DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Detail:
    """Everything about one instance. A list that could not be had is empty, and ``problems`` says why."""

    instance: Instance
    attainment: Attainment
    days: Usage
    violations: Sequence[Violation]
    changes: Sequence[Change]
    problems: Sequence[Problem]


def read(request: HttpRequest, uuid: str) -> Detail | Problem:
    """Five requests to the API, whatever there is to show."""
    instance = instances.show(request, uuid)
    if isinstance(instance, PROBLEMS):
        return instance
    attainment = records.attainment(request, uuid)
    if isinstance(attainment, PROBLEMS):
        return attainment
    found: dict[str, Any] = {
        "days": records.usage(request, uuid, step=_DAY_SECONDS, start=attainment.month_start),
        "violations": records.violations(request, uuid, attainment.month_start),
        "changes": records.changes(request, uuid),
    }
    problems = tuple(one for one in found.values() if isinstance(one, PROBLEMS))
    empty = {"days": Usage(step=_DAY_SECONDS, points={}), "violations": (), "changes": ()}
    kept = {name: empty[name] if isinstance(one, PROBLEMS) else one for name, one in found.items()}
    return Detail(instance=instance, attainment=attainment, problems=problems, **kept)


def verdict(detail: Detail) -> str:
    """Kept or not, in one sentence: of the objective that was kept worst this month."""
    counted = {
        metric: seconds
        for metric, seconds in detail.attainment.month.items()
        if seconds.with_demand and (detail.instance.slo is None or metric in detail.instance.slo.objectives)
    }
    if not counted:
        if detail.instance.slo is None:
            return _("Best effort: nothing is guaranteed to this instance.")
        return _("It has not asked for what it is guaranteed this month.")
    worst = min(counted, key=lambda metric: counted[metric].ratio or 0.0)
    seconds = counted[worst]
    if not seconds.missed:
        return _("Kept in every second in which it was asked for, this month.")
    sentence = _(
        "%(objective)s: kept in %(ratio)s of the seconds in which it was asked for, this month; missed %(missed)s."
    ) % {
        "objective": names.of(names.METRICS, worst),
        "ratio": quantities.show_ratio(seconds.ratio),
        "missed": show_duration(seconds.missed),
    }
    cause = main_cause(detail.violations, worst)
    return (
        sentence
        if cause is None
        else f"{sentence} " + _("Main cause: %(cause)s.") % {"cause": names.of(names.CAUSES, cause)}
    )


def main_cause(violations: Sequence[Violation], metric: str) -> str | None:
    """What most of the missed time of an objective is due to; None where no cause is known."""
    weights: dict[str, float] = {}
    for one in violations:
        if one.metric == metric and one.cause and one.closed_at is not None:
            weights[one.cause] = weights.get(one.cause, 0.0) + (one.closed_at - one.opened_at).total_seconds()
        elif one.metric == metric and one.cause:
            weights.setdefault(one.cause, 1.0)
    return max(weights, key=lambda cause: weights[cause]) if weights else None


def show_duration(seconds: float) -> str:
    """``26 s``, ``4 min``, ``3.5 h``."""
    if seconds < 120:
        return ngettext("%(n)d s", "%(n)d s", round(seconds)) % {"n": round(seconds)}
    if seconds < 7200:
        return _("%(n)d min") % {"n": round(seconds / 60)}
    return _("%(n).1f h") % {"n": seconds / 3600}


def sections(detail: Detail) -> list[dict[str, Any]]:
    """One for each objective: its words, its tiles, what its chart draws as promised."""
    return [_section(detail, objective) for objective in detail.instance.objectives]


def _section(detail: Detail, objective: Objective) -> dict[str, Any]:
    today = detail.attainment.today.get(objective.metric, Seconds())
    month = detail.attainment.month.get(objective.metric, Seconds())
    return {
        "metric": objective.metric,
        "name": names.of(names.METRICS, objective.metric),
        "status": names.of(names.STATUSES, objective.status),
        "status_class": names.STATUS_CLASSES.get(objective.status, "unknown"),
        "meaning": names.of(names.STATUS_MEANINGS, objective.status),
        "cause": names.of(names.CAUSES, objective.cause),
        "tiles": [
            {
                "label": _("Guaranteed"),
                "value": quantities.show_promise(objective.metric, objective.promise),
                "note": "",
            },
            {
                "is_live": True,
                "label": _("Used now"),
                "value": quantities.show_measured(objective.metric, objective.usage),
                "note": _("asks for %(demand)s")
                % {"demand": quantities.show_measured(objective.metric, objective.demand)}
                if objective.demand is not None
                else "",
            },
            *_cost_tile(detail, objective),
            {"label": _("Kept today"), "value": quantities.show_ratio(today.ratio), "note": _missed(today)},
            {"label": _("Kept this month"), "value": quantities.show_ratio(month.ratio), "note": _missed(month)},
        ],
    }


def _cost_tile(detail: Detail, objective: Objective) -> list[dict[str, Any]]:
    """What its I/O takes of CPU, in the guest and on the host, now and at the guaranteed rate; of CPU itself there is none."""
    told = detail.instance.costs.get(objective.metric)
    if told is None:
        return []
    cost = float(told.get("vcpu") or 0.0) + float(told.get("io") or 0.0)
    floor = objective.promise.get("floor")
    notes = []
    if floor:
        shown = {"cpu": quantities.show_measured("cpu", floor * cost)}
        notes.append(_("%(cpu)s at the guaranteed rate") % shown)
    if told.get("estimated"):
        notes.append(_("an estimate"))
    return [
        {
            "label": _("CPU that its I/O costs"),
            "value": quantities.show_measured("cpu", None if objective.usage is None else objective.usage * cost),
            "note": ", ".join(notes),
            "cost": f"{cost:.6g}",
        }
    ]


def changes(detail: Detail) -> dict[str, list[dict[str, Any]]]:
    """By metric when (Unix seconds) what is guaranteed of it changed, and to what: marks on the strips, the oldest first."""
    slo = detail.instance.slo
    found: dict[str, list[dict[str, Any]]] = {}
    for metric in slo.objectives if slo else ():
        found[metric] = [
            {"at": one.changed_at.timestamp(), "text": _("Changed: %(promise)s") % {"promise": _now(metric, one)}}
            for one in reversed(detail.changes)
            if one.before.get(metric) != one.after.get(metric)
        ]
    return found


def _now(metric: str, change: Change) -> str:
    promise = change.after.get(metric)
    return quantities.show_promise(metric, promise) if promise else _("nothing")


def _missed(seconds: Seconds) -> str:
    parts = []
    if seconds.missed:
        parts.append(_("missed %(duration)s") % {"duration": show_duration(seconds.missed)})
    if seconds.unknown:
        parts.append(_("unknown %(duration)s") % {"duration": show_duration(seconds.unknown)})
    return ", ".join(parts)


def promises(detail: Detail) -> dict[str, list[dict[str, float | None]]]:
    """By metric what was promised since when (Unix seconds), the oldest first: the lines of the charts have steps."""
    slo = detail.instance.slo
    found: dict[str, list[dict[str, float | None]]] = {}
    for metric in slo.objectives if slo else ():
        steps = [_promise(one.changed_at.timestamp(), one.after.get(metric)) for one in reversed(detail.changes)]
        found[metric] = steps or [_promise(0.0, slo.objectives[metric] if slo else None)]
    return found


def _promise(since: float, promise: Mapping[str, Any] | None) -> dict[str, float | None]:
    given = promise or {}
    return {"since": since, "floor": given.get("floor"), "ceiling": given.get("ceiling") or given.get("target")}


def month(detail: Detail) -> dict[str, Any]:
    """The calendar of this month (UTC): for each objective a cell for each day. Days to come are empty."""
    start = detail.attainment.month_start
    length = calendar.monthrange(start.year, start.month)[1]
    days = [start + timedelta(days=number) for number in range(length)]
    return {
        "start": start,
        "days": [day.day for day in days],
        "rows": [
            {"name": names.of(names.METRICS, metric), "cells": [_cell(detail, metric, day) for day in days]}
            for metric in (objective.metric for objective in detail.instance.objectives)
        ],
    }


def _cell(detail: Detail, metric: str, day: datetime) -> dict[str, str]:
    known = {point.at.date(): point.seconds for point in detail.days.points.get(metric, ())}
    seconds = known.get(day.date())
    if seconds is None and day.date() == detail.attainment.today_start.date():
        seconds = detail.attainment.today.get(metric)
    if seconds is None:
        return {"kind": "none", "text": "", "title": ""}
    ratio = seconds.ratio
    if ratio is None:
        return {"kind": "idle", "text": "\N{MIDDLE DOT}", "title": _("No demand")}
    kind = "met" if not seconds.missed else "missed" if ratio < 0.99 else "nearly"
    sign = {"met": "\N{CHECK MARK}", "nearly": "\N{ALMOST EQUAL TO}", "missed": "\N{BALLOT X}"}[kind]
    return {"kind": kind, "text": sign, "title": " ".join((quantities.show_ratio(ratio), _missed(seconds))).strip()}


def history(detail: Detail, user_id: str) -> list[dict[str, Any]]:
    """The changes as lines of a table, newest first. Users are told by id, but for the one who looks."""
    return [
        {
            "at": one.changed_at,
            "who": operators.user(one.user_id, user_id),
            "before": _promised(one.before),
            "after": _promised(one.after),
        }
        for one in detail.changes
    ]


def _promised(objectives: Mapping[str, Mapping[str, Any]]) -> list[str]:
    return [
        f"{names.of(names.METRICS, metric)} {quantities.show_promise(metric, promise)}"
        for metric, promise in objectives.items()
    ] or [_("nothing")]


def status_of(point: Point) -> str:
    """The status that stands for a step: one missed second makes it missed."""
    seconds = point.seconds
    for status in ("violated", "degraded", "met", "unknown", "self_limited", "no_demand"):
        if getattr(seconds, status):
            return status.upper()
    return "UNKNOWN"


def cause_of(point: Point) -> str | None:
    """The cause of most missed seconds of a step."""
    return max(point.causes, key=lambda cause: point.causes[cause]) if point.causes and point.seconds.missed else None
