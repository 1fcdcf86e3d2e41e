"""What a laboratory is made of, as values: back ends, uplinks and loads are a scenario's own; guests."""

from dataclasses import dataclass
from uuid import NAMESPACE_DNS, uuid5

from stella.bench.scenario import Backend, Load, Uplink

__all__ = ["Backend", "Guest", "LabError", "Uplink", "Workload", "WorkloadError"]


class LabError(Exception):
    """The laboratory could not do what it was asked; one line for a person."""


class WorkloadError(LabError):
    """A workload's keys make no sense together; the message names the key."""


Workload = Load
"""A scenario's load is the guest's workload: the same value."""


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
class Place:
    """Where a guest sits: its number (from 1), both ends' addresses, and the network namespace of its peer (name or path)."""

    index: int
    guest_ip: str
    peer_ip: str
    namespace: str

    def set_up(self) -> tuple[tuple[str, ...], ...]:
        """The commands that the guest runs to have its address: none where it has it."""
        return ()
