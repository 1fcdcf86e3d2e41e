"""A ledger: what plain adding up of minutes must give, and the same minutes in the database."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import select

from stella.control import rollup
from stella.control.rollup import COUNTS, DAY_SECONDS
from stella.db import attainment, attainments, hosts, minutes, sla_sums
from stella.db.attainments import Counted
from stella.db.database import Database, Session
from stella.db.models import Host, Instance, Minute
from stella.model.report import StatusCounts
from tests.functional.conftest import NOW, Cloud, uuid

DAY = int(NOW) // DAY_SECONDS * DAY_SECONDS
METRIC = "cpu"


@dataclass
class Ledger:
    """What plain adding up must give, minute by minute, and the same in the database."""

    database: Database
    instance_id: int
    host_id: int
    rows: dict[int, StatusCounts] = field(default_factory=dict)
    stretches: list[rollup.Stretch] = field(default_factory=list)

    def keep(self, rows: Mapping[int, StatusCounts], *, oldest: int = 0) -> minutes.Kept:
        for start, counts in rows.items():
            if start >= oldest and counts.seconds > self.rows.get(start, StatusCounts()).seconds:
                self.rows[start] = counts
        return self._store([self._row(start, counts) for start, counts in rows.items()], oldest=oldest)

    def lose(self, stretch: rollup.Stretch) -> None:
        self.stretches.append(stretch)
        lost = self._row(stretch.start, StatusCounts(unknown=stretch.unknown_seconds))
        lost.is_stretch, lost.span_seconds = True, stretch.span_seconds
        self._store([lost])

    def _row(self, start: int, counts: StatusCounts) -> Minute:
        return Minute(
            instance_id=self.instance_id,
            host_id=self.host_id,
            metric=METRIC,
            start=start,
            is_stretch=False,
            span_seconds=60,
            **{f"{name}_seconds": getattr(counts, name) for name in COUNTS},
            causes=json.dumps({"cpu": counts.violated}),
            usage_mean=float(counts.met),
            usage_min=0.5,
            usage_max=start % 977,
            demand_mean=None if counts.no_demand else 2.0,
        )

    def _store(self, rows: list[Minute], *, oldest: int = 0) -> minutes.Kept:
        keyed = {minutes.key_of(row): row for row in rows}

        def store(session: Session) -> minutes.Kept:
            hosts.lock(session, self.host_id)  # as every report does
            return minutes.keep(session, keyed, oldest=oldest, newest=10**11)

        return self.database.write(store)

    def plain(self, start: int, end: int) -> StatusCounts:
        counts = [counts for begin, counts in self.rows.items() if start <= begin < end]
        unknown = rollup.unknown_seconds(self.stretches, self.rows, start=start, end=end)
        return rollup.add_counts([*counts, StatusCounts(unknown=unknown)])

    def check(self, start: int, end: int) -> None:
        with self.database.reader() as session:
            found = attainment.read(session, self.instance_id, start, end)
            summed = sla_sums.read(session, [self.instance_id, -1], (start, end))
            middle = start + (end - start) // 3
            of_many = attainments.read(session, [self.instance_id, -1], [(start, end), (middle, end)])
        for counted, begin in zip(of_many[self.instance_id], (start, middle), strict=True):
            plain = self.plain(begin, end)
            asked = plain.met + plain.violated + plain.degraded
            assert counted.get(METRIC, Counted()) == Counted(met=plain.met, with_demand=asked), (begin - DAY, end - DAY)
        assert of_many[-1] == [{}, {}]
        assert found.get(METRIC, StatusCounts()) == self.plain(start, end), (start - DAY, end - DAY)
        assert set(found) <= {METRIC}
        assert summed.get((self.instance_id, METRIC), StatusCounts()) == self.plain(start, end), (
            start - DAY,
            end - DAY,
        )


def ledger(cloud: Cloud) -> Ledger:
    cloud.host("host1").report()
    with cloud.database.reader() as session:
        host_id = session.scalar(select(Host.id)) or 0

    def add(session: object) -> int:
        instance = Instance(uuid=uuid(1), host_id=host_id, project_id="p1", name="", state="running", reported_at=NOW)
        session.add(instance)  # type: ignore[attr-defined]
        session.flush()  # type: ignore[attr-defined]
        return instance.id

    return Ledger(cloud.database, cloud.database.write(add), host_id)
