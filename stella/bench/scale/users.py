"""Users that read and write at a fixed rate, whether the server keeps up or not: each request is timed from when it was due."""

import asyncio
import itertools
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from stella.bench.scale.http_client import Answer, Connection, NoAnswer
from stella.bench.scale.timings import Timings

_JSON = "Content-Type: application/json\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request of a kind."""

    kind: str
    method: str
    path: str
    headers: str
    body: bytes = b""


class Pool:
    """Connections that are free; each request takes one, or opens one more."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._free: list[Connection] = []
        self._all: list[Connection] = []

    async def ask(self, request: Request) -> Answer:
        """Send one request. Raises `NoAnswer`."""
        if not self._free:
            self._free.append(Connection(self._port))
            self._all.append(self._free[-1])
        connection = self._free.pop()
        try:
            return await connection.ask(request.method, request.path, request.headers, request.body)
        finally:
            self._free.append(connection)

    def close(self) -> None:
        """Close them all."""
        for connection in self._all:
            connection.close()


async def at_rate(per_second: float, make: Callable[[float], Awaitable[None]]) -> None:
    """Start ``make(due)`` so often until cancelled; one that takes long holds up none after it."""
    running: set[asyncio.Task[None]] = set()
    start = time.monotonic()
    try:
        for number in itertools.count():
            due = start + number / per_second
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            task = asyncio.ensure_future(make(due))
            running.add(task)
            task.add_done_callback(running.discard)
    finally:
        for task in running:
            task.cancel()


async def timed(pool: Pool, request: Request, due: float, timings: Timings) -> Answer | None:
    """Send a request that is due at ``due`` (monotonic) and time it; None when no answer came."""
    sent = time.monotonic()
    try:
        answer = await pool.ask(request)
    except NoAnswer as error:
        timings.failed(request.kind, str(error))
        return None
    timings.answered(request.kind, answer.status, time.monotonic() - due, sent - due)
    return answer


class Readers:
    """Requests taken in turn from a fixed mix."""

    def __init__(self, pool: Pool, requests: Sequence[Request], timings: Timings) -> None:
        self._pool, self._timings = pool, timings
        self._requests = itertools.cycle(requests)

    async def read(self, due: float) -> None:
        """The next one."""
        await timed(self._pool, next(self._requests), due, self._timings)


class Writers:
    """SLOs set and withdrawn in turn on instances that had none."""

    def __init__(self, pool: Pool, targets: Sequence[tuple[str, str]], timings: Timings) -> None:
        """``targets``: instance and token of a member of its project."""
        self._pool, self._timings = pool, timings
        self._targets = itertools.cycle(targets)
        self._generations: dict[str, int] = {}

    async def write(self, due: float) -> None:
        """The next instance: without SLO it gets one, with one it loses it."""
        uuid, token = next(self._targets)
        generation = self._generations.pop(uuid, 0)
        path, auth = f"/v1/instances/{uuid}/slo", f"X-Auth-Token: {token}\r\n"
        if generation:
            gone = Request(kind="slo delete", method="DELETE", path=f"{path}?generation={generation}", headers=auth)
            await timed(self._pool, gone, due, self._timings)
            return
        body = json.dumps({"objectives": {"cpu": {"floor": 0.05}}}).encode()
        put = Request(kind="slo put", method="PUT", path=path, headers=auth + _JSON, body=body)
        answer = await timed(self._pool, put, due, self._timings)
        if answer is not None and answer.status in (200, 201):
            self._generations[uuid] = json.loads(answer.body)["generation"]


def get(kind: str, path: str, token: str) -> Request:
    """A read of a user."""
    return Request(kind=kind, method="GET", path=path, headers=f"X-Auth-Token: {token}\r\n")
