"""Running a scenario: each policy on guests, judged, written down. The only part of the bench that waits."""

import math
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stella.bench import stage
from stella.bench.fair import Solo
from stella.bench.judge import judge
from stella.bench.lab.model import LabError
from stella.bench.lab.rig import Rig
from stella.bench.lab.sampler import Recorder
from stella.bench.policies import NonePolicy, Policy, make_policy
from stella.bench.policies.static import StaticPolicy
from stella.bench.probes import Probe
from stella.bench.progress import Progress
from stella.bench.recording import Recording
from stella.bench.results import Run, policy_result, results, write_results, write_series
from stella.bench.scenario import Load, Scenario
from stella.bench.solo import TURN_SECONDS, overhead_cores, read_solo, solo_scenario

COLLECT_SECONDS = 300.0
_CODE = ("..", "../../plugins", "../../scenarios")  # not docs: the page is written while it is measured
_STEP_SECONDS = 0.2
_MINUTE_SECONDS = 60.0


class InvalidRun(Exception):
    """A run cannot count: a guest or a generator died, or the policy could not be put in force. One line that says which."""


class MachineFault(InvalidRun):
    """A run cannot count for a fault of the machine (it was taken away, or it stalled): another attempt may."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to run.

    ``solo_seconds``: of each load alone on the machine first; 0 leaves that out unless a policy needs it. ``cache`` keeps the image.
    ``on_the_minute``: the measured time begins with a minute of the clock; loads start as long before it as the scenario says.
    ``policy_first``: the policy begins before any load has shown that it works, as a tenant sets SLOs on servers that are new.
    ``make`` makes a policy by its name; ``open_stage`` makes where it all happens, of a scenario, ``cache`` and what to tell progress.
    """

    policies: tuple[str, ...]
    output: Path
    cache: Path
    solo_seconds: float = 0.0
    repeat: int = 1
    on_the_minute: bool = False
    policy_first: bool = False
    make: Callable[[str, Path], Policy] = make_policy
    open_stage: stage.Opener = stage.laboratory


def run_all(scenario: Scenario, options: Options, progress: Progress) -> dict[str, Any]:
    """Run the scenario under every policy, and write ``results.json`` and the CSV files after each run.

    Every run has guests booted for it alone: no policy inherits another's knobs. Repeats go round by round, so that a drift of the
    machine meets all policies alike. Returns the results document. Raises `InvalidRun`.
    """
    options.output.mkdir(parents=True, exist_ok=True)
    started, machine = time.time(), machine_facts()
    solo: dict[str, Solo] = {}
    overhead = 0.0
    if options.solo_seconds or StaticPolicy.name in options.policies:
        turn = math.ceil(options.solo_seconds) + 2 if options.solo_seconds else TURN_SECONDS
        with opened(scenario, options, progress, "solo") as lab:
            lab.boot(stage.guests(scenario))
            solo, overhead = measure_solo(scenario, lab, options, progress, turn_seconds=turn)
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in options.policies}
    document: dict[str, Any] = {}
    for number in range(options.repeat):
        for name in options.policies:
            title = name + (f", {number + 1} of {options.repeat}" if options.repeat > 1 else "")
            policy = prepared(options.make(name, options.output / name), solo, overhead)
            with opened(scenario, options, progress, title) as lab:
                lab.boot(stage.guests(scenario), prepare=not options.policy_first)
                run = measured(scenario, lab, policy, options, progress, title=title)
                facts = lab_facts(lab)
            series = f"{name}.csv" if number == 0 else f"{name}-{number + 1}.csv"
            write_series(options.output / series, run)
            found[name].append(policy_result(scenario, run, solo, series=series))
            done = {n: r for n, r in found.items() if r}
            document = results(scenario, {**machine, **facts}, started, done, solo, provenance())
            write_results(options.output / "results.json", document)
            for reason in run.verdict.invalid:
                progress.note(f"{title}: the run is invalid: {reason}")
    return document


def prepared(policy: Policy, solo: Mapping[str, Solo], overhead: float) -> Policy:
    """The policy, with what it is to know beforehand: the static one is sized from the solo runs."""
    if isinstance(policy, StaticPolicy):
        policy.solo, policy.overhead_cores = solo, overhead
    return policy


def provenance() -> dict[str, str]:
    """Which code made a result, and by which command. The commit is empty outside a checkout; ``+`` marks changed files."""
    here = ["git", "-C", str(Path(__file__).parent)]

    def ask(*words: str) -> str:
        return subprocess.run([*here, *words], capture_output=True, text=True, check=True).stdout.strip()

    try:
        commit = ask("rev-parse", "--short=12", "HEAD") + (
            "+" if ask("status", "--porcelain", "-uno", "--", *_CODE) else ""
        )
    except (OSError, subprocess.CalledProcessError):
        commit = ""
    return {"commit": commit, "command": " ".join(["stella-bench", *sys.argv[1:]])}


def machine_facts() -> dict[str, Any]:
    """What the results say of the machine."""
    model = ""
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {"cores": os.cpu_count(), "processor": model, "memory_bytes": memory, "kernel": platform.release()}


def lab_facts(lab: Rig) -> dict[str, Any]:
    """What the results say of the laboratory."""
    return {"accelerator": lab.accelerator, "cgroup": f"v{lab.cgroup.version}", "cores_used": len(lab.cpus)}


@contextmanager
def opened(scenario: Scenario, options: Options, progress: Progress, title: str) -> Iterator[Rig]:
    """The stage of a scenario, opened. What goes wrong on it is raised as `InvalidRun`."""
    try:
        with options.open_stage(scenario, options.cache, lambda text: progress.step(f"{title}: {text}")) as lab:
            yield lab
    except LabError as error:
        raise InvalidRun(str(error)) from error


def measured(
    scenario: Scenario,
    lab: Rig,
    policy: Policy,
    options: Options,
    progress: Progress,
    *,
    title: str,
    probes: Sequence[Probe] = (),
) -> Run:
    """One run under one policy on guests that are up and idle. Raises `InvalidRun`, `PolicyError`, `LabError`."""
    begun = False
    for probe in probes:
        probe.before(lab, policy)
    try:
        progress.step(f"{title}: setting the SLOs")
        for refusal in policy.begin(lab, scenario, stage.slos_at_start(scenario)):
            progress.note(f"{title}: refused {refusal.instance}: {refusal.message}")
        begun = True
        for probe in probes:
            probe.begun()
        recording = _measure(scenario, lab, policy, progress, title, options)
    finally:
        for probe in probes if begun else ():
            probe.ending()
        policy.end()
    for probe in probes:
        probe.ended()
    report = policy.report()
    return Run(
        policy=policy.name,
        cores=len(lab.cpus),
        verdict=judge(
            scenario, recording, report.windows, cores=len(lab.cpus), alone=options.open_stage is stage.laboratory
        ),
        recording=recording,
        report=report,
        agent_peak_rss_bytes=recording.agent_peak_rss_bytes,
        clock_offsets_seconds={name: r.clock_offset_seconds for name, r in recording.instances.items()},
        start_unix_seconds=recording.start,
    )


def measure_solo(
    scenario: Scenario, lab: Rig, options: Options, progress: Progress, *, turn_seconds: int = TURN_SECONDS
) -> tuple[dict[str, Solo], float]:
    """Each instance's load alone on the machine, the others idle; and the host's overhead beside all of them. Raises as `measured`."""
    alone, turns = solo_scenario(scenario, turn_seconds)
    run = measured(alone, lab, NonePolicy(), options, progress, title="solo")
    lab.halt()
    checked(run)
    return read_solo(run.recording, turns, turn_seconds), overhead_cores(run.recording, turns)


def checked(run: Run) -> Run:
    """The same run. Raises `InvalidRun`, or `MachineFault` when only the machine is to blame, for one that does not count."""
    verdict = run.verdict
    if verdict.invalid:
        kind = MachineFault if verdict.invalid == verdict.machine_faults else InvalidRun
        raise kind("; ".join(verdict.invalid))
    return run


def _measure(
    scenario: Scenario, lab: Rig, policy: Policy, progress: Progress, title: str, options: Options
) -> Recording:
    """Loads, warm-up, events, recording. The agent's last windows are fetched before anything is stopped."""
    if options.policy_first:
        lab.prepare(stage.guests(scenario))
    with lab.record() as recorder:
        recording = _recorded(scenario, lab, policy, progress, title, options, recorder)
    policy.collect()
    policy.measured(recording.start, recording.end)
    return recording


def _recorded(
    scenario: Scenario, lab: Rig, policy: Policy, progress: Progress, title: str, options: Options, recorder: Recorder
) -> Recording:
    """The loads and the events of the scenario, while ``recorder`` counts."""
    watched = _watch(recorder, policy, None)
    if options.on_the_minute:
        idle = -(time.time() + scenario.warmup_seconds) % _MINUTE_SECONDS
        _wait(time.time() + idle, recorder, progress, f"{title}: waiting for a whole minute", idle)
    for name in stage.started_at_once(scenario):
        lab.start(name)
    start = float(math.ceil(time.time() + scenario.warmup_seconds))
    if options.on_the_minute:
        start = round(start / _MINUTE_SECONDS) * _MINUTE_SECONDS
    _wait(start, recorder, progress, f"{title}: warming up", scenario.warmup_seconds)
    loads: dict[str, Sequence[Load]] = {i.name: i.loads for i in scenario.instances}
    collected = time.monotonic()
    for event in [*scenario.events, None]:
        until = start + (scenario.duration_seconds if event is None else event.at_seconds)
        while time.time() < until:
            pause = min(until, time.time() + COLLECT_SECONDS)
            _wait(pause, recorder, progress, f"{title}: measuring", scenario.duration_seconds, start)
            if time.monotonic() - collected >= COLLECT_SECONDS:
                policy.collect()
                collected = time.monotonic()
        if event is not None:
            for refusal in stage.apply(event, loads.get(event.instance, ()), lab, policy):
                progress.note(f"{title}: refused {refusal.instance}: {refusal.message}")
            if event.what == "workload":
                loads[event.instance] = event.loads
            watched = _watch(recorder, policy, watched)
    progress.step(f"{title}: collecting")
    return recorder.finish(start, start + scenario.duration_seconds)


def _watch(recorder: Recorder, policy: Policy, before: int | None) -> int | None:
    if policy.agent_pid is not None and policy.agent_pid != before:
        recorder.watch_agent(policy.agent_pid)
    return policy.agent_pid


def _wait(
    until: float, recorder: Recorder, progress: Progress, text: str, all_seconds: float, start: float | None = None
) -> None:
    """Wait until a moment, with a line of progress. Raises `InvalidRun` when a guest or a generator died meanwhile."""
    began = time.time() if start is None else start
    while (left := until - time.time()) > 0:
        died = recorder.died()
        if died:
            raise InvalidRun("; ".join(f"{name}: {why}" for name, why in sorted(died.items())))
        progress.tick(text, time.time() - began, all_seconds)
        time.sleep(min(left, _STEP_SECONDS))


def invalid_reasons(document: Mapping[str, Any]) -> list[str]:
    """Why the runs of a results document do not count; empty when they do."""
    reasons = []
    for name, policy in document["policies"].items():
        for one in policy.get("repeats", [policy]):
            reasons += [f"{name}: {reason}" for reason in one["invalid"]]
    return reasons
