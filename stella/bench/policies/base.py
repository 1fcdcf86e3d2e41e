"""What a policy is, and the policy that does nothing."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from stella.bench.results import PolicyReport, Refusal
from stella.bench.scenario import Scenario
from stella.model.slo import Slo

_VIRSH_SECONDS = 20.0


class PolicyError(Exception):
    """A policy could not be put in force; one line for a person."""


class LabPort(Protocol):
    """The part of `stella.bench.lab.Lab` that policies use."""

    @property
    def directory(self) -> Path: ...

    @property
    def uri(self) -> str:
        """Of the lab's own libvirtd."""
        ...

    @property
    def partition(self) -> str:
        """The cgroup parent of the guests, below the root of each hierarchy."""
        ...

    def spawn(self, argv: Sequence[str]) -> "subprocess.Popen[bytes]":
        """Start the agent: in the lab's network namespace, counted as the agent's CPU."""
        ...


class Policy(Protocol):
    """One way to treat the promises. The bench calls it from one thread.

    ``begin`` comes when the guests are up and idle, with the SLOs in force at the start; ``end`` before they go, after an
    interruption too. ``collect`` is called now and then during long runs.
    """

    name: str

    def begin(self, lab: LabPort, scenario: Scenario, slos: Mapping[str, Slo]) -> Sequence[Refusal]: ...

    def slo_changed(self, instance: str, slo: Slo | None, at_seconds: float) -> Sequence[Refusal]: ...

    def agent_event(self, action: str) -> None: ...

    def collect(self) -> None: ...

    def report(self) -> PolicyReport: ...

    def end(self) -> None: ...


class NonePolicy:
    """Nothing is done: what users get today on a plain host."""

    name = "none"

    def begin(self, lab: LabPort, scenario: Scenario, slos: Mapping[str, Slo]) -> Sequence[Refusal]:
        """Do nothing."""
        return ()

    def slo_changed(self, instance: str, slo: Slo | None, at_seconds: float) -> Sequence[Refusal]:
        """Do nothing."""
        return ()

    def agent_event(self, action: str) -> None:
        """There is no agent."""

    def collect(self) -> None:
        """There is nothing to collect."""

    def report(self) -> PolicyReport:
        """Nothing to tell."""
        return PolicyReport()

    def end(self) -> None:
        """Nothing to undo."""


def virsh(uri: str, *arguments: str) -> str:
    """Run one virsh command against the lab's libvirtd and return what it prints. Raises `PolicyError`."""
    command = ["virsh", "--connect", uri, *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_VIRSH_SECONDS, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PolicyError(f"virsh {arguments[0]}: {error}") from None
    if done.returncode:
        raise PolicyError(f"virsh {arguments[0]}: {' '.join(done.stderr.split()) or done.returncode}")
    return done.stdout
