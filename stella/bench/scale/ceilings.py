"""The most that one core gives of each kind of request, and beside it openstack-placement."""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable
from pathlib import Path

from stella.bench.progress import Progress
from stella.bench.scale import filling
from stella.bench.scale.closed_loop import CONNECTIONS, Ceiling, ceiling, ceiling_of
from stella.bench.scale.cloud import Cloud
from stella.bench.scale.emulated_host import Agent
from stella.bench.scale.fleet import EmulatedHost
from stella.bench.scale.http_client import Connection, NoAnswer
from stella.bench.scale.placement import Placement
from stella.bench.scale.processes import NotStarted
from stella.bench.scale.timings import Timings
from stella.bench.scale.users import Request, get

HOSTS = "GET /v1/hosts"
_SECONDS = 6.0
_WARM_UP_SECONDS = 1.0
_CALM_SECONDS = 0.1
_LONGEST_CALM_SECONDS = 60.0


async def ceilings(cloud: Cloud, progress: Progress) -> dict[str, Ceiling]:
    """Closed loops, one kind after the other, on a server that was started anew: what it could not answer before is gone.

    Raises `NotStarted`.
    """
    progress.step("starting stella-api again")
    cloud.service.restart()
    await _at_rest(cloud.port)
    few = cloud.hosts[: 2 * CONNECTIONS]
    guest, operator, rows = cloud.read_guests()[0], cloud.service.operator, cloud.fleet.hosts
    kinds: dict[str, Callable[[], list[Request]]] = {
        f"{HOSTS}, {rows} rows": lambda: [get("", "/v1/hosts?limit=1000", operator)],
        "GET /v1/instances, 1000 rows": lambda: [get("", "/v1/instances?limit=1000", operator)],
        "GET /v1/instances/UUID": lambda: [get("", f"/v1/instances/{guest.uuid}", cloud.token_of(guest))],
    }
    progress.step("ceiling of polls")
    polls = await _polls(cloud, few)
    found = {"host poll, 304": await ceiling(cloud.port, polls, cloud.cpu_seconds, seconds=_SECONDS, expected=304)}
    progress.step("ceiling of reports")
    found["host report"] = await _reports(cloud, few)
    for name, make in kinds.items():
        progress.step(f"ceiling of {name}")
        found[name] = await ceiling(cloud.port, make(), cloud.cpu_seconds, seconds=_SECONDS)
    return found


async def _at_rest(port: int) -> None:
    """Until what was asked before is done: the server answers at once, five times in a row."""
    connection, end, quick = Connection(port), time.monotonic() + _LONGEST_CALM_SECONDS, 0
    try:
        while quick < 5:
            if time.monotonic() > end:
                raise NotStarted("stella-api did not come to rest within a minute after its start")
            begun = time.monotonic()
            with contextlib.suppress(NoAnswer):
                await connection.ask("GET", "/healthcheck")
                quick = quick + 1 if time.monotonic() - begun < _CALM_SECONDS else 0
            await asyncio.sleep(0.1)
    finally:
        connection.close()


async def _polls(cloud: Cloud, hosts: tuple[EmulatedHost, ...]) -> list[Request]:
    """Polls that will be answered with 304."""
    connection, found = Connection(cloud.port), []
    try:
        for host in hosts:
            path = f"/v1/hosts/{host.name}/intent"
            headers = f"Authorization: Bearer {filling.credential_of(host)}\r\n"
            try:
                etag = (await connection.ask("GET", path, headers)).etag
            except NoAnswer as error:
                raise NotStarted(f"{path}: {error}") from None
            found.append(Request(kind="", method="GET", path=path, headers=f"{headers}If-None-Match: {etag}\r\n"))
    finally:
        connection.close()
    return found


async def _reports(cloud: Cloud, hosts: tuple[EmulatedHost, ...]) -> Ceiling:
    """Hosts that report again as soon as the last report was taken."""
    timings, chance = Timings(), random.Random(2)  # noqa: S311 (no secret)
    agents = [
        Agent(host, filling.credential_of(host), cloud.port, timings, chance, revision=filling.FIRST_REVISION)
        for host in hosts[:CONNECTIONS]
    ]
    for agent in agents:
        agent.report_seconds = 0.0
    tasks = [asyncio.ensure_future(agent.report(0.0)) for agent in agents]
    try:
        await asyncio.sleep(_WARM_UP_SECONDS)
        begun, before = time.monotonic(), cloud.cpu_seconds()
        timings.begin()
        await asyncio.sleep(_SECONDS)
        timings.end()
        elapsed, taken = time.monotonic() - begun, cloud.cpu_seconds() - before
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return ceiling_of(timings, seconds=elapsed, cpu_seconds=taken)


def beside_placement(cloud: Cloud, venv: Path | None, progress: Progress) -> Ceiling | str:
    """openstack-placement's list of as many resource providers as there are hosts; else the reason why not."""
    if venv is None or cloud.database is None:
        return "left out"
    progress.step("ceiling of placement's GET /resource_providers")
    url, database = cloud.database.create("placement"), cloud.database.process
    try:
        made = Placement(
            cloud.directory / "placement", venv, url, providers=cloud.fleet.hosts, cores=cloud.cores.measured
        )
    except NotStarted as error:
        return " ".join(str(error).split())[-300:]
    try:
        meter = lambda: made.process.cpu_seconds + database.cpu_seconds  # noqa: E731
        return asyncio.run(ceiling(made.port, [made.request], meter, seconds=_SECONDS))
    finally:
        made.process.stop()
