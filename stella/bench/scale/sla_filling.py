"""Filling a database with instances under SLA classes and the roll-ups of months, as stella-engine leaves them.

Rows of roll-ups are made inside the database, from those of the instances: a month of twenty thousand has millions.
"""

import uuid
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, insert, literal, select, true, union_all
from sqlalchemy.exc import SAWarning

from stella.bench.scale.filling import store
from stella.control.rollup import DAY_SECONDS, HOUR_SECONDS, floor_to
from stella.db import migrations, slas
from stella.db.database import Database
from stella.db.models import Host, Instance, Minute, RollUp
from stella.db.sla_models import Sla, SlaAttachment
from stella.model.report import MINUTE_SECONDS
from stella.model.slo import Metric
from stella.sla import terms as sla_terms
from stella.sla.periods import Period
from stella.sla.spans import Scope, Span

METRICS = (Metric.CPU, Metric.NETWORK_PACKETS)
"""The objectives of each instance."""

PER_HOST, PER_PROJECT = 20, 100
_AT_ONCE = 500
TERMS = {
    "attainment_target_ratio": "0.999",
    "credits": [{"below_ratio": "0.999", "credit_ratio": "0.1"}, {"below_ratio": "0.99", "credit_ratio": "0.25"}],
    "price": {"amount": "49.90", "currency": "EUR"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Class:
    """A class and its instances, which have the ids from ``first`` on; so many of them are in one project."""

    name: str
    uuid: str
    first: int
    instances: int
    per_project: int

    @property
    def projects(self) -> tuple[str, ...]:
        """Their projects; the class is attached to each."""
        return tuple(f"{self.name}-{number}" for number in range(-(-self.instances // self.per_project)))


def classes(sizes: Sequence[int], *, reported: int) -> tuple[Class, ...]:
    """A class for each size, with instances of its own in projects of `PER_PROJECT`, and one whose project has ``reported``."""
    found: list[Class] = []
    first = 1
    for size, per_project in [*((size, PER_PROJECT) for size in sizes), (reported, reported)]:
        name = f"of-{size}" if per_project == PER_PROJECT else "reported"
        made = str(uuid.uuid5(uuid.NAMESPACE_OID, name))
        found.append(Class(name=name, uuid=made, first=first, instances=size, per_project=per_project))
        first += size
    return tuple(found)


def prepare(database: Database, found: Sequence[Class], *, zone: str, since: int, now: float) -> None:
    """Migrate; hosts, instances and classes, attached since then (Unix seconds)."""
    migrations.sync(database)
    last = found[-1].first + found[-1].instances - 1
    with database.engine.connect() as connection:
        store(connection, Host.__table__, [_host(number, now) for number in range(1, -(-last // PER_HOST) + 1)])
        for one in found:
            numbers = range(one.first, one.first + one.instances)
            store(connection, Instance.__table__, [_instance(one, number, now) for number in numbers])

    def add(session: Any) -> None:
        for one in found:
            row = Sla(
                uuid=one.uuid, name=one.name, name_in_use=one.name, time_zone=zone, generation=1, objectives="{}",
                created_at=float(since), user_id="operator",
            )  # fmt: skip
            slas.add(session, row, sla_terms.parse(TERMS), valid_from=since)
            session.add_all(
                SlaAttachment(sla_id=row.id, scope=Scope.PROJECT.value, target=name, start=since, user_id="operator")
                for name in one.projects
            )

    database.write(add)


def _host(number: int, now: float) -> dict[str, Any]:
    return {"id": number, "name": f"host{number:05d}", "generation": 1, "intent_revision": 1, "mode": "enforce",
            "reserved_cpu_cores": 0.0, "free_cpu_cores": 0.0, "cpus": "[]", "reported": "{}", "enrolled_at": now}  # fmt: skip


def _instance(one: Class, number: int, now: float) -> dict[str, Any]:
    return {
        "id": number,
        "uuid": str(uuid.UUID(int=number, version=4)),
        "host_id": (number - 1) // PER_HOST + 1,
        "project_id": one.projects[(number - one.first) // one.per_project],
        "name": f"vm-{number}",
        "state": "running",
        "reported_at": now,
    }


def parts(span: Span) -> dict[int, list[int]]:
    """The fewest roll-ups and minutes that make up a span, by their seconds: days, hours at its ends, minutes at theirs. Pure."""
    found: dict[int, list[int]] = {DAY_SECONDS: [], HOUR_SECONDS: [], MINUTE_SECONDS: []}
    at = span[0]
    while at < span[1]:
        step = next(step for step in found if at % step == 0 and at + step <= floor_to(step, span[1]))
        found[step].append(at)
        at += step
    return found


def fill(database: Database, one: Class, span: Span, *, step: Callable[[str], None], rolled_up: bool = True) -> int:
    """All that is kept of the span for the instances of a class, in whole minutes; how many rows."""
    rows = 0
    with database.engine.connect() as connection:
        for seconds, starts in parts(span).items():
            if starts:
                step(f"{one.name}: {len(starts)} x {seconds} s for {one.instances} instances")
                rows += fill_starts(connection, one, seconds, starts, rolled_up=rolled_up)
    return rows


def fill_starts(connection: Connection, one: Class, seconds: int, starts: Sequence[int], *, rolled_up: bool) -> int:
    """A row of so many seconds for each objective and start; how many rows."""
    table = Minute if seconds == MINUTE_SECONDS else RollUp
    metrics = union_all(*(select(literal(metric.value).label("metric")) for metric in METRICS)).subquery()
    begins = union_all(*(select(literal(start).label("start")) for start in starts)).subquery()
    missed = Instance.id % MISSED_CYCLE
    columns: dict[str, Any] = {
        "instance_id": Instance.id,
        "metric": metrics.c.metric,
        "span_seconds": literal(seconds),
        "start": begins.c.start,
        "met_seconds": literal(seconds) - missed,
        "violated_seconds": missed,
        "causes": literal('{"cpu":1}'),
        "usage_mean": literal(1.0),
        "demand_mean": literal(1.0),
        "is_rolled_up": literal(rolled_up),
        **{f"{name}_seconds": literal(0) for name in ("degraded", "no_demand", "self_limited", "unknown")},
    }
    if table is Minute:
        columns |= {"host_id": Instance.host_id, "is_stretch": literal(False)}
    else:
        columns |= {"usage_seconds": literal(seconds), "demand_seconds": literal(seconds)}
    rows = 0
    for first in range(one.first, one.first + one.instances, _AT_ONCE):
        end = min(first + _AT_ONCE, one.first + one.instances)
        made = select(*columns.values()).select_from(Instance).join(metrics, true()).join(begins, true())
        made = made.where(Instance.id >= first, Instance.id < end)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SAWarning)  # each instance with each metric and start: it is meant
            connection.execute(insert(table).from_select(list(columns), made))
        connection.commit()
        rows += (end - first) * len(METRICS) * len(starts)
    return rows


MISSED_CYCLE = 3
"""An instance misses (its id modulo this) seconds of each row."""


def missed_seconds(one: Class, period: Period) -> int:
    """What `fill` made the instances of a class miss in a period, all objectives together. Pure."""
    rows = sum(len(starts) for starts in parts((period.start, period.end)).values())
    each = sum(number % MISSED_CYCLE for number in range(one.first, one.first + one.instances))
    return each * len(METRICS) * rows
