"""The ceiling: so many connections, each asking again as soon as it has its answer."""

import asyncio
import itertools
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from stella.bench.scale.http_client import Connection, NoAnswer
from stella.bench.scale.timings import Spread, Timings
from stella.bench.scale.users import Request

CONNECTIONS = 8
SUCCESS = (200, 201, 204, 304)
_WARM_UP_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceiling:
    """What a server gave at most. ``cpu_seconds`` is what each request took, of the server and its database.

    ``unexpected``: answers that were not successes, and requests without answer, by what they were.
    """

    requests_per_second: float
    spread: Spread
    cpu_seconds: float
    unexpected: Mapping[str, int]
    body_bytes: int


Meter = Callable[[], float]
"""CPU seconds that all which is measured took so far."""


def ceiling_of(
    timings: Timings, *, seconds: float, cpu_seconds: float, body_bytes: int = 0, expected: Sequence[int] = (200,)
) -> Ceiling:
    """What was counted in ``seconds``, of which so many were CPU time."""
    every = timings.all
    return Ceiling(
        requests_per_second=every.count / seconds,
        spread=every,
        cpu_seconds=cpu_seconds / max(1, every.count),
        unexpected={**timings.unexpected(expected), **timings.errors},
        body_bytes=body_bytes,
    )


async def ceiling(
    port: int, requests: Iterable[Request], meter: Meter, *, seconds: float, expected: int = 200
) -> Ceiling:
    """Ask in turn for ``seconds``; answers with another status than ``expected`` are told apart."""
    turn = itertools.cycle(requests)
    timings = Timings()
    largest = 0

    async def ask_again_and_again() -> None:
        nonlocal largest
        connection = Connection(port)
        try:
            while True:
                request, begun = next(turn), time.monotonic()
                try:
                    answer = await connection.ask(request.method, request.path, request.headers, request.body)
                except NoAnswer as error:
                    timings.failed(request.kind, str(error))
                    await asyncio.sleep(0.1)
                    continue
                timings.answered(request.kind, answer.status, time.monotonic() - begun)
                largest = max(largest, len(answer.body))
        finally:
            connection.close()

    tasks = [asyncio.ensure_future(ask_again_and_again()) for _ in range(CONNECTIONS)]
    try:
        await asyncio.sleep(_WARM_UP_SECONDS)
        timings.begin()
        begun, before = time.monotonic(), meter()
        await asyncio.sleep(seconds)
        timings.end()
        elapsed, taken = time.monotonic() - begun, meter() - before
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return ceiling_of(timings, seconds=elapsed, cpu_seconds=taken, body_bytes=largest, expected=(expected,))
