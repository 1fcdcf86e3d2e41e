"""Who took the CPU that a guaranteed instance lacked: the one that used most above its entitlement where that instance runs.

Not the largest user: one that uses what it is entitled to has taken nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stella.control.rates import InstanceRates
from stella.model.allocation import Decision
from stella.model.snapshot import InstanceReading

HOST = "host"
"""Stands for host services, in place of an instance's uuid."""

_SMALLEST_EXCESS_CORES = 0.02
_SMALLEST_EXCESS_RATIO = 0.05
_SMALLEST_HOST_EXCESS_RATIO = 0.05  # of the host's cores: its own work comes in bursts


@dataclass(frozen=True, slots=True, kw_only=True)
class Taker:
    """One that used CPU in a window: in cores, beside its entitlement. ``cpus``: where it may run; None: anywhere."""

    uuid: str
    used_cores: float
    entitled_cores: float
    cpus: frozenset[int] | None = None
    deadband_cores: float = _SMALLEST_EXCESS_CORES

    @property
    def excess_cores(self) -> float:
        """What it used above its entitlement."""
        return self.used_cores - self.entitled_cores


@dataclass(frozen=True, slots=True, kw_only=True)
class Offender:
    """Who took most above its entitlement, and the evidence: CPU used and entitled to, in cores, and the CPUs that it shared.

    ``uuid`` is `HOST` for host services. ``cpus`` is None where neither was confined to any.
    """

    uuid: str
    used_cores: float
    entitled_cores: float
    cpus: tuple[int, ...] | None = None


def cpus_of(seen: InstanceReading) -> frozenset[int] | None:
    """The CPUs that its threads may run on, by the cpusets that are in force; None: anywhere."""
    sets = [group.cpus for group in seen.groups or () if group.role is not None]
    return frozenset(cpu for cpus in sets for cpu in cpus or ()) if sets and all(sets) else None


def takers(
    decision: Decision,
    rates: Mapping[str, InstanceRates | None],
    *,
    cpus: Mapping[str, frozenset[int] | None],
    lasting_cores: Mapping[str, float],
    host_reserved_cores: float,
) -> tuple[Taker, ...]:
    """All that used CPU: the instances as ``rates`` tell of the window, and host services against what is reserved for them.

    ``cpus``: where each may run (`cpus_of`), which is not what was decided where the agent only observes.

    An instance is entitled to what it was allocated, and to no less than ``lasting_cores``: its allocation without what feedback gives
    the others for a while. Who uses what is its own when nobody is behind has taken nothing from one that is.
    """
    found = []
    for one in decision.instances:
        seen = rates.get(one.uuid)
        if seen is None or seen.cpu is None:
            continue
        entitled = max(one.cpu.allocation_cores, lasting_cores.get(one.uuid, 0.0))
        found.append(
            Taker(
                uuid=one.uuid,
                used_cores=seen.cpu.cores(),
                entitled_cores=entitled,
                cpus=cpus.get(one.uuid),
                deadband_cores=max(_SMALLEST_EXCESS_CORES, _SMALLEST_EXCESS_RATIO * entitled),
            )
        )
    host = Taker(
        uuid=HOST,
        used_cores=decision.host.overhead_cores,
        entitled_cores=host_reserved_cores,
        deadband_cores=_SMALLEST_HOST_EXCESS_RATIO * max(1.0, decision.host.cores),
    )
    return (*found, host)


def _shared(first: frozenset[int] | None, second: frozenset[int] | None) -> frozenset[int] | None:
    """The CPUs that both may use; None: any."""
    if first is None or second is None:
        return second if first is None else first
    return first & second


def find(missed_uuid: str, found: Sequence[Taker]) -> Offender | None:
    """The instance that took most above its entitlement on a CPU that ``missed_uuid`` may run on; None when none did."""
    here = next((t.cpus for t in found if t.uuid == missed_uuid), None)
    exceeding = [
        (taker, _shared(here, taker.cpus))
        for taker in found
        if taker.uuid != missed_uuid and taker.excess_cores > taker.deadband_cores
    ]
    beside = [(taker, cpus) for taker, cpus in exceeding if cpus is None or cpus]
    if not beside:
        return None
    worst, cpus = max(beside, key=lambda pair: (pair[0].excess_cores, pair[0].uuid))
    return Offender(
        uuid=worst.uuid,
        used_cores=worst.used_cores,
        entitled_cores=worst.entitled_cores,
        cpus=None if cpus is None else tuple(sorted(cpus)),
    )
