"""Scenarios from a seed: promises and neighbours varied, reservations a known part of what the host can give. Pure.

The reservations of the floors, as admission would make them (`control/reservation.py`, margin included), add up to 60 to 80 % of
the capacity that is left after overhead. The same seed, count and settings always give the same scenarios.
"""

import random
from typing import Any

from stella.control.memory import Settings, fresh_costs
from stella.control.reservation import reserve
from stella.model.slo import Metric, Objective, Slo

LEAST_RESERVED_RATIO = 0.6
MOST_RESERVED_RATIO = 0.8
_MOST_IO_CORES = 0.65
"""Of one I/O floor: its serial stage (main loop or iothread) must stay well below one core."""
_LEAST_CORES = 0.1
_KINDS = ("udp", "disk", "cpu")
_BLOCKS_KIB = (16, 32, 64, 128, 256)
_PATTERNS = ("randread", "randread", "read", "read")
"""Reading: what a floor for writes meets first on a file of this host is its disk, which stalls for seconds, not the CPU."""
_PACKETS_BYTES = (64, 128, 256, 512, 1024)


def generate(
    seed: int, count: int, *, settings: Settings, capacity_cores: float, duration_seconds: int = 60
) -> list[dict[str, Any]]:
    """``count`` scenario documents, ready to be written as YAML.

    ``settings``: how the agent prices floors. ``capacity_cores``: left for instances after measured overhead. What no CPU of the host
    has room for is not drawn again: the agent's packing must not choose what it is measured by.
    """
    return [_scenario(seed, number, settings, capacity_cores, duration_seconds) for number in range(count)]


def _scenario(
    seed: int, number: int, settings: Settings, capacity_cores: float, duration_seconds: int
) -> dict[str, Any]:
    chance = random.Random(f"{seed}.{number}")  # noqa: S311 (repeatable, not secret)
    kinds, vcpus, parts = _drawn(chance, capacity_cores)
    instances = [
        _promised(chance, f"vm{i + 1}", kind, n, cores, settings)
        for i, (kind, n, cores) in enumerate(zip(kinds, vcpus, parts, strict=True))
    ]
    instances += _neighbours(chance)
    return {
        "name": f"seed-{seed}-{number + 1:02d}",
        "duration": f"{duration_seconds}s",
        "warmup": "10s",
        "instances": instances,
    }


def _drawn(chance: random.Random, capacity_cores: float) -> tuple[list[str], list[int], list[float]]:
    """For each promised instance what it does, its vCPUs, and the cores that its floors may need."""
    kinds = list(
        _KINDS[: chance.choice((2, 3, 3))] if chance.random() < 0.5 else chance.sample(_KINDS, chance.choice((2, 3)))
    )
    kinds += [chance.choice(_KINDS) for _ in range(chance.choice((0, 0, 1)))]
    target = capacity_cores * chance.uniform(LEAST_RESERVED_RATIO + 0.01, MOST_RESERVED_RATIO - 0.01)
    vcpus = [chance.choice((1, 1, 2)) if kind != "cpu" else chance.choice((1, 2, 4)) for kind in kinds]
    most = [_MOST_IO_CORES if kind != "cpu" else 0.8 * n for kind, n in zip(kinds, vcpus, strict=True)]
    return kinds, vcpus, split(target, [chance.uniform(0.5, 1.5) for _ in kinds], most)


def split(total: float, shares: list[float], most: list[float]) -> list[float]:
    """``total`` in proportion to ``shares``, none below 0.1 (cores) nor above its ``most``; what one cannot take the others do."""
    parts = [0.0] * len(shares)
    open_places = set(range(len(shares)))
    left = total
    while open_places:
        whole = sum(shares[i] for i in open_places)
        full = {i for i in open_places if left * shares[i] / whole >= most[i]}
        for i in full or open_places:
            parts[i] = most[i] if full else max(_LEAST_CORES, left * shares[i] / whole)
        left -= sum(parts[i] for i in full)
        open_places = open_places - full if full else set()
    return parts


def _affordable(metric: Metric, unit_bytes: float, vcpus: int, cores: float, settings: Settings) -> float:
    """The floor whose reservation is ``cores``: the need grows in proportion to the floor."""
    slo = Slo((Objective(metric=metric, floor=1.0, unit_bytes=unit_bytes),))
    one = reserve(slo, fresh_costs(settings.prior, slo), vcpus=vcpus, margin=settings.margin).cores
    return cores / one


def _rounded(value: float, step: float) -> int:
    return int(max(step, value // step * step))


def _promised(
    chance: random.Random, name: str, kind: str, vcpus: int, cores: float, settings: Settings
) -> dict[str, Any]:
    instance: dict[str, Any] = {"name": name, "vcpus": vcpus, "memory": "512MB"}
    if kind == "udp":
        packet = chance.choice(_PACKETS_BYTES)
        instance["workload"] = {"kind": "udp", "packet_bytes": packet, "direction": "tx"}
        floor = _rounded(_affordable(Metric.NETWORK_PACKETS, 0.0, vcpus, cores, settings), 100)
        instance["slo"] = {"network_packets": {"floor": f"{floor}pps", "direction": "tx"}}
    elif kind == "disk":
        block = chance.choice(_BLOCKS_KIB)
        pattern = chance.choice(_PATTERNS)
        instance["disk"] = {"backend": "local", "size": "2GB"}
        depth = chance.choice((8, 16, 32))
        instance["workload"] = {"kind": "disk", "pattern": pattern, "block": f"{block}KiB", "depth": depth}
        floor = _rounded(_affordable(Metric.BLOCK_BYTES, block * 1024.0, vcpus, cores, settings) / 1e6, 1)
        instance["slo"] = {"block_bytes": {"floor": f"{floor}MB/s", **({"unit": f"{block}KiB"} if block != 64 else {})}}
    else:
        instance["workload"] = {"kind": "cpu", "threads": vcpus}
        floor = _rounded(_affordable(Metric.CPU, 0.0, vcpus, cores, settings) * 100, 1)
        instance["slo"] = {"cpu": {"floor": f"{floor}%"}}
    return instance


def _neighbours(chance: random.Random) -> list[dict[str, Any]]:
    vcpus = chance.choice((2, 3, 4, 4))
    found: list[dict[str, Any]] = [
        {"name": "hog", "vcpus": vcpus, "memory": "512MB", "workload": {"kind": "cpu", "threads": vcpus}}
    ]
    if chance.random() < 0.5:
        load: dict[str, Any] = {"kind": "udp", "packet_bytes": chance.choice(_PACKETS_BYTES), "direction": "tx"}
        found.append({"name": "noisy-net", "vcpus": 1, "memory": "512MB", "workload": load})
    if chance.random() < 0.4:
        load = {"kind": "disk", "pattern": "randread", "block": f"{chance.choice(_BLOCKS_KIB)}KiB", "depth": 16}
        disk = {"backend": "local", "size": "2GB"}
        found.append({"name": "noisy-disk", "vcpus": 1, "memory": "512MB", "disk": disk, "workload": load})
    return found
