"""The report of a period: roll-ups, exclusions and corrections as they were, and what they come to. Anyone can compute it again.

A report is JSON without floats. ``results`` and ``totals`` follow from the rest by `compute` alone; ``sha256`` is that of the
canonical JSON of all else. Of each objective three tallies are told: as measured, without what is excluded, and corrected too; the
last is what counts. An instance is credited once, for the objective that was met least.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from stella.model.report import StatusCounts
from stella.sla import terms as sla_terms
from stella.sla.exact import digest, show_ratio
from stella.sla.periods import Period, show_time
from stella.sla.tally import STATUSES, Tally, move, subtract, tally
from stella.sla.terms import Terms

FORMAT = "stella-sla-report/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectiveRow:
    """The roll-up of one objective over the period, and the parts of it that each exclusion takes out, by the exclusion's id."""

    uuid: str
    name: str
    project_id: str
    metric: str
    counts: StatusCounts
    excluded: Mapping[int, StatusCounts] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What the report is about. ``until``: the time (Unix seconds) up to which it counts. ``final``: nothing is added any more."""

    sla_uuid: str
    sla_name: str
    generation: int
    time_zone: str
    project_id: str | None
    period: Period
    until: int
    final: bool


def counted(row: ObjectiveRow, corrections: Iterable[Mapping[str, Any]]) -> StatusCounts:
    """What counts of an objective all of whose exclusions are in force: without them, and with its corrections in their order."""
    return _corrected(subtract(row.counts, row.excluded.values()), corrections)


def _corrected(counts: StatusCounts, corrections: Iterable[Mapping[str, Any]]) -> StatusCounts:
    for one in corrections:
        counts = move(counts, seconds=one["seconds"], source=one["source"], target=one["target"])
    return counts


def assemble(
    subject: Subject,
    terms: Terms,
    rows: Iterable[ObjectiveRow],
    exclusions: Sequence[Mapping[str, Any]],
    corrections: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """The whole report. ``exclusions`` and ``corrections`` are as the API shows them; those that are withdrawn do not count."""
    shown = [_show_row(row) for row in sorted(rows, key=lambda row: (row.uuid, row.metric))]
    report: dict[str, Any] = {
        "format": FORMAT,
        "sla": {"uuid": subject.sla_uuid, "name": subject.sla_name, "generation": subject.generation},
        "terms": sla_terms.show(terms),
        "project_id": subject.project_id,
        "period": {
            "name": subject.period.name,
            "time_zone": subject.time_zone,
            "start": show_time(subject.period.start),
            "end": show_time(subject.period.end),
            "until": show_time(subject.until),
            "final": subject.final,
        },
        "rollups": shown,
        "exclusions": list(exclusions),
        "corrections": sorted(corrections, key=lambda correction: int(correction["id"])),
    }
    report |= compute(report)
    return report | {"sha256": digest(report)}


def _show_row(row: ObjectiveRow) -> dict[str, Any]:
    return {
        "uuid": row.uuid,
        "name": row.name,
        "project_id": row.project_id,
        "metric": row.metric,
        "seconds": _show_counts(row.counts),
        "excluded": [
            {"exclusion": number, "seconds": _show_counts(counts)} for number, counts in sorted(row.excluded.items())
        ],
    }


def _show_counts(counts: StatusCounts) -> dict[str, int]:
    return {name: getattr(counts, name) for name in STATUSES}


def _counts(seconds: Mapping[str, int]) -> StatusCounts:
    return StatusCounts(**{name: seconds[name] for name in STATUSES})


def compute(report: Mapping[str, Any]) -> dict[str, Any]:
    """``results`` and ``totals`` of a report, from its terms, roll-ups, exclusions and corrections.

    Raises `stella.sla.terms.InvalidTerms`, ValueError and KeyError for one that cannot be.
    """
    terms = sla_terms.parse(report["terms"])
    in_force = {one["id"] for one in report["exclusions"] if one["withdrawn_at"] is None}
    corrections: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for one in report["corrections"]:
        if one["withdrawn_at"] is None:
            corrections.setdefault((one["uuid"], one["metric"]), []).append(one)
    by_instance: dict[str, list[Mapping[str, Any]]] = {}
    for row in report["rollups"]:
        by_instance.setdefault(row["uuid"], []).append(row)
    results = [
        _instance(rows, terms, in_force, {row["metric"]: corrections.get((uuid, row["metric"]), []) for row in rows})
        for uuid, rows in by_instance.items()
    ]
    return {"results": [shown for shown, _ in results], "totals": _totals(results, terms)}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Steps:
    """One objective: as measured, without what is excluded, and corrected too."""

    measured: Tally
    without_exclusions: Tally
    counted: Tally


def _instance(
    rows: Sequence[Mapping[str, Any]],
    terms: Terms,
    in_force: set[int],
    corrections: Mapping[str, Sequence[Mapping[str, Any]]],
) -> tuple[dict[str, Any], list[_Steps]]:
    shown, found = [], []
    for row in rows:
        measured = _counts(row["seconds"])
        excluded = [_counts(part["seconds"]) for part in row["excluded"] if part["exclusion"] in in_force]
        left = subtract(measured, excluded)
        corrected = _corrected(left, corrections[row["metric"]])
        tallies = [tally(counts, terms.unknown) for counts in (measured, left, corrected)]
        steps = _Steps(measured=tallies[0], without_exclusions=tallies[1], counted=tallies[2])
        found.append(steps)
        shown.append(_objective(row["metric"], steps, terms, counts=corrected))
    worst = min((steps.counted for steps in found), key=lambda one: one.exact_attainment)
    credit = terms.credit_ppm(worst.met, worst.with_demand)
    before = min((steps.measured for steps in found), key=lambda one: one.exact_attainment)
    result = {
        "uuid": rows[0]["uuid"],
        "objectives": shown,
        "attainment_ratio": worst.attainment,
        "attainment_ratio_measured": before.attainment,
        "is_met": all(steps.counted.is_met(terms) for steps in found),
        "credit_ratio": show_ratio(credit),
        "credit_ratio_measured": show_ratio(terms.credit_ppm(before.met, before.with_demand)),
        "credit_amount": str(terms.price.credit(credit)) if terms.price is not None else None,
    }
    return result, found


def _objective(metric: str, steps: _Steps, terms: Terms, *, counts: StatusCounts) -> dict[str, Any]:
    counted = steps.counted
    return {
        "metric": metric,
        "attainment_ratio": counted.attainment,
        "attainment_ratio_measured": steps.measured.attainment,
        "attainment_ratio_without_exclusions": steps.without_exclusions.attainment,
        "met_seconds": counted.met,
        "missed_seconds": counted.missed,
        "allowed_seconds": counted.allowed(terms),
        "unknown_seconds": counts.unknown,
        "own_limits_seconds": counts.self_limited,
        "is_met": counted.is_met(terms),
    }


def _totals(results: Sequence[tuple[Mapping[str, Any], Sequence[_Steps]]], terms: Terms) -> dict[str, Any]:
    amounts = [Decimal(shown["credit_amount"]) for shown, _ in results if shown["credit_amount"] is not None]
    steps = [one for _, found in results for one in found]
    measured, counted = (
        Tally(met=sum(one.met for one in tallies), missed=sum(one.missed for one in tallies))
        for tallies in ([one.measured for one in steps], [one.counted for one in steps])
    )
    return {
        "instances": len(results),
        "instances_missed": sum(not shown["is_met"] for shown, _ in results),
        "instances_credited": sum(shown["credit_ratio"] != "0" for shown, _ in results),
        "met_seconds": counted.met,
        "missed_seconds": counted.missed,
        "attainment_ratio": counted.attainment,
        "attainment_ratio_measured": measured.attainment,
        "credit_amount": str(sum(amounts, Decimal("0.00"))) if terms.price is not None else None,
        "currency": terms.price.currency if terms.price is not None else None,
    }
