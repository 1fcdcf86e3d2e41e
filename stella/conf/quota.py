"""``[quota]``: what a project may hold at most, unless it has a limit of its own. The same on every process of the API."""

import math
from typing import Any

from oslo_config import cfg, types

GROUP = "quota"
UNLIMITED = -1.0
LARGEST = 1e15


class _Limit(types.Float):
    """0 or more, or -1; whole where it counts something."""

    def __init__(self, *, whole: bool) -> None:
        super().__init__(min=UNLIMITED, max=LARGEST)
        self._whole = whole

    def __call__(self, value: Any) -> float:
        """Raises ValueError."""
        limit = float(super().__call__(value) or 0.0)
        if not math.isfinite(limit) or (limit < 0 and limit != UNLIMITED) or (self._whole and limit != int(limit)):
            raise ValueError(f"must be a{' whole' if self._whole else ''} number, 0 or more, or -1 for no limit")
        return limit


def _option(name: str, what: str) -> cfg.Opt:
    return cfg.Opt(name, type=_Limit(whole=name == "slos"), default=-1, help=f"{what} -1: no limit.")


OPTIONS = [
    _option("cpu_cores", "The sum of CPU floors of a project, in cores."),
    _option("network_packets_per_second", "The sum of packet rate floors."),
    _option("network_bytes_per_second", "The sum of network bandwidth floors."),
    _option("block_bytes_per_second", "The sum of disk bandwidth floors."),
    _option("block_operations_per_second", "The sum of floors in disk operations per second."),
    _option("reserved_cpu_cores", "CPU that admission sets aside for all floors of a project, their I/O included."),
    _option("slos", "The number of SLOs."),
]
OPTION_OF = {
    "cpu": "cpu_cores",
    "network_packets": "network_packets_per_second",
    "network_bytes": "network_bytes_per_second",
    "block_bytes": "block_bytes_per_second",
    "block_operations": "block_operations_per_second",
    "reserved_cpu_cores": "reserved_cpu_cores",
    "slos": "slos",
}
"""The option of each resource (`stella.db.projects.RESOURCES`)."""
