"""The text of /proc about processes and threads, and the names QEMU gives to its threads."""

import itertools
import re
from dataclasses import dataclass

from stella.linux.cgroup import InvalidText
from stella.model.snapshot import Role

_VCPU = re.compile(r"^CPU (\d+)/")
_IOTHREAD = re.compile(r"^IO iothread(\d+)$")
_MIGRATION = re.compile(r"^(live_migration|migration$|multifdsend|mig/src/)")


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuTimes:
    """The ``cpu`` line of /proc/stat, seconds since boot over all cores. Busy is all but idle, iowait and steal."""

    cpus: tuple[int, ...]
    busy_seconds: float
    idle_seconds: float
    softirq_seconds: float
    steal_seconds: float


def parse_schedstat(text: bytes) -> tuple[float, float]:
    """(run, wait) in seconds from /proc/PID/task/TID/schedstat: time on a CPU, time runnable but not running."""
    words = text.split()
    try:
        return int(words[0]) * 1e-9, int(words[1]) * 1e-9
    except (ValueError, IndexError):
        raise InvalidText(f"no schedstat: {text[:40]!r}") from None


def parse_start_ticks(stat: str) -> int:
    """Field 22 of /proc/PID/stat. The command's name may hold blanks and brackets: fields count from its last bracket."""
    try:
        return int(stat[stat.rindex(")") + 2 :].split()[19])
    except (ValueError, IndexError):
        raise InvalidText(f"no process stat: {stat[:40]!r}") from None


def parse_scheduling(stat: str) -> int:
    """Field 41 of /proc/PID/stat: the number of the scheduling policy, without flags."""
    try:
        return int(stat[stat.rindex(")") + 2 :].split()[38])
    except (ValueError, IndexError):
        raise InvalidText(f"no process stat: {stat[:40]!r}") from None


def is_runnable(stat: str) -> bool:
    """Whether a thread runs or waits for a CPU: state ``R``, field 3 of /proc/PID/stat."""
    return stat.rpartition(")")[2].startswith(" R")


def parse_thread_name(comm: str) -> tuple[Role, int] | None:
    """Role and number of a QEMU thread by its name (``-name debug-threads=on``, libvirt's default).

    libvirt names iothreads ``iothreadN``; ``IO mon_iothread`` serves the monitor and lives among the emulator's.
    None: nothing known about this name; it counts as emulator.
    """
    if match := _VCPU.match(comm):
        return Role.VCPU, int(match[1])
    if match := _IOTHREAD.match(comm):
        return Role.IOTHREAD, int(match[1])
    if comm.startswith("vhost-"):
        return Role.VHOST, 0
    return None


def is_migration_thread(comm: str) -> bool:
    """Whether a QEMU thread of this name exists only while the instance migrates away."""
    return _MIGRATION.match(comm) is not None


def parse_cpu_times(text: str, ticks_per_second: int) -> CpuTimes:
    """/proc/stat. proc_stat(5): user nice system idle iowait irq softirq steal, in ticks; guest time lies within user time."""
    total: list[int] = []
    cpus: list[int] = []
    for line in text.splitlines():
        if not line.startswith("cpu"):
            break
        words = line.split()
        if words[0] == "cpu":
            total = [int(word) for word in words[1:]] + [0] * 8
        else:
            cpus.append(int(words[0].removeprefix("cpu")))
    if not total or not cpus:
        raise InvalidText(f"no /proc/stat: {text[:40]!r}")
    user, nice, system, idle, iowait, irq, softirq, steal = total[:8]
    return CpuTimes(
        cpus=tuple(cpus),
        busy_seconds=(user + nice + system + irq + softirq) / ticks_per_second,
        idle_seconds=(idle + iowait) / ticks_per_second,
        softirq_seconds=softirq / ticks_per_second,
        steal_seconds=steal / ticks_per_second,
    )


def qemu_uuid(cmdline: bytes) -> str | None:
    """The instance's uuid from a QEMU command line (/proc/PID/cmdline); None for any other process."""
    words = cmdline.split(b"\0")
    for flag, value in itertools.pairwise(words):
        if flag in (b"-uuid", b"--uuid"):
            return value.decode(errors="replace").lower()
    return None
