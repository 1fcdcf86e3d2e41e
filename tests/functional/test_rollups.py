"""Roll-ups and attainment: every minute counts once, whatever came when and whatever is rolled up so far."""

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
from sqlalchemy import func, select

from stella.clouds.standalone import Standalone
from stella.conf.retention import Retention
from stella.control import rollup
from stella.control.rollup import COUNTS, DAY_SECONDS, HOUR_SECONDS
from stella.db import attainment, minutes
from stella.db.database import Database
from stella.db.models import Host, Instance, Minute, RollUp
from stella.db.rollups import total_of
from stella.engine.duties import rollups
from stella.engine.duty import Limits, Work
from stella.model.report import StatusCounts
from tests.functional.conftest import BOTH_DATABASES, NOW, Cloud, uuid

pytestmark = BOTH_DATABASES

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
        return self.database.write(lambda session: minutes.keep(session, keyed, oldest=oldest, newest=10**11))

    def plain(self, start: int, end: int) -> StatusCounts:
        counts = [counts for begin, counts in self.rows.items() if start <= begin < end]
        unknown = rollup.unknown_seconds(self.stretches, self.rows, start=start, end=end)
        return rollup.add_counts([*counts, StatusCounts(unknown=unknown)])

    def check(self, start: int, end: int) -> None:
        with self.database.reader() as session:
            found = attainment.read(session, self.instance_id, start, end)
        assert found.get(METRIC, StatusCounts()) == self.plain(start, end), (start - DAY, end - DAY)
        assert set(found) <= {METRIC}


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


def roll(cloud: Cloud, now: float) -> None:
    days = DAY_SECONDS * 100_000
    retention = Retention(minute_seconds=days, hour_seconds=days, day_seconds=days, history_seconds=days)
    limits = Limits(host_silent_seconds=60, violation_silent_seconds=60, instance_gone_seconds=60, retention=retention)
    work = Work(store=cloud.database, cloud=Standalone(), limits=limits, clock=lambda: now)
    for _ in range(100):
        if not rollups.run(work).more:
            return
    pytest.fail("it has always more to do")


def random_counts(chance: random.Random) -> StatusCounts:
    left = chance.randrange(1, 61)
    counts = {}
    for name in chance.sample(COUNTS, 3):
        counts[name] = chance.randrange(0, left + 1)
        left -= counts[name]
    return StatusCounts(**counts)


@pytest.mark.parametrize("seed", range(6))
def test_attainment_is_the_plain_sum_of_minutes_however_they_came_and_were_rolled_up(cloud: Cloud, seed: int) -> None:
    chance = random.Random(seed)
    book, now = ledger(cloud), DAY
    for _ in range(25):
        now += chance.randrange(0, 5 * HOUR_SECONDS)
        match chance.randrange(4):
            case 0 | 1:
                late = now - chance.choice([0, 0, HOUR_SECONDS, DAY_SECONDS]) - 3600
                starts = [late // 60 * 60 + 60 * chance.randrange(0, 90) for _ in range(chance.randrange(1, 60))]
                book.keep({start: random_counts(chance) for start in starts})
            case 2:
                span = 60 * chance.randrange(2, 300)
                start = (now - chance.randrange(0, 2 * DAY_SECONDS)) // 60 * 60
                book.lose(rollup.Stretch(start=start, span_seconds=span, unknown_seconds=span))
            case 3:
                roll(cloud, now)
        for _ in range(3):
            start = DAY + chance.randrange(-2 * DAY_SECONDS, 5 * DAY_SECONDS)
            book.check(start, start + chance.randrange(0, 4 * DAY_SECONDS))
    roll(cloud, now + 2 * DAY_SECONDS)
    with cloud.database.reader() as session:
        left = session.scalar(select(func.count()).where(Minute.is_rolled_up.is_(False)))
        days = session.scalars(select(RollUp.start).where(RollUp.span_seconds == DAY_SECONDS)).all()
        summed = session.scalar(select(func.sum(RollUp.met_seconds)).where(RollUp.span_seconds == DAY_SECONDS))
    assert left == 0 and days
    assert summed == book.plain(DAY - 10 * DAY_SECONDS, DAY + 20 * DAY_SECONDS).met
    for hour in range(-30, 60, 7):
        book.check(DAY + hour * HOUR_SECONDS, DAY + (hour + 11) * HOUR_SECONDS)
    book.check(DAY - 10 * DAY_SECONDS, DAY + 20 * DAY_SECONDS)


def test_an_hour_is_the_weighted_mean_of_its_minutes(cloud: Cloud) -> None:
    book = ledger(cloud)
    book.keep({DAY: StatusCounts(met=60), DAY + 60: StatusCounts(met=10, unknown=50)})
    book.keep({DAY + 120: StatusCounts(violated=20, no_demand=40)})
    book.lose(rollup.Stretch(start=DAY + 60, span_seconds=240, unknown_seconds=240))
    roll(cloud, DAY + HOUR_SECONDS + 300)
    with cloud.database.reader() as session:
        (row,) = session.scalars(select(RollUp)).all()
        total = total_of(row)
    assert (row.span_seconds, row.start) == (HOUR_SECONDS, DAY)
    assert total.counts == StatusCounts(met=70, violated=20, no_demand=40, unknown=50 + 120)
    assert total.causes == {"cpu": 20, "sensor": 120}
    assert total.usage.seconds == 60 + 10 + 60
    assert total.usage.mean == pytest.approx((60 * 60 + 10 * 10 + 0) / 130)
    assert (total.usage.least, total.demand.seconds, total.demand.mean) == (0.5, 70, 2.0)


def test_the_hour_under_way_waits_until_it_has_ended_and_settled(cloud: Cloud) -> None:
    book = ledger(cloud)
    book.keep({DAY + 60 * minute: StatusCounts(met=60) for minute in range(90)})
    for now, hours in ((DAY + 3600, 0), (DAY + 3600 + rollups.SETTLE_SECONDS, 1), (DAY + 3 * 3600, 2)):
        roll(cloud, now)
        with cloud.database.reader() as session:
            assert session.scalar(select(func.count()).select_from(RollUp)) == hours


def test_a_late_minute_forgets_its_hour_and_its_day_at_once(cloud: Cloud) -> None:
    book = ledger(cloud)
    book.keep({DAY + 60 * minute: StatusCounts(met=60) for minute in range(200)})
    roll(cloud, DAY + 2 * DAY_SECONDS)
    with cloud.database.reader() as session:
        assert sorted(session.scalars(select(RollUp.span_seconds))) == [3600, 3600, 3600, 3600, 86400]
    late = {DAY + 5 * HOUR_SECONDS: StatusCounts(violated=7), DAY + 60: StatusCounts(met=60)}
    assert book.keep(late).stored == 1, "the second is known"
    with cloud.database.reader() as session:
        assert sorted(session.scalars(select(RollUp.span_seconds))) == [3600] * 4, (
            "no hour of it there was, the day goes"
        )
    book.check(DAY, DAY + DAY_SECONDS)
    roll(cloud, DAY + 2 * DAY_SECONDS)
    book.check(DAY, DAY + DAY_SECONDS)


def test_minutes_older_than_kept_are_not_stored(cloud: Cloud) -> None:
    book = ledger(cloud)
    kept = book.keep({DAY: StatusCounts(met=60), DAY + 60: StatusCounts(met=60)}, oldest=DAY + 60)
    assert kept.stored == 1
    ((key, reason),) = kept.ignored
    assert key[2] == DAY and "older" in reason
