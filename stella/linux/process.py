"""The text of /proc about processes and threads, and the names QEMU gives to its threads."""

import itertools
import re
from typing import NamedTuple

from stella.linux import cpuset
from stella.linux.cgroup import InvalidText
from stella.model.snapshot import Role

_OTHER_LINE = re.compile(rb"^[^c\n]", re.MULTILINE)
_QEMU_PROGRAM = re.compile(r"^(qemu-system-[A-Za-z0-9_.-]+|qemu-kvm|qemu|kvm)$")
_VCPU = re.compile(r"^CPU (\d+)/")
_IOTHREAD = re.compile(r"^IO iothread(\d+)$")
_MIGRATION = re.compile(r"^(live_migration|migration$|multifdsend|mig/src/)")


class CpuTicks(NamedTuple):
    """One ``cpuN`` line of /proc/stat, ticks since boot. Busy is all but idle, iowait and steal; softirq lies within it."""

    busy: int
    idle: int
    softirq: int
    steal: int


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


def cpu_lines_complete(text: bytes) -> bool:
    """Whether the beginning of /proc/stat holds all its ``cpu`` lines. Only those are wanted: ``intr`` alone may fill 100 KiB."""
    return _OTHER_LINE.search(text) is not None


def parse_cpu_ticks(text: str) -> dict[int, CpuTicks]:
    """/proc/stat by CPU on line. proc_stat(5): user nice system idle iowait irq softirq steal; guest time lies within user time.

    Raises `InvalidText`.
    """
    found: dict[int, CpuTicks] = {}
    try:
        for line in text.splitlines():
            if not line.startswith("cpu"):
                break
            if line[3:4].isdigit():
                number, *words = line.split()
                user, nice, system, idle, iowait, irq, softirq, steal = ([int(word) for word in words] + [0] * 8)[:8]
                busy = user + nice + system + irq + softirq
                found[int(number[3:])] = CpuTicks(busy, idle + iowait, softirq, steal)
    except ValueError:
        found = {}
    if not found:
        raise InvalidText(f"no /proc/stat: {text[:40]!r}")
    return found


def qemu_uuid(cmdline: bytes) -> str | None:
    """The uuid that a command line (/proc/PID/cmdline) gives after ``-uuid``; None without one. Any process may write one."""
    words = cmdline.split(b"\0")
    for flag, value in itertools.pairwise(words):
        if flag in (b"-uuid", b"--uuid"):
            return value.decode(errors="replace").lower()
    return None


def is_qemu_program(name: str) -> bool:
    """Whether a program file of this name is QEMU's emulator: ``qemu-system-x86_64``, ``qemu-kvm``, ``kvm``."""
    return _QEMU_PROGRAM.match(name) is not None


def parse_uids(status: str) -> tuple[int, ...]:
    """Real, effective, saved and file-system user of /proc/PID/status. Raises `InvalidText`."""
    for line in status.splitlines():
        name, _, value = line.partition(":")
        if name == "Uid":
            try:
                uids = tuple(int(word) for word in value.split())
            except ValueError:
                break
            if uids:
                return uids
            break
    raise InvalidText(f"no process status: {status[:40]!r}")


def parse_allowed_cpus(status: str) -> tuple[int, ...] | None:
    """The CPUs a process may use, from /proc/PID/status; None where it does not tell."""
    for line in status.splitlines():
        name, _, value = line.partition(":")
        if name == "Cpus_allowed_list":
            return cpuset.parse_cpus(value) or None
    return None
