"""The engine's process: connect, lead or stand by, run the duties, end within seconds."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import cotyledon
from oslo_config import cfg
from oslo_log import log

from stella import conf
from stella.db import leases, migrations
from stella.db.database import Database, Unreachable
from stella.db.leases import LeaseLost
from stella.engine import lease_law, metrics, runner, surroundings
from stella.engine.duty import Work, limits_of
from stella.engine.leader import Leader, keep_stepping, new_holder
from stella.engine.metrics import Metrics
from stella.engine.surroundings import Surroundings

_LOG = logging.getLogger(__name__)
STOP_SECONDS = 4
_RETRY_SECONDS = 1.0


class WrongVersion(Exception):
    """The database is of another release; the message says what to run."""


def connect(config: cfg.ConfigOpts) -> Database:
    """The database, whose version is right. Raises `Unreachable` and `WrongVersion`."""
    database = Database(config.database.connection, connect_retries=0)
    try:
        current, newest = migrations.current(database), migrations.newest(database)
    except Exception as error:
        database.close()
        raise Unreachable(" ".join(str(error).split())[:300]) from error
    if current != newest:
        database.close()
        raise WrongVersion(f"the database has version {current or 'none'}; run stella-manage db sync")
    leases.bound_transactions(database, idle_seconds=int(config.engine.lease_seconds / 2))
    return database


def _work(config: cfg.ConfigOpts, leader: Leader, found: Surroundings) -> Work:
    return Work(store=leader, cloud=found.cloud, ledger=found.ledger, limits=limits_of(config), clock=time.time)


class Engine:
    """One engine: `run` until `stop`."""

    def __init__(self, config: cfg.ConfigOpts, measured: Metrics) -> None:
        """Nothing is opened yet."""
        self._config = config
        self._metrics = measured
        self._stop = threading.Event()
        self._ended = threading.Event()
        self._ended.set()

    def run(self) -> None:
        """Lead or stand by, until stopped."""
        self._ended.clear()
        try:
            database = self._connect()
            if database is not None:
                self._serve(database)
        finally:
            self._ended.set()

    def _connect(self) -> Database | None:
        """Wait for the database; None when stopped meanwhile."""
        said = ""
        while not self._stop.is_set():
            try:
                return connect(self._config)
            except (Unreachable, WrongVersion) as error:
                if str(error) != said:
                    said = str(error)
                    _LOG.warning("waits: %s", said)
            self._stop.wait(_RETRY_SECONDS)
        return None

    def _serve(self, database: Database) -> None:
        seconds = self._config.engine.lease_seconds
        found = surroundings.find(self._config)
        leader = Leader(database, holder=new_holder(), lease_seconds=seconds)
        stepping = threading.Thread(target=keep_stepping, args=(leader, self._stop), name="lease", daemon=True)
        stepping.start()
        work = _work(self._config, leader, found)
        runner.run_while_leading(found.duties, work, leader, self._metrics, self._stop, companions=found.companions)
        stepping.join(STOP_SECONDS)
        try:
            leader.release()
        except Unreachable as error:
            _LOG.warning("the lease was not released: %s", error)
        database.close()

    def stop(self) -> None:
        """End the run; returns when it has ended, or after `STOP_SECONDS`."""
        self._stop.set()
        self._ended.wait(STOP_SECONDS)


class _Worker(cotyledon.Service):
    """cotyledon's view of an engine: the process that it starts, stops, and starts again when it dies."""

    name = "engine"

    def __init__(self, worker_id: Any, files: Sequence[str] | None) -> None:
        """Read the configuration in the worker, so that a reload does."""
        super().__init__(worker_id)
        config = conf.load(files)
        log.setup(config, "stella")
        measured = Metrics()
        if config.engine.metrics_bind:
            try:
                metrics.serve(measured, config.engine.metrics_bind)
            except metrics.InvalidAddress as error:  # figures are not worth the work itself
                _LOG.error("no metrics: %s", error)
        self._engine = Engine(config, measured)

    def run(self) -> None:
        """Work."""
        self._engine.run()

    def terminate(self) -> None:
        """End."""
        self._engine.stop()


def serve(files: Sequence[str] | None) -> None:
    """Supervise one worker until SIGTERM, then exit with 0."""
    supervisor = cotyledon.ServiceManager(graceful_shutdown_timeout=STOP_SECONDS)
    supervisor.add(_Worker, args=(files,))
    supervisor.run()


def once(config: cfg.ConfigOpts, *, sleep: Callable[[float], None] = time.sleep) -> bool:
    """Take the lease, run every duty until it has no more to do, and release it; False when a duty failed.

    Raises `Unreachable`, `WrongVersion`, `stella.conf.InvalidConfig`, and `LeaseLost` when another engine leads.
    """
    found = surroundings.find(config)
    database = connect(config)
    try:
        seconds = config.engine.lease_seconds
        leader = Leader(database, holder=new_holder(), lease_seconds=seconds)
        end = time.monotonic() + seconds + 2 * lease_law.look_interval_seconds(seconds)
        while True:
            pause = leader.step()
            if leader.token is not None:
                break
            if time.monotonic() > end:
                raise LeaseLost("another engine leads")
            sleep(pause)
        stop = threading.Event()
        stepping = threading.Thread(target=keep_stepping, args=(leader, stop), name="lease", daemon=True)
        stepping.start()
        try:
            return runner.run_all(found.duties, _work(config, leader, found), Metrics())
        finally:
            stop.set()
            stepping.join(STOP_SECONDS)
            leader.release()
    finally:
        database.close()
