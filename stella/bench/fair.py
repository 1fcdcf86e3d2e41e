"""What neighbours without an SLO could fairly expect: their weighted max-min share of what the floors leave. Pure.

"Work per core" comes from solo runs: each load alone on the machine.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from stella.bench.scenario import Scenario
from stella.model.slo import Metric


@dataclass(frozen=True, slots=True, kw_only=True)
class Solo:
    """One instance's load alone on the machine: its work per second and the cores that its QEMU used for it."""

    instance: str
    work_per_second: float
    cores: float

    @property
    def cores_per_work(self) -> float:
        """Core-seconds for one unit of work; 0 when nothing was done."""
        return self.cores / self.work_per_second if self.work_per_second > 0 else 0.0


def max_min(
    capacity: float, wants: Mapping[str, float], weights: Mapping[str, float] | None = None
) -> dict[str, float]:
    """Weighted max-min shares of ``capacity`` (any unit): nobody gets more than it wants, the rest is split by weight (default 1)."""
    weight = {name: (weights or {}).get(name, 1.0) for name in wants}
    shares = dict.fromkeys(wants, 0.0)
    open_names = {name for name, want in wants.items() if want > 0}
    left = max(0.0, capacity)
    while open_names and left > 0:
        level = left / sum(weight[name] for name in open_names)
        full = {name for name in open_names if wants[name] <= level * weight[name]}
        for name in full or open_names:
            shares[name] = wants[name] if full else level * weight[name]
            left -= shares[name]
        open_names -= full or open_names
    return shares


def reservation_cores(scenario: Scenario, instance: str, solo: Mapping[str, Solo]) -> float:
    """The CPU that an instance's floors at the start need, by the cost of its load when alone.

    A CPU floor is the guest's own computing; packets and bytes come on top of it.
    """
    slo = scenario.slo_at(instance, 0.0)
    alone = solo.get(instance)
    total = 0.0
    for objective in slo.objectives if slo else ():
        if objective.floor is None:
            continue
        if objective.metric is Metric.CPU:
            total += objective.floor
        elif alone is not None and objective.metric in (Metric.NETWORK_PACKETS, Metric.BLOCK_BYTES):
            total += objective.floor * alone.cores_per_work
    return total


def fair_cores(scenario: Scenario, solo: Mapping[str, Solo], *, capacity_cores: float) -> dict[str, float]:
    """Cores that each instance could expect: its reservation and its max-min share of the rest, everyone who wants more counted.

    ``capacity_cores``: the machine's, less what the host and the load's receivers use. What an instance wants is what it used alone.
    """
    reserved = {i.name: reservation_cores(scenario, i.name, solo) for i in scenario.instances}
    wants = {name: max(0.0, solo[name].cores - reserved[name]) if name in solo else 0.0 for name in reserved}
    shares = max_min(capacity_cores - sum(reserved.values()), wants)
    return {name: reserved[name] + shares[name] for name in reserved}
