"""Error budgets of instances under a class, as of now: the same seconds, exclusions and corrections as its report."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import tzinfo
from typing import Any

from stella.api import times
from stella.api.slas import zone_of
from stella.db import sla_exclusions, sla_members, sla_rows, slas
from stella.db.database import Session
from stella.db.models import Instance
from stella.db.sla_members import Member
from stella.db.sla_models import Sla
from stella.model.wire import Json
from stella.sla import offers, periods, report, spans
from stella.sla import terms as sla_terms
from stella.sla.budget import BURN_SPANS, Budget, budget
from stella.sla.exact import show_ratio
from stella.sla.offers import Offers, Size
from stella.sla.periods import Period
from stella.sla.report import ObjectiveRow
from stella.sla.tally import Tally, tally
from stella.sla.terms import Terms

_LONGEST_PERIOD_SECONDS = 32 * 86_400
_NOTHING = Tally(met=0, missed=0)
_Key = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Present:
    """A class, its present period and the terms of it."""

    sla: Sla
    zone: tzinfo
    period: Period
    terms: Terms
    now: int

    @property
    def whole(self) -> spans.Span:
        """The period until now."""
        return self.period.start, self.now


def present(session: Session, row: Sla, now: float) -> Present:
    """A class as it is at ``now`` (Unix seconds)."""
    zone = zone_of(row)
    period = periods.month_at(now, zone)
    terms = slas.terms_at(session, row.id, period.start).terms
    return Present(sla=row, zone=zone, period=period, terms=terms, now=int(now))


def carried(session: Session, found: Sequence[Instance], now: float) -> dict[int, dict[str, Json]]:
    """What a host is told of the class of each of these instances that is under one, by id of the instance.

    ``start`` and ``until`` (Unix seconds): since when the class counts for it, and when its period ends.
    """
    at = int(now)
    known: dict[int, Present] = {}
    shown: dict[int, dict[str, Json]] = {}
    reaching = sla_members.reaching_each(session, found, at - _LONGEST_PERIOD_SECONDS)
    for instance, attachments in zip(found, reaching, strict=True):
        sla_id = spans.chosen(attachments, (at, at + 1))
        if sla_id is None:
            continue
        if sla_id not in known:
            known[sla_id] = present(session, session.get_one(Sla, sla_id), now)
        one = known[sla_id]
        parts = spans.under(attachments, sla_id, (one.period.start, at + 1))
        shown[instance.id] = {
            "name": one.sla.name,
            "attainment_target_ratio": show_ratio(one.terms.target_ppm),
            "unknown": one.terms.unknown.value,
            "start": parts[-1][0],
            "until": one.period.end,
        }
    return shown


def show(session: Session, at: Present, members: Sequence[Member]) -> list[dict[str, Json]]:
    """The budgets of these members, also of those without any second yet."""
    found = sla_rows.windows(session, at.whole)
    corrections: dict[_Key, list[Mapping[str, Any]]] = {}
    for one, instance in sla_exclusions.of_period(session, at.sla.id, at.period.name):
        if one.withdrawn_at is None:
            moved = {"seconds": one.seconds, "source": one.source, "target": one.target}
            corrections.setdefault((instance.uuid, one.metric), []).append(moved)
    rows = sla_rows.live(session, members, found)
    recent = {
        name: _tallies(sla_rows.live(session, _cut(members, (at.now - seconds, at.now)), found), at.terms)
        for name, seconds in BURN_SPANS.items()
    }
    by_uuid: dict[str, list[ObjectiveRow]] = {member.uuid: [] for member in members}
    for row in sorted(rows, key=lambda row: row.metric):
        by_uuid[row.uuid].append(row)
    return [_show(at, member, by_uuid[member.uuid], corrections, recent) for member in members]


def _cut(members: Sequence[Member], span: spans.Span) -> list[Member]:
    cut = (replace(member, spans=spans.within(member.spans, span)) for member in members)
    return [member for member in cut if member.spans]


def _tallies(rows: Iterable[ObjectiveRow], terms: Terms) -> Mapping[_Key, Tally]:
    return {(row.uuid, row.metric): tally(report.counted(row, ()), terms.unknown) for row in rows}


def _show(
    at: Present,
    member: Member,
    rows: Sequence[ObjectiveRow],
    corrections: Mapping[_Key, Sequence[Mapping[str, Any]]],
    recent: Mapping[str, Mapping[_Key, Tally]],
) -> dict[str, Json]:
    objectives: list[Json] = []
    found: list[Budget] = []
    for row in rows:
        key = (row.uuid, row.metric)
        counts = report.counted(row, corrections.get(key, ()))
        spent = {name: tallies.get(key, _NOTHING) for name, tallies in recent.items()}
        made = budget(tally(counts, at.terms.unknown), spent, at.terms, now=at.now, end=at.period.end)
        found.append(made)
        objectives.append(_show_objective(at, row.metric, made, unknown=counts.unknown))
    worst = min(found, key=lambda one: one.tally.exact_attainment, default=None)
    return {
        "uuid": member.uuid,
        "name": member.name,
        "project_id": member.project_id,
        "sla": {"uuid": at.sla.uuid, "name": at.sla.name},
        "period": {
            "name": at.period.name,
            "time_zone": at.sla.time_zone,
            "start": times.show(at.period.start),
            "end": times.show(at.period.end),
        },
        **_show_worst(at.terms, worst),
        "objectives": objectives,
    }


def _show_worst(terms: Terms, worst: Budget | None) -> dict[str, Json]:
    """What the objective that was met least leaves and costs."""
    price, step = terms.price, worst.next_step if worst is not None else None
    credit = worst.credit_ppm if worst is not None else 0
    return {
        "left_seconds": worst.left if worst is not None else 0,
        "left_ratio": round(worst.left / worst.allowed, 6)
        if worst is not None and worst.allowed
        else _none_left(worst),
        "credit_ratio": show_ratio(credit),
        "credit_amount": str(price.credit(credit)) if price is not None else None,
        "currency": price.currency if price is not None else None,
        "next_credit": None
        if step is None
        else {
            "below_ratio": show_ratio(step.below_ppm),
            "credit_ratio": show_ratio(step.credit_ppm),
            "credit_amount": str(price.credit(step.credit_ppm)) if price is not None else None,
            "left_seconds": step.left_seconds,
        },
    }


def _none_left(worst: Budget | None) -> float | None:
    """Where less than a second is allowed: nothing is left, or it is missed."""
    return None if worst is None or not worst.tally.with_demand else -1.0 if worst.left < 0 else 0.0


def _show_objective(at: Present, metric: str, found: Budget, *, unknown: int) -> dict[str, Json]:
    ends = found.exhausted_at
    rates: dict[str, Json] = {
        name: None if rate is None else round(float(rate), 3) for name, rate in found.burn_rates.items()
    }
    return {
        "metric": metric,
        "attainment_ratio": found.tally.attainment,
        "with_demand_seconds": found.tally.with_demand,
        "allowed_seconds": found.allowed,
        "used_seconds": found.tally.missed,
        "left_seconds": found.left,
        "unknown_seconds": unknown,
        "burn_rates": rates,
        "exhausted_at": times.show(ends) if ends is not None else None,
        "exhausted_on": str(periods.day_at(ends, at.zone)) if ends is not None else None,
    }


def show_offers(at: Present, instance: Instance) -> dict[str, Json]:
    """The terms, and what the class allows and offers to an instance of this size."""
    allowed, size = offers_of(at.sla), size_of(instance)
    default: Any = offers.default_slo(allowed, size)
    return {
        "terms": sla_terms.show(at.terms),
        "offers": offers.show(allowed),
        "default_objectives": default,
        "limits": {**offers.limits(allowed, size)},
    }


def offers_of(row: Sla) -> Offers:
    """What an SLO under a class may ask for."""
    return offers.parse(json.loads(row.objectives))


def size_of(instance: Instance) -> Size:
    """The size of an instance as far as it is known."""
    vcpus = json.loads(instance.shape).get("vcpus", 1)
    return Size(vcpus=int(vcpus), disk_bytes=instance.disk_bytes)


def of_instance(session: Session, instance_id: int, now: float) -> Sla | None:
    """The class that counts for an instance at present; None: there is none."""
    at = int(now)
    reaching = sla_members.reaching(session, instance_id, at)
    sla_id = spans.chosen(reaching, (at, at + 1))
    return session.get(Sla, sla_id) if sla_id is not None else None
