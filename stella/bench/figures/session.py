"""Running for the figures: one round of a scenario, all policies on the same guests in turn, as facts to be judged later.

Before a policy begins, every knob of the guests' groups and threads is as it was when they were booted, and so are their loads. The
order of the policies moves on by one from round to round, so that none always comes first (`docs/decisions/0059`).
"""

import math
import shutil
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stella.bench import stage
from stella.bench.fair import Solo
from stella.bench.figures.knobs import Knobs
from stella.bench.figures.row import Facts, Row
from stella.bench.lab.rig import Rig
from stella.bench.policies import COMPARED, NonePolicy, Policy, make_policy
from stella.bench.policies.base import PolicyError
from stella.bench.probes import Probe
from stella.bench.progress import Progress
from stella.bench.results import Run, policy_result, write_series
from stella.bench.run import (
    InvalidRun,
    MachineFault,
    Options,
    checked,
    lab_facts,
    machine_facts,
    measure_solo,
    measured,
    opened,
    prepared,
)
from stella.bench.scenario import Scenario
from stella.bench.scenario_file import load_scenario
from stella.bench.solo import TOGETHER_SECONDS, TURN_SECONDS, WARMUP_SECONDS

SCENARIOS = Path(__file__).parents[3] / "scenarios"
RUN_OVERHEAD_SECONDS = 8.0
GUEST_OVERHEAD_SECONDS = 5.0
"""Of one round besides its runs, and for each guest: lab, boot, proof of the loads, cleaning up.

With 6.5 s for each guest the plan was 9 % longer than what all figures took on 2026-11-28.
"""
POLICY_OVERHEAD_SECONDS = 4.0
"""Of each policy besides warm-up and measured time: beginning, collecting, ending, putting back."""
ATTEMPTS = 2
"""A run that does not count for a fault of the machine is repeated once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One round of a family: its name, and how long it takes."""

    name: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Figures that come from the same rounds.

    ``run`` makes the facts of one part (raises `InvalidRun`, `PolicyError`, `LabError`); ``judge`` makes rows of the facts of all
    parts. Judging is pure: it can be done again, on facts kept from another day.
    """

    name: str
    title: str
    parts: Callable[[int], list[Part]]
    run: "Callable[[str, Session], Facts]"
    judge: Callable[[Mapping[str, Facts]], list[Row]]


def scenario_file(name: str, **changed: Any) -> Scenario:
    """One of the scenarios beside the package, by its path below ``scenarios/`` without suffix. Raises `InvalidScenario`."""
    return replace(load_scenario(SCENARIOS / f"{name}.yaml"), **changed)


def round_seconds(scenario: Scenario, policies: int = len(COMPARED), *, with_solo: bool = True) -> float:
    """How long a round takes, all in all."""
    guests = len(scenario.instances)
    solo = WARMUP_SECONDS + guests * TURN_SECONDS + TOGETHER_SECONDS + POLICY_OVERHEAD_SECONDS if with_solo else 0.0
    each = scenario.warmup_seconds + scenario.duration_seconds + POLICY_OVERHEAD_SECONDS
    return RUN_OVERHEAD_SECONDS + GUEST_OVERHEAD_SECONDS * guests + solo + policies * each


def rounds(count: int, seconds: float) -> list[Part]:
    """Parts for so many rounds."""
    return [Part(name=f"round-{n}", seconds=seconds) for n in range(1, count + 1)]


def family(
    name: str,
    title: str,
    scenario: Callable[[], Scenario],
    figures: Callable[[Mapping[str, Facts]], list[Row]],
    *,
    policies: Sequence[str] = COMPARED,
    extra_seconds: float = 0.0,
    closer: "Callable[[Run, Scenario], Mapping[str, Any]]" = lambda run, scenario: {},
    **keys: Any,
) -> Family:
    """A family of one round of a scenario, every policy in it. ``keys``: of `Session.round`; ``closer`` is told the scenario too."""

    def parts(repeat: int) -> list[Part]:
        own = round_seconds(scenario(), len(policies), with_solo=keys.get("with_solo", True))
        return rounds(1, own + extra_seconds)

    def run(part: str, session: Session) -> Facts:
        one, order = scenario(), in_turn(policies, part)
        return session.round(one, order, title=f"{name} {part}", closer=lambda run: closer(run, one), **keys)

    return Family(name=name, title=title, parts=parts, run=run, judge=figures)


def in_turn(policies: Sequence[str], part: str) -> list[str]:
    """The policies in the order of a round: each round begins with another."""
    first = (int(part.rpartition("-")[2]) - 1) % len(policies)
    return [*policies[first:], *policies[:first]]


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
            means = {"agent": statistics.fmean(a for a, _ in pairs), "outside": statistics.fmean(o for _, o in pairs)}
            found.append({"instance": objective.instance, "metric": objective.metric, "windows": len(pairs), **means})
    return found


def floors_met(run: Run) -> list[bool]:
    """For each window whether every floor that was asked for was met (at 95 %). Pure."""
    floors = [o for o in run.verdict.objectives if o.kind == "floor"]
    rows = [[o.windows[k] for o in floors] for k in range(run.verdict.windows)]
    return [all(w is None or not w.demand or w.met_95 for w in row) for row in rows]


class Session:
    """What families run with."""

    def __init__(
        self, *, output: Path, cache: Path, progress: Progress, open_stage: stage.Opener = stage.laboratory
    ) -> None:
        self.output, self.cache, self.progress, self._open_stage = output, cache, progress, open_stage
        self._known: dict[str, tuple[dict[str, Solo], float]] = {}
        self.machine = machine_facts()

    def directory(self, title: str) -> Path:
        """Where a run keeps its files."""
        return self.output / "runs" / title.replace(" ", "-").replace("/", "-")

    def round(
        self,
        scenario: Scenario,
        policies: Sequence[str],
        *,
        title: str,
        with_solo: bool = True,
        on_the_minute: bool = False,
        make: Callable[[str, Path], Policy] = make_policy,
        probes: Callable[[str], Sequence[Probe]] = lambda _: (),
        closer: Callable[[Run], Mapping[str, Any]] = lambda _: {},
        sized: Callable[[Scenario, Mapping[str, Solo], float], Scenario] = lambda scenario, solo, overhead: scenario,
    ) -> Facts:
        """One boot of the guests, and each policy on them: ``{"policies": {name: facts}}``. Raises `InvalidRun`, `LabError`.

        ``probes`` of a policy add what they find under their names, ``closer`` what else is to be read off a run. ``sized`` may set
        the SLOs by what the solo runs have measured. A policy that cannot be put in force has ``{"invalid": why}`` for facts.
        """
        options = Options(
            policies=(), output=self.output, cache=self.cache, on_the_minute=on_the_minute, open_stage=self._open_stage
        )
        found: dict[str, Any] = {}
        with opened(scenario, options, self.progress, title) as lab:
            lab.boot(stage.guests(scenario))
            self.machine.update(lab_facts(lab))
            solo: dict[str, Solo] = {}
            overhead = 0.0
            if with_solo:
                solo, overhead = self._solo(scenario, lab, options, title)
                scenario = sized(scenario, solo, overhead)
            for name in policies:
                directory, discarded = self.directory(f"{title} {name}"), list[str]()
                while name not in found:
                    for learned in ("agent", "api"):  # in an earlier run of the same name
                        shutil.rmtree(directory / learned, ignore_errors=True)
                    directory.mkdir(parents=True, exist_ok=True)
                    policy, looking = prepared(make(name, directory), solo, overhead), tuple(probes(name))
                    try:
                        with _as_before(lab, scenario):
                            run = measured(
                                scenario, lab, policy, options, self.progress, title=directory.name, probes=looking
                            )
                        write_series(directory / "series.csv", run)
                        facts = self._facts(scenario, checked(run), solo, looking, str(directory / "series.csv"))
                        found[name] = {**facts, **closer(run), "discarded": discarded}
                    except MachineFault as error:
                        discarded.append(str(error))
                        self.progress.note(f"{directory.name}: does not count: {error}")
                        if len(discarded) == ATTEMPTS:
                            found[name] = {"invalid": str(error), "discarded": discarded}
                    except PolicyError as error:
                        found[name] = {"invalid": str(error), "discarded": discarded}
        return {"policies": found, "cores": self.machine["cores_used"]}

    def _solo(self, scenario: Scenario, lab: Rig, options: Options, title: str) -> tuple[dict[str, Solo], float]:
        """Measured once for each scenario: later rounds are sized from the same runs."""
        attempts = 0
        while scenario.name not in self._known:
            try:
                self._known[scenario.name] = measure_solo(scenario, lab, options, self.progress)
            except MachineFault as error:
                attempts += 1
                self.progress.note(f"{title} solo: does not count: {error}")
                if attempts == ATTEMPTS:
                    raise
        return self._known[scenario.name]

    @staticmethod
    def _facts(
        scenario: Scenario, run: Run, solo: Mapping[str, Solo], probes: Sequence[Probe], series: str
    ) -> dict[str, Any]:
        start, end = run.start_unix_seconds, run.start_unix_seconds + scenario.duration_seconds
        return {
            "result": policy_result(scenario, run, solo, series=series),
            **{probe.name: probe.facts(start, end) for probe in probes if probe.name},
        }


@contextmanager
def _as_before(lab: Rig, scenario: Scenario) -> Iterator[None]:
    """Afterwards loads are halted and as the scenario has them at first, and every knob is as it was. Raises `InvalidRun` if not."""
    knobs = Knobs()
    knobs.before(lab, NonePolicy())
    try:
        yield
    finally:
        lab.halt()
        stage.restore_loads(scenario, lab)
        left = knobs.put_back()
    if left:
        raise InvalidRun(f"knobs cannot be put back after a policy: {left[0]}")
