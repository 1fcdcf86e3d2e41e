"""A scenario put on a stage: its guests, and its events at their time. The stage is the bench's own laboratory unless told."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from stella.bench.lab.laboratory import Lab
from stella.bench.lab.model import Guest
from stella.bench.lab.rig import Rig
from stella.bench.policies.base import Policy
from stella.bench.results import Refusal
from stella.bench.scenario import Event, Load, Scenario
from stella.model.slo import Slo

TIMED_BIN_SECONDS = 0.1
GUARANTEED_BIN_SECONDS = 0.5
BEST_EFFORT_BIN_SECONDS = 2.0


Opener = Callable[[Scenario, Path, Callable[[str], None]], Rig]
"""Makes a stage of a scenario, the directory that keeps the guest image, and what is told its progress."""


def laboratory(scenario: Scenario, cache: Path, progress: Callable[[str], None]) -> Rig:
    """The bench's own laboratory for a scenario, not yet opened."""
    return Lab(
        directory=cache,
        uplinks=scenario.uplinks,
        backends=scenario.backends,
        progress=progress,
        cores=scenario.cores,
    )


def guests(scenario: Scenario) -> tuple[Guest, ...]:
    """All guests, idle: the loads are started together once the policy is in force.

    Fine counters are for timing recoveries. Where there are none to time they are read at leisure, and where nothing is guaranteed
    (only means count there) more so: under TCG each reading is paid for out of the guest's share.
    """
    bins = {True: TIMED_BIN_SECONDS if scenario.events else GUARANTEED_BIN_SECONDS, False: BEST_EFFORT_BIN_SECONDS}
    guaranteed = {i.name for i in scenario.instances if i.slo} | {
        e.instance for e in scenario.events if e.what == "slo"
    }
    return tuple(
        Guest(
            name=i.name,
            vcpus=i.vcpus,
            memory_bytes=i.memory_bytes,
            workloads=i.loads,
            disk=(i.disk.backend, i.disk.size_bytes) if i.disk else None,
            uplink=i.uplink,
            start_idle=True,
            bin_seconds=bins[i.name in guaranteed],
        )
        for i in scenario.instances
    )


def slos_at_start(scenario: Scenario) -> dict[str, Slo]:
    """The SLOs in force before the first event."""
    return {i.name: i.slo for i in scenario.instances if i.slo is not None}


def started_at_once(scenario: Scenario) -> list[str]:
    """The instances whose loads run from the start."""
    return [i.name for i in scenario.instances if i.loads and not scenario.starts_idle(i.name)]


def changes(before: Sequence[Load], after: Sequence[Load]) -> list[tuple[int, Mapping[str, Any]]]:
    """What a ``workload`` event changes: the index of each load and its changed keys."""
    found: list[tuple[int, Mapping[str, Any]]] = []
    for index, (old, new) in enumerate(zip(before, after, strict=True)):
        keys = {f.name: getattr(new, f.name) for f in fields(Load) if getattr(new, f.name) != getattr(old, f.name)}
        if keys:
            found.append((index, keys))
    return found


def restore_loads(scenario: Scenario, lab: Rig) -> None:
    """Let halted loads be again what they were before the events of the scenario."""
    for instance in scenario.instances:
        for index, keys in changes(scenario.loads_at(instance.name, math.inf), instance.loads):
            lab.change(instance.name, index=index, **keys)


def apply(event: Event, before: Sequence[Load], lab: Rig, policy: Policy) -> Sequence[Refusal]:
    """Let one event happen. ``before``: the loads of its instance until then."""
    match event.what:
        case "start":
            lab.start(event.instance)
        case "stop":
            lab.stop(event.instance)
        case "slo":
            return policy.slo_changed(event.instance, event.slo, event.at_seconds)
        case "workload":
            for index, keys in changes(before, event.loads):
                lab.change(event.instance, index=index, **keys)
        case "agent":
            policy.agent_event(event.action)
    return ()
