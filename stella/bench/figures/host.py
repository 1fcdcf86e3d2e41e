"""Probes of the host around the agent: trivial root-level commands, the agent's memory with its children, its reservations."""

import contextlib
import math
import statistics
import subprocess
import threading
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import IO, Any

import psutil

from stella.bench.figures import trivial
from stella.bench.lab.process import finish, launch
from stella.bench.lab.rig import Rig
from stella.bench.policies import Policy
from stella.bench.probes import PeriodicProbe, Probe
from stella.xgos.local_api.client import Client, RequestRefused, Unreachable

IDLE_SECONDS = 5.0
_IDLE_PAUSE_SECONDS, _PAUSE_SECONDS = 0.1, 0.7


class RootCommands(Probe):
    """Times trivial commands started from the root groups: first while all guests are idle, then during the run."""

    name = "root_commands"

    def __init__(self) -> None:
        self.idle: dict[str, list[float]] = {}
        self.loaded: dict[str, list[tuple[float, float]]] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        self._roots: tuple[Path, ...] = ()

    def _start(self, pause_seconds: float) -> IO[bytes]:
        argv = ["/usr/bin/python3", "-I", "-S", trivial.__file__, str(pause_seconds)]
        self._process = launch(argv, groups=self._roots, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        return self._process.stdout

    def _stop(self) -> None:
        if self._process is not None:
            finish(self._process)

    def before(self, lab: Rig, policy: Policy) -> None:
        """Measure the idle host."""
        self._roots = lab.groups.layout.accounted()
        lines = self._start(_IDLE_PAUSE_SECONDS)
        timer = threading.Timer(IDLE_SECONDS, self._stop)
        timer.start()
        for line in lines:
            name, seconds = line.split()
            self.idle.setdefault(name.decode(), []).append(float(seconds))
        timer.join()

    def begun(self) -> None:
        """Measure from now on."""
        lines = self._start(_PAUSE_SECONDS)

        def read() -> None:
            for line in lines:
                name, seconds = line.split()
                self.loaded.setdefault(name.decode(), []).append((time.time(), float(seconds)))

        self._reader = threading.Thread(target=read, name=self.name, daemon=True)
        self._reader.start()

    def ending(self) -> None:
        """Stop."""
        self._stop()
        if self._reader is not None:
            self._reader.join(5.0)

    def facts(self, start: float, end: float) -> dict[str, Any]:
        """For each command the medians, idle and loaded, in seconds, and how many there were."""
        found = {}
        for name, idle in self.idle.items():
            loaded = [seconds for moment, seconds in self.loaded.get(name, []) if start <= moment <= end]
            if idle and loaded:
                found[name] = {
                    "idle_seconds": statistics.median(idle),
                    "loaded_seconds": statistics.median(loaded),
                    "loaded_p95_seconds": sorted(loaded)[math.ceil(0.95 * len(loaded)) - 1],
                    "loaded_worst_seconds": max(loaded),
                    "idle_count": len(idle),
                    "loaded_count": len(loaded),
                }
        return found


def resident_bytes(pid: int) -> int:
    """Resident set of a process and all below it; 0 when it is gone."""
    total = 0
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        for each in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                total += each.memory_info().rss
    return total


class AgentMemory(PeriodicProbe):
    """The greatest resident set of the agent with its children, the guard among them."""

    name = "agent_rss_bytes"

    def __init__(self) -> None:
        super().__init__(1.0)
        self._policy: Policy | None = None
        self.peak_bytes = 0

    def before(self, lab: Rig, policy: Policy) -> None:
        """Learn whose."""
        self._policy = policy

    def look(self) -> None:
        """One look."""
        pid = self._policy.agent_pid if self._policy else None
        if pid is not None:
            self.peak_bytes = max(self.peak_bytes, resident_bytes(pid))

    def facts(self, start: float, end: float) -> int:
        """Bytes."""
        return self.peak_bytes


class AgentProbe(PeriodicProbe, ABC):
    """Asks the agent now and then over its own socket; what it does not answer is skipped."""

    def __init__(self, period_seconds: float) -> None:
        super().__init__(period_seconds)
        self._socket = Path()

    def before(self, lab: Rig, policy: Policy) -> None:
        """Learn the socket, where the policy puts it."""
        self._socket = lab.home / "xgos.sock"

    def look(self) -> None:
        """Ask once."""
        with contextlib.suppress(Unreachable, RequestRefused):
            self.ask(Client(self._socket, timeout_seconds=2.0))

    @abstractmethod
    def ask(self, client: Client) -> None:
        """Take one sample."""


class Reservation(AgentProbe):
    """What the agent says that it reserves for one instance."""

    name = "reservation"

    def __init__(self, instance: str) -> None:
        super().__init__(0.5)
        self._instance = instance
        self.samples: list[tuple[float, float]] = []

    def ask(self, client: Client) -> None:
        """One sample."""
        self.samples.append((time.time(), float(client.show(self._instance)["cpu"]["reservation_cores"])))

    def facts(self, start: float, end: float) -> list[tuple[float, float]]:
        """(seconds of the measured time, cores)."""
        return [(round(t - start, 3), cores) for t, cores in self.samples if start <= t <= end]
