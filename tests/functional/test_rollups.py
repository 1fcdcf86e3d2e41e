"""Roll-ups and attainment: every minute counts once, whatever came when and whatever is rolled up so far."""

import random

import pytest
from sqlalchemy import func, select

from stella.control import rollup
from stella.control.rollup import COUNTS, DAY_SECONDS, HOUR_SECONDS
from stella.db import rollups as db_rollups
from stella.db.models import Minute, RollUp
from stella.db.rollups import total_of
from stella.engine.duties import rollups
from stella.model.report import StatusCounts
from tests.functional.conftest import BOTH_DATABASES, Cloud
from tests.functional.engines import run_duties
from tests.functional.ledger import DAY, ledger

pytestmark = BOTH_DATABASES


def roll(cloud: Cloud, now: float) -> None:
    cloud.clock.now = now
    run_duties(cloud, (rollups.DUTY,))


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


def test_a_day_waits_for_its_last_hour(cloud: Cloud) -> None:
    """A minute that comes between the look for hours and the look for days."""
    book = ledger(cloud)
    book.keep({DAY: StatusCounts(met=60)})
    before = DAY + 2 * DAY_SECONDS
    with cloud.database.reader() as session:
        (hour,) = db_rollups.hours_to_roll(session, before=before, largest=10)
    assert cloud.database.write(lambda session: db_rollups.roll_hours(session, hour)) == 1
    book.keep({DAY + 7 * HOUR_SECONDS: StatusCounts(met=60)})
    with cloud.database.reader() as session:
        (day,) = db_rollups.days_to_roll(session, before=before, largest=10)
    assert cloud.database.write(lambda session: db_rollups.roll_days(session, day)) == 0
    book.check(DAY, before)
    roll(cloud, before + 600.0)
    with cloud.database.reader() as session:
        assert session.scalar(select(func.sum(RollUp.met_seconds)).where(RollUp.span_seconds == DAY_SECONDS)) == 120
