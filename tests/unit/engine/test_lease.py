"""The lease: its law with fake clocks, and the fence on a database."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stella.db import decisions, leases, migrations
from stella.db.database import Database, Session
from stella.db.leases import LeaseLost, Sighting
from stella.db.models import DecisionRow
from stella.db.slos import system_origin
from stella.engine import lease_law
from stella.engine.leader import NAME, Leader

LEASE = 6.0


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database(f"sqlite:///{tmp_path}/stella.sqlite", connect_retries=0)
    migrations.sync(made)
    yield made
    made.close()


def engine(database: Database, name: str, clock: Clock) -> Leader:
    return Leader(database, holder=name, lease_seconds=LEASE, monotonic=clock, clock=clock)


def note(session: Session) -> None:
    decisions.record(session, decisions.HOST_SILENT, origin=system_origin(1.0), reason="x")


def written(database: Database) -> int:
    with database.reader() as session:
        return session.query(DecisionRow).count()


def test_a_free_lease_is_taken_at_once_and_a_released_one_too(database: Database) -> None:
    one, other = engine(database, "one", Clock(1.0)), engine(database, "other", Clock(5e6))
    one.step()
    other.step()
    assert (one.token, other.token) == (1, None)
    one.release()
    other.step()
    assert (one.token, other.token) == (None, 2)


def test_a_lease_that_moves_is_never_taken(database: Database) -> None:
    here, there = Clock(1.0), Clock(-7e8)
    one, other = engine(database, "one", here), engine(database, "other", there)
    one.step()
    for _ in range(20):
        here.now += 2.0
        there.now += 2.0
        one.step()
        other.step()
        assert one.token == 1 and other.token is None


def test_the_lease_of_a_dead_leader_is_taken_within_ten_seconds(database: Database) -> None:
    there = Clock(50.0)
    engine(database, "one", Clock()).step()
    other = engine(database, "other", there)
    waited = 0.0
    while other.token is None:
        pause = other.step()
        if other.token is None:
            there.now += pause
            waited += pause
    assert LEASE <= waited <= LEASE + 1.0
    assert other.token == 2


def test_a_stand_by_that_was_frozen_looks_again_before_it_takes(database: Database) -> None:
    here, there = Clock(), Clock()
    one, other = engine(database, "one", here), engine(database, "other", there)
    one.step()
    other.step()
    here.now += 2.0
    one.step()
    there.now += 60.0
    other.step()
    assert other.token is None and one.token == 1


def test_a_leader_that_was_frozen_writes_nothing(database: Database) -> None:
    here, there = Clock(), Clock()
    one, other = engine(database, "one", here), engine(database, "other", there)
    one.step()
    one.write(note)
    assert written(database) == 1
    other.step()
    there.now += LEASE
    other.step()
    assert other.token == 2
    # its own clock stood still with it, as that of a paused virtual machine does: it believes to lead, and the fence refuses
    assert one.token == 1
    with pytest.raises(LeaseLost):
        one.write(note)
    assert written(database) == 1 and one.token is None
    other.write(note)
    one.step()
    assert one.token is None and other.token == 2


def test_a_leader_that_cannot_renew_stops_leading_by_its_own_clock(database: Database) -> None:
    clock = Clock()
    one = engine(database, "one", clock)
    one.step()
    clock.now += LEASE - 0.1
    assert one.token == 1
    clock.now += 0.1
    assert one.token is None
    with pytest.raises(LeaseLost):
        one.write(note)


def test_a_renewal_after_a_takeover_does_not_count(database: Database) -> None:
    one = engine(database, "one", Clock())
    one.step()
    with database.reader() as session:
        seen = leases.read(session, NAME)
    assert database.write(lambda session: leases.take(session, NAME, seen, holder="other", now=1.0)) == 2
    assert database.write(lambda session: leases.take(session, NAME, seen, holder="third", now=1.0)) is None
    one.step()
    assert one.token is None
    with database.reader() as session:
        assert leases.read(session, NAME) == Sighting(holder="other", token=2, renewal=0)


def test_a_release_does_not_end_the_lease_of_the_next(database: Database) -> None:
    one, there = engine(database, "one", Clock()), Clock()
    one.step()
    other = engine(database, "other", there)
    other.step()
    there.now += LEASE
    other.step()
    one.release()
    other.step()
    assert other.token == 2


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["first", "second"]), st.floats(0.0, 9.0), st.booleans()), min_size=1, max_size=60
    )
)
def test_two_never_hold_the_same_token_and_nobody_takes_a_lease_that_moved(
    steps: list[tuple[str, float, bool]],
) -> None:
    """Any interleaving of two processes, of which either may be away for any time, on the law alone."""
    clocks = {"first": 0.0, "second": 1e6}
    watches: dict[str, lease_law.Watch | None] = {"first": None, "second": None}
    tokens = {"first": 0, "second": 0}
    lease = Sighting(holder=None, token=0, renewal=0)
    moved_at, now = 0.0, 0.0
    for name, away, renews in steps:
        now += away
        clocks = {who: clock + away for who, clock in clocks.items()}
        if tokens[name] == lease.token and lease.holder == name:
            if renews:
                lease = Sighting(holder=name, token=lease.token, renewal=lease.renewal + 1)
                moved_at = now
            continue
        watch = watches[name] = lease_law.look(watches[name], lease, clocks[name])
        if lease_law.may_take(watch, clocks[name], LEASE):
            assert lease.holder is None or now - moved_at >= LEASE - 1e-6
            lease = Sighting(holder=name, token=lease.token + 1, renewal=0)
            tokens[name], moved_at = lease.token, now
    assert tokens["first"] != tokens["second"] or lease.token == 0
