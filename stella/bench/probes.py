"""Looking closer at a run than the bench does: probes are told when guests are idle, loaded and about to go."""

import threading
import time
from typing import Any

from stella.bench.lab.rig import Rig
from stella.bench.policies import Policy


class Probe:
    """What is told of a run's stages; every method may be left out. ``facts`` is asked after the run, with its measured time."""

    name = ""

    def before(self, lab: Rig, policy: Policy) -> None:
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
