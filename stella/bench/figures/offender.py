"""Whether the agent names who took the CPU: a hog among three neighbours that are busy, but within their share.

With actuation off, so that the guaranteed guests are starved in most windows. Which windows those are is seen outside; only the name
is the agent's word. The neighbours prove something only while they are busy and take no more than they are entitled to: both is shown.
"""

import statistics
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from stella.bench.figures.honesty import OBSERVE, starved_windows, windows_said
from stella.bench.figures.host import AgentProbe
from stella.bench.figures.row import AGENT, Bound, Facts, Figures
from stella.bench.figures.session import family, scenario_file
from stella.bench.results import Run
from stella.bench.scenario import Scenario
from stella.xgos.local_api.client import Client

NAME = "offender"
HOG, NEIGHBOURS = "hog", ("receives", "reads", "writes")
_BUSY_CORES = 0.03
_FIGURES = Figures(OBSERVE)


class Shares(AgentProbe):
    """What some instances use, in parts of what they are entitled to, as the agent says."""

    name = "shares_of_entitlement"

    def __init__(self, instances: Sequence[str]) -> None:
        super().__init__(1.0)
        self._instances = instances
        self.samples: list[tuple[float, str, float]] = []

    def ask(self, client: Client) -> None:
        """One sample of each."""
        for told in client.instances():
            cpu = told.get("cpu") or {}
            if told["name"] in self._instances and cpu.get("allocation_cores"):
                self.samples.append((time.time(), told["name"], cpu["usage_cores"] / cpu["allocation_cores"]))

    def facts(self, start: float, end: float) -> dict[str, float]:
        """The mean of each."""
        found: dict[str, list[float]] = {}
        for moment, name, share in self.samples:
            if start <= moment <= end:
                found.setdefault(name, []).append(share)
        return {name: statistics.fmean(shares) for name, shares in found.items()}


def _closer(run: Run, scenario: Scenario) -> Mapping[str, Any]:
    first, last = run.start_unix_seconds, run.start_unix_seconds + scenario.duration_seconds
    used = {name: run.recording.instances[name].cpu.rate(first, last) for name in (HOG, *NEIGHBOURS)}
    return {"windows_said": windows_said(run), "used_cores": used}


def named_ratio(facts: Facts, names: Sequence[str]) -> float | None:
    """The part of the starved windows (as seen outside) for which the agent names one of these. None without such a window. Pure."""
    windows = starved_windows(facts)
    return sum(w["offender"] in names for w in windows) / len(windows) if windows else None


_FIGURES.of(
    "offender.hog",
    "a hog among three busy neighbours: starved windows for which the agent names the hog",
    Bound(least=0.95),
    aim=Bound(least=0.99),
)(partial(named_ratio, names=(HOG,)))
_FIGURES.of("offender.neighbours", "starved windows for which it names one of the neighbours", aim=Bound(most=0.01))(
    partial(named_ratio, names=NEIGHBOURS)
)


@_FIGURES.of("offender.busy", "what each of these neighbours uses", Bound(least=_BUSY_CORES), kind="cores")
def _used_cores(facts: Facts) -> list[float | None]:
    return [facts["used_cores"][name] for name in NEIGHBOURS]


@_FIGURES.of(
    "offender.entitled",
    "the same in parts of what it had beside the feedback of the starved ones, mean",
    aim=Bound(most=1.0),
    source=AGENT,
)
def _entitlement_ratios(facts: Facts) -> list[float | None]:
    return [facts["shares_of_entitlement"].get(name) for name in NEIGHBOURS]


FAMILY = family(
    NAME,
    "who took the CPU, with actuation off",
    partial(scenario_file, "figures/offender"),
    _FIGURES,
    policies=[OBSERVE],
    with_solo=False,
    probes=lambda _: (Shares(NEIGHBOURS),),
    closer=_closer,
)
