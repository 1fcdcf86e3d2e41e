"""The figures of one run, as values."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from stella.bench.measure import Window
from stella.model.attainment import Cause, Status
from stella.model.slo import Objective


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentWindow:
    """One objective in one window as the agent itself judged it. ``start`` is a whole Unix second.

    ``offender``: who took the CPU that it lacked, by the scenario's name, or ``host``; None where none did.
    """

    start: int
    instance: str
    metric: str
    usage: float | None
    demand: float | None
    value: float | None
    status: Status
    cause: Cause | None
    offender: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectiveVerdict:
    """One objective over the run. ``windows`` has None where it was not in force."""

    instance: str
    metric: str
    kind: str
    unit: str
    value: float
    objective: Objective
    windows: tuple[Window | None, ...]

    @property
    def counted(self) -> tuple[Window, ...]:
        """The windows that the ratios are over."""
        return tuple(w for w in self.windows if w is not None and (w.demand or self.kind == "ceiling"))

    @property
    def usages(self) -> tuple[float, ...]:
        """What it got in the windows with demand (all in force when there were none). Infinite latencies are left out."""
        in_force = [w for w in self.windows if w is not None]
        return tuple(w.usage for w in [w for w in in_force if w.demand] or in_force if math.isfinite(w.usage))

    def ratio(self, which: str) -> float | None:
        """Share of counted windows that are ``met_95`` or ``met_100``; None when none counted."""
        counted = self.counted
        return sum(getattr(w, which) for w in counted) / len(counted) if counted else None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventVerdict:
    """What an event cost. ``windows_lost``: windows until the next event, or the end, in which not all objectives were met.

    ``recovered_seconds``: from the event (for a started load: from the moment it asks) until the next whole second holds, in
    steps of 0.1 s; None when that did not come before the next event. ``others_used_seconds``: after a ``stop``, until the
    other instances together used 95 % of what they used when settled.
    """

    at_seconds: float
    what: str
    windows_lost: int
    recovered_seconds: float | None
    others_used_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BestEffort:
    """Work of an instance's first load in ``unit``, over the measured time; ``rates``: of all its loads, by signal, per second."""

    instance: str
    work: float
    unit: str
    rates: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """All figures of one run.

    ``invalid`` says why the run does not count; empty when it does. ``machine_faults``: those that the machine is to blame for.
    """

    windows: int
    disturbed_windows: int
    all_met_95_ratio: float
    all_met_100_ratio: float
    second_half_met_95_ratio: float
    objectives: tuple[ObjectiveVerdict, ...]
    events: tuple[EventVerdict, ...]
    useful_work: Mapping[str, float]
    work: tuple[BestEffort, ...]  # of every instance, with an SLO or without
    work_series: Mapping[str, tuple[float, ...]]  # of best-effort instances: <instance>.<metric> -> rate per window
    cpu_series: Mapping[
        str, tuple[float, ...]
    ]  # cores of each instance's QEMU per window; empty name: of the whole laboratory
    host_cpu_cores: float
    instances_cpu_cores: float
    receiver_cpu_cores: float
    steal_cores: float
    agent_cpu_cores: float
    libvirtd_cpu_cores_over_idle: float
    status_agreement_ratio: float | None
    cause_cpu_ratio: float | None
    machine_faults: tuple[str, ...] = ()
    invalid: tuple[str, ...] = ()


def all_met(objectives: Sequence[ObjectiveVerdict], k: int, which: str) -> bool:
    """Whether in window ``k`` everything that was in force and asked for is ``met_95`` or ``met_100``."""
    for objective in objectives:
        window = objective.windows[k]
        if window is not None and (window.demand or objective.kind == "ceiling") and not getattr(window, which):
            return False
    return True


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean, 5th percentile (nearest rank) and population standard deviation; zeros for nothing."""
    if not values:
        return 0.0, 0.0, 0.0
    ordered = sorted(values)
    p5 = ordered[max(0, math.ceil(0.05 * len(ordered)) - 1)]
    return statistics.fmean(values), p5, statistics.pstdev(values)
