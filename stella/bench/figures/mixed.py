"""An instance with floors for CPU, packets and disk at once that computes for itself as well, beside a hog."""

import statistics
from collections.abc import Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import Any

from stella.bench.figures.host import Reservation
from stella.bench.figures.row import AGENT, Bound, Facts, Figures
from stella.bench.figures.session import family, floors_met, scenario_file
from stella.bench.policies import COMPARED
from stella.bench.results import Run
from stella.bench.scenario import Scenario

NAME = "mixed"
_SETTLE_SECONDS = 3.0
_FIGURES = Figures()


def wait_ratio(run: Run, instance: str, role: str, first: float, last: float) -> float | None:
    """The part of its runnable time that threads of a role waited, between two moments; None when they were never runnable. Pure."""
    record = run.recording.instances[instance]
    if role not in record.run:
        return None
    ran, waited = record.run[role].rate(first, last), record.wait[role].rate(first, last)
    return waited / (ran + waited) if ran + waited > 0 else None


def _closer(run: Run, scenario: Scenario) -> Mapping[str, Any]:
    event = scenario.events[0].at_seconds
    first, last = run.start_unix_seconds + event, run.start_unix_seconds + scenario.duration_seconds
    met = floors_met(run)
    waits = {role: wait_ratio(run, "mixed", role, first, last) for role in ("main", "iothread", "vcpu")}
    return {"floors_met_ratio": sum(met) / len(met), "event_seconds": event, "wait_ratio_computing": waits}


def reservation_rise(samples: Sequence[Sequence[float]], event_seconds: float) -> float | None:
    """How much the reservation rose when the instance's own computing began: mean after it had settled, against before. Pure."""
    before = [cores for t, cores in samples if t < event_seconds]
    after = [cores for t, cores in samples if t >= event_seconds + _SETTLE_SECONDS]
    if not before or not after or statistics.fmean(before) <= 0:
        return None
    return statistics.fmean(after) / statistics.fmean(before) - 1.0


_FIGURES.of_each(
    COMPARED,
    "mixed.floors",
    "floors of 80 % CPU, packets and disk in one instance with its own sysbench, windows with all",
    bound=Bound(least=0.85),
    aim=Bound(least=0.97),
)(itemgetter("floors_met_ratio"))


@_FIGURES.of(
    "mixed.reservation",
    "its reservation's rise when its own sysbench starts",
    aim=Bound(most=0.10),
    source=AGENT,
)
def _own_rise(facts: Facts) -> float | None:
    return reservation_rise(facts["reservation"], facts["event_seconds"])


def _wait_ratio_computing(facts: Facts, role: str) -> float | None:
    ratio: float | None = facts["wait_ratio_computing"][role]
    return ratio


for _role, _shown in (("main", "main loop"), ("iothread", "iothread")):
    _title = f"time that its {_shown} waited for a CPU, of the time it could have run, while it computes"
    _FIGURES.of_each(COMPARED, f"mixed.{_role}-wait", _title, aim=Bound(most=0.10))(
        partial(_wait_ratio_computing, role=_role)
    )

FAMILY = family(
    NAME,
    "CPU, network and disk floors in one instance",
    partial(scenario_file, "figures/mixed"),
    _FIGURES,
    probes=lambda policy: (Reservation("mixed"),) if policy == "stella" else (),
    closer=_closer,
)
