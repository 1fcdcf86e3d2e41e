"""A scenario put on a stage: its guests, and its events at their time. The stage is the bench's own laboratory unless told."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from stella.bench.lab.laboratory import Lab
from stella.bench.lab.model import Backend, Guest, Uplink, Workload
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
    return Lab(directory=cache, uplinks=uplinks(scenario), backends=backends(scenario), progress=progress)


def uplinks(scenario: Scenario) -> tuple[Uplink, ...]:
    """The lab's uplinks."""
    return tuple(Uplink(u.name, u.rate_bytes_per_second) for u in scenario.uplinks)


def backends(scenario: Scenario) -> tuple[Backend, ...]:
    """The lab's back ends."""
    return tuple(Backend(b.name, b.kind, b.rate_bytes_per_second) for b in scenario.backends)


def workload(load: Load) -> Workload:
    """A load as the lab knows it: keys of other kinds at their defaults."""
    given: dict[str, Any] = {"kind": load.kind}
    kinds = {
        "udp": ("packet_bytes", "direction", "rate"),
        "disk": ("pattern", "block_bytes", "depth", "rate"),
        "cpu": ("threads",),
    }
    for key in kinds.get(load.kind, ()):
        given[key] = getattr(load, key)
    return Workload(**given)


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
            workloads=tuple(workload(load) for load in i.loads),
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
