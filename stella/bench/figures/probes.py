"""Looking closer at a run than the bench does: probes ride on its policy, which knows when guests are idle, loaded and about to go."""

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, cast

from stella.bench.lab.laboratory import Lab
from stella.bench.policies import Policy
from stella.bench.policies.base import LabPort
from stella.bench.results import PolicyReport, Refusal
from stella.bench.scenario import Scenario
from stella.model.slo import Slo


class Probe:
    """What is told of a run's stages; every method may be left out. ``facts`` is asked after the run, with its measured time."""

    name = ""

    def before(self, lab: Lab, policy: Policy) -> None:
        """All guests are up and idle, the policy not yet in force."""

    def begun(self) -> None:
        """The policy is in force, the loads are about to start."""

    def ending(self) -> None:
        """The loads still run, the policy is still in force."""

    def ended(self) -> None:
        """The policy has ended, the guests still are."""

    def facts(self, start: float, end: float) -> Any:
        """What it found; ``start`` and ``end``: the measured time, Unix seconds."""
        return None


class PeriodicProbe(Probe):
    """A probe that looks every ``period_seconds`` from the policy's begin to its end, in a thread of its own.

    A look that fails is skipped; what failed stands in ``problems``.
    """

    def __init__(self, period_seconds: float) -> None:
        self._period = period_seconds
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self.problems: dict[str, None] = {}

    def look(self) -> None:
        """Take one sample."""

    def begun(self) -> None:
        """Start looking."""
        self._thread = threading.Thread(target=self._loop, name=self.name, daemon=True)
        self._thread.start()

    def _loop(self) -> None:
        due = time.monotonic()
        while not self._over.wait(max(0.0, due - time.monotonic())):
            try:
                self.look()
            except (OSError, ValueError, KeyError) as error:
                self.problems[f"{self.name}: {error}"] = None
            due = max(due + self._period, time.monotonic())

    def ending(self) -> None:
        """Stop looking."""
        self._over.set()
        if self._thread is not None:
            self._thread.join(10.0)


class ProbedPolicy:
    """A policy with probes on it; does what the policy does."""

    def __init__(self, inner: Policy, probes: Sequence[Probe]) -> None:
        self.name = inner.name
        self.inner = inner
        self.probes = tuple(probes)
        self._begun = False

    @property
    def agent_pid(self) -> int | None:
        """Of the policy."""
        return self.inner.agent_pid

    def begin(self, lab: LabPort, scenario: Scenario, slos: Mapping[str, Slo]) -> Sequence[Refusal]:
        """Begin the policy, between the probes' ``before`` and ``begun``."""
        for probe in self.probes:
            probe.before(cast(Lab, lab), self.inner)
        refused = self.inner.begin(lab, scenario, slos)
        self._begun = True
        for probe in self.probes:
            probe.begun()
        return refused

    def slo_changed(self, instance: str, slo: Slo | None, at_seconds: float) -> Sequence[Refusal]:
        """Pass it on."""
        return self.inner.slo_changed(instance, slo, at_seconds)

    def agent_event(self, action: str) -> None:
        """Pass it on."""
        self.inner.agent_event(action)

    def collect(self) -> None:
        """Pass it on."""
        self.inner.collect()

    def measured(self, start: float, end: float) -> None:
        """Pass it on."""
        self.inner.measured(start, end)

    def report(self) -> PolicyReport:
        """The policy's own."""
        return self.inner.report()

    def end(self) -> None:
        """End the policy, between the probes' ``ending`` and ``ended``."""
        if self._begun:
            for probe in self.probes:
                probe.ending()
        self.inner.end()
        if self._begun:
            for probe in self.probes:
                probe.ended()
