"""What the hosts of a simulated cloud hold, asked of the real admission.

`stella.admission` asks `stella.control.admission` of what is in the database, and Placement holds what is sold. Here the same pure
functions are asked of what is in memory: `fits` and `admit` with `HostCapacity` for CPU, `resources_of` and `totals_of` for
Placement's classes. Nova's part is modelled: so many vCPUs on each CPU, and the host with the most head-room first.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from stella.control.admission import InstanceShape, admit, fits
from stella.control.capacity import Held, HostCapacity, sellable_cores
from stella.control.cost import UnitCost
from stella.control.inventory import totals_of
from stella.control.memory import Memory, Settings, capacity_for_floors, capacity_of_one_cpu, priced
from stella.control.reservation import reserve
from stella.model.resources import CPU_MILLICORES, resources_of
from stella.model.slo import Metric, Slo
from stella.sim.cloud.waves import Bools

VCPUS_PER_CPU = 4.0
"""Nova's cpu_allocation_ratio."""
_TRIED = 8
"""So many hosts are asked for one instance, those with the most head-room first; Nova asks for more, of which the rest is fuller."""

Costs = Mapping[Metric, UnitCost]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What one instance holds on one host: its vCPUs, and where it has an SLO what is set aside and Placement's classes."""

    vcpus: int
    held: Held | None = None
    resources: Mapping[str, int] | None = None


class Ledger:
    """``overhead`` is what each host's own work takes, in cores; whoever changes it calls `changed`."""

    def __init__(self, *, hosts: int, cores: int, settings: Settings, device_bytes: float) -> None:
        self.settings = settings
        self.cores = cores
        self.overhead = np.zeros(hosts)
        self.reserved = np.zeros(hosts)
        self.vcpus = np.zeros(hosts)
        self.takes = np.ones(hosts, dtype=bool)
        self._limits = {Metric.BLOCK_BYTES: device_bytes}
        self._entries: list[dict[int, Entry]] = [{} for _ in range(hosts)]
        self._sold: list[Counter[str]] = [Counter() for _ in range(hosts)]
        self._capacities: dict[int, HostCapacity] = {}
        self._priors: dict[tuple[tuple[Metric, float], ...], Costs] = {}
        self._totals: dict[float, Mapping[str, int]] = {}

    def capacity(self, host: int) -> HostCapacity:
        """What a host has to guarantee beside what it holds."""
        found = self._capacities.get(host)
        if found is None:
            memory = Memory(overhead_cores=float(self.overhead[host]))
            found = self._capacities[host] = HostCapacity(
                capacity_cores=capacity_for_floors(memory, self.cores, self.settings),
                cpus=tuple(range(self.cores)),
                one_cpu_cores=capacity_of_one_cpu(memory, self.cores, self.settings),
                held=tuple(entry.held for entry in self._entries[host].values() if entry.held is not None),
            )
        return found

    def changed(self, hosts: Iterable[int]) -> None:
        """Their capacity is another one now."""
        for host in hosts:
            self._capacities.pop(int(host), None)

    def need(self, slo: Slo, costs: Costs, vcpus: int) -> Held:
        """What an SLO would hold at these costs."""
        found = reserve(slo, self.priced(slo, costs), vcpus=vcpus, margin=self.settings.margin)
        return Held(cores=found.cores, vcpus=vcpus, io_ratio=found.io_ratio)

    def fits(self, slo: Slo | None, costs: Costs, vcpus: int, host: int) -> bool:
        """Whether a host takes an instance: Nova's vCPUs, Placement's classes, and admission."""
        if not self.takes[host] or self.vcpus[host] + vcpus > self.cores * VCPUS_PER_CPU:
            return False
        if slo is None:
            return True
        capacity, costs = self.capacity(host), self.priced(slo, costs)
        wanted = resources_of(slo, self.need(slo, costs, vcpus).cores)
        sold, totals = self._sold[host], self._classes(capacity.sellable_cores)
        if any(sold[name] + amount > totals.get(name, 0) for name, amount in wanted.items()):
            return False
        shape = InstanceShape(vcpus=vcpus, iothreads=1, links=1, disks=1)
        return fits(slo, costs, shape=shape, margin=self.settings.margin, capacity=capacity)

    def place(self, slo: Slo | None, costs: Costs, vcpus: int) -> int | None:
        """The host for a new instance; None: no host takes it."""
        tried = self.candidates(self.need(slo, costs, vcpus).cores if slo else 0.0, vcpus)
        return next((host for host in tried if self.fits(slo, costs, vcpus, host)), None)

    def candidates(self, cores: float, vcpus: int) -> list[int]:
        """The hosts with the most head-room that have as much as this left, at most `_TRIED`."""
        settled = np.maximum(self.overhead, self.settings.host_reserved_cores)
        room = sellable_cores(1.0) * (self.cores - settled) - self.reserved
        able: Bools = self.takes & (self.vcpus + vcpus <= self.cores * VCPUS_PER_CPU) & (room >= cores)
        if cores <= 0.0:  # best-effort: the host with the fewest vCPUs, as Nova's weigher of cores has it
            room = -self.vcpus
        ranked = np.where(able, room, -np.inf)
        count = min(_TRIED, len(ranked))
        found = np.argpartition(-ranked, count - 1)[:count]
        return [int(h) for h in sorted(found, key=lambda h: (-ranked[h], h)) if able[h]]

    def refusal(self, slo: Slo, costs: Costs, vcpus: int) -> str:
        """Why no host takes it, in the words of the field that admission names on the freest host."""
        settled = np.maximum(self.overhead, self.settings.host_reserved_cores)
        host = int(np.argmax(np.where(self.takes, self.cores - settled - self.reserved, -np.inf)))
        answer = admit(
            slo,
            self.priced(slo, costs),
            shape=InstanceShape(vcpus=vcpus, iothreads=1, links=1, disks=1),
            margin=self.settings.margin,
            capacity=self.capacity(host),
            with_largest=False,
        )
        return answer.field if not answer.accepted else "placement"

    def hold(self, host: int, row: int, slo: Slo | None, costs: Costs, vcpus: int) -> None:
        """Set aside what an instance needs."""
        self._put(host, row, Entry(vcpus=vcpus) if slo is None else _entry(slo, self.need(slo, costs, vcpus)))

    def set_reserved(self, host: int, row: int, slo: Slo, cores: float, io_ratio: float) -> None:
        """Another reservation for what an instance holds already."""
        held = replace(self._entries[host][row], held=None).vcpus
        self._put(host, row, _entry(slo, Held(cores=cores, vcpus=held, io_ratio=io_ratio)))

    def held_cores(self, host: int, row: int) -> float:
        """What an instance holds on a host."""
        entry = self._entries[host].get(row)
        return entry.held.cores if entry is not None and entry.held is not None else 0.0

    def rows(self, host: int) -> frozenset[int]:
        """The instances that hold something on a host."""
        return frozenset(self._entries[host])

    def release(self, host: int, row: int) -> None:
        """Let go what an instance holds; nothing where it holds nothing."""
        entry = self._entries[host].pop(row, None)
        if entry is not None:
            self._count(host, entry, -1)

    def _put(self, host: int, row: int, entry: Entry) -> None:
        self.release(host, row)
        self._entries[host][row] = entry
        self._count(host, entry, 1)

    def _count(self, host: int, entry: Entry, sign: int) -> None:
        self.vcpus[host] += sign * entry.vcpus
        if entry.held is not None:
            self.reserved[host] = sum(one.held.cores for one in self._entries[host].values() if one.held is not None)
            for name, amount in (entry.resources or {}).items():
                self._sold[host][name] += sign * amount
            self._capacities.pop(host, None)

    def priced(self, slo: Slo, costs: Costs) -> Costs:
        """What the floors of an SLO cost: as learned, else by the prior, the same for all with these metrics and sizes."""
        if all(objective.metric in costs for objective in slo.objectives):
            return costs
        question = tuple((objective.metric, objective.unit_bytes) for objective in slo.objectives)
        found = self._priors.get(question)
        if found is None:
            every = priced({}, self.settings.prior, slo)
            found = self._priors[question] = {metric: every[metric] for metric, _ in question}
        return found

    def _classes(self, sellable: float) -> Mapping[str, int]:
        """Placement's totals of a host, CPU aside, which admission counts exactly."""
        found = self._totals.get(sellable)
        if found is None:
            totals = totals_of(sellable, limits=self._limits)
            found = self._totals[sellable] = {**totals, CPU_MILLICORES.name: 2**31 - 1}
        return found


def _entry(slo: Slo, held: Held) -> Entry:
    return Entry(vcpus=held.vcpus, held=held, resources=resources_of(slo, held.cores))
