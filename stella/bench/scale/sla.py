"""``stella-bench scale sla``: what a month costs: closing it, rolling up what comes in meanwhile, and a report of it.

Classes of several sizes stand in one database and are closed one after the other by the engine's own duty, on the one core that it
shares with MariaDB. A month of more instances than the largest class is not filled: it is extrapolated, and said so.
"""

import http.client
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stella import conf
from stella.bench.progress import Progress
from stella.bench.scale import results, sla_filling
from stella.bench.scale.cloud import Served, facts, serving
from stella.bench.scale.processes import Cores, divide_cores
from stella.bench.scale.results import Must, Outcome
from stella.bench.scale.sla_filling import METRICS, Class
from stella.bench.scale.timings import spread
from stella.clouds.standalone import NoLedger, Standalone
from stella.control.rollup import DAY_SECONDS, HOUR_SECONDS, floor_to
from stella.db import sla_rows, slas
from stella.db.database import Database
from stella.engine.duties import rollups as rollup_duty
from stella.engine.duties import slas as sla_duty
from stella.engine.duty import Duty, Work, limits_of
from stella.model.report import MINUTE_SECONDS
from stella.sla import periods
from stella.sla.periods import SETTLE_SECONDS, Period

MONTH_INSTANCES, LARGEST_MONTH_SECONDS = 200_000, 600.0
REPORTED_INSTANCES, LARGEST_REPORT_SECONDS = 1000, 2.0
LARGEST_PACE_RATIO = 1.25
ZONE = "Asia/Seoul"
"""Nine hours from UTC: days of the month are not those of the roll-ups, so that hours count at both ends."""

_ASKED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What is asked of the run: sizes of classes in instances, rising."""

    sizes: Sequence[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Took:
    """What so many instances took, in seconds: on the clock, and of CPU by engine and database together."""

    instances: int
    seconds: float
    cpu_seconds: float


def run(options: Options, directory: Path, progress: Progress) -> Outcome:
    """Fill, close, report, roll up. Raises `NotStarted`."""
    cores, zone, now = divide_cores(), periods.zone(ZONE), time.time()
    present = periods.month_at(now, zone)
    past = periods.month_at(present.start - 1, zone)
    found = sla_filling.classes(options.sizes, reported=REPORTED_INSTANCES)
    until = floor_to(MINUTE_SECONDS, int(now)) - MINUTE_SECONDS
    rows = 0

    def fill(database: Database) -> None:
        nonlocal rows
        progress.step("hosts, instances and classes")
        sla_filling.prepare(database, found, zone=ZONE, since=past.start, now=now)
        for one in found:
            rows += sla_filling.fill(database, one, (past.start, past.end), step=progress.step)
        rows += sla_filling.fill(database, found[-1], (present.start, until), step=progress.step)
        with database.engine.connect() as connection:
            connection.exec_driver_sql("ANALYZE TABLE instances, minutes, rollups, sla_attachments")
            connection.commit()

    with serving(directory, cores, progress, sqlite=False, fill=fill) as served:
        database = Database(served.url)
        try:
            with _measured(served, cores) as clock:
                closed, exact = _close(served, database, found, past, clock, progress)
            reports = _reports(served, found[-1], past, present, progress)
            with _measured(served, cores) as clock:
                rolled = _roll_up(served, database, found[0], past, clock, progress)
        finally:
            database.close()
        told = facts(served.database, cores)
    return _outcome(options, found, closed=closed, exact=exact, reports=reports, rolled=rolled, rows=rows, told=told)


Clock = Callable[[], tuple[float, float]]
"""Seconds on the clock, and of CPU by this process and the database."""


@contextmanager
def _measured(served: Served, cores: Cores) -> Iterator[Clock]:
    """This process is on the core that the database has, until the block ends."""

    def read() -> tuple[float, float]:
        database = served.database.process.cpu_seconds if served.database else 0.0
        return time.monotonic(), time.process_time() + database

    os.sched_setaffinity(0, cores.measured)
    try:
        yield read
    finally:
        os.sched_setaffinity(0, cores.asking)


def _took(instances: int, before: tuple[float, float], after: tuple[float, float]) -> Took:
    return Took(instances=instances, seconds=after[0] - before[0], cpu_seconds=after[1] - before[1])


def _work(served: Served, database: Database, now: float) -> Work:
    config = conf.load([str(served.service.config_file)])
    return Work(store=database, cloud=Standalone(), ledger=NoLedger(), limits=limits_of(config), clock=lambda: now)


def _until_done(duty: Duty, work: Work, stop: Callable[[], bool] = lambda: False) -> None:
    while duty.run(work).more and not stop():
        pass


def _close(
    served: Served, database: Database, found: Sequence[Class], past: Period, clock: Clock, progress: Progress
) -> tuple[list[Took], bool]:
    """Each class closed by the engine's duty; what it took, and whether the sums are those that were filled."""
    work = _work(served, database, float(past.end + SETTLE_SECONDS))
    took: list[Took] = []
    exact = True
    for one in found:
        progress.step(f"closing {past.name} of {one.instances} instances")

        def is_closed(uuid: str = one.uuid) -> bool:
            with database.reader() as session:
                row = slas.find(session, uuid)
                return row is not None and sla_rows.closed_at(session, row.id, past.name) is not None

        before = clock()
        _until_done(sla_duty.DUTY, work, is_closed)
        took.append(_took(one.instances, before, clock()))
        with database.reader() as session:
            row = slas.find(session, one.uuid)
            stored = sla_rows.stored(session, row.id, past.name) if row is not None else []
        missed = sum(each.counts.violated for each in stored)
        exact = (
            exact and len(stored) == one.instances * len(METRICS) and missed == sla_filling.missed_seconds(one, past)
        )
    return took, exact


def _reports(
    served: Served, one: Class, past: Period, present: Period, progress: Progress
) -> Mapping[str, tuple[list[float], int]]:
    """Seconds of each answer, and bytes of the last, by what was asked."""
    report, project = f"/v1/slas/{one.uuid}/report", one.projects[0]
    asked = {
        "month under way, JSON": f"{report}?project={project}&period={present.name}",
        "closed month, JSON": f"{report}?project={project}&period={past.name}",
        "closed month, CSV": f"{report}?project={project}&period={past.name}&format=csv",
        "closed month, HTML": f"{report}?project={project}&period={past.name}&format=html",
        "error budgets now": f"/v1/budgets?project={project}&limit={one.instances}",
    }
    found: dict[str, tuple[list[float], int]] = {}
    for name, path in asked.items():
        progress.step(f"report: {name}")
        answers = [_ask(served, path) for _ in range(_ASKED)]
        found[name] = ([seconds for seconds, _ in answers], answers[-1][1])
    return found


def _ask(served: Served, path: str) -> tuple[float, int]:
    """Seconds and bytes of one answer. Raises OSError where it is no success."""
    began = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", served.service.port, timeout=120)
    try:
        connection.request("GET", path, headers={"X-Auth-Token": served.service.operator})
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != http.HTTPStatus.OK:
            raise OSError(f"{path}: HTTP {answer.status} {body[:300]!r}")
        return time.monotonic() - began, len(body)
    finally:
        connection.close()


def _roll_up(
    served: Served, database: Database, one: Class, past: Period, clock: Clock, progress: Progress
) -> Mapping[str, Took]:
    """What comes in all the time: an hour of minutes to hours, and a day of hours to days; on days of before the month."""
    day, found = floor_to(DAY_SECONDS, past.start) - 10 * DAY_SECONDS, dict[str, Took]()
    for name, start, span, step in (
        ("hours of one day", day, DAY_SECONDS, HOUR_SECONDS),
        ("minutes of one hour", day + 5 * DAY_SECONDS, HOUR_SECONDS, MINUTE_SECONDS),
    ):
        progress.step(f"rolling up the {name} of {one.instances} instances")
        with database.engine.connect() as connection:
            starts = range(start, start + span, step)
            sla_filling.fill_starts(connection, one, step, starts, rolled_up=False)
        before = clock()
        _until_done(rollup_duty.DUTY, _work(served, database, float(start + 2 * span)))
        found[name] = _took(one.instances, before, clock())
    return found


def _outcome(
    options: Options,
    found: Sequence[Class],
    *,
    closed: Sequence[Took],
    exact: bool,
    reports: Mapping[str, tuple[list[float], int]],
    rolled: Mapping[str, Took],
    rows: int,
    told: Mapping[str, str],
) -> Outcome:
    sized = closed[: len(options.sizes)]
    answers = [seconds for name, (taken, _) in reports.items() if name.endswith("JSON") for seconds in taken]
    return Outcome(
        command="sla",
        settings={
            "instances": ",".join(str(size) for size in options.sizes),
            "objectives of each": len(METRICS),
            "time zone": ZONE,
            "rows of roll-ups and minutes": rows,
        },
        tables={
            "closing a month": [_row(f"{one.instances} instances", one) for one in closed],
            "rolling up meanwhile": [_row(name, one) for name, one in rolled.items()],
            f"reports of {found[-1].instances} instances": [
                results.row(name, spread(taken), body_bytes=size) for name, (taken, size) in reports.items()
            ],
        },
        facts={
            **told,
            "who": "the engine's duty and MariaDB together on the measured core; reports: stella-api and MariaDB on it",
            "seconds of 200 000": "at the pace of that line",
        },
        musts=[
            month_must(sized),
            pace_must(sized),
            Must(text="the sums are those that were filled, to the second", kept=exact, seen="yes" if exact else "no"),
            Must(
                text=f"a report of {REPORTED_INSTANCES} instances in at most {LARGEST_REPORT_SECONDS:g} s",
                kept=max(answers) <= LARGEST_REPORT_SECONDS,
                seen=f"{max(answers):.2f} s at worst of {len(answers)}",
            ),
        ],
    )


def _row(name: str, one: Took) -> dict[str, Any]:
    return {
        "what": name,
        "instances": one.instances,
        "seconds": round(one.seconds, 2),
        "cpu_seconds": round(one.cpu_seconds, 2),
        "seconds of 200 000": round(one.seconds / one.instances * MONTH_INSTANCES, 1),
    }


def month_must(sized: Sequence[Took]) -> Must:
    """A whole month in time: as measured where the largest class is that large, else at its pace. Pure."""
    largest = sized[-1]
    whole = largest.seconds / largest.instances * MONTH_INSTANCES
    how = "measured" if largest.instances >= MONTH_INSTANCES else f"extrapolated from the pace of {largest.instances}"
    return Must(
        text=f"a month of {MONTH_INSTANCES} instances closed in at most {LARGEST_MONTH_SECONDS:g} s on one core",
        kept=whole <= LARGEST_MONTH_SECONDS,
        seen=f"{whole:.0f} s, {how} ({largest.seconds:.1f} s)",
    )


def pace_must(sized: Sequence[Took]) -> Must:
    """Time grows with the instances alone: what an extrapolation rests on. Pure."""
    paces = [one.seconds / one.instances for one in sized]
    return Must(
        text=f"linear: an instance of the largest class takes at most {LARGEST_PACE_RATIO:g} times that of the smallest",
        kept=paces[-1] <= LARGEST_PACE_RATIO * paces[0],
        seen=f"{paces[-1] / paces[0]:.2f} times, {', '.join(f'{pace * 1000:.2f} ms' for pace in paces)}",
    )
