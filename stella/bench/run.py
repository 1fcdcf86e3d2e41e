"""Running a scenario: each policy on guests of its own, judged, written down. The only part of the bench that waits."""

import math
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stella.bench import stage
from stella.bench.fair import Solo
from stella.bench.judge import judge, work_of
from stella.bench.lab.model import LabError
from stella.bench.lab.rig import Rig
from stella.bench.lab.sampler import Recorder
from stella.bench.policies import Policy, make_policy
from stella.bench.progress import Progress
from stella.bench.recording import Recording
from stella.bench.results import Run, policy_result, results, write_results, write_series
from stella.bench.scenario import Load, Scenario

COLLECT_SECONDS = 300.0
SOLO_SETTLE_SECONDS = 2.0
SOLO_PAUSE_SECONDS = 1.0
_STEP_SECONDS = 0.2
_MINUTE_SECONDS = 60.0


class InvalidRun(Exception):
    """A run cannot count: a guest or a generator died, or the policy could not be put in force. One line that says which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to run. ``solo_seconds``: of each load alone on the machine first; 0 leaves that out. ``cache`` keeps the guest image.

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

    Every run has guests booted for it alone: no policy inherits another's knobs or page cache. Repeats go round by round, so
    that a drift of the machine meets all policies alike. Returns the results document. Raises `InvalidRun`.
    """
    options.output.mkdir(parents=True, exist_ok=True)
    started = time.time()
    cores = os.cpu_count() or 1
    machine = machine_facts()
    solo: dict[str, Solo] = {}
    if options.solo_seconds:
        solo = measure_solo(scenario, options, progress)
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in options.policies}
    document: dict[str, Any] = {}
    for number in range(options.repeat):
        for name in options.policies:
            title = name + (f", {number + 1} of {options.repeat}" if options.repeat > 1 else "")
            run, facts = run_once(scenario, name, options, progress, title=title)
            series = f"{name}.csv" if number == 0 else f"{name}-{number + 1}.csv"
            write_series(options.output / series, run)
            found[name].append(policy_result(scenario, run, solo, cores=cores, series=series))
            document = results(scenario, {**machine, **facts}, started, {n: r for n, r in found.items() if r}, solo)
            write_results(options.output / "results.json", document)
            for reason in run.verdict.invalid:
                progress.note(f"{title}: the run is invalid: {reason}")
    return document


def machine_facts() -> dict[str, Any]:
    """What the results say of the machine."""
    model = ""
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {"cores": os.cpu_count(), "processor": model, "memory_bytes": memory, "kernel": platform.release()}


def run_once(
    scenario: Scenario,
    policy_name: str,
    options: Options,
    progress: Progress,
    *,
    title: str,
    policy: Policy | None = None,
) -> tuple[Run, dict[str, Any]]:
    """One run under one policy: the run, and what the lab says of itself. Raises `InvalidRun`.

    ``policy`` stands in for the one of that name: the figures look closer at a run through it.
    """
    policy = policy or options.make(policy_name, options.output / policy_name)
    try:
        with _stage(scenario, options, progress, title) as lab:
            lab.boot(stage.guests(scenario), prepare=not options.policy_first)
            try:
                recording = _measure(scenario, lab, policy, progress, title, options)
            finally:
                policy.end()
            facts = {"accelerator": lab.accelerator, "cgroup": f"v{lab.cgroup.version}"}
    except LabError as error:
        raise InvalidRun(str(error)) from error
    report = policy.report()
    verdict = judge(scenario, recording, report.windows, cores=os.cpu_count() or 1)
    return (
        Run(
            policy=policy_name,
            verdict=verdict,
            report=report,
            agent_peak_rss_bytes=recording.agent_peak_rss_bytes,
            clock_offsets_seconds={name: r.clock_offset_seconds for name, r in recording.instances.items()},
            start_unix_seconds=recording.start,
        ),
        facts,
    )


def _stage(scenario: Scenario, options: Options, progress: Progress, title: str) -> Rig:
    return options.open_stage(scenario, options.cache, lambda text: progress.step(f"{title}: {text}"))


def _measure(
    scenario: Scenario, lab: Rig, policy: Policy, progress: Progress, title: str, options: Options
) -> Recording:
    """Policy, loads, warm-up, events, recording. The agent's last windows are fetched before anything is stopped."""
    progress.step(f"{title}: setting the SLOs")
    for refusal in policy.begin(lab, scenario, stage.slos_at_start(scenario)):
        progress.note(f"{title}: refused {refusal.instance}: {refusal.message}")
    if options.policy_first:
        lab.prepare(stage.guests(scenario))
    recorder = lab.record()
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
    moments = [*scenario.events, None]
    for event in moments:
        until = start + (scenario.duration_seconds if event is None else event.at_seconds)
        while time.time() < until:
            _wait(
                min(until, time.time() + COLLECT_SECONDS),
                recorder,
                progress,
                f"{title}: measuring",
                0.0,
                start,
                scenario,
            )
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
    recording = recorder.finish(start, start + scenario.duration_seconds)
    policy.collect()
    policy.measured(recording.start, recording.end)
    return recording


def _watch(recorder: Recorder, policy: Policy, before: int | None) -> int | None:
    if policy.agent_pid is not None and policy.agent_pid != before:
        recorder.watch_agent(policy.agent_pid)
    return policy.agent_pid


def _wait(
    until: float,
    recorder: Recorder,
    progress: Progress,
    text: str,
    all_seconds: float,
    start: float | None = None,
    scenario: Scenario | None = None,
) -> None:
    """Wait until a moment, with a line of progress. Raises `InvalidRun` when a guest or a generator died meanwhile."""
    began = time.time() if start is None else start
    length = all_seconds if scenario is None else float(scenario.duration_seconds)
    while (left := until - time.time()) > 0:
        died = recorder.died()
        if died:
            raise InvalidRun("; ".join(f"{name}: {why}" for name, why in sorted(died.items())))
        progress.tick(text, time.time() - began, length)
        time.sleep(min(left, _STEP_SECONDS))


def measure_solo(scenario: Scenario, options: Options, progress: Progress) -> dict[str, Solo]:
    """Each instance's load alone on the machine, all guests booted and the others idle. Raises `InvalidRun`."""
    found = {}
    try:
        with _stage(scenario, options, progress, "solo") as lab:
            lab.boot(stage.guests(scenario))
            for instance in scenario.instances:
                if all(load.kind == "idle" for load in instance.loads):
                    continue
                lab.start(instance.name)
                recorder = lab.record()
                start = float(math.ceil(time.time() + SOLO_SETTLE_SECONDS))
                end = start + math.ceil(options.solo_seconds)
                _wait(end, recorder, progress, f"solo: {instance.name}", end - time.time())
                recording = recorder.finish(start, end)
                lab.stop(instance.name)
                time.sleep(SOLO_PAUSE_SECONDS)
                found[instance.name] = Solo(
                    instance=instance.name,
                    work_per_second=work_of(scenario, recording, instance.name).work / (end - start),
                    cores=recording.instances_cpu.rate(start, end),
                )
    except LabError as error:
        raise InvalidRun(str(error)) from error
    return found


def invalid_reasons(document: Mapping[str, Any]) -> list[str]:
    """Why the runs of a results document do not count; empty when they do."""
    reasons = []
    for name, policy in document["policies"].items():
        for one in policy.get("repeats", [policy]):
            reasons += [f"{name}: {reason}" for reason in one["invalid"]]
    return reasons
