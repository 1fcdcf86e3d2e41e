"""What a floor costs, and what neighbours without an SLO could fairly expect: their max-min share of what the floors leave. Pure.

Costs come from solo runs: each load alone on the machine (`stella.bench.solo`).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from stella.bench.measure import signals
from stella.model.slo import Direction, Metric, Objective


@dataclass(frozen=True, slots=True, kw_only=True)
class Solo:
    """One instance's load alone on the machine.

    ``cores`` is what its QEMU used, ``vcpu_cores`` what its vCPUs used of it, ``main_cores`` and ``iothread_cores`` its I/O threads.
    ``work``: the rate of each signal (`stella.bench.recording`), per second.
    """

    instance: str
    cores: float
    vcpu_cores: float = 0.0
    main_cores: float = 0.0
    iothread_cores: float = 0.0
    work: Mapping[str, float] = field(default_factory=dict)

    @property
    def serving_cores(self) -> float:
        """What all but its vCPUs used."""
        return max(0.0, self.cores - self.vcpu_cores)

    def rate(self, metric: Metric, direction: Direction) -> float:
        """Its work in a metric, per second."""
        return sum(self.work.get(name, 0.0) for name in signals(metric, direction))


def floor_cores(alone: Solo | None, floors: Iterable[tuple[Objective, float]]) -> tuple[float, float]:
    """The cores that floors need, by what the load cost when alone: of the vCPUs, and of what serves its I/O.

    ``floors``: objectives with the rate that is to be reached. A CPU floor is the guest's own CPU time, in which its drivers run too.
    Loads that ran alone together cost at most their common cost for the largest part of a rate that is asked for.
    """
    cpu, part = 0.0, 0.0
    for objective, rate in floors:
        if objective.metric is Metric.CPU:
            cpu = max(cpu, rate)
        elif alone is not None and (solo_rate := alone.rate(objective.metric, objective.direction)) > 0:
            part = max(part, rate / solo_rate)
    if alone is None:
        return cpu, 0.0
    return max(cpu, part * alone.vcpu_cores), part * alone.serving_cores


def max_min(capacity: float, wants: Mapping[str, float]) -> dict[str, float]:
    """Max-min shares of ``capacity`` (any unit): nobody gets more than it wants, the rest is split evenly."""
    shares = dict.fromkeys(wants, 0.0)
    open_names = {name for name, want in wants.items() if want > 0}
    left = max(0.0, capacity)
    while open_names and left > 0:
        level = left / len(open_names)
        full = {name for name in open_names if wants[name] <= level}
        for name in full or open_names:
            shares[name] = wants[name] if full else level
            left -= shares[name]
        open_names -= full or open_names
    return shares


def fair_cores(
    solo: Mapping[str, Solo], floors: Mapping[str, Iterable[tuple[Objective, float]]], *, capacity_cores: float
) -> dict[str, float]:
    """Cores that each instance could expect: what its floors cost, and its max-min share of the rest, everyone who wants more counted.

    ``capacity_cores``: the machine's, less what the host and the load's receivers use. What an instance wants is what it used alone.
    ``floors``: of each instance, as `floor_cores` takes them; a floor that was missed costs what it got.
    """
    reserved = {name: sum(floor_cores(alone, floors.get(name, ()))) for name, alone in solo.items()}
    wants = {name: max(0.0, alone.cores - reserved[name]) for name, alone in solo.items()}
    shares = max_min(capacity_cores - sum(reserved.values()), wants)
    return {name: reserved[name] + shares[name] for name in solo}


def done_ratio(alone: Solo, work: Mapping[str, float], used_cores: float) -> float | None:
    """What an instance's loads got done in parts of what they do alone: the mean over its loads. None where it did nothing alone.

    ``work``: rates by signal. sysbench's late reports (it starves too) can tell of more than was done: what the CPU time allows is
    the most that counts.
    """
    parts = []
    for name, rate in alone.work.items():
        if name in work and rate > 0:
            part = work[name] / rate
            allowed = used_cores / alone.cores if alone.cores > 0 else part
            parts.append(min(part, allowed) if name == "cpu_events" else part)
    return sum(parts) / len(parts) if parts else None
