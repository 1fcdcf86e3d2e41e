"""Filling a database in bulk with a cloud that has long been running, as its hosts would have reported it."""

import hashlib
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Table, insert

from stella.bench.scale.fleet import (
    CAPABILITIES,
    CAPACITY_CPU_CORES,
    CPUS,
    MARGIN,
    ONE_CPU_CAPACITY_CORES,
    EmulatedHost,
    Fleet,
    Guest,
    metrics_of,
)
from stella.bench.scale.published import publish
from stella.db import migrations, models
from stella.db.database import Database
from stella.model import wire
from stella.xgos.link.sections import instances_section

_ROWS = 2000
_HOUR, _DAY = 3600, 86400
FIRST_REVISION = 1


def credential_of(host: EmulatedHost) -> str:
    """The credential of an emulated host: this database lives for one run."""
    return hashlib.sha256(f"emulated {host.name}".encode()).hexdigest()


def fill(database: Database, fleet: Fleet, *, with_history_of: int = 0) -> None:
    """Migrate and fill an empty database; so many of the first instances with an SLO have minutes, hours and days."""
    migrations.sync(database)
    now = time.time()
    waiting: dict[str, list[dict[str, Any]]] = {}
    instance_id = slo_id = 0
    with database.engine.connect() as connection:
        store(connection, models.Project.__table__, [{"project_id": name, "generation": 1} for name in fleet.projects])
        for host in fleet:
            _put(waiting, models.Host.__table__, _host_row(host, now))
            sections = _sections(host)
            for guest in host.guests:
                instance_id += 1
                _put(waiting, models.Instance.__table__, _instance_row(host, guest, instance_id, sections, now))
                if guest.terms is None:
                    continue
                slo_id += 1
                _put(waiting, models.SloRow.__table__, _slo_row(guest, slo_id, instance_id, now))
                for metric in metrics_of(guest):
                    row = {"slo_id": slo_id, "metric": metric.value, "value": guest.terms.slo.floor(metric)}
                    _put(waiting, models.SloFloor.__table__, row)
                if slo_id <= with_history_of:
                    _history(waiting, host, guest, instance_id, int(now))
            if len(waiting["instances"]) >= _ROWS:
                _flush(connection, waiting)
        _flush(connection, waiting)
        if database.engine.dialect.name != "sqlite":
            connection.exec_driver_sql("ANALYZE TABLE hosts, instances, slos, minutes, rollups")
        else:
            connection.exec_driver_sql("ANALYZE")
        connection.commit()


def _put(waiting: dict[str, list[dict[str, Any]]], table: Any, row: dict[str, Any]) -> None:
    waiting.setdefault(table.name, []).append(row)


def _flush(connection: Connection, waiting: dict[str, list[dict[str, Any]]]) -> None:
    """Store what waits, referred tables first."""
    for table in models.Table.metadata.sorted_tables:
        store(connection, table, waiting.pop(table.name, []))
    waiting["instances"] = []


def store(connection: Connection, table: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows and commit."""
    assert isinstance(table, Table)
    for start in range(0, len(rows), _ROWS):
        connection.execute(insert(table), list(rows[start : start + _ROWS]))
    connection.commit()


def _sections(host: EmulatedHost) -> Mapping[str, Any]:
    found: Any = instances_section(publish(host, random.Random(host.number)))  # noqa: S311 (no secret)
    return {section["uuid"]: section for section in found or ()}


def _host_row(host: EmulatedHost, now: float) -> dict[str, Any]:
    reported = {
        "capabilities": {name: why or True for name, why in CAPABILITIES.items()},
        "versions": {"xgos": "0.1.0"},
        "mode": "enforce",
    }
    reserved = host.reserved_cpu_cores
    return {
        "id": host.number,
        "name": host.name,
        "credential_sha256": hashlib.sha256(credential_of(host).encode()).hexdigest(),
        "generation": 1,
        "intent_revision": FIRST_REVISION,
        "mode": "enforce",
        "capacity_cpu_cores": CAPACITY_CPU_CORES,
        "one_cpu_capacity_cores": ONE_CPU_CAPACITY_CORES,
        "reserved_cpu_cores": reserved,
        "free_cpu_cores": CAPACITY_CPU_CORES - reserved,
        "cpus": wire.dumps(list(range(CPUS))),
        "reservation_margin_ratio": MARGIN,
        "reported": wire.dumps(reported),
        "reported_at": now,
        "enrolled_at": now - _DAY,
    }


def _instance_row(
    host: EmulatedHost, guest: Guest, instance_id: int, sections: Mapping[str, Any], now: float
) -> dict[str, Any]:
    section = sections[guest.uuid]
    return {
        "id": instance_id,
        "uuid": guest.uuid,
        "host_id": host.number,
        "project_id": guest.project,
        "name": guest.name,
        "state": section["state"],
        "shape": wire.dumps(section["shape"]),
        "costs": wire.dumps(section["costs"]),
        "reported": wire.dumps({"objectives": section["objectives"]}),
        "reported_at": now,
    }


def _slo_row(guest: Guest, slo_id: int, instance_id: int, now: float) -> dict[str, Any]:
    assert guest.terms is not None
    return {
        "id": slo_id,
        "instance_id": instance_id,
        "generation": 1,
        "revision": FIRST_REVISION,
        "objectives": wire.dumps(guest.terms.objectives),
        "priority": 0,
        "reserved_cpu_cores": guest.terms.reserved_cpu_cores,
        "reserved_io_ratio": guest.terms.io_ratio,
        "estimated": False,
        "state": "enforced",
        "reason": "",
        "largest": "{}",
        "changed_at": now - _DAY,
    }


def _history(
    waiting: dict[str, list[dict[str, Any]]], host: EmulatedHost, guest: Guest, instance_id: int, now: int
) -> None:
    """The minutes of the last hours, the hours since yesterday, the days of the last month, as stella-engine leaves them."""
    hour, day = now // _HOUR * _HOUR, now // _DAY * _DAY
    for metric in metrics_of(guest):
        key = {"instance_id": instance_id, "metric": metric.value}
        for start in _starts(hour - _HOUR, now - 60, 60):
            row: dict[str, Any] = {**key, **_seconds(60), "host_id": host.number, "start": start, "span_seconds": 60}
            _put(waiting, models.Minute.__table__, {**row, **_amounts(), "is_rolled_up": start < hour})
        for span, first, last in ((_HOUR, day - _DAY, hour), (_DAY, day - 31 * _DAY, day)):
            for start in _starts(first, last, span):
                row = {**key, **_seconds(span), "span_seconds": span, "start": start, "usage_seconds": span}
                row |= {**_amounts(), "demand_seconds": span, "is_rolled_up": span == _DAY or start < day}
                _put(waiting, models.RollUp.__table__, row)


def _starts(first: int, end: int, step: int) -> Iterator[int]:
    yield from range(first, end, step)


def _seconds(span: int) -> dict[str, int]:
    counts = {f"{name}_seconds": 0 for name in ("degraded", "self_limited", "unknown")}
    return {**counts, "met_seconds": span - span // 10, "violated_seconds": 0, "no_demand_seconds": span // 10}


def _amounts() -> dict[str, float]:
    return {"usage_mean": 1.0, "usage_min": 0.0, "usage_max": 2.0, "demand_mean": 1.0}
