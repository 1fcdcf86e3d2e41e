"""A host's report into the database. Whatever comes twice or late changes nothing that is newer.

Three rules make a report idempotent without a list of all that ever came (`docs/decisions/0027`):

- What the host *is now* (capacity, instances, acknowledgements) is taken only from a report that is newer than all before it.
- A minute is kept once by instance, metric and start; a row with more seconds replaces one with fewer.
- A violation is kept by the host's own id for it; a closed one is not opened again.

A host speaks of its own instances only: what it says of others is ignored, and it is told so.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from stella.db import decisions, hosts, instances, minutes, reports, slos, violations
from stella.db.database import Session
from stella.db.instances import GONE
from stella.db.models import Host, Instance, Minute, SloRow, ViolationRow
from stella.db.slos import Origin
from stella.model import wire
from stella.model.report import MINUTE_SECONDS
from stella.model.slo import Metric

Section = Mapping[str, Any]
_LARGEST_FUTURE_SECONDS = 3600
DEFAULT_PROJECT = "default"
"""The project of an instance whose host knows none, as under stand-alone libvirt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What became of a report: the largest sequence that came, the minutes stored, and what was ignored (uuid, reason)."""

    sequence: int
    stored_minutes: int
    ignored: tuple[tuple[str, str], ...]


@dataclass(slots=True)
class _Work:
    """One report being taken in."""

    session: Session
    host: Host
    origin: Origin
    silent_seconds: float
    minute_retention_seconds: int
    ignored: list[tuple[str, str]] = field(default_factory=list)
    known: dict[str, Instance] = field(default_factory=dict)

    def own(self, uuid: str, what: str) -> Instance | None:
        """The instance, if it runs or ran last on this host."""
        instance = self.known.get(uuid.lower())
        if instance is None or self.host.id not in (instance.host_id, instance.previous_host_id):
            self.ignored.append((uuid, f"{what}: not an instance of this host"))
            return None
        return instance


def take(
    session: Session,
    host_id: int,
    report: Section,
    *,
    origin: Origin,
    silent_seconds: float,
    minute_retention_seconds: int,
) -> Taken:
    """Take in one report, which matches its schema."""
    host = hosts.lock(session, host_id)
    work = _Work(
        session=session,
        host=host,
        origin=origin,
        silent_seconds=silent_seconds,
        minute_retention_seconds=minute_retention_seconds,
    )
    named = [entry["uuid"].lower() for part in ("instances", "minutes", "violations") for entry in report.get(part, ())]
    work.known.update(instances.by_uuid(session, named))
    stream = reports.advance(
        session,
        host,
        agent=report["agent"],
        epoch=report["epoch"],
        sequence=report["sequence"],
        sent_at=report["sent_at"],
        now=origin.at,
    )
    if stream.newest:
        _take_host(work, report)
        if "instances" in report:
            _take_instances(work, report["instances"])
        _take_states(work, report.get("states", {}))
    stored = _take_minutes(work, report.get("minutes", ()))
    _take_violations(work, report.get("violations", ()))
    return Taken(sequence=stream.sequence, stored_minutes=stored, ignored=tuple(work.ignored))


def _take_host(work: _Work, report: Section) -> None:
    host, section = work.host, report.get("host")
    host.agent, host.epoch, host.sequence = report["agent"], report["epoch"], report["sequence"]
    host.reported_at = work.origin.at
    if section is None:
        return
    host.reported = wire.dumps({key: value for key, value in section.items() if key != "capacity"})
    capacity = section["capacity"]
    before = (host.capacity_cpu_cores, host.one_cpu_capacity_cores, host.cpus, host.reservation_margin_ratio)
    after = (
        float(capacity["cpu_cores"]),
        float(capacity["one_cpu_cores"]),
        wire.dumps(sorted(set(capacity["cpus"]))),
        capacity.get("reservation_margin_ratio"),
    )
    if after != before:
        host.capacity_cpu_cores, host.one_cpu_capacity_cores, host.cpus, host.reservation_margin_ratio = after
        host.free_cpu_cores = after[0] - host.reserved_cpu_cores
        host.generation += 1


def _take_instances(work: _Work, found: Iterable[Section]) -> None:
    present = set()
    for section in found:
        uuid = section["uuid"].lower()
        present.add(uuid)
        instance = work.known.get(uuid)
        if instance is None:
            instance = Instance(
                uuid=uuid, host_id=work.host.id, project_id=section.get("project") or DEFAULT_PROJECT, name=""
            )
            work.session.add(instance)
            work.known[uuid] = instance
        elif instance.host_id != work.host.id and not _moved_here(work, instance):
            work.ignored.append((uuid, "instances: it runs on another host"))
            continue
        elif instance.project_id == DEFAULT_PROJECT and section.get("project"):
            instance.project_id = section["project"]
        _refresh(instance, section, work.origin.at)
    for instance in instances.on_host(work.session, work.host.id):
        if instance.uuid not in present and instance.state != GONE:
            instance.state, instance.gone_at = GONE, work.origin.at
    work.session.flush()


def _refresh(instance: Instance, section: Section, now: float) -> None:
    instance.name = section.get("name") or instance.name
    instance.state = section["state"]
    instance.gone_at = None if instance.state != GONE else instance.gone_at or now
    if "shape" in section:  # a host cannot tell it of an instance that is shut off: what was known stays
        instance.shape = wire.dumps(section["shape"])
        instance.costs = wire.dumps(section.get("costs", {}))
    instance.reported = wire.dumps({"objectives": section.get("objectives", [])})
    instance.reported_at = now


def _moved_here(work: _Work, instance: Instance) -> bool:
    """Whether this host may take over an instance of another one: that one lost it, or is silent. Its SLO comes along, PENDING."""
    other = hosts.lock(work.session, instance.host_id)
    silent = other.reported_at is None or work.origin.at - other.reported_at > work.silent_seconds
    if instance.state != GONE and not silent:
        return False
    instance.previous_host_id, instance.host_id = other.id, work.host.id
    row = slos.find(work.session, instance.id)
    if row is not None and row.objectives is not None:
        for host, sign in ((other, -1.0), (work.host, 1.0)):
            host.reserved_cpu_cores += sign * row.reserved_cpu_cores
            host.free_cpu_cores = (host.capacity_cpu_cores or 0.0) - host.reserved_cpu_cores
            host.generation += 1
            host.intent_revision += 1
        row.state, row.reason, row.largest, row.revision = slos.PENDING, "", "{}", work.host.intent_revision
    return True


def _take_states(work: _Work, states: Section) -> None:
    if not states:
        return
    wanted = {uuid.lower(): state for uuid, state in states.items()}
    for instance, row in slos.on_host(work.session, work.host.id):
        state = wanted.get(instance.uuid)
        if state is not None and state["revision"] == row.revision:
            _acknowledge(work, instance, row, state)


def _acknowledge(work: _Work, instance: Instance, row: SloRow, state: Section) -> None:
    metrics = {metric.value for metric in Metric}
    largest = {name: value for name, value in state.get("largest", {}).items() if name in metrics}
    was_refused = row.state == slos.REFUSED
    reason = state.get("reason", "")
    news = slos.acknowledge(work.session, row, state=state["state"], reason=reason, largest=wire.dumps(largest))
    if news and row.state == slos.REFUSED and not was_refused:
        decisions.record(
            work.session,
            decisions.SLO_REFUSED_BY_HOST,
            origin=work.origin,
            reason=reason,
            host_id=work.host.id,
            instance_id=instance.id,
            detail={"largest": largest},
        )


def _take_minutes(work: _Work, found: Iterable[Section]) -> int:
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
            causes=json.dumps(section.get("causes", {})),
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


def _take_violations(work: _Work, found: Iterable[Section]) -> None:
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
                evidence=wire.dumps(section.get("evidence", {})),
            ),
        )
