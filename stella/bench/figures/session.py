"""Running for the figures: one run of a scenario under a policy, with probes on it, as facts to be judged later."""

import math
import os
import shutil
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stella.bench.figures.probes import Probe, ProbedPolicy
from stella.bench.figures.row import Facts, Row
from stella.bench.policies import Policy, make_policy
from stella.bench.progress import Progress
from stella.bench.results import Run, policy_result, write_series
from stella.bench.run import InvalidRun, Options, machine_facts, run_once
from stella.bench.scenario import Scenario
from stella.bench.scenario_file import load_scenario

SCENARIOS = Path(__file__).parents[3] / "scenarios"
RUN_OVERHEAD_SECONDS = 8.0
GUEST_OVERHEAD_SECONDS = 6.5
"""Of one run besides warm-up and measured time, and for each guest: lab, boot, proof of the loads, collecting, cleaning up.

Measured while the machine did other things too: 14 s with one guest, 37 to 41 s with five.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One run of a family: its name, and how long it takes."""

    name: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Figures that come from the same runs.

    ``run`` makes the facts of one part (raises `InvalidRun`); ``judge`` makes rows of the facts of all parts, and of those of
    the families it ``needs``. Judging is pure: it can be done again, on facts kept from another day.
    """

    name: str
    title: str
    parts: Callable[[int], list[Part]]
    run: "Callable[[str, Session], Facts]"
    judge: Callable[[Mapping[str, Facts], Mapping[str, Mapping[str, Facts]]], list[Row]]
    needs: tuple[str, ...] = ()


def scenario_file(name: str) -> Scenario:
    """One of the scenarios beside the package, by its path below ``scenarios/`` without suffix. Raises `InvalidScenario`."""
    return load_scenario(SCENARIOS / f"{name}.yaml")


def part_seconds(scenario: Scenario) -> float:
    """How long one run of a scenario takes, all in all."""
    overhead = RUN_OVERHEAD_SECONDS + GUEST_OVERHEAD_SECONDS * len(scenario.instances)
    return overhead + scenario.warmup_seconds + scenario.duration_seconds


def agent_against_outside(run: Run) -> list[dict[str, Any]]:
    """For each objective the mean of the agent's usage and of the outside one, over the windows that both have. Pure."""
    said = {(w.instance, w.metric, w.start - round(run.start_unix_seconds)): w.usage for w in run.report.windows}
    found = []
    for objective in run.verdict.objectives:
        pairs = [
            (usage, window.usage)
            for k, window in enumerate(objective.windows)
            if window is not None
            and math.isfinite(window.usage)
            and (usage := said.get((objective.instance, objective.metric, k))) is not None
        ]
        if pairs:
            found.append(
                {
                    "instance": objective.instance,
                    "metric": objective.metric,
                    "windows": len(pairs),
                    "agent": statistics.fmean(a for a, _ in pairs),
                    "outside": statistics.fmean(o for _, o in pairs),
                }
            )
    return found


def floors_met(run: Run) -> list[bool]:
    """For each window whether every floor that was asked for was met (at 95 %). Pure."""
    floors = [o for o in run.verdict.objectives if o.kind == "floor"]
    rows = [[o.windows[k] for o in floors] for k in range(run.verdict.windows)]
    return [all(w is None or not w.demand or w.met_95 for w in row) for row in rows]


def windows_said(run: Run) -> list[dict[str, Any]]:
    """Every window of every objective with the agent's word on it. Pure."""
    said = {(w.instance, w.metric, w.start - round(run.start_unix_seconds)): w for w in run.report.windows}
    found = []
    for objective in run.verdict.objectives:
        for k, window in enumerate(objective.windows):
            word = said.get((objective.instance, objective.metric, k))
            if window is not None:
                found.append(
                    {
                        "instance": objective.instance,
                        "metric": objective.metric,
                        "window": k,
                        "demand": window.demand,
                        "met_95": window.met_95,
                        "status": word.status.value if word else None,
                        "cause": word.cause.value if word and word.cause else None,
                    }
                )
    return found


class Session:
    """What families run with. ``kept``: the facts of other families, for those who need them."""

    def __init__(
        self, *, output: Path, cache: Path, progress: Progress, kept: Callable[[str], Mapping[str, Facts]]
    ) -> None:
        self.output, self.cache, self.progress, self.kept = output, cache, progress, kept
        self.machine = machine_facts()

    def directory(self, title: str) -> Path:
        """Where a run keeps its files."""
        return self.output / "runs" / title.replace(" ", "-").replace("/", "-")

    def run(
        self,
        scenario: Scenario,
        policy_name: str,
        *,
        title: str,
        probes: Sequence[Probe] = (),
        treat: Callable[[Policy, Sequence[Probe]], ProbedPolicy] = ProbedPolicy,
        make: Callable[[Path], Policy] | None = None,
        on_the_minute: bool = False,
    ) -> tuple[Run, dict[str, Any]]:
        """One run: itself, and facts: the policy's results and what each probe with a name found. Raises `InvalidRun`.

        ``make`` makes another policy of that name; ``on_the_minute``: see `stella.bench.run.Options`.
        """
        directory = self.directory(title)
        for kept in ("agent", "api"):  # nothing learned in an earlier run of the same name
            shutil.rmtree(directory / kept, ignore_errors=True)
        directory.mkdir(parents=True, exist_ok=True)
        policy = treat(make(directory) if make else make_policy(policy_name, directory), probes)
        options = Options(policies=(policy_name,), output=directory, cache=self.cache, on_the_minute=on_the_minute)
        run, facts = run_once(scenario, policy_name, options, self.progress, title=title, policy=policy)
        if run.verdict.invalid:
            raise InvalidRun("; ".join(run.verdict.invalid))
        self.machine.update(facts)
        write_series(directory / "series.csv", run)
        start, end = run.start_unix_seconds, run.start_unix_seconds + scenario.duration_seconds
        cores = os.cpu_count() or 1
        return run, {
            "result": policy_result(scenario, run, {}, cores=cores, series=str(directory / "series.csv")),
            **{probe.name: probe.facts(start, end) for probe in probes if probe.name},
        }
