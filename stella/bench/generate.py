"""Scenarios from a seed: promises and neighbours varied, reservations a known part of what the host can give. Pure.

The sum of what the floors cost in CPU is drawn from 60 to 80 % of the capacity that is left after overhead, by the cost model the
caller measured. The same seed, count and costs always give the same scenarios.
"""

import random
from dataclasses import dataclass
from typing import Any

LEAST_RESERVED_RATIO = 0.6
MOST_RESERVED_RATIO = 0.8
_MOST_IO_CORES = 0.6
"""Of one I/O floor: its serial stage (main loop or iothread) must stay well below one core."""
_LEAST_CORES = 0.1
_KINDS = ("udp", "disk", "cpu")
_BLOCKS_KIB = (16, 32, 64, 128, 256)
_PACKETS_BYTES = (64, 128, 256, 512, 1024)


@dataclass(frozen=True, slots=True, kw_only=True)
class CostModel:
    """CPU cost of I/O on this machine, all of QEMU's threads counted, in core-seconds.

    The defaults are this project's machine under TCG (lab.md); the cost of a packet hardly depends on its size.
    """

    packet_seconds: float = 22.5e-6
    request_seconds: float = 60e-6
    byte_seconds: float = 0.44e-9

    def bytes_per_core(self, block_bytes: int) -> float:
        """Bytes/s that one core moves in requests of ``block_bytes``."""
        return block_bytes / (self.request_seconds + block_bytes * self.byte_seconds)


def generate(
    seed: int, count: int, *, costs: CostModel, capacity_cores: float, duration_seconds: int = 60
) -> list[dict[str, Any]]:
    """``count`` scenario documents, ready to be written as YAML. ``capacity_cores``: left for instances after measured overhead."""
    return [_scenario(seed, number, costs, capacity_cores, duration_seconds) for number in range(count)]


def _scenario(seed: int, number: int, costs: CostModel, capacity_cores: float, duration_seconds: int) -> dict[str, Any]:
    chance = random.Random(f"{seed}.{number}")  # noqa: S311 (repeatable, not secret)
    kinds = list(
        _KINDS[: chance.choice((2, 3, 3))] if chance.random() < 0.5 else chance.sample(_KINDS, chance.choice((2, 3)))
    )
    kinds += [chance.choice(_KINDS) for _ in range(chance.choice((0, 0, 1)))]
    target = capacity_cores * chance.uniform(LEAST_RESERVED_RATIO + 0.01, MOST_RESERVED_RATIO - 0.01)
    vcpus = [chance.choice((1, 1, 2)) if kind != "cpu" else chance.choice((1, 2, 4)) for kind in kinds]
    most = [_MOST_IO_CORES if kind != "cpu" else 0.8 * n for kind, n in zip(kinds, vcpus, strict=True)]
    parts = split(target, [chance.uniform(0.5, 1.5) for _ in kinds], most)
    instances = [
        _promised(chance, f"vm{i + 1}", kind, n, cores, costs)
        for i, (kind, n, cores) in enumerate(zip(kinds, vcpus, parts, strict=True))
    ]
    instances += _neighbours(chance)
    return {
        "name": f"seed-{seed}-{number + 1:02d}",
        "duration": f"{duration_seconds}s",
        "warmup": "10s",
        "instances": instances,
    }


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


def _rounded(value: float, step: float) -> int:
    return int(max(step, round(value / step) * step))


def _promised(
    chance: random.Random, name: str, kind: str, vcpus: int, cores: float, costs: CostModel
) -> dict[str, Any]:
    instance: dict[str, Any] = {"name": name, "vcpus": vcpus, "memory": "512MB"}
    if kind == "udp":
        packet = chance.choice(_PACKETS_BYTES)
        instance["workload"] = {"kind": "udp", "packet_bytes": packet, "direction": "tx"}
        floor = _rounded(cores / costs.packet_seconds, 100)
        instance["slo"] = {"network_packets": {"floor": f"{floor}pps", "direction": "tx"}}
    elif kind == "disk":
        block = chance.choice(_BLOCKS_KIB)
        pattern = chance.choice(("randread", "randread", "read", "randwrite"))
        instance["disk"] = {"backend": "local", "size": "2GB"}
        depth = chance.choice((8, 16, 32))
        instance["workload"] = {"kind": "disk", "pattern": pattern, "block": f"{block}KiB", "depth": depth}
        floor = _rounded(cores * costs.bytes_per_core(block * 1024) / 1e6, 1)
        instance["slo"] = {"block_bytes": {"floor": f"{floor}MB/s", **({"unit": f"{block}KiB"} if block != 64 else {})}}
    else:
        instance["workload"] = {"kind": "cpu", "threads": vcpus}
        instance["slo"] = {"cpu": {"floor": f"{_rounded(cores * 100, 1)}%"}}
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
