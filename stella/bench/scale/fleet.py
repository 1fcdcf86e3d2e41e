"""The cloud that is measured: hosts and instances made from a seed, each host as a real agent would publish it.

Twenty instances on a host of 20 CPUs, with 1, 2, 4 and 8 vCPUs; some have an SLO, those with 8 vCPUs never. One host in ten has half
as many SLOs, so that a refusal finds others where the same would fit.
"""

import random
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from stella.control.capabilities import Capability
from stella.control.cost import Prior
from stella.control.memory import Settings, fresh_costs, priced
from stella.control.reservation import reserve
from stella.model.slo import Metric, Slo, parse_slo, show_slo

CPUS = 20
CAPACITY_CPU_CORES = 18.0
ONE_CPU_CAPACITY_CORES = 0.9
MARGIN = Settings().margin
NO_TARGET = "this release measures disk latency but does not enforce a target"
CAPABILITIES: Mapping[str, str] = {
    c.value: NO_TARGET if c is Capability.BLOCK_LATENCY_TARGET else "" for c in Capability
}
_VCPUS = (1, 2, 4, 2, 8)
_PROJECT_SIZE = 100
_SLOS: Mapping[int, Mapping[str, Mapping[str, object]]] = {
    1: {"cpu": {"floor": 0.5}},
    2: {"cpu": {"floor": 1.0}, "network_packets": {"floor": 20_000.0, "direction": "tx"}},
    4: {"cpu": {"floor": 2.0}, "block_bytes": {"floor": 100e6}},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """An SLO, and what admission sets aside for it."""

    slo: Slo
    objectives: Mapping[str, Mapping[str, object]]
    reserved_cpu_cores: float
    io_ratio: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """One instance; ``terms`` None: without SLO."""

    uuid: str
    name: str
    project: str
    vcpus: int
    terms: Terms | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EmulatedHost:
    """One host with its instances. ``number`` counts from 1, and is also its id in a database filled for a run."""

    number: int
    guests: tuple[Guest, ...]

    @property
    def name(self) -> str:
        """Its name."""
        return f"host{self.number:05d}"

    @property
    def reserved_cpu_cores(self) -> float:
        """What its SLOs hold."""
        return sum(guest.terms.reserved_cpu_cores for guest in self.guests if guest.terms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """How large the cloud is. ``guaranteed_per_host``: how many instances of a host have an SLO."""

    hosts: int
    instances_per_host: int = 20
    guaranteed_per_host: int = 10
    seed: int = 15

    @property
    def instances(self) -> int:
        """How many instances there are."""
        return self.hosts * self.instances_per_host

    @property
    def projects(self) -> tuple[str, ...]:
        """The projects that own them."""
        return tuple(f"project{number}" for number in range(max(1, self.instances // _PROJECT_SIZE)))

    def __iter__(self) -> Iterator[EmulatedHost]:
        """Each host, the same ones each time."""
        chance = random.Random(self.seed)  # noqa: S311 (no secret: the same cloud again)
        projects = self.projects
        for number in range(1, self.hosts + 1):
            left = self.guaranteed_per_host if number % 10 else self.guaranteed_per_host // 2
            guests: list[Guest] = []
            for index in range(self.instances_per_host):
                vcpus = _VCPUS[index % len(_VCPUS)]
                guaranteed = left > 0 and vcpus in _SLOS
                left -= guaranteed
                guests.append(
                    Guest(
                        uuid=str(uuid.UUID(int=chance.getrandbits(128), version=4)),
                        name=f"vm-{number}-{index}",
                        project=projects[(number * self.instances_per_host + index) % len(projects)],
                        vcpus=vcpus,
                        terms=terms_of(vcpus) if guaranteed else None,
                    )
                )
            yield EmulatedHost(number=number, guests=tuple(guests))


@cache
def terms_of(vcpus: int) -> Terms:
    """The SLO of an instance with so many vCPUs."""
    slo = parse_slo(_SLOS[vcpus])
    reservation = reserve(slo, priced(fresh_costs(Prior(), slo), Prior(), slo), vcpus=vcpus, margin=MARGIN)
    return Terms(slo=slo, objectives=show_slo(slo), reserved_cpu_cores=reservation.cores, io_ratio=reservation.io_ratio)


def metrics_of(guest: Guest) -> tuple[Metric, ...]:
    """What the guest's minutes are about."""
    return tuple(objective.metric for objective in guest.terms.slo.objectives) if guest.terms else ()
