"""``stella-bench scale admission``: how long a yes or no to an SLO takes, with clouds of several sizes in the database."""

import asyncio
import contextlib
import json
import random
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stella.bench.progress import Progress
from stella.bench.scale import results
from stella.bench.scale.cloud import Cloud, running
from stella.bench.scale.fleet import Fleet, Guest
from stella.bench.scale.http_client import Answer
from stella.bench.scale.processes import divide_cores
from stella.bench.scale.results import Must, Outcome
from stella.bench.scale.timings import MILLISECONDS, Spread, Timings
from stella.bench.scale.users import Pool, Request, timed

LARGEST_P99_SECONDS = 0.02
LARGEST_GROWTH_RATIO = 1.5
_TURNS = 3
"""Instances of each host that are asked for: enough for two hundred of each kind on a hundred hosts, a tenth of which is left out."""

ACCEPTED, REFUSED, DRY_RUN, DRY_RUN_REFUSED = "accepted", "refused, counter-offer", "dry run", "dry run, refused"
_EXPECTED = {ACCEPTED: 201, REFUSED: 422, DRY_RUN: 200, DRY_RUN_REFUSED: 422}
_LITTLE, _TOO_MUCH = {"cpu": {"floor": 0.2}}, {"cpu": {"floor": 5.0}, "network_packets": {"floor": 20_000.0}}
_LARGE_VCPUS = 8
_WARM_UP = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What is asked of the run: sizes in hosts, rising, and admissions of each kind."""

    sizes: Sequence[int]
    admissions: int
    sqlite: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Size:
    """What one size showed. ``fits_elsewhere``: the share of refusals that named or knew another host."""

    fleet: Fleet
    timings: Timings
    unexpected: Counter[str]
    cpu_seconds: float
    fits_elsewhere: float


def run(options: Options, directory: Path, progress: Progress) -> Outcome:
    """Fill a database of each size and ask. Raises `NotStarted`."""
    cores = divide_cores()
    seen: list[_Size] = []
    facts: Mapping[str, Any] = {}
    for hosts in options.sizes:
        fleet = Fleet(hosts=hosts)
        with running(directory / f"of-{hosts}", fleet, cores, progress, sqlite=options.sqlite) as cloud:
            seen.append(asyncio.run(_ask(cloud, options.admissions, progress)))
            facts = cloud.facts()
    return _outcome(options, seen, facts)


async def _ask(cloud: Cloud, admissions: int, progress: Progress) -> _Size:
    """The kinds in turn, one request after the other on one connection."""
    timings, pool, elsewhere, refused = Timings(), Pool(cloud.port), 0, 0
    unexpected: Counter[str] = Counter()
    try:
        for request in _requests(cloud, _WARM_UP, seed=1):
            await timed(pool, request, time.monotonic(), timings)
        progress.step(f"admissions with {cloud.fleet.hosts} hosts and {cloud.fleet.instances} instances")
        timings.begin()
        before, count = cloud.cpu_seconds(), 0
        for request in _requests(cloud, admissions, seed=2):
            answer = await timed(pool, request, time.monotonic(), timings)
            count += 1
            if answer is None or answer.status != _EXPECTED[request.kind]:
                unexpected[f"{request.kind}: {_said(answer)}"] += 1
            if answer is not None and answer.status == 422:
                refused += 1
                elsewhere += bool(json.loads(answer.body)["errors"][0].get("counter_offer", {}).get("elsewhere"))
        taken = (cloud.cpu_seconds() - before) / count
        timings.end()
    finally:
        pool.close()
    return _Size(
        fleet=cloud.fleet,
        timings=timings,
        unexpected=unexpected,
        cpu_seconds=taken,
        fits_elsewhere=elsewhere / max(1, refused),
    )


def _said(answer: Answer | None) -> str:
    """Status and first error of an answer that was not expected."""
    if answer is None:
        return "no answer"
    with contextlib.suppress(ValueError, KeyError, IndexError):
        return f"{answer.status} {json.loads(answer.body)['errors'][0]['detail'][:120]}"
    return str(answer.status)


def _requests(cloud: Cloud, count: int, *, seed: int) -> Iterator[Request]:
    """``count`` of each kind in turn, each of another instance; those of the warm-up are others than those that are timed."""
    chance = random.Random(seed)  # noqa: S311 (no secret)
    hosts = [host for host in cloud.hosts if host.number % 10]
    chance.shuffle(hosts)
    free = [
        guest
        for turn in range(_TURNS)
        for host in hosts
        for guest in _without_slo(host.guests)[_TURNS * (seed - 1) + turn :][:1]
    ]
    large = [next(guest for guest in host.guests if guest.vcpus == _LARGE_VCPUS) for host in hosts]
    for number in range(count):
        small, big = free[number % len(free)], large[number % len(large)]
        yield _put(cloud, DRY_RUN, small, _LITTLE)
        yield _put(cloud, ACCEPTED, small, _LITTLE)
        yield _put(cloud, REFUSED, big, _TOO_MUCH)
        yield _put(cloud, DRY_RUN_REFUSED, big, _TOO_MUCH)


def _without_slo(guests: Sequence[Guest]) -> list[Guest]:
    return [guest for guest in guests if guest.terms is None and guest.vcpus != _LARGE_VCPUS]


def _put(cloud: Cloud, kind: str, guest: Guest, objectives: Mapping[str, Any]) -> Request:
    query = "?dry_run=true" if kind in (DRY_RUN, DRY_RUN_REFUSED) else ""
    return Request(
        kind=kind,
        method="PUT",
        path=f"/v1/instances/{guest.uuid}/slo{query}",
        headers=f"X-Auth-Token: {cloud.token_of(guest)}\r\nContent-Type: application/json\r\n",
        body=json.dumps({"objectives": objectives}).encode(),
    )


def _outcome(options: Options, seen: Sequence[_Size], facts: Mapping[str, Any]) -> Outcome:
    rows = []
    for size in seen:
        for kind, found in {**size.timings.kinds, "all": size.timings.all}.items():
            cpu = results.milliseconds(size.cpu_seconds) if kind == "all" else None
            rows.append(results.row(f"{size.fleet.hosts} hosts: {kind}", found, cpu_ms=cpu))
    every = {size.fleet.hosts: size.timings.all for size in seen}
    worst = max((found for size in seen for found in size.timings.kinds.values()), key=lambda one: one.p99_seconds)
    smallest, largest = every[options.sizes[0]], every[options.sizes[-1]]
    growth = largest.p50_seconds / smallest.p50_seconds
    unexpected = sum((size.unexpected for size in seen), Counter[str]())
    return Outcome(
        command="admission",
        settings={
            "hosts": ",".join(str(size) for size in options.sizes),
            "instances": ",".join(str(size.fleet.instances) for size in seen),
            "SLOs on a host": seen[-1].fleet.guaranteed_per_host,
            "admissions of each kind": options.admissions,
        },
        tables={"admission": rows},
        facts={
            **facts,
            "refusals that knew a host where it fits": ", ".join(f"{100 * size.fits_elsewhere:.0f} %" for size in seen),
            "cpu_ms": "CPU time of the server and its database for one admission",
        },
        musts=[
            _p99(worst),
            Must(
                text=f"flat: the median of the largest at most {LARGEST_GROWTH_RATIO:g} times that of the smallest",
                kept=growth <= LARGEST_GROWTH_RATIO,
                seen=f"{growth:.2f} times",
            ),
            Must(text="every answer as expected", kept=not unexpected, seen=_few(unexpected)),
        ],
    )


def _few(unexpected: Counter[str]) -> str:
    shown = ", ".join(f"{count} x {what}" for what, count in unexpected.most_common(3))
    return f"{unexpected.total()} are not{': ' if shown else ''}{shown}"


def _p99(worst: Spread) -> Must:
    return Must(
        text=f"p99 of every kind and size at most {LARGEST_P99_SECONDS * MILLISECONDS:g} ms",
        kept=worst.p99_seconds <= LARGEST_P99_SECONDS,
        seen=f"{results.milliseconds(worst.p99_seconds)} ms at worst",
    )
