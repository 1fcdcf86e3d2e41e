"""One way to the database, whichever it is: SQLite for one host or a test, MariaDB for clouds.

A `Database` is made once and passed in. Readers see one consistent state; writers are serial on SQLite (``BEGIN IMMEDIATE``, so
that two that read first cannot dead-lock when they write) and row-locked on MariaDB. Whatever must not be decided on old data is
guarded by a generation in the ``WHERE`` of its update, never by a lock across requests.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TypeVar, cast

from oslo_db import exception
from oslo_db.sqlalchemy import engines
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.pool.base import ResetStyle

__all__ = ["Conflict", "Database", "Session", "Unreachable"]

T = TypeVar("T")

BUSY_TIMEOUT_SECONDS = 10.0
_ATTEMPTS = 10
_WRITES = "stella_writes"
_KEPT_CONNECTIONS = 64
"""No fewer than threads: a connection beyond these is closed after each use. Opened only when needed."""


class Unreachable(Exception):
    """The database cannot be reached or did not answer in time; nothing was changed."""


class Conflict(Exception):
    """Others changed the same rows each time it was tried; nothing was changed."""


def _prepare_sqlite(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def pragmas(connection: object, _record: object) -> None:
        cursor = connection.cursor()  # type: ignore[attr-defined]  # a DBAPI connection, which has no type
        cursor.execute(f"PRAGMA busy_timeout = {int(BUSY_TIMEOUT_SECONDS * 1000)}")
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    # oslo.db always begins a deferred transaction; a writer that first reads and then writes would fail at once ("database is locked")
    for deferred in list(engine.dispatch.begin):
        event.remove(engine, "begin", deferred)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get(_WRITES)
        connection.execute(text("BEGIN IMMEDIATE" if writes else "BEGIN"))


class Database:
    """Sessions on one database. ``url`` is SQLAlchemy's, such as ``sqlite:////var/lib/stella/stella.sqlite``."""

    def __init__(self, url: str, *, connect_retries: int = 10) -> None:
        """Connect, trying again each second. Raises `Unreachable`."""
        try:
            self.engine: Engine = engines.create_engine(
                url,
                connection_recycle_time=3600,
                max_pool_size=_KEPT_CONNECTIONS,
                thread_checkin=False,  # it would sleep(0) each time, for the sake of eventlet
                max_retries=connect_retries,
                retry_interval=1,
            )
            sqlite = self.engine.dialect.name == "sqlite"
            if sqlite:
                _prepare_sqlite(self.engine)
            # a session ends its transaction itself; the pool's own ROLLBACK would be a second round trip, for nothing
            self.engine.pool._reset_on_return = ResetStyle.reset_none
            # while one connection is open the others need not make and remove the log of SQLite's writes each time
            self._kept_open = self.engine.connect() if sqlite else None
        except (exception.DBError, SQLAlchemyError, OSError) as error:
            raise Unreachable(" ".join(str(error).split())[:300]) from error
        # SQLite has one writer, and those that wait for it sleep in growing steps: inside this process they queue instead
        self._one_writer: AbstractContextManager[object] = threading.Lock() if sqlite else nullcontext()
        self._readers = sessionmaker(self.engine, expire_on_commit=False)
        self._writers = sessionmaker(
            self.engine.execution_options(**{_WRITES: True}),
            expire_on_commit=False,
        )

    @contextmanager
    def reader(self) -> Iterator[Session]:
        """A session that sees one state and changes nothing. Raises `Unreachable`."""
        try:
            with self._readers() as session:
                yield session
        except exception.DBConnectionError as error:
            raise Unreachable(str(error.__cause__ or error)) from error

    @contextmanager
    def writer(self) -> Iterator[Session]:
        """A session whose changes are kept when the block ends, and forgotten when it raises.

        Raises `Unreachable`, also when SQLite's one writer is busy for longer than `BUSY_TIMEOUT_SECONDS`.
        """
        try:
            with self._one_writer, self._writers.begin() as session:
                yield session
        except (exception.DBConnectionError, OperationalError) as error:
            raise Unreachable(str(error.__cause__ or error)) from error

    def write(self, change: Callable[[Session], T], *, sleep: Callable[[float], None] = time.sleep) -> T:
        """Run ``change`` in a writer, again when others changed the same rows at the same time.

        Raises `Unreachable`, `Conflict` when it never came through, and what ``change`` raises.
        """
        for attempt in range(_ATTEMPTS):
            try:
                with self.writer() as session:
                    return change(session)
            except (exception.DBDeadlock, exception.DBDuplicateEntry):
                sleep(0.005 * (attempt + 1))
        raise Conflict(f"was changed by others {_ATTEMPTS} times in a row; try again")

    def close(self) -> None:
        """Close every connection that is not in use."""
        if self._kept_open is not None:
            self._kept_open.close()
        self.engine.dispose()

    def ping(self) -> None:
        """Ask the database for an answer. Raises `Unreachable`."""
        try:
            with self.reader() as session:
                session.execute(text("SELECT 1"))
        except exception.DBError as error:
            raise Unreachable(str(error)) from error


def changed_rows(result: object) -> int:
    """How many rows an UPDATE or DELETE changed."""
    return cast(int, result.rowcount)  # type: ignore[attr-defined]  # SQLAlchemy's CursorResult, typed as Result by Session.execute
