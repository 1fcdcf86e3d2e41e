"""stella-engine as real processes, each in a process group of its own."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import text

from stella.clouds.standalone import NoLedger, Standalone
from stella.db import leases
from stella.db.database import Database
from stella.db.leases import Sighting
from stella.engine.duty import Duty, Work, limits_of
from stella.engine.leader import NAME
from tests.functional.conftest import Cloud

LONGEST_SECONDS = 30.0


def wait_for(what: Callable[[], bool], *, seconds: float = LONGEST_SECONDS) -> float:
    """Poll until ``what`` holds; the seconds it took."""
    began = time.monotonic()
    while not what():
        if time.monotonic() - began > seconds:
            pytest.fail(f"not within {seconds:g} s")
        time.sleep(0.05)
    return time.monotonic() - began


class Process:
    """One engine."""

    def __init__(self, config: Path, name: str) -> None:
        self.log = config.with_name(f"{name}.log")
        command = [sys.executable, "-m", "stella.cmd.stella_engine", "--config-file", str(config)]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)

    def signal(self, number: signal.Signals) -> None:
        """Send it to supervisor and worker."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def said(self, words: str) -> int:
        """How often its log has these words."""
        return self.log.read_text().count(words)

    def wait(self, seconds: float = LONGEST_SECONDS) -> int:
        """Its exit code."""
        return self._process.wait(seconds)

    def terminate(self) -> None:
        """SIGTERM to the supervisor alone, as systemd does."""
        self._process.terminate()

    def end(self) -> None:
        """Whatever it does."""
        self.signal(signal.SIGKILL)
        self._process.wait(LONGEST_SECONDS)


def lease(database: Database) -> Sighting:
    """The lease as it is."""
    with database.reader() as session:
        return leases.read(session, NAME)


def freeze(process: Process, database: Database) -> None:
    """SIGSTOP, at a moment at which it holds no lock of SQLite's file: no other process could write then, whoever leads."""
    for _ in range(50):
        process.signal(signal.SIGSTOP)
        if database.engine.dialect.name != "sqlite":
            return
        with database.engine.connect() as connection:
            connection.exec_driver_sql("ROLLBACK")
            connection.exec_driver_sql("PRAGMA busy_timeout = 50")
            try:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            except Exception:
                process.signal(signal.SIGCONT)
                time.sleep(0.1)
                continue
            else:
                connection.execute(text("ROLLBACK"))
                return
            finally:
                connection.exec_driver_sql("PRAGMA busy_timeout = 10000")
    pytest.fail("it always holds the lock")


def run_duties(cloud: Cloud, duties: Sequence[Duty]) -> None:
    """Run each until it has no more to do, at the time of the test's clock, without a lease."""
    work = Work(
        store=cloud.database, cloud=Standalone(), ledger=NoLedger(), limits=limits_of(cloud.config), clock=cloud.clock
    )
    for duty in duties:
        for _ in range(50):
            if not duty.run(work).more:
                break
        else:
            pytest.fail(f"{duty.name} has always more to do")
