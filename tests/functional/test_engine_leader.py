"""Two engines as real processes: one is killed, or frozen and thawed. STELLA_FROZEN_SECONDS=60 freezes for longer than CI has time."""

import os
import signal
import time
from collections.abc import Iterator

import pytest

from stella.db.models import DecisionRow, Host
from tests.functional.conftest import BOTH_DATABASES, Cloud
from tests.functional.engines import Process, freeze, lease, wait_for

pytestmark = BOTH_DATABASES

LEASE_SECONDS = float(os.environ.get("STELLA_LEASE_SECONDS", "3"))
TAKEOVER_SECONDS = 10.0
FROZEN_SECONDS = float(os.environ.get("STELLA_FROZEN_SECONDS", LEASE_SECONDS + 3))


class Pair:
    """The leader and its stand-by."""

    def __init__(self, cloud: Cloud) -> None:
        path = cloud.config_path
        path.write_text(path.read_text() + f"[engine]\nlease_seconds = {LEASE_SECONDS}\n[link]\nsilent_seconds = 1\n")
        self.path = path
        self.leader = Process(path, "leader")
        wait_for(lambda: lease(cloud.database).holder is not None)
        self.stand_by = Process(path, "standby")
        time.sleep(1.5)  # it looks at the lease once a second

    def end(self) -> None:
        self.leader.end()
        self.stand_by.end()


@pytest.fixture
def pair(cloud: Cloud) -> Iterator[Pair]:
    made = Pair(cloud)
    yield made
    made.end()


def fall_silent(cloud: Cloud, name: str) -> None:
    """A host whose silence a leader will note."""
    cloud.host(name)

    def report(session: object) -> None:
        cloud_host = session.query(Host).filter_by(name=name).one()  # type: ignore[attr-defined]
        cloud_host.reported_at = time.time() - 100

    cloud.database.write(report)


def noted(cloud: Cloud) -> list[int | None]:
    with cloud.database.reader() as session:
        return [row.host_id for row in session.query(DecisionRow).filter_by(kind="host_silent")]


def test_the_stand_by_acts_within_ten_seconds_when_the_leader_is_killed(cloud: Cloud, pair: Pair) -> None:
    fall_silent(cloud, "host1")
    wait_for(lambda: len(noted(cloud)) == 1)
    pair.leader.signal(signal.SIGKILL)
    fall_silent(cloud, "host2")
    assert wait_for(lambda: len(noted(cloud)) == 2) <= TAKEOVER_SECONDS
    assert lease(cloud.database).token == 2
    assert pair.stand_by.said("leads with token 2") == 1


def test_a_leader_that_was_frozen_stands_by_and_has_written_nothing(cloud: Cloud, pair: Pair) -> None:
    began = time.monotonic()
    freeze(pair.leader, cloud.database)
    fall_silent(cloud, "host1")
    assert wait_for(lambda: len(noted(cloud)) == 1) <= TAKEOVER_SECONDS
    time.sleep(max(0.0, FROZEN_SECONDS - (time.monotonic() - began)))
    pair.leader.signal(signal.SIGCONT)
    wait_for(lambda: pair.leader.said("stands by: ") == 1)
    fall_silent(cloud, "host2")
    wait_for(lambda: len(noted(cloud)) == 2)
    wait_for(lambda: pair.leader.said("leads with") == 1, seconds=1)
    assert len(set(noted(cloud))) == 2, "each once"
    assert lease(cloud.database).token == 2


def test_a_leader_that_is_stopped_hands_over_at_once(cloud: Cloud, pair: Pair) -> None:
    began = time.monotonic()
    pair.leader.terminate()
    assert pair.leader.wait() == 0
    assert time.monotonic() - began <= 5
    assert wait_for(lambda: lease(cloud.database).token == 2) <= 2
