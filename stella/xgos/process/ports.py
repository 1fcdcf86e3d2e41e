"""The host as the loop uses it: what is sensed, and what is acted on."""

from typing import Protocol

from stella.model.allocation import Decision, Outcome
from stella.model.snapshot import Snapshot


class Sensors(Protocol):
    """Sensing, as the loop uses it."""

    def sense(self) -> Snapshot:
        """One pass over the host."""


class Actuation(Protocol):
    """Actuation, as the loop uses it: plans what differs, journals it, writes it."""

    def bounds(self, snapshot: Snapshot) -> Snapshot:
        """The snapshot with what libvirt, Nova or an administrator allow each group (`allowed_cpus`, `allowed_quota`)."""

    def act(self, snapshot: Snapshot, decision: Decision) -> tuple[tuple[Outcome, ...], int]:
        """Write what differs; returns what became of it, and how many of the writes put back what another program had changed."""

    def pause(self, paused: bool, monotonic_seconds: float, wall_seconds: float) -> None:
        """While ``paused`` nothing is written; what was written before is put back at once."""

    def beat(self) -> None:
        """Tell the guard that the agent lives."""
