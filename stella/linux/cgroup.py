"""The CPU controller's text, cgroup v1 and v2: where the hierarchy is, what its files are called, what they say.

Under v1 a weight is cpu.shares (2 to 262144, default 1024) and a limit is two files, cpu.cfs_quota_us (-1: none) and
cpu.cfs_period_us. Under v2 it is cpu.weight (1 to 10000, default 100) and cpu.max ("max 100000": none). What a group may save up
beside its limit (cpu.cfs_burst_us, cpu.max.burst, in us; since Linux 5.14) may never be more than the quota: the kernel refuses both.
"""

import re
from dataclasses import dataclass
from typing import NamedTuple

from stella.model.snapshot import Quota

UNKNOWN_PERIOD_US = 100_000
SMALLEST_QUOTA_US = 1_000
SMALLEST_PERIOD_US = 1_000
LARGEST_PERIOD_US = 1_000_000


class InvalidText(ValueError):
    """The kernel's text is not what this module knows; the message shows its beginning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuFiles:
    """File names and ranges of one cgroup version. ``quota`` and ``period`` are the same file under v2."""

    version: int
    weight: str
    quota: str
    period: str
    burst: str
    stat: str
    tasks: str
    smallest_weight: int
    largest_weight: int
    default_weight: int

    def clamp(self, weight: float) -> int:
        """The nearest weight that the kernel takes."""
        return int(min(max(round(weight), self.smallest_weight), self.largest_weight))

    @property
    def knobs(self) -> frozenset[str]:
        """Every file name that Stella may write in a group of an instance."""
        return frozenset((self.weight, self.quota, self.period, self.burst))


V1 = CpuFiles(
    version=1,
    weight="cpu.shares",
    quota="cpu.cfs_quota_us",
    period="cpu.cfs_period_us",
    burst="cpu.cfs_burst_us",
    stat="cpu.stat",
    tasks="tasks",
    smallest_weight=2,
    largest_weight=262_144,
    default_weight=1024,
)
V2 = CpuFiles(
    version=2,
    weight="cpu.weight",
    quota="cpu.max",
    period="cpu.max",
    burst="cpu.max.burst",
    stat="cpu.stat",
    tasks="cgroup.threads",
    smallest_weight=1,
    largest_weight=10_000,
    default_weight=100,
)
CPUSET = "cpuset.cpus"
CPUSET_EFFECTIVE = "cpuset.cpus.effective"
KNOBS = V1.knobs | V2.knobs | {CPUSET}


def files(version: int) -> CpuFiles:
    """The files of cgroup ``version`` (1 or 2)."""
    return V1 if version == 1 else V2


@dataclass(frozen=True, slots=True, kw_only=True)
class Hierarchy:
    """Where a CPU hierarchy is mounted. ``root`` is the group that is mounted there, seen from our cgroup namespace.

    A group outside that namespace begins with ``/..``, once for each level above the namespace's own root.
    """

    version: int
    mount: str
    root: str

    def below_mount(self, path: str) -> str | None:
        """``path`` of /proc/PID/cgroup as a path below the mount, with a leading slash; None when it is not below it.

        A mount that begins above our namespace shows the groups on the way down by names we cannot know: only groups that
        lie as many levels above the namespace's root as the mount does are found in it.
        """
        mounted, wanted = _parts(self.root), _parts(path)
        below = wanted[len(mounted) :]
        if wanted[: len(mounted)] != mounted or ".." in below:
            return None
        return "/" + "/".join(below)


class _Mount(NamedTuple):
    number: str
    parent: str
    root: str
    path: str
    kind: str
    options: str


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part]


_OCTAL = re.compile(r"\\([0-7]{3})")


def parse_mountinfo(text: str, controller: str = "cpu") -> tuple[Hierarchy, ...]:
    """Hierarchies that may hold a controller, best first: its v1 mounts, then cgroup2 mounts.

    A cgroup2 mount of a hybrid host has no controllers: the caller looks for it in its ``cgroup.controllers``. A mount that
    another one covers is left out: a host in namespaces lists those of the machine below, which its paths no longer reach.
    The root of a host without a disk, its initramfs, is its own parent. Format: proc_pid_mountinfo(5).
    """
    mounts: list[_Mount] = []
    for line in text.splitlines():
        before, dash, after = line.partition(" - ")
        fields, source = before.split(" "), after.split(" ")
        if not dash or len(fields) < 5 or len(source) < 3:
            continue
        root, mount = (_OCTAL.sub(lambda m: chr(int(m[1], 8)), part) for part in fields[3:5])
        mounts.append(_Mount(fields[0], fields[1], root, mount, source[0], source[2]))
    numbers = {each.number for each in mounts}
    on_top = {
        (each.parent if each.parent in numbers and each.parent != each.number else "", each.path): each.number
        for each in mounts
    }
    found: list[Hierarchy] = []
    for each in mounts:
        version = {"cgroup2": 2, "cgroup": 1}.get(each.kind)
        if version is None or (version == 1 and controller not in each.options.split(",")):
            continue
        if _reached(on_top, each.path) == each.number:
            found.append(Hierarchy(version=version, mount=each.path, root=each.root))
    return tuple(sorted(found, key=lambda h: h.version))


def _reached(on_top: dict[tuple[str, str], str], path: str) -> str:
    """The mount that ``path`` leads to. ``on_top``: the last mount on each (mount, path); an unlisted parent is ``""``."""
    at = ""
    parts = [part for part in path.split("/") if part]
    for length in range(len(parts) + 1):
        here = "/" + "/".join(parts[:length])
        while (upper := on_top.get((at, here))) is not None and upper != at:
            at = upper
    return at


def parse_process_cgroup(text: str, version: int) -> str | None:
    """The path of a process in the CPU hierarchy, from the text of /proc/PID/cgroup; None when it is not listed."""
    for line in text.splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if (version == 2 and number == "0" and not controllers) or (version == 1 and "cpu" in controllers.split(",")):
            return path.removesuffix(" (deleted)")
    return None


def parse_weight(text: str) -> int:
    """The number in cpu.shares or cpu.weight."""
    try:
        return int(text)
    except ValueError:
        raise InvalidText(f"no weight: {text[:40]!r}") from None


def parse_quota_v1(quota: str, period: str) -> Quota:
    """The limit in cpu.cfs_quota_us and cpu.cfs_period_us."""
    try:
        quota_us, period_us = int(quota), int(period)
    except ValueError:
        raise InvalidText(f"no quota: {quota[:40]!r} {period[:40]!r}") from None
    return Quota(quota_us=quota_us if quota_us > 0 else None, period_us=period_us)


def parse_quota_v2(text: str) -> Quota:
    """The limit in cpu.max: ``QUOTA PERIOD``, where QUOTA may be ``max``."""
    words = text.split()
    try:
        period_us = int(words[1]) if len(words) > 1 else UNKNOWN_PERIOD_US
        return Quota(quota_us=None if words[0] == "max" else int(words[0]), period_us=period_us)
    except (ValueError, IndexError):
        raise InvalidText(f"no quota: {text[:40]!r}") from None


def show_quota_v1(quota: Quota) -> str:
    """The text for cpu.cfs_quota_us."""
    return "-1" if quota.quota_us is None else str(quota.quota_us)


def show_quota_v2(quota: Quota) -> str:
    """The text for cpu.max."""
    return f"{'max' if quota.quota_us is None else quota.quota_us} {quota.period_us}"


def parse_throttled_seconds(text: str) -> float | None:
    """Time throttled, from cpu.stat: ``throttled_time`` (ns) under v1, ``throttled_usec`` under v2; None where it is absent."""
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        scale = {"throttled_usec": 1e-6, "throttled_time": 1e-9}.get(name)
        if scale is not None:
            try:
                return int(value) * scale
            except ValueError:
                raise InvalidText(f"no throttled time: {line[:40]!r}") from None
    return None
