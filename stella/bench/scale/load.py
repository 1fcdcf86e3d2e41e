"""``stella-bench scale load``: one stella-api on one core with its database, a whole cloud of hosts and users, and the ceiling."""

import asyncio
import contextlib
import os
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from stella.bench.progress import Progress
from stella.bench.scale import filling, results
from stella.bench.scale.closed_loop import CONNECTIONS, SUCCESS, Ceiling, ceiling, ceiling_of
from stella.bench.scale.emulated_host import Agent
from stella.bench.scale.fleet import EmulatedHost, Fleet
from stella.bench.scale.http_client import Connection
from stella.bench.scale.mariadb import BUFFER_POOL, MariaDb
from stella.bench.scale.placement import Placement
from stella.bench.scale.processes import NotStarted, divide_cores
from stella.bench.scale.results import Must, Outcome
from stella.bench.scale.service import Service
from stella.bench.scale.timings import Spread, Timings, spread
from stella.bench.scale.users import Pool, Readers, Request, Writers, at_rate, get
from stella.db.database import Database

READS_PER_SECOND, WRITES_PER_SECOND = 50.0, 5.0
LARGEST_P99_SECONDS = 0.1
_LARGEST_LAG_SECONDS = 0.02
_WITH_HISTORY = 200
_WRITTEN = 200
_RAMP_SECONDS = 15.0
_SETTLE_SECONDS = 5.0
_CEILING_SECONDS = 6.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What is asked of the run. ``placement_venv`` None leaves placement out; ``workers`` are processes of the API."""

    fleet: Fleet
    seconds: float
    placement_venv: Path | None


@dataclass(slots=True)
class _Cloud:
    """What runs."""

    options: Options
    service: Service
    database: MariaDb
    hosts: list[EmulatedHost]
    tokens: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Load:
    """What the steady load showed. CPU in cores."""

    timings: Timings
    seconds: float
    api_cores: float
    database_cores: float
    generator_cores: float
    api_resident_bytes: int
    poll_seconds: Spread
    report_seconds: Spread


def run(options: Options, directory: Path, progress: Progress) -> Outcome:
    """Fill, load, find the ceiling. Raises `NotStarted`."""
    cores = divide_cores()
    with contextlib.ExitStack() as stack:
        progress.step("starting MariaDB")
        database = MariaDb(directory / "mariadb", cores=cores.measured)
        stack.callback(database.process.stop)
        url = database.create("stella")
        progress.step(f"filling it with {options.fleet.hosts} hosts and {options.fleet.instances} instances")
        filled = Database(url)
        filling.fill(filled, options.fleet, with_history_of=_WITH_HISTORY)
        filled.close()
        progress.step("starting stella-api")
        service = Service(directory / "api", url, cores=cores.measured)
        stack.callback(service.process.stop)
        hosts = list(options.fleet)
        tokens = {project: service.member(project) for project in options.fleet.projects}
        cloud = _Cloud(options=options, service=service, database=database, hosts=hosts, tokens=tokens)
        os.sched_setaffinity(0, cores.asking)
        stack.callback(os.sched_setaffinity, 0, cores.measured | cores.asking)
        load = asyncio.run(_steady(cloud, progress))
        ceilings = asyncio.run(_ceilings(cloud, progress))
        beside = _placement(cloud, directory, progress, stack)
        version = database.version()
    where = (
        f"stella-api and MariaDB together on CPU {_listed(cores.measured)}, generator on CPU {_listed(cores.asking)}"
    )
    return _outcome(
        options, load, ceilings, beside, {"cores": where, "database": f"{version}, {BUFFER_POOL}"}, cores.apart
    )


def _listed(cores: frozenset[int]) -> str:
    return ",".join(str(core) for core in sorted(cores))


async def _steady(cloud: _Cloud, progress: Progress) -> _Load:
    """Hosts come within `_RAMP_SECONDS`; after a while all of it is timed."""
    seconds, port, timings = cloud.options.seconds, cloud.service.port, Timings()
    chance = random.Random(1)  # noqa: S311 (no secret)
    progress.step("preparing the hosts' reports")
    agents = [
        Agent(host, filling.credential_of(host), port, timings, chance, revision=filling.FIRST_REVISION)
        for host in cloud.hosts
    ]
    readers_pool, writers_pool = Pool(port), Pool(port)
    tasks = []
    for number, agent in enumerate(agents):
        start = _RAMP_SECONDS * number / len(agents)
        tasks += [
            asyncio.ensure_future(agent.poll(start)),
            asyncio.ensure_future(agent.report(start + chance.random())),
        ]
    readers = Readers(readers_pool, _reads(cloud), timings)
    writers = Writers(writers_pool, _written(cloud), timings)
    try:
        await _wait(progress, "hosts connect", _RAMP_SECONDS)
        tasks.append(asyncio.ensure_future(at_rate(READS_PER_SECOND, readers.read)))
        tasks.append(asyncio.ensure_future(at_rate(WRITES_PER_SECOND, writers.write)))
        await _wait(progress, "settling", _SETTLE_SECONDS)
        before, begun = _cpu_seconds(cloud), time.monotonic()
        timings.begin()
        await _wait(progress, "measuring", seconds)
        timings.end()
        elapsed, after = time.monotonic() - begun, _cpu_seconds(cloud)
        resident = cloud.service.process.resident_bytes
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        readers_pool.close()
        writers_pool.close()
    api, database, own = ((b - a) / elapsed for a, b in zip(before, after, strict=True))
    return _Load(
        timings=timings,
        seconds=elapsed,
        api_cores=api,
        database_cores=database,
        generator_cores=own,
        api_resident_bytes=resident,
        poll_seconds=spread([agent.poll_seconds for agent in agents]),
        report_seconds=spread([agent.report_seconds for agent in agents]),
    )


async def _wait(progress: Progress, text: str, seconds: float) -> None:
    begun = time.monotonic()
    while (done := time.monotonic() - begun) < seconds:
        progress.tick(text, done, seconds)
        await asyncio.sleep(min(1.0, seconds - done))


def _cpu_seconds(cloud: _Cloud) -> tuple[float, float, float]:
    return cloud.service.process.cpu_seconds, cloud.database.process.cpu_seconds, time.process_time()


def _reads(cloud: _Cloud) -> list[Request]:
    """A quarter each: lists, single instances, attainment, usage (until there is such a route: the SLO)."""
    has_usage = any(path.endswith("/usage") for path in cloud.service.paths())
    found = []
    for guest in _guests_with_history(cloud):
        token, path = cloud.tokens[guest.project], f"/v1/instances/{guest.uuid}"
        found += [
            get("instance list", "/v1/instances?limit=100", token),
            get("instance show", path, token),
            get("attainment", f"{path}/attainment", token),
            get("usage", f"{path}/usage?step=60", token) if has_usage else get("slo show", f"{path}/slo", token),
        ]
    return found


def _guests_with_history(cloud: _Cloud) -> list[Any]:
    return [guest for host in cloud.hosts for guest in host.guests if guest.terms][:_WITH_HISTORY]


def _written(cloud: _Cloud) -> list[tuple[str, str]]:
    """Instances without SLO, one of each host until there are enough."""
    free = [next(g for g in host.guests if g.terms is None) for host in cloud.hosts[-_WRITTEN:]]
    return [(guest.uuid, cloud.tokens[guest.project]) for guest in free]


async def _ceilings(cloud: _Cloud, progress: Progress) -> dict[str, Ceiling]:
    """Closed loops, one kind after the other."""
    port, operator = cloud.service.port, cloud.service.operator
    few = cloud.hosts[: 2 * CONNECTIONS]
    chance = random.Random(2)  # noqa: S311 (no secret)
    guest = _guests_with_history(cloud)[0]
    kinds: dict[str, list[Request]] = {
        "host poll, 304": [await _poll(port, host) for host in few],
        "GET /v1/instances/UUID": [get("", f"/v1/instances/{guest.uuid}", cloud.tokens[guest.project])],
        f"GET /v1/hosts, {cloud.options.fleet.hosts} rows": [get("", "/v1/hosts?limit=1000", operator)],
        "GET /v1/instances?limit=1000": [get("", "/v1/instances?limit=1000", operator)],
    }
    found = {}
    for name, requests in kinds.items():
        progress.step(f"ceiling of {name}")
        found[name] = await ceiling(port, requests, partial(_used, cloud), seconds=_CEILING_SECONDS)
    progress.step("ceiling of reports")
    found["host report"] = await _report_ceiling(cloud, few, chance)
    return found


async def _poll(port: int, host: EmulatedHost) -> Request:
    """A poll of this host that will be answered with 304."""
    headers = f"Authorization: Bearer {filling.credential_of(host)}\r\n"
    connection = Connection(port)
    try:
        etag = (await connection.ask("GET", f"/v1/hosts/{host.name}/intent", headers)).etag
    finally:
        connection.close()
    headers += f"If-None-Match: {etag}\r\n"
    return Request(kind="poll", method="GET", path=f"/v1/hosts/{host.name}/intent", headers=headers)


async def _report_ceiling(cloud: _Cloud, hosts: Sequence[EmulatedHost], chance: random.Random) -> Ceiling:
    """Hosts that report again as soon as the last report was taken."""
    timings = Timings()
    port = cloud.service.port
    agents = [
        Agent(h, filling.credential_of(h), port, timings, chance, revision=filling.FIRST_REVISION)
        for h in hosts[:CONNECTIONS]
    ]
    for agent in agents:
        agent.report_seconds = 0.0
    tasks = [asyncio.ensure_future(agent.report(0.0)) for agent in agents]
    try:
        await asyncio.sleep(1.0)
        timings.begin()
        begun, before = time.monotonic(), _used(cloud)
        await asyncio.sleep(_CEILING_SECONDS)
        timings.end()
        elapsed, taken = time.monotonic() - begun, _used(cloud) - before
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return ceiling_of(timings, seconds=elapsed, cpu_seconds=taken)


def _used(cloud: _Cloud) -> float:
    """CPU seconds of the API and its database."""
    return cloud.service.process.cpu_seconds + cloud.database.process.cpu_seconds


def _placement(cloud: _Cloud, directory: Path, progress: Progress, stack: contextlib.ExitStack) -> Ceiling | str:
    """The same number of rows from openstack-placement; else the reason why not."""
    venv = cloud.options.placement_venv
    if venv is None:
        return "left out"
    progress.step("ceiling of placement's GET /resource_providers")
    try:
        made = Placement(
            directory / "placement",
            venv,
            cloud.database.create("placement"),
            providers=cloud.options.fleet.hosts,
            cores=divide_cores().measured,
        )
    except NotStarted as error:
        return " ".join(str(error).split())[-300:]
    stack.callback(made.process.stop)
    processes = made.process, cloud.database.process
    used = lambda: sum(process.cpu_seconds for process in processes)  # noqa: E731
    return asyncio.run(ceiling(made.port, [made.request], used, seconds=_CEILING_SECONDS))


def _outcome(
    options: Options,
    load: _Load,
    ceilings: Mapping[str, Ceiling],
    beside: Ceiling | str,
    where: Mapping[str, str],
    apart: bool,
) -> Outcome:
    timings, every = load.timings, load.timings.all
    lag = spread(timings.lags)
    failed = timings.count_status(500, 599)
    other = {**timings.unexpected(SUCCESS), **timings.errors}
    asked = [_ceiling_row(f"stella-api: {name}", found) for name, found in ceilings.items()]
    if isinstance(beside, Ceiling):
        asked.append(_ceiling_row(f"openstack-placement: GET /resource_providers, {options.fleet.hosts} rows", beside))
    stella = next(found for name, found in ceilings.items() if name.startswith("GET /v1/hosts"))
    return Outcome(
        command="load",
        settings={
            "hosts": options.fleet.hosts,
            "instances": options.fleet.instances,
            "SLOs": sum(g.terms is not None for h in options.fleet for g in h.guests),
            "seconds": round(load.seconds, 1),
            "reads/s": READS_PER_SECOND,
            "writes/s": WRITES_PER_SECOND,
        },
        tables={
            "load": [
                results.row(kind, found, per_second=round(found.count / load.seconds, 1))
                for kind, found in timings.kinds.items()
            ]
            + [results.row("all", every, per_second=round(every.count / load.seconds, 1))],
            "ceiling": asked,
        },
        facts={
            **where,
            "authentication": "stella-api: token file, and each host's own credential; placement: noauth2",
            "CPU in cores": f"stella-api {load.api_cores:.2f}, database {load.database_cores:.2f},"
            f" generator {load.generator_cores:.2f}",
            "memory of stella-api": f"{load.api_resident_bytes / 2**20:.0f} MiB",
            "intervals that the server chose": f"poll {load.poll_seconds.p50_seconds:g} s,"
            f" report {load.report_seconds.p50_seconds:g} s",
            "generator late by": f"p99 {results.milliseconds(lag.p99_seconds)} ms,"
            f" max {results.milliseconds(lag.max_seconds)} ms",
            "answers but successes": dict(other) or "none",
            **({"placement": beside} if isinstance(beside, str) else {}),
        },
        musts=[
            Must(
                text=f"p99 of all requests at most {LARGEST_P99_SECONDS * 1000:g} ms",
                kept=every.p99_seconds <= LARGEST_P99_SECONDS,
                seen=f"{results.milliseconds(every.p99_seconds)} ms of {every.count}",
            ),
            Must(text="no 5xx", kept=failed == 0 and every.count > 0, seen=str(failed)),
            Must(text="no other failure", kept=not other, seen=str(sum(other.values()))),
            Must(
                text="the generator is not the limit",
                kept=apart and lag.p99_seconds <= _LARGEST_LAG_SECONDS,
                seen=f"{load.generator_cores:.2f} core, late by p99 {results.milliseconds(lag.p99_seconds)} ms",
            ),
            Must(
                text="the ceiling beside placement's in the same run",
                kept=isinstance(beside, Ceiling) and not beside.unexpected and not stella.unexpected,
                seen=f"{stella.requests_per_second:.1f}/s beside {beside.requests_per_second:.1f}/s"
                if isinstance(beside, Ceiling)
                else beside,
            ),
        ],
    )


def _ceiling_row(name: str, found: Ceiling) -> dict[str, Any]:
    shown = {"per_second": round(found.requests_per_second, 1), "cpu_ms": results.milliseconds(found.cpu_seconds)}
    shown["body_bytes"] = found.body_bytes or None
    return results.row(name, found.spread, **shown, failures=dict(found.unexpected) or 0)
