"""``stella-bench scale link``: how long from the API's yes to an SLO until its host enforces it, and until the API shows so."""

import asyncio
import json
import os
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stella.bench.progress import Progress
from stella.bench.scale import results
from stella.bench.scale.cloud import Served, facts, serving
from stella.bench.scale.http_client import Connection, NoAnswer
from stella.bench.scale.linked_hosts import READY
from stella.bench.scale.processes import NotStarted, Process, divide_cores
from stella.bench.scale.results import Must, Outcome
from stella.bench.scale.timings import Spread, spread
from stella.db import hosts, migrations
from stella.db.database import Database, Session

LARGEST_P99_SECONDS = 1.0
_PAUSE_SECONDS = (0.1, 0.4)
_ASK_SECONDS = 0.02
_LONGEST_SECONDS = 15.0
_START_SECONDS = 120.0
_FLOOR_CORES = 0.1
INSTANCES = 4
"""On each host: as few as there are changes for. All hosts tick in one process on one CPU, which real hosts do not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What is asked of the run."""

    hosts: int
    changes: int
    sqlite: bool


@dataclass(slots=True, kw_only=True)
class Change:
    """One SLO that the API accepted. Monotonic clock in seconds; None: not within `_LONGEST_SECONDS`."""

    uuid: str
    answered_at: float
    enforced_at: float | None = None
    shown_at: float | None = None


@dataclass(slots=True)
class _Heard:
    """What the hosts told: when each instance's SLO came in force, the last time."""

    path: Path
    position: int = 0
    ready: bool = False
    enforced_at: dict[str, float] = field(default_factory=dict)

    def read(self) -> None:
        """Take in new lines."""
        with self.path.open() as file:
            file.seek(self.position)
            while (line := file.readline()).endswith("\n"):
                self.position = file.tell()
                if line.strip() == READY:
                    self.ready = True
                elif len(words := line.split()) == 4 and words[0].startswith("sim"):
                    self.enforced_at[words[1]] = float(words[3])


def run(options: Options, directory: Path, progress: Progress) -> Outcome:
    """Start all, change SLOs, measure. Raises `NotStarted`."""
    cores = divide_cores()
    credentials = directory / "credentials"
    credentials.mkdir()
    names = [f"sim{number + 1}" for number in range(options.hosts)]

    def enroll(database: Database) -> None:
        migrations.sync(database)
        for name in names:
            _enroll(database, name, credentials / name)

    with serving(directory, cores, progress, sqlite=options.sqlite, fill=enroll) as served:
        log = directory / "hosts.log"
        command = [sys.executable, "-m", "stella.bench.scale.linked_hosts", "--hosts", str(options.hosts)]
        command += ["--instances", str(INSTANCES), "--api-url", served.service.url]
        command += ["--credentials", str(credentials), "--state", str(directory / "sim")]
        paths = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        progress.step(f"starting {options.hosts} hosts")
        process = Process(command, log=log, cores=cores.asking, environment=paths)
        try:
            heard = _Heard(log)
            changes = asyncio.run(_measure(options, served, heard, progress, process))
        finally:
            process.stop()
        where = facts(served.database, cores)
    return _outcome(options, changes, where)


def _enroll(database: Database, name: str, path: Path) -> None:
    def enroll(session: Session) -> str:
        return hosts.enroll(session, name, mode="enforce", now=time.time())

    path.touch(mode=0o600)
    path.write_text(database.write(enroll))


async def _measure(
    options: Options, served: Served, heard: _Heard, progress: Progress, process: Process
) -> Sequence[Change]:
    """Set an SLO on one instance after the other, each of the next host; what becomes of it is waited for meanwhile."""
    auth = f"X-Auth-Token: {served.service.operator}\r\n"
    listening = asyncio.ensure_future(_listen(heard))
    connection = Connection(served.service.port)
    try:
        uuids = await _instances(options, served, heard, connection, auth, progress, process)
        chance = random.Random(7)  # noqa: S311 (no secret)
        waiting: list[asyncio.Future[Change]] = []
        for number in range(options.changes):
            progress.tick("changing SLOs", number, options.changes)
            uuid = uuids[number % len(uuids)]
            waiting.append(asyncio.ensure_future(_change(served, heard, uuid, number // len(uuids), auth)))
            await asyncio.sleep(chance.uniform(*_PAUSE_SECONDS))
        return await asyncio.gather(*waiting)
    finally:
        listening.cancel()
        connection.close()


async def _listen(heard: _Heard) -> None:
    while True:
        heard.read()
        await asyncio.sleep(_ASK_SECONDS)


async def _instances(
    options: Options,
    served: Served,
    heard: _Heard,
    connection: Connection,
    auth: str,
    progress: Progress,
    process: Process,
) -> list[str]:
    """All instances, those of different hosts next to each other, once every host has reported. Raises `NotStarted`."""
    end = time.monotonic() + _START_SECONDS
    by_host: dict[str, list[str]] = {}
    while len(by_host) < options.hosts or not heard.ready:
        if time.monotonic() > end or not process.alive:
            last = heard.path.read_text().splitlines()[-1:]
            raise NotStarted(f"{len(by_host)} of {options.hosts} hosts reported in time; they last said: {last}")
        progress.tick("hosts connect", _START_SECONDS - (end - time.monotonic()), _START_SECONDS)
        by_host = {}
        answer = await connection.ask("GET", "/v1/instances?limit=1000", auth)
        for found in json.loads(answer.body).get("instances", ()):
            by_host.setdefault(found["host"], []).append(found["uuid"])
        await asyncio.sleep(0.5)
    turns = max(len(found) for found in by_host.values())
    return [found[turn] for turn in range(turns) for _, found in sorted(by_host.items()) if turn < len(found)]


async def _change(served: Served, heard: _Heard, uuid: str, generation: int, auth: str) -> Change:
    """Set an SLO and wait until it is in force, and shown so. ``generation``: what it has so far. Raises `NotStarted`."""
    connection = Connection(served.service.port)
    path = f"/v1/instances/{uuid}/slo"
    body = json.dumps({"objectives": {"cpu": {"floor": _FLOOR_CORES}}, "generation": generation}).encode()
    heard.enforced_at.pop(uuid, None)
    try:
        answer = await connection.ask("PUT", path, f"{auth}Content-Type: application/json\r\n", body)
        if answer.status not in (200, 201):
            raise NotStarted(f"PUT {path}: HTTP {answer.status}: {answer.body.decode()[:300]}")
        change = Change(uuid=uuid, answered_at=time.monotonic())
        while time.monotonic() - change.answered_at < _LONGEST_SECONDS:
            if change.shown_at is None:
                shown = json.loads((await connection.ask("GET", path, auth)).body)
                change.shown_at = time.monotonic() if shown["state"] == "enforced" else None
            change.enforced_at = heard.enforced_at.get(uuid)
            if change.shown_at is not None and change.enforced_at is not None:
                break
            await asyncio.sleep(_ASK_SECONDS)
        return change
    except NoAnswer as error:
        raise NotStarted(f"{path}: {error}") from None
    finally:
        connection.close()


def _since(changes: Sequence[Change], name: str) -> Spread:
    """From the answer until ``name``; what never came counts as `_LONGEST_SECONDS`."""
    found = [(getattr(change, name), change.answered_at) for change in changes]
    return spread(max(0.0, then - answered) if then is not None else _LONGEST_SECONDS for then, answered in found)


def _outcome(options: Options, changes: Sequence[Change], where: dict[str, Any]) -> Outcome:
    enforced, shown = _since(changes, "enforced_at"), _since(changes, "shown_at")
    lost = sum(change.enforced_at is None or change.shown_at is None for change in changes)
    return Outcome(
        command="link",
        settings={"hosts": options.hosts, "instances": options.hosts * INSTANCES, "changes": options.changes},
        tables={
            "from the API's answer": [
                results.row("until the host's control has it in force", enforced),
                results.row("until the API shows it enforced", shown),
            ]
        },
        facts={
            **where,
            "hosts": "stella-sim: the real agent and link, ticks of 250 ms, all in one process on the generator's CPU",
            "in force": "the tick has ended that decided and wrote with the SLO",
        },
        musts=[
            Must(
                text=f"p99 until it is in force at most {LARGEST_P99_SECONDS:g} s",
                kept=enforced.p99_seconds <= LARGEST_P99_SECONDS,
                seen=f"{enforced.p99_seconds:.3f} s of {enforced.count}",
            ),
            Must(text="every SLO is enforced and shown so", kept=not lost, seen=f"{lost} are not"),
        ],
    )
