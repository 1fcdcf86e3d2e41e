"""stella-engine killed by SIGKILL under reports: every minute is counted once in the roll-ups, whatever was under way."""

import random
import signal
import time

import pytest
from sqlalchemy import func, select

from stella.control.rollup import DAY_SECONDS, HOUR_SECONDS
from stella.db.models import Minute, RollUp
from tests.functional.conftest import BOTH_DATABASES, Cloud, uuid
from tests.functional.engines import Process, lease, wait_for
from tests.functional.long import choose

_KILLS = choose(short=3, long=20)
_INSTANCES, _MINUTES_OF_A_REPORT = 6, 40


def _sum(cloud: Cloud, what: type[Minute] | type[RollUp], *conditions: object) -> dict[tuple[int, str], int]:
    """Met seconds by instance and metric."""
    query = select(what.instance_id, what.metric, func.sum(what.met_seconds)).group_by(what.instance_id, what.metric)
    with cloud.database.reader() as session:
        return {(row[0], row[1]): int(row[2]) for row in session.execute(query.where(*conditions))}  # type: ignore[arg-type]


@pytest.mark.timeout(900)
@BOTH_DATABASES
def test_every_minute_counts_once(cloud: Cloud) -> None:
    seed = int(time.time())
    print(f"seed {seed}")
    chance = random.Random(seed)
    cloud.clock.now = time.time()
    first = int(cloud.clock.now) // DAY_SECONDS * DAY_SECONDS - 3 * DAY_SECONDS
    host = cloud.host("host1", cpus=8)
    for number in range(_INSTANCES):
        host.add(uuid(number))
    assert host.report().status_code == 200
    told = 0

    def report() -> None:
        """A share of the minutes of two days; some again with more seconds."""
        nonlocal told
        cloud.clock.now = time.time()
        rows = []
        for _ in range(_MINUTES_OF_A_REPORT):
            number = told - chance.choice([0, 0, 0, 30]) if told > 30 else told
            start = first + number * 60 % (2 * DAY_SECONDS) // 60 * 60
            for name in range(_INSTANCES):
                row = {"uuid": uuid(name), "metric": "cpu", "start": start, "counts": {"met": chance.randrange(1, 61)}}
                rows.append(row)
            told += 1
        assert host.report(minutes=rows).status_code == 200

    for kill in range(_KILLS):
        engine = Process(cloud.config_path, f"engine-{kill}")
        before = lease(cloud.database)
        try:
            report()
            wait_for(lambda before=before: lease(cloud.database) != before, seconds=60)  # type: ignore[misc]
            end = time.monotonic() + chance.uniform(0.0, 0.8)
            while time.monotonic() < end:
                report()
        finally:
            engine.end()
        rolled = sum(_sum(cloud, RollUp, RollUp.span_seconds == HOUR_SECONDS).values())
        print(f"kill {kill + 1}: {sum(_sum(cloud, Minute).values())} seconds, {rolled} in hours")
    engine = Process(cloud.config_path, "engine-last")
    try:
        wait_for(lambda: _left(cloud) == 0, seconds=90)
        engine.signal(signal.SIGTERM)
        engine.wait(60)
    finally:
        engine.end()
    minutes = _sum(cloud, Minute)
    assert len(minutes) == _INSTANCES and all(minutes.values())
    assert _sum(cloud, RollUp, RollUp.span_seconds == HOUR_SECONDS) == minutes
    assert _sum(cloud, RollUp, RollUp.span_seconds == DAY_SECONDS) == minutes


def _left(cloud: Cloud) -> int:
    with cloud.database.reader() as session:
        minutes = session.scalar(select(func.count()).where(Minute.is_rolled_up.is_(False))) or 0
        hours = select(func.count()).where(RollUp.span_seconds == HOUR_SECONDS, RollUp.is_rolled_up.is_(False))
        return int(minutes + (session.scalar(hours) or 0))
