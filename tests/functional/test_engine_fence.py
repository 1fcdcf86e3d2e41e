"""The fence on both databases: what one who led before still has under way changes nothing."""

import time
from dataclasses import dataclass

import pytest
from sqlalchemy.orm import Session

from stella.db import decisions, leases
from stella.db.database import Database, Unreachable
from stella.db.leases import LeaseLost
from stella.db.models import DecisionRow
from stella.db.slos import system_origin
from stella.engine.leader import Leader
from tests.functional.conftest import BOTH_DATABASES, Cloud

LEASE = 6.0


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


def note(session: Session) -> None:
    decisions.record(session, decisions.HOST_SILENT, origin=system_origin(1.0), reason="x")


def written(cloud: Cloud) -> int:
    with cloud.database.reader() as session:
        return session.query(DecisionRow).count()


@BOTH_DATABASES
def test_a_leader_whose_clock_stood_still_writes_nothing(cloud: Cloud) -> None:
    here, there = Clock(), Clock(-5e5)
    one = Leader(cloud.database, holder="one", lease_seconds=LEASE, monotonic=here, clock=here)
    other = Leader(cloud.database, holder="other", lease_seconds=LEASE, monotonic=there, clock=there)
    one.step()
    one.write(note)
    other.step()
    there.now += LEASE
    other.step()
    assert (one.token, other.token) == (1, 2)
    with pytest.raises(LeaseLost):
        one.write(note)
    assert written(cloud) == 1 and one.token is None


@pytest.mark.parametrize("cloud", ["mariadb"], indirect=True)
def test_a_transaction_of_a_frozen_leader_is_ended_by_the_server(cloud: Cloud) -> None:
    """Frozen between two statements it holds the lock of the lease: without the bound nobody could take it for as long."""
    url = cloud.database.engine.url.render_as_string(hide_password=False)
    own = Database(url, connect_retries=0)
    leases.bound_transactions(own, idle_seconds=1)
    here, there = Clock(), Clock()
    one = Leader(own, holder="one", lease_seconds=LEASE, monotonic=here, clock=here)
    other = Leader(cloud.database, holder="other", lease_seconds=LEASE, monotonic=there, clock=there)
    one.step()
    other.step()
    there.now += LEASE

    def frozen(session: Session) -> None:
        note(session)
        session.flush()
        time.sleep(2.5)
        other.step()
        assert other.token == 2, "the server ended the transaction, and with it the lock"

    with pytest.raises(Unreachable):
        one.write(frozen)
    assert written(cloud) == 0
    with pytest.raises(LeaseLost):
        one.write(note)
    other.write(note)
    assert written(cloud) == 1
    own.close()
