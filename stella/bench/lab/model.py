"""What a laboratory is made of, as values: back ends, uplinks, workloads and guests. Standard library only."""

from dataclasses import dataclass
from pathlib import Path
from uuid import NAMESPACE_DNS, uuid5


class LabError(Exception):
    """The laboratory could not do what it was asked; one line for a person."""


class WorkloadError(LabError):
    """A workload's keys make no sense together; the message names the key."""


@dataclass(frozen=True, slots=True)
class Backend:
    """Where disks lie: ``file`` is a raw file on the host, ``nbd`` a network disk (nbdkit), which can be rate-limited.

    ``rate_bytes_per_second`` bounds all disks on the back end together (``nbd`` only); None: no bound.
    """

    name: str
    kind: str = "file"
    rate_bytes_per_second: float | None = None


@dataclass(frozen=True, slots=True)
class Uplink:
    """A bridge that guests attach to. The receivers' side of it may be rate-limited in each direction (None: no bound)."""

    name: str = "up0"
    rate_bytes_per_second: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One load generator of a guest.

    ``kind``: ``udp`` (uses packet_bytes, direction ``tx``: the guest sends, or ``rx``), ``disk`` (pattern, block_bytes, depth),
    ``cpu`` (threads) or ``idle``. ``rate`` bounds what it asks for, in the base unit of the kind: packets/s for udp,
    bytes/s for disk; None: as much as it gets. ``cpu`` takes no rate.
    """

    kind: str
    packet_bytes: int = 64
    direction: str = "tx"
    pattern: str = "randread"
    block_bytes: int = 65536
    depth: int = 16
    threads: int = 1
    rate: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """One virtual machine. ``disk`` is (back end's name, size in bytes). ``start_idle``: its loads wait for `Lab.start`.

    ``bin_seconds``: how often its fine counters are read inside the guest. Each reading costs a starved guest dear under TCG.
    """

    name: str
    vcpus: int = 1
    memory_bytes: int = 512 * 10**6
    workloads: tuple[Workload, ...] = ()
    disk: tuple[str, int] | None = None
    uplink: str = "up0"
    start_idle: bool = False
    bin_seconds: float = 0.1

    @property
    def uuid(self) -> str:
        """The domain's uuid: always the same for the same name, so that SLO files can be written beforehand."""
        return str(uuid5(NAMESPACE_DNS, f"{self.name}.stella-bench"))


@dataclass(frozen=True, slots=True, kw_only=True)
class CgroupInfo:
    """The cgroup layout the lab found. ``cpu_root`` is where the cpu controller is mounted (v2: the unified mount).

    ``cpuset_root`` is the same for cpusets; None where there are none.
    """

    version: int
    cpu_root: Path
    cpuset_root: Path | None
