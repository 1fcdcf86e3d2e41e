"""One engine among several: it leads or stands by, and writes only while it leads.

`Leader.step` is called by one thread; `Leader.write` by the thread that works. Whether a write counts is decided in its own
transaction, by the token in the database, so nothing here has to be quick or right about time to be safe.
"""

import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from stella.db import leases
from stella.db.database import Conflict, Database, Session, Unreachable
from stella.db.leases import LeaseLost
from stella.engine import lease_law
from stella.engine.lease_law import Watch

_LOG = logging.getLogger(__name__)
NAME = "engine"
T = TypeVar("T")


def new_holder() -> str:
    """A name that no other process has: machine, process, and chance."""
    return f"{socket.gethostname()[:200]}:{os.getpid()}:{secrets.token_hex(4)}"


class Leader:
    """The lease as one process has it. ``monotonic`` gives seconds of this machine, ``clock`` Unix seconds (for people alone)."""

    def __init__(
        self,
        database: Database,
        *,
        holder: str,
        lease_seconds: float,
        monotonic: Callable[[], float] = time.monotonic,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Stand by."""
        self._database = database
        self._holder = holder
        self._lease_seconds = lease_seconds
        self._monotonic = monotonic
        self._clock = clock
        self._lock = threading.Lock()
        self._token: int | None = None
        self._renewal_began = 0.0
        self._watch: Watch | None = None
        self.takeovers = 0
        self.led = threading.Event()

    @property
    def token(self) -> int | None:
        """The token with which this process leads; None while it stands by."""
        with self._lock:
            if self._token is not None and lease_law.is_stale(
                self._renewal_began, self._monotonic(), self._lease_seconds
            ):
                self._stand_by("the lease was not renewed in time")
            return self._token

    def _stand_by(self, reason: str) -> None:
        if self._token is not None:
            _LOG.warning("stands by: %s", reason)
        self._token, self._watch = None, None
        self.led.clear()

    def step(self) -> float:
        """Renew the lease, or look at it and take it where that is allowed; the seconds until the next step. Raises `Unreachable`."""
        token = self.token
        if token is not None:
            self._renew(token)
        else:
            self._look()
        if self._token is not None:
            return lease_law.renew_interval_seconds(self._lease_seconds)
        return lease_law.look_interval_seconds(self._lease_seconds)

    def _renew(self, token: int) -> None:
        began = self._monotonic()
        kept = self._database.write(lambda session: leases.renew(session, NAME, token=token, now=self._clock()))
        with self._lock:
            if self._token != token:
                return
            if kept:
                self._renewal_began = began
            else:
                self._stand_by("another engine took the lease")

    def _look(self) -> None:
        began = self._monotonic()
        with self._database.reader() as session:
            seen = leases.read(session, NAME)
        watch = self._watch = lease_law.look(self._watch, seen, began)
        if not lease_law.may_take(watch, began, self._lease_seconds):
            return
        took = self._database.write(
            lambda session: leases.take(session, NAME, seen, holder=self._holder, now=self._clock())
        )
        if took is None:
            self._watch = None
            return
        with self._lock:
            self._token, self._renewal_began = took, began
            self.takeovers += 1
            self.led.set()
        _LOG.warning("leads with token %d; before it was %s", took, seen.holder or "nobody")

    def release(self) -> None:
        """Stop leading, so that another may begin at once. Raises `Unreachable`."""
        with self._lock:
            token = self._token
            self._stand_by("it was stopped")
        if token is not None:
            self._database.write(lambda session: leases.release(session, NAME, token=token))

    @contextmanager
    def reader(self) -> Iterator[Session]:
        """A session that sees one state and changes nothing. Raises `Unreachable`."""
        with self._database.reader() as session:
            yield session

    def write(self, change: Callable[[Session], T]) -> T:
        """Run ``change`` in a transaction in which nobody else can take the lease.

        Raises `LeaseLost` when this process does not lead, then nothing was changed; `Unreachable`, `stella.db.database.Conflict`, and
        what ``change`` raises.
        """
        token = self.token
        if token is None:
            raise LeaseLost(NAME)

        def fenced(session: Session) -> T:
            leases.require(session, NAME, token=token)
            return change(session)

        try:
            return self._database.write(fenced)
        except LeaseLost:
            with self._lock:
                if self._token == token:
                    self._stand_by("another engine took the lease, a write was refused")
            raise


def keep_stepping(leader: Leader, stop: threading.Event) -> None:
    """Renew or look until ``stop``; a database that is away is waited out."""
    away = False
    while not stop.is_set():
        try:
            pause = leader.step()
            if away:
                _LOG.warning("the database is back")
            away = False
        except (Unreachable, Conflict) as error:
            if not away:
                _LOG.warning("the database is away: %s", error)
            away, pause = True, 0.5
        stop.wait(pause)
