"""What a policy is, the policy that does nothing, and how a policy reaches the guests' libvirt and control groups."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from stella.bench.lab.rig import Rig
from stella.bench.results import PolicyReport, Refusal
from stella.bench.scenario import Scenario
from stella.model.slo import Slo


class PolicyError(Exception):
    """A policy could not be put in force; one line for a person."""


class Policy(Protocol):
    """One way to treat the SLOs. The bench calls it from one thread.

    ``begin`` comes when the guests are up and idle, with the SLOs in force at the start; ``end`` before they go, after an
    interruption too. ``collect`` is called now and then during long runs, and when the measured time is over; then ``measured``
    with that time (Unix seconds), while the loads still run.
    """

    name: str

    @property
    def agent_pid(self) -> int | None:
        """The process whose CPU and memory count as the policy's own, if there is one."""
        ...

    def begin(self, lab: Rig, scenario: Scenario, slos: Mapping[str, Slo]) -> Sequence[Refusal]: ...

    def slo_changed(self, instance: str, slo: Slo | None, at_seconds: float) -> Sequence[Refusal]: ...

    def agent_event(self, action: str) -> None: ...

    def collect(self) -> None: ...

    def measured(self, start: float, end: float) -> None: ...

    def report(self) -> PolicyReport: ...

    def end(self) -> None: ...


class NonePolicy:
    """Nothing is done: what users get today on a plain host. Other policies derive from it and do what they do."""

    name = "none"
    agent_pid: int | None = None

    def begin(self, lab: Rig, scenario: Scenario, slos: Mapping[str, Slo]) -> Sequence[Refusal]:
        """Do nothing."""
        return ()

    def slo_changed(self, instance: str, slo: Slo | None, at_seconds: float) -> Sequence[Refusal]:
        """Do nothing."""
        return ()

    def agent_event(self, action: str) -> None:
        """There is no agent."""

    def collect(self) -> None:
        """There is nothing to collect."""

    def measured(self, start: float, end: float) -> None:
        """There is nothing to ask."""

    def report(self) -> PolicyReport:
        """Nothing to tell."""
        return PolicyReport()

    def end(self) -> None:
        """Nothing to undo: knobs go with the guests, or the round puts them back."""


class SetOncePolicy(NonePolicy):
    """Sets what it sets when it begins, and never again. ``why``: what it says of an SLO that changes later."""

    why = ""

    def __init__(self) -> None:
        self._notes: list[str] = []

    def slo_changed(self, instance: str, slo: Slo | None, at_seconds: float) -> Sequence[Refusal]:
        """Nothing but a note."""
        self._notes.append(f"{instance}: the SLO of {at_seconds:g} s was not applied{self.why}")
        return ()

    def report(self) -> PolicyReport:
        """What was set, or could not be."""
        return PolicyReport(notes=tuple(self._notes))


def connect(uri: str) -> Any:
    """A connection to the lab's libvirtd. Raises `PolicyError`."""
    import libvirt  # noqa: PLC0415 (only a bench that runs guests needs it)

    libvirt.registerErrorHandler(lambda *_: None, None)
    try:
        return libvirt.open(uri)
    except libvirt.libvirtError as error:
        raise PolicyError(f"libvirt: {error}") from None


def cpu_map(cpus: Sequence[int], size: int) -> tuple[bool, ...]:
    """CPUs as libvirt's pinning calls take them: one flag for each CPU of a host with ``size``."""
    return tuple(cpu in cpus for cpu in range(size))


def guest_group(root: Path, partition: str, name: str) -> Path | None:
    """The CPU group of a guest below ``root`` (where the hierarchies are mounted): v1's ``cpu``, or v2's only one."""
    pattern = re.compile(rf"qemu-(\d+)-{re.escape(name)}\.libvirt-qemu")  # of "net" not that of "noisy-net"
    for base in (root / "cpu", root):
        for parent in (partition.strip("/"), f"{partition.strip('/')}.partition"):
            groups = (base / parent).glob(f"qemu-*-{name}.libvirt-qemu")
            found = {int(match[1]): group for group in groups if (match := pattern.fullmatch(group.name))}
            if found:
                return found[max(found)]
    return None
