"""What runs while a figure is measured: a database filled with a fleet, one stella-api on it, and the tokens to ask it with."""

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from stella.bench.progress import Progress
from stella.bench.scale import filling
from stella.bench.scale.fleet import EmulatedHost, Fleet, Guest
from stella.bench.scale.mariadb import BUFFER_POOL, MariaDb
from stella.bench.scale.processes import Cores
from stella.bench.scale.service import Service
from stella.db.database import Database

WITH_HISTORY = 200
"""So many instances with an SLO have minutes, hours and days: those that users read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cloud:
    """``database`` is None on SQLite, which runs inside the API's process."""

    directory: Path
    cores: Cores
    fleet: Fleet
    hosts: tuple[EmulatedHost, ...]
    service: Service
    database: MariaDb | None
    _tokens: dict[str, str] = field(default_factory=dict)

    def token_of(self, guest: Guest) -> str:
        """The token of a member of its project, made when it is first asked for."""
        if guest.project not in self._tokens:
            self._tokens[guest.project] = self.service.member(guest.project)
        return self._tokens[guest.project]

    @property
    def port(self) -> int:
        """The API's."""
        return self.service.port

    def cpu_seconds(self) -> float:
        """CPU time that the API and its database took so far."""
        return self.service.process.cpu_seconds + self.database_cpu_seconds()

    def database_cpu_seconds(self) -> float:
        """The database's part of it."""
        return self.database.process.cpu_seconds if self.database else 0.0

    def read_guests(self) -> list[Guest]:
        """Instances that users read: they have a history."""
        return [guest for host in self.hosts for guest in host.guests if guest.terms][:WITH_HISTORY]

    def facts(self) -> dict[str, str]:
        """What runs where."""
        return facts(self.database, self.cores)


def facts(database: MariaDb | None, cores: Cores) -> dict[str, str]:
    """What runs where."""
    if database is None:
        named, what = "SQLite", "stella-api with SQLite"
    else:
        named = f"{database.version()}, buffer pool {BUFFER_POOL}, each commit synced"
        what = "stella-api and MariaDB together"
    apart = f"{what} on CPU {listed(cores.measured)}, generator on CPU {listed(cores.asking)}"
    niceness = os.getpriority(os.PRIO_PROCESS, 0)
    return {"cores": apart, "database": named} | ({"niceness": f"{niceness}"} if niceness else {})


def listed(cores: frozenset[int]) -> str:
    """CPU numbers for people."""
    return ",".join(str(core) for core in sorted(cores))


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A stella-api and its database; ``database`` is None on SQLite, which runs inside the API's process."""

    service: Service
    database: MariaDb | None
    url: str


@contextlib.contextmanager
def serving(
    directory: Path, cores: Cores, progress: Progress, *, sqlite: bool, fill: Callable[[Database], None]
) -> Iterator[Served]:
    """Start a database, fill it, start stella-api; this process keeps to the other cores until the block ends.

    Raises `NotStarted`.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        database: MariaDb | None = None
        url = f"sqlite:///{directory}/stella.sqlite"
        if not sqlite:
            progress.step("starting MariaDB")
            database = MariaDb(directory / "mariadb", cores=cores.measured)
            stack.callback(database.process.stop)
            url = database.create("stella")
        filled = Database(url)
        try:
            fill(filled)
        finally:
            filled.close()
        progress.step("starting stella-api")
        service = Service(directory / "api", url, cores=cores.measured)
        stack.callback(service.stop)
        os.sched_setaffinity(0, cores.asking)
        stack.callback(os.sched_setaffinity, 0, cores.measured | cores.asking)
        yield Served(service=service, database=database, url=url)


@contextlib.contextmanager
def running(
    directory: Path, fleet: Fleet, cores: Cores, progress: Progress, *, sqlite: bool = False
) -> Iterator[Cloud]:
    """`serving` a database that is filled with ``fleet``."""

    def fill(database: Database) -> None:
        progress.step(f"filling the database with {fleet.hosts} hosts and {fleet.instances} instances")
        filling.fill(database, fleet, with_history_of=WITH_HISTORY)

    with serving(directory, cores, progress, sqlite=sqlite, fill=fill) as served:
        hosts = tuple(fleet)
        yield Cloud(
            directory=directory,
            cores=cores,
            fleet=fleet,
            hosts=hosts,
            service=served.service,
            database=served.database,
        )
