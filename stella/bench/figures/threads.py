"""QEMU's threads by role, from the kernel's own account (schedstat): how long they ran, and how long they waited for a CPU."""

import contextlib
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stella.bench.figures.probes import PeriodicProbe
from stella.bench.lab.laboratory import Lab
from stella.bench.policies import Policy

PERIOD_SECONDS = 0.5
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
ROLES = ("vcpu", "iothread", "main", "other")


def role_of(comm: str, *, tid: int, pid: int) -> str:
    """What a thread of QEMU does, by the name that ``debug-threads`` gives it."""
    if comm.startswith("CPU "):
        return "vcpu"
    if comm.startswith("IO iothread"):
        return "iothread"
    return "main" if tid == pid else "other"


def parse_schedstat(text: str) -> tuple[float, float]:
    """Seconds run and seconds waited, from a task's schedstat. Raises `ValueError`."""
    run, wait = text.split()[:2]
    return int(run) / 1e9, int(wait) / 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One look. ``spent``: instance, then role, to (seconds run, seconds waited) since boot; ``busy_seconds``: of the whole host."""

    moment: float
    busy_seconds: float
    spent: Mapping[str, Mapping[str, tuple[float, float]]]


def between(samples: Sequence[Sample], start: float, end: float) -> tuple[Sample, Sample] | None:
    """The first sample at or after ``start`` and the last one at or before ``end``; None when they are not two."""
    inside = [s for s in samples if start <= s.moment <= end]
    return (inside[0], inside[-1]) if len(inside) > 1 else None


def _grown(samples: Sequence[Sample], instance: str, start: float, end: float) -> dict[str, tuple[float, float]]:
    pair = between(samples, start, end)
    if pair is None or instance not in pair[0].spent or instance not in pair[1].spent:
        return {}
    first, last = pair[0].spent[instance], pair[1].spent[instance]
    return {
        role: (max(0.0, last[role][0] - first[role][0]), max(0.0, last[role][1] - first[role][1]))
        for role in last
        if role in first
    }


def wait_ratio(samples: Sequence[Sample], instance: str, role: str, start: float, end: float) -> float | None:
    """The part of its runnable time that a role waited; None when it was never runnable."""
    run, wait = _grown(samples, instance, start, end).get(role, (0.0, 0.0))
    return wait / (run + wait) if run + wait > 0 else None


def cores(
    samples: Sequence[Sample], instance: str, start: float, end: float, roles: Sequence[str] = ROLES
) -> float | None:
    """Cores that roles of an instance used."""
    pair, grown = between(samples, start, end), _grown(samples, instance, start, end)
    if pair is None or not grown:
        return None
    return sum(run for role, (run, _) in grown.items() if role in roles) / (pair[1].moment - pair[0].moment)


def overhead_cores(samples: Sequence[Sample], start: float, end: float) -> float | None:
    """Cores that whatever is not an instance used."""
    pair = between(samples, start, end)
    if pair is None:
        return None
    busy = (pair[1].busy_seconds - pair[0].busy_seconds) / (pair[1].moment - pair[0].moment)
    return max(0.0, busy - sum(cores(samples, name, start, end) or 0.0 for name in pair[1].spent))


class Threads(PeriodicProbe):
    """Samples all QEMU threads. ``samples`` is complete after the run."""

    name = "threads"

    def __init__(self) -> None:
        super().__init__(PERIOD_SECONDS)
        self.samples: list[Sample] = []
        self._pids: dict[str, int] = {}
        self._last: dict[tuple[int, int], tuple[str, float, float]] = {}

    def before(self, lab: Lab, policy: Policy) -> None:
        """Learn the processes."""
        self._pids = dict(lab.qemu_pids)

    def look(self) -> None:
        """Read all threads; what one had used that is gone by now still counts."""
        words = Path("/proc/stat").read_text(encoding="ascii").split(None, 9)[1:9]
        user, nice, system, _, _, irq, softirq, _ = (int(word) / _TICKS_PER_SECOND for word in words)
        spent: dict[str, dict[str, tuple[float, float]]] = {}
        for name, pid in self._pids.items():
            for task in Path(f"/proc/{pid}/task").iterdir():
                with contextlib.suppress(OSError, ValueError):
                    run, wait = parse_schedstat((task / "schedstat").read_text())
                    tid = int(task.name)
                    self._last[pid, tid] = (role_of((task / "comm").read_text(), tid=tid, pid=pid), run, wait)
            roles = dict.fromkeys(ROLES, (0.0, 0.0))
            for (owner, _tid), (role, run, wait) in self._last.items():
                if owner == pid:
                    roles[role] = (roles[role][0] + run, roles[role][1] + wait)
            spent[name] = roles
        self.samples.append(Sample(moment=time.time(), busy_seconds=user + nice + system + irq + softirq, spent=spent))

    def facts(self, start: float, end: float) -> dict[str, Any]:
        """For each instance: cores, cores of its vCPUs, and the wait of each role."""
        return {
            name: {
                "cores": cores(self.samples, name, start, end),
                "vcpu_cores": cores(self.samples, name, start, end, ("vcpu",)),
                "wait_ratio": {role: wait_ratio(self.samples, name, role, start, end) for role in ROLES},
            }
            for name in self._pids
        }
