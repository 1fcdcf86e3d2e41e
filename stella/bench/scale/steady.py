"""A whole cloud's steady load: every host polls and reports, users read and write at a fixed rate, all of it is timed."""

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from stella.bench.progress import Progress
from stella.bench.scale import filling
from stella.bench.scale.cloud import Cloud
from stella.bench.scale.emulated_host import Agent
from stella.bench.scale.timings import Spread, Timings, spread
from stella.bench.scale.users import Pool, Readers, Request, Writers, at_rate, get

READS_PER_SECOND, WRITES_PER_SECOND = 50.0, 5.0
_WRITTEN = 200
_RAMP_SECONDS = 15.0
_LONGEST_START_SECONDS = 45.0
_SETTLE_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What it showed. CPU in cores; ``connected``: hosts that had polled and reported when the measurement began."""

    timings: Timings
    seconds: float
    connected: int
    api_cores: float
    database_cores: float
    generator_cores: float
    api_resident_bytes: int
    poll_seconds: Spread
    report_seconds: Spread


async def steady(cloud: Cloud, seconds: float, progress: Progress) -> Load:
    """Hosts come within `_RAMP_SECONDS`; when all have polled and reported, and users read and write, all of it is timed."""
    port, timings = cloud.port, Timings()
    chance = random.Random(1)  # noqa: S311 (no secret)
    progress.step("preparing the hosts' reports")
    agents = [
        Agent(host, filling.credential_of(host), port, timings, chance, revision=filling.FIRST_REVISION)
        for host in cloud.hosts
    ]
    pool = Pool(port)
    readers, writers = Readers(pool, _reads(cloud), timings), Writers(pool, _written(cloud), timings)
    tasks: list[asyncio.Future[None]] = []
    try:
        for number, agent in enumerate(agents):
            start = _RAMP_SECONDS * number / len(agents)
            tasks += [asyncio.ensure_future(agent.poll(start)), asyncio.ensure_future(agent.report(start))]
        await _wait(progress, "hosts connect", _LONGEST_START_SECONDS, lambda: all(a.connected for a in agents))
        tasks.append(asyncio.ensure_future(at_rate(READS_PER_SECOND, readers.read)))
        tasks.append(asyncio.ensure_future(at_rate(WRITES_PER_SECOND, writers.write)))
        await _wait(progress, "settling", _SETTLE_SECONDS)
        connected = sum(agent.connected for agent in agents)
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
        pool.close()
    api, database, own = ((b - a) / elapsed for a, b in zip(before, after, strict=True))
    return Load(
        timings=timings,
        seconds=elapsed,
        connected=connected,
        api_cores=api,
        database_cores=database,
        generator_cores=own,
        api_resident_bytes=resident,
        poll_seconds=spread([agent.poll_seconds for agent in agents]),
        report_seconds=spread([agent.report_seconds for agent in agents]),
    )


async def _wait(progress: Progress, text: str, seconds: float, done: Callable[[], bool] = lambda: False) -> None:
    """Wait so long, or until ``done``."""
    begun = time.monotonic()
    while (elapsed := time.monotonic() - begun) < seconds and not done():
        progress.tick(text, elapsed, seconds)
        await asyncio.sleep(min(0.5, seconds - elapsed))


def _cpu_seconds(cloud: Cloud) -> tuple[float, float, float]:
    return cloud.service.process.cpu_seconds, cloud.database_cpu_seconds(), time.process_time()


def _reads(cloud: Cloud) -> list[Request]:
    """A quarter each: lists, single instances, attainment, usage (where there is no such route: the SLO)."""
    has_usage = any(path.endswith("/usage") for path in cloud.service.paths())
    found = []
    for guest in cloud.read_guests():
        token, path = cloud.token_of(guest), f"/v1/instances/{guest.uuid}"
        found += [
            get("instance list", "/v1/instances?limit=100", token),
            get("instance show", path, token),
            get("attainment", f"{path}/attainment", token),
            get("usage", f"{path}/usage?step=60", token) if has_usage else get("slo show", f"{path}/slo", token),
        ]
    return found


def _written(cloud: Cloud) -> list[tuple[str, str]]:
    """Instances without SLO, one of each host until there are enough; the first half of the hosts is left alone."""
    hosts = cloud.hosts[-min(_WRITTEN, len(cloud.hosts) // 2 or 1) :]
    free = [next(guest for guest in host.guests if guest.terms is None) for host in hosts]
    return [(guest.uuid, cloud.token_of(guest)) for guest in free]
