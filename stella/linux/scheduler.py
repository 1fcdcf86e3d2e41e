"""The scheduler's own attributes of a thread: struct sched_attr, and how Stella names a thread's slice as a knob.

Since Linux 6.12 sched_runtime of a SCHED_OTHER thread asks for a slice of 0.1 to 100 ms: a waking thread with a shorter slice
preempts sooner (its virtual deadline is nearer), without getting more CPU. 0 returns to the default. sched_setattr(2).
"""

import re
import struct
from dataclasses import dataclass
from typing import Any

SCHED_OTHER, SCHED_BATCH = 0, 3
RESET_ON_FORK = 0x01
SHORTEST_SLICE_SECONDS, LONGEST_SLICE_SECONDS = 100e-6, 100e-3
_ATTR = struct.Struct("=IIQiIQQQII")
SIZE = _ATTR.size
_RUNTIME, _RUNTIME_OFFSET = struct.Struct("=Q"), 24
_GENERIC = (274, 275)
_CALLS = {
    "x86_64": (314, 315),
    "i686": (351, 352),
    "armv7l": (380, 381),
    "ppc64le": (355, 356),
    "s390x": (345, 346),
    "aarch64": _GENERIC,
    "riscv64": _GENERIC,
    "loongarch64": _GENERIC,
}
_PATH = re.compile(r"^/proc/(\d+)/task/(\d+)@(\d+)/slice_ns$")


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedAttr:
    """struct sched_attr. ``runtime_ns`` is the slice of a SCHED_OTHER thread."""

    policy: int
    flags: int
    nice: int
    priority: int
    runtime_ns: int
    deadline_ns: int = 0
    period_ns: int = 0
    util_min: int = 0
    util_max: int = 0


def system_calls(machine: str) -> tuple[int, int] | None:
    """The numbers of (sched_setattr, sched_getattr) on this architecture (``uname -m``); None when it is not known."""
    return _CALLS.get(machine)


def show_attr(attr: SchedAttr) -> bytes:
    """The bytes for sched_setattr."""
    return _ATTR.pack(
        *(SIZE, attr.policy, attr.flags, attr.nice, attr.priority),
        *(attr.runtime_ns, attr.deadline_ns, attr.period_ns, attr.util_min, attr.util_max),
    )


def parse_attr(data: bytes) -> SchedAttr:
    """The bytes from sched_getattr."""
    _, policy, flags, nice, priority, runtime, deadline, period, low, high = _ATTR.unpack_from(data)
    return SchedAttr(
        policy=policy,
        flags=flags,
        nice=nice,
        priority=priority,
        runtime_ns=runtime,
        deadline_ns=deadline,
        period_ns=period,
        util_min=low,
        util_max=high,
    )


def runtime_ns(data: Any) -> int:
    """``runtime_ns`` alone, from any buffer that sched_getattr filled: it is read for many threads each tick."""
    return int(_RUNTIME.unpack_from(data, _RUNTIME_OFFSET)[0])


def slice_path(pid: int, tid: int, start_ticks: int) -> str:
    """The name of a thread's slice among the knobs. It carries the thread's start, so that a recycled number is another knob."""
    return f"/proc/{pid}/task/{tid}@{start_ticks}/slice_ns"


def parse_slice_path(path: str) -> tuple[int, int, int] | None:
    """(pid, tid, start_ticks) of a slice's name; None for any other knob."""
    match = _PATH.match(path)
    return (int(match[1]), int(match[2]), int(match[3])) if match else None
