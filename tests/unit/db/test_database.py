"""Readers and writers on SQLite: in threads and in processes of their own."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from stella.db import hosts, migrations
from stella.db.database import Conflict, Database, Session, Unreachable
from stella.db.models import Host
from stella.db.paging import Page

_WRITER = """
import sys
from stella.db import hosts
from stella.db.database import Database
url, first = sys.argv[1], int(sys.argv[2])
database = Database(url)
for number in range(first, first + 15):
    database.write(lambda session: hosts.enroll(session, f"host{number}", mode="observe", now=0.0))
"""


@pytest.fixture
def url(tmp_path: Path) -> str:
    found = f"sqlite:///{tmp_path}/stella.sqlite"
    database = Database(found)
    migrations.sync(database)
    database.close()
    return found


def test_writers_in_several_processes_wait_for_one_another(url: str) -> None:
    started = [subprocess.Popen([sys.executable, "-c", _WRITER, url, str(n * 100)]) for n in range(3)]
    assert [process.wait(60) for process in started] == [0, 0, 0]
    with Database(url).reader() as session:
        assert len(hosts.page(session, Page(limit=1000, marker=None, key="name"))) == 45


def test_a_writer_that_reads_first_is_not_overtaken(url: str) -> None:
    database = Database(url)
    database.write(lambda session: hosts.enroll(session, "host1", mode="observe", now=0.0))

    def count_on(_: int) -> None:
        def change(session: Session) -> None:
            host = hosts.find(session, "host1")
            assert host is not None
            host.generation += 1

        database.write(change)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(count_on, range(40)))
    with database.reader() as session:
        host = hosts.find(session, "host1")
        assert host is not None and host.generation == 41


def test_a_writer_that_fails_leaves_nothing(url: str) -> None:
    database = Database(url)

    def change(session: Session) -> None:
        hosts.enroll(session, "host1", mode="observe", now=0.0)
        session.flush()
        raise LookupError

    with pytest.raises(LookupError):
        database.write(change)
    with database.reader() as session:
        assert hosts.find(session, "host1") is None


def test_the_same_row_twice_is_tried_again_and_then_a_conflict(url: str) -> None:
    database, waits = Database(url), list[float]()

    def duplicate(session: Session) -> None:
        session.add(Host(name="host1", credential_sha256=None, mode="observe", enrolled_at=0.0))

    database.write(lambda session: hosts.enroll(session, "host1", mode="observe", now=0.0))
    with pytest.raises(Conflict):
        database.write(duplicate, sleep=waits.append)
    assert len(waits) == 10


def test_what_cannot_be_opened_is_unreachable(tmp_path: Path) -> None:
    with pytest.raises(Unreachable):
        Database(f"sqlite:///{tmp_path}/no/such/stella.sqlite", connect_retries=0)
