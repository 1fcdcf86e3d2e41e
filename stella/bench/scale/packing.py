"""``stella-bench scale packing``: Nova fills fake hosts with servers of flavors that sell SLOs, from parallel clients, to the brim.

Against an OpenStack of `make openstack`: real Nova, Placement and Stella; the compute hosts are fake (`docs/openstack/packing.md`).
"""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stella.bench.progress import Progress
from stella.bench.scale import openstack, packing_clients, results
from stella.bench.scale.openstack import Failed
from stella.bench.scale.packing_audit import added_seconds, differing, mixture, overbooked
from stella.bench.scale.packing_clients import Seen
from stella.bench.scale.packing_cloud import Flavor, PackingCloud
from stella.bench.scale.processes import NotStarted
from stella.bench.scale.results import Must, Outcome
from stella.bench.scale.timings import MILLISECONDS, Spread, spread

LARGEST_P99_SECONDS = 0.02
SOLD: Mapping[str, tuple[int, Mapping[str, Any]]] = {
    "cpu": (1, {"cpu": {"floor": 0.3}}),
    "web": (2, {"cpu": {"floor": 0.2}, "network_packets": {"floor": 12_000}}),
    "db": (2, {"cpu": {"floor": 0.4}, "block_bytes": {"floor": 80e6}}),
    "mixed": (4, {"cpu": {"floor": 1.0}, "network_packets": {"floor": 8_000}, "block_bytes": {"floor": 50e6}}),
    "large": (4, {"cpu": {"floor": 2.0}}),
}
"""By flavor: vCPUs and objectives."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What is asked of the run. ``openrc`` is the administrator's file in the laboratory's ``.run``."""

    hosts: int
    creates: int
    clients: int
    creates_per_second: float
    openrc: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class _End:
    """What there was at the end, with nothing under way. ``added`` has the seconds of each scheduling request."""

    over: Sequence[str]
    differing: Sequence[str]
    guaranteed: int
    added: Mapping[str, float]
    largest_used_ratio: float
    load_average: float


def run(options: Options, directory: Path, progress: Progress) -> Outcome:
    """Make the hosts, fill them, look, remove all. Raises `NotStarted`."""
    checkout = options.openrc.absolute().parents[1]
    log = checkout / ".run" / "openstack" / "log" / "nova-scheduler.log"
    cloud = PackingCloud(openstack.read(options.openrc))
    outcome: Outcome | None = None
    try:
        with ExitStack() as stack:
            progress.step(f"starting {options.hosts} fake hosts")
            stack.callback(_fake_hosts, checkout, 0, directory / "fake-hosts.log")
            _fake_hosts(checkout, options.hosts, directory / "fake-hosts.log")
            stack.callback(cloud.remove)
            flavors = cloud.prepare(SOLD)
            position = log.stat().st_size if log.exists() else 0
            by_name = {flavor.name: flavor for flavor in flavors}
            wanted = [by_name[name] for name in mixture(list(by_name), options.creates)]
            apart_seconds = 1.0 / options.creates_per_second
            clients = packing_clients.Run(cloud, wanted, clients=options.clients, apart_seconds=apart_seconds)
            seen = clients.run(
                lambda asked: progress.step(f"servers asked for: {asked // 10 * 10} of {options.creates}")
            )
            outcome = _outcome(options, flavors, seen, _end(cloud, log, position))
            progress.step("removing servers, flavors and fake hosts")
    except (Failed, NotStarted) as error:
        if outcome is None:
            raise NotStarted(str(error)) from None
        return replace(outcome, facts={**outcome.facts, "left behind": str(error)})
    return outcome


def _fake_hosts(checkout: Path, count: int, log: Path) -> None:
    """Have so many of them. Raises `NotStarted`."""
    environment = {**os.environ, "PYTHONPATH": str(checkout / "deploy")}
    argv = [sys.executable, "-m", "laboratory", "fake-hosts", str(count)]
    with log.open("ab") as output:
        done = subprocess.run(argv, stdout=output, stderr=output, cwd=checkout, env=environment, check=False)
    if done.returncode:
        raise NotStarted(" ".join(log.read_text(errors="replace").split())[-600:])


def _end(cloud: PackingCloud, log: Path, position: int) -> _End:
    ledgers, hosts = cloud.ledgers(), cloud.stella_hosts()
    with log.open("rb") as file:
        file.seek(position)
        lines = file.read().decode(errors="replace").splitlines()
    return _End(
        over=overbooked(ledgers, hosts),
        differing=differing(ledgers, cloud.allocated()),
        guaranteed=cloud.guaranteed(),
        added=added_seconds(lines),
        largest_used_ratio=max(
            (used / one.room[name] for one in ledgers for name, used in one.used.items() if one.room.get(name)),
            default=0.0,
        ),
        load_average=round(os.getloadavg()[0], 1),
    )


def _outcome(options: Options, flavors: Sequence[Flavor], seen: Seen, end: _End) -> Outcome:
    added = spread(end.added.values())
    hosts = packing_clients.per_host(seen.placed)
    return Outcome(
        command="packing",
        settings={
            "hosts": options.hosts,
            "creates": options.creates,
            "clients": options.clients,
            "creates/s at most": options.creates_per_second,
        },
        tables={
            "time": [
                results.row("filter and weigher, for each scheduling request", added),
                results.row("until a server is ACTIVE, as a client sees it", spread(seen.seconds_until_active)),
            ],
            "flavors": [_flavor_row(flavor, seen) for flavor in flavors],
        },
        facts={
            "servers": f"{len(seen.placed)} placed, {seen.refused.total()} refused, {len(seen.failed)} failed",
            "on a host": f"{min(hosts.values(), default=0)} to {max(hosts.values(), default=0)} servers",
            "fullest class of a host": f"{100 * end.largest_used_ratio:.1f} % used",
            "samples of Placement and Stella": seen.samples,
            "refusals": f"replayed in {seen.freezes} halts of all clients",
            "servers whose SLO Stella had made when the clients ended": f"{end.guaranteed} of {len(seen.placed)}",
            "load average after": end.load_average,
        },
        musts=_musts(seen, end, added),
    )


def _flavor_row(flavor: Flavor, seen: Seen) -> dict[str, Any]:
    sold = {name: amount for name, amount in flavor.resources.items() if name.startswith("CUSTOM_STELLA_")}
    text = ", ".join(f"{amount} {name.removeprefix('CUSTOM_STELLA_')}" for name, amount in sold.items())
    return {"what": flavor.name, "vcpus": flavor.vcpus, "allocates": text, "refused": seen.refused[flavor.name]}


def _musts(seen: Seen, end: _End, added: Spread) -> list[Must]:
    over = [*seen.over, *end.over]
    refused = seen.refused.total()
    return [
        Must(
            text="no host over its capacity at any instant, in Placement or in Stella",
            kept=not over and seen.samples > 0,
            seen=over[0] if over else f"in {seen.samples} samples and at the end",
        ),
        Must(
            text="what is used in Placement is the sum of the allocations",
            kept=not end.differing,
            seen=end.differing[0] if end.differing else "on every host",
        ),
        Must(
            text="the hosts were filled until refusals came",
            kept=refused > 0,
            seen=f"{refused} refusals",
        ),
        Must(
            text="each refusal replayed: no host had room in all dimensions",
            kept=refused == seen.replayed and not seen.wrong,
            seen=f"{seen.replayed} of {refused} replayed, {len(seen.wrong)} wrong{_first(seen.wrong)}",
        ),
        Must(
            text="every other server is ACTIVE",
            kept=not seen.failed,
            seen=f"{len(seen.failed)} are not{_first(seen.failed)}",
        ),
        Must(
            text=f"filter and weigher add p99 at most {LARGEST_P99_SECONDS * MILLISECONDS:g} ms",
            kept=added.count > 0 and added.p99_seconds <= LARGEST_P99_SECONDS,
            seen=f"{results.milliseconds(added.p99_seconds)} ms of {added.count} requests",
        ),
    ]


def _first(lines: Sequence[str]) -> str:
    return f", such as {lines[0]}" if lines else ""
