"""``stella-bench scale load``: one stella-api on one core with its database, a whole cloud of hosts and users, and the ceiling."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stella.bench.progress import Progress
from stella.bench.scale import results
from stella.bench.scale.ceilings import HOSTS, beside_placement, ceilings
from stella.bench.scale.closed_loop import SUCCESS, Ceiling
from stella.bench.scale.cloud import running
from stella.bench.scale.fleet import Fleet
from stella.bench.scale.processes import divide_cores
from stella.bench.scale.results import Must, Outcome
from stella.bench.scale.steady import READS_PER_SECOND, WRITES_PER_SECOND, Load, steady
from stella.bench.scale.timings import MILLISECONDS, spread

LARGEST_P99_SECONDS = 0.1
_LARGEST_LAG_SECONDS = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What is asked of the run. ``placement_venv`` None leaves placement out."""

    fleet: Fleet
    seconds: float
    placement_venv: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """All that the run showed."""

    load: Load
    ceilings: Mapping[str, Ceiling]
    beside: Ceiling | str
    apart: bool
    facts: Mapping[str, str]


def run(options: Options, directory: Path, progress: Progress) -> Outcome:
    """Fill, load, find the ceiling. Raises `NotStarted`."""
    cores = divide_cores()
    with running(directory, options.fleet, cores, progress) as cloud:
        load = asyncio.run(steady(cloud, options.seconds, progress))
        found = asyncio.run(ceilings(cloud, progress))
        beside = beside_placement(cloud, options.placement_venv, progress)
        seen = _Seen(load=load, ceilings=found, beside=beside, apart=cores.apart, facts=cloud.facts())
    fleet = options.fleet
    return Outcome(
        command="load",
        settings={
            "hosts": fleet.hosts,
            "instances": fleet.instances,
            "SLOs": sum(guest.terms is not None for host in fleet for guest in host.guests),
            "seconds": round(load.seconds, 1),
            "reads/s": READS_PER_SECOND,
            "writes/s": WRITES_PER_SECOND,
        },
        tables={"load": _load_rows(load), "ceiling": _ceiling_rows(seen, fleet)},
        facts=_facts(seen),
        musts=_musts(seen, fleet),
    )


def _load_rows(load: Load) -> list[dict[str, Any]]:
    kinds = {**load.timings.kinds, "all": load.timings.all}
    return [results.row(name, found, per_second=round(found.count / load.seconds, 1)) for name, found in kinds.items()]


def _ceiling_rows(seen: _Seen, fleet: Fleet) -> list[dict[str, Any]]:
    found = {f"stella-api: {name}": one for name, one in seen.ceilings.items()}
    if isinstance(seen.beside, Ceiling):
        found[f"openstack-placement: GET /resource_providers, {fleet.hosts} rows"] = seen.beside
    return [
        results.row(
            name,
            one.spread,
            per_second=round(one.requests_per_second, 1),
            cpu_ms=results.milliseconds(one.cpu_seconds),
            body_bytes=one.body_bytes or None,
            failures=dict(one.unexpected) or 0,
        )
        for name, one in found.items()
    ]


def _facts(seen: _Seen) -> dict[str, Any]:
    load, lag = seen.load, spread(seen.load.timings.lags)
    cpu = f"stella-api {load.api_cores:.2f}, database {load.database_cores:.2f}, generator {load.generator_cores:.2f}"
    late = f"p99 {results.milliseconds(lag.p99_seconds)} ms, max {results.milliseconds(lag.max_seconds)} ms"
    return {
        **seen.facts,
        "authentication": "stella-api: token file, and each host's own credential; placement: noauth2",
        "CPU in cores under the load": cpu,
        "memory of stella-api": f"{load.api_resident_bytes / 2**20:.0f} MiB",
        "intervals that the server chose, in s": f"poll {load.poll_seconds.p50_seconds:g},"
        f" report {load.report_seconds.p50_seconds:g}",
        "generator late by": late,
        "answers other than success": {**load.timings.unexpected(SUCCESS), **load.timings.errors} or "none",
        "cpu_ms": "CPU time of the server and its database for one request; 1000 / cpu_ms is what a free core gives",
        **({"placement": seen.beside} if isinstance(seen.beside, str) else {}),
    }


def _musts(seen: _Seen, fleet: Fleet) -> list[Must]:
    load, beside = seen.load, seen.beside
    every, lag = load.timings.all, spread(load.timings.lags)
    failed = load.timings.count_status(500, 599)
    others = sum(load.timings.unexpected(SUCCESS).values()) + sum(load.timings.errors.values())
    hosts = next(found for name, found in seen.ceilings.items() if name.startswith(HOSTS))
    if isinstance(beside, Ceiling):
        shown = f"{HOSTS} {hosts.requests_per_second:.1f}/s, placement {beside.requests_per_second:.1f}/s"
    else:
        shown = f"{HOSTS} {hosts.requests_per_second:.1f}/s, placement: {beside}"
    limit = f"{LARGEST_P99_SECONDS * MILLISECONDS:g} ms"
    return [
        Must(
            text=f"p99 of all requests at most {limit}",
            kept=every.p99_seconds <= LARGEST_P99_SECONDS,
            seen=f"{results.milliseconds(every.p99_seconds)} ms of {every.count}",
        ),
        Must(text="no 5xx", kept=failed == 0 and every.count > 0, seen=str(failed)),
        Must(text="no other failure", kept=others == 0, seen=str(others)),
        Must(text="all hosts poll and report", kept=load.connected == fleet.hosts, seen=str(load.connected)),
        Must(
            text="the generator is not the limit",
            kept=seen.apart and lag.p99_seconds <= _LARGEST_LAG_SECONDS,
            seen=f"{load.generator_cores:.2f} core, late by p99 {results.milliseconds(lag.p99_seconds)} ms",
        ),
        Must(
            text="the ceiling beside placement's in the same run",
            kept=isinstance(beside, Ceiling) and not beside.unexpected and not hosts.unexpected,
            seen=shown,
        ),
    ]
