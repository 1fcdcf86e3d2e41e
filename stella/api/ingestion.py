"""A host's report into the database. Whatever comes twice or late changes nothing that is newer.

Four rules make a report idempotent without a list of all that ever came (`docs/decisions/0027`):

- What the host *is now* (capacity, instances, acknowledgements) is taken only from a report that is newer than all before it.
- A minute is kept once by instance, metric and start; a row with more seconds replaces one with fewer.
- A violation is kept by the host's own id for it; a closed one is not opened again.
- A live point is kept once by instance and second, while it is young and its instance is watched.

A host speaks of its own instances only: what it says of others is ignored, and it is told so.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from stella.api import reported_instances, strict_json
from stella.api.report_work import Section, Work
from stella.db import decisions, minutes, points, reports, slos, violations
from stella.db.database import Session
from stella.db.models import Host, Instance, Minute, SloRow, ViolationRow
from stella.db.slos import Origin
from stella.model.report import MINUTE_SECONDS
from stella.model.slo import Metric
from stella.model.wire import Json

_KEYS_OF_A_POINT = ("metric", "usage", "demand", "status", "cause")
_WATCH_GRACE_SECONDS = 60
_LARGEST_FUTURE_SECONDS = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What became of a report: the largest sequence that came, the minutes stored, and what was ignored (uuid, reason)."""

    sequence: int
    stored_minutes: int
    ignored: tuple[tuple[str, str], ...]


def take(
    session: Session,
    host_id: int,
    report: Section,
    *,
    origin: Origin,
    silent_seconds: float,
    minute_retention_seconds: int,
    clock_offset_seconds: float,
) -> Taken:
    """Take in one report, which matches its schema."""
    host, streams = reports.lock(session, host_id)
    work = Work(
        session=session,
        host=host,
        origin=origin,
        silent_seconds=silent_seconds,
        minute_retention_seconds=minute_retention_seconds,
    )
    _look_up(work, report)
    stream = reports.advance(
        session,
        host,
        streams,
        agent=report["agent"],
        epoch=report["epoch"],
        sequence=report["sequence"],
        sent_at=report["sent_at"],
        now=origin.at,
    )
    if stream.newest:
        _take_host(host, report, origin.at)
        if "instances" in report:
            reported_instances.take(work, report["instances"])
        _take_states(work, report.get("states", {}))
    stored = _take_minutes(work, report.get("minutes", ()))
    _take_violations(work, report.get("violations", ()))
    _take_points(work, report.get("points", ()), latest=origin.at + clock_offset_seconds)
    return Taken(sequence=stream.sequence, stored_minutes=stored, ignored=tuple(work.ignored))


def _look_up(work: Work, report: Section) -> None:
    """What is known of the instances that the report names, and of all of the host where the report tells all that it has."""
    if "instances" in report:
        work.known.update(reports.on_host(work.session, work.host.id))
    parts = ("instances", "minutes", "violations", "points")
    uuids = {entry["uuid"].lower() for part in parts for entry in report.get(part, ())}
    work.known.update(reports.named(work.session, uuids - work.known.keys()))


def _take_host(host: Host, report: Section, now: float) -> None:
    section = report.get("host")
    host.agent, host.epoch, host.sequence = report["agent"], report["epoch"], report["sequence"]
    host.reported_at = now
    if section is None:
        return
    host.reported = strict_json.text({key: value for key, value in section.items() if key != "capacity"})
    capacity = section["capacity"]
    before = (host.capacity_cpu_cores, host.one_cpu_capacity_cores, host.cpus, host.reservation_margin_ratio)
    after = (
        float(capacity["cpu_cores"]),
        float(capacity["one_cpu_cores"]),
        strict_json.text(sorted(set(capacity["cpus"]))),
        capacity.get("reservation_margin_ratio"),
    )
    if after != before:
        host.capacity_cpu_cores, host.one_cpu_capacity_cores, host.cpus, host.reservation_margin_ratio = after
        host.free_cpu_cores = after[0] - host.reserved_cpu_cores
        host.generation += 1


def _take_states(work: Work, states: Section) -> None:
    if not states:
        return
    wanted = {uuid.lower(): state for uuid, state in states.items()}
    for instance, row in slos.on_host(work.session, work.host.id):
        state = wanted.get(instance.uuid)
        if state is not None and state["revision"] == row.revision:
            _acknowledge(work, instance, row, state)


def _acknowledge(work: Work, instance: Instance, row: SloRow, state: Section) -> None:
    metrics = {metric.value for metric in Metric}
    largest = {name: value for name, value in state.get("largest", {}).items() if name in metrics}
    before = row.state
    reason = state.get("reason", "")
    news = slos.acknowledge(work.session, row, state=state["state"], reason=reason, largest=strict_json.text(largest))
    kind = ""
    if row.state == slos.REFUSED and before != slos.REFUSED:
        kind = decisions.SLO_REFUSED_BY_HOST
    elif row.state == slos.DEGRADED and before == slos.PENDING and row.carried:
        kind = decisions.SLO_DEGRADED_BY_HOST  # once: afterwards it comes and goes with what is free
    if news and kind:
        decisions.record(
            work.session,
            kind,
            origin=work.origin,
            reason=reason,
            host_id=work.host.id,
            instance_id=instance.id,
            detail={"largest": largest},
        )


def _take_minutes(work: Work, found: Iterable[Section]) -> int:
    rows: dict[minutes.Key, Minute] = {}
    for section in found:
        instance = work.own(section["uuid"], "minutes")
        if instance is None:
            continue
        usage = section.get("usage") or {}
        row = Minute(
            instance_id=instance.id,
            host_id=work.host.id,
            metric=section["metric"],
            start=section["start"],
            is_stretch=section.get("span_seconds", MINUTE_SECONDS) > MINUTE_SECONDS,
            span_seconds=section.get("span_seconds", MINUTE_SECONDS),
            **{f"{name}_seconds": section["counts"].get(name, 0) for name in minutes.COUNTS},
            causes=strict_json.text(section.get("causes", {})),
            usage_mean=usage.get("mean"),
            usage_min=usage.get("min"),
            usage_max=usage.get("max"),
            demand_mean=section.get("demand_mean"),
        )
        key = minutes.key_of(row)
        if key not in rows or row.seconds > rows[key].seconds:
            rows[key] = row
    now = int(work.origin.at)
    kept = minutes.keep(
        work.session, rows, oldest=now - work.minute_retention_seconds, newest=now + _LARGEST_FUTURE_SECONDS
    )
    uuids = {instance.id: instance.uuid for instance in work.known.values()}
    work.ignored += [(uuids[key[0]], reason) for key, reason in kept.ignored]
    return kept.stored


def _take_violations(work: Work, found: Iterable[Section]) -> None:
    for section in found:
        instance = work.own(section["uuid"], "violations")
        if instance is None:
            continue
        violations.keep(
            work.session,
            ViolationRow(
                host_id=work.host.id,
                reported_id=section["id"],
                instance_id=instance.id,
                metric=section["metric"],
                opened_at=section["opened_at"],
                closed_at=section.get("closed_at"),
                cause=section.get("cause"),
                offender=section.get("offender"),
                evidence=strict_json.text(section.get("evidence", {})),
            ),
        )


def _take_points(work: Work, found: Iterable[Section], *, latest: float) -> None:
    """Points that are wrong are told once for each instance and reason, and never hold up the rest of a report."""
    oldest = work.origin.at - points.KEPT_SECONDS
    rows: list[tuple[int, int, str]] = []
    refused: dict[tuple[str, str], None] = {}
    for section in found:
        uuid, at = section["uuid"].lower(), section["at"]
        instance = work.known.get(uuid)
        if instance is None or instance.host_id != work.host.id:
            refused[uuid, "points: not an instance of this host"] = None
            continue
        if not oldest <= at <= latest:
            refused[uuid, "points: not within the last 15 minutes"] = None
        elif (instance.watched_until or 0.0) < work.origin.at - _WATCH_GRACE_SECONDS:
            refused[uuid, "points: it is not watched"] = None
        else:
            objectives: list[Json] = [{key: one.get(key) for key in _KEYS_OF_A_POINT} for one in section["objectives"]]
            rows.append((instance.id, at, strict_json.text(objectives)))
    work.ignored.extend(refused)
    points.keep(work.session, rows, work.origin.at)
