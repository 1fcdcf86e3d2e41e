"""The lab's own control groups: a parent for the guests, and groups for the load's helpers, the bench itself and its heartbeat.

The helpers weigh as much as the kernel allows: they use little, are part of the experiment, and must never be what starves.
"""

import contextlib
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from stella.bench.lab.model import LabError
from stella.linux.cpuset import show_cpus

HEAVIEST = {1: ("cpu.shares", "262144"), 2: ("cpu.weight", "10000")}
_PARTITION_CONTROLLERS = ("cpu", "cpuset", "memory", "blkio", "freezer", "devices")
_V2_CONTROLLERS = ("cpu", "cpuset", "io", "memory")


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where the hierarchies are mounted. ``v1``: controller to mount point; ``v2``: the unified mount, if there is one."""

    v1: dict[str, Path]
    v2: Path | None

    @property
    def version(self) -> int:
        """Of the hierarchy with the cpu controller."""
        return 1 if "cpu" in self.v1 else 2

    @property
    def cpu_root(self) -> Path:
        """Where the cpu controller is mounted. Raises `LabError` when no hierarchy has it."""
        if self.version == 1:
            return self.v1["cpu"]
        if self.v2 is None or "cpu" not in (self.v2 / "cgroup.controllers").read_text().split():
            raise LabError("no cgroup hierarchy has the cpu controller")
        return self.v2

    @property
    def cpuset_root(self) -> Path | None:
        """The same for CPU sets; None where there are none."""
        return self.v1.get("cpuset") if self.version == 1 else self.v2

    def accounted(self) -> tuple[Path, ...]:
        """The mount points where a process must be in a group to be weighed and accounted there."""
        if self.version == 2:
            return (self.cpu_root,)
        return tuple(dict.fromkeys(self.v1[name] for name in ("cpu", "cpuacct") if name in self.v1))


def parse_mounts(text: str) -> Layout:
    """The layout that /proc/self/mounts tells of."""
    v1: dict[str, Path] = {}
    v2 = None
    for line in text.splitlines():
        _, point, kind, options = line.split(" ")[:4]
        if kind == "cgroup2":
            v2 = v2 or Path(point)
        elif kind == "cgroup":
            v1.update(
                {name: Path(point) for name in options.split(",") if name in (*_PARTITION_CONTROLLERS, "cpuacct")}
            )
    return Layout(v1=v1, v2=v2)


def current_paths(text: str, layout: Layout) -> tuple[Path, ...]:
    """The groups of a process on the accounted hierarchies, from its /proc/PID/cgroup."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        _, names, path = line.split(":", 2)
        for name in names.split(",") if names else [""]:
            found[name] = path
    if layout.version == 2:
        return (layout.cpu_root / found.get("", "/").lstrip("/"),)
    points = {layout.v1[name]: found[name] for name in ("cpu", "cpuacct") if name in layout.v1 and name in found}
    return tuple(point / path.lstrip("/") for point, path in points.items())


def remove_tree(top: Path, attempts: int = 20) -> bool:
    """Remove a group and all below it; tries again while processes are still leaving. True when it is gone."""
    for attempt in range(attempts):
        if not top.exists():
            return True
        if attempt:
            time.sleep(0.1)
        for path in sorted((p for p in top.rglob("*") if p.is_dir()), key=lambda p: -len(p.parts)):
            with contextlib.suppress(OSError):
                path.rmdir()
        with contextlib.suppress(OSError):
            top.rmdir()
    return not top.exists()


def processes_below(top: Path) -> set[int]:
    """The processes in a group and all below it."""
    pids: set[int] = set()
    for file in top.rglob("cgroup.procs"):
        with contextlib.suppress(OSError):
            pids.update(int(pid) for pid in file.read_text().split())
    return pids


class Groups:
    """The lab's groups; ``made`` lists every directory it is responsible for."""

    def __init__(self, name: str, layout: Layout) -> None:
        self.name, self.layout = name, layout
        self.made: list[Path] = []
        self.home = current_paths(Path("/proc/self/cgroup").read_text(), layout)
        self._enabled: list[str] = []

    def _make(self, path: Path) -> None:
        path.mkdir(exist_ok=True)
        self.made.append(path)

    def planned(self) -> list[Path]:
        """Every group that will be made: known beforehand, so that a killed bench can be swept."""
        points = [*dict.fromkeys(self.layout.v1.values()), *([self.layout.v2] if self.layout.v2 else [])]
        ends = (".partition", "-load", "-meter", "-heart")
        return [point / f"{self.name}{end}" for point in points for end in ends]

    def make_partition(self, cpus: tuple[int, ...] = ()) -> None:
        """The guests' parent, under every hierarchy libvirt uses; ``cpus``: those that the guests may use, any when empty."""
        for controller in _PARTITION_CONTROLLERS:
            if controller in self.layout.v1:
                group = self.layout.v1[controller] / f"{self.name}.partition"
                self._make(group)
                if controller == "cpuset":
                    for knob in ("cpuset.cpus", "cpuset.mems"):
                        (group / knob).write_text((group.parent / knob).read_text())
                    if cpus:
                        (group / "cpuset.cpus").write_text(show_cpus(cpus))
        if self.layout.v2:
            if self.layout.version == 2:
                self._enable(self.layout.v2)
            group = self.layout.v2 / f"{self.name}.partition"
            self._make(group)
            if self.layout.version == 2:
                self._enable(group)
                if cpus:
                    (group / "cpuset.cpus").write_text(show_cpus(cpus))

    def _enable(self, group: Path) -> None:
        control = group / "cgroup.subtree_control"
        already = control.read_text().split()
        for name in (group / "cgroup.controllers").read_text().split():
            if name in _V2_CONTROLLERS and name not in already:
                control.write_text(f"+{name}")
                if group == self.layout.v2:
                    self._enabled.append(name)

    def make_helper(self, end: str) -> tuple[Path, ...]:
        """A group of the greatest weight on the accounted hierarchies; its paths."""
        paths = tuple(point / f"{self.name}-{end}" for point in self.layout.accounted())
        for path in paths:
            self._make(path)
        knob, value = HEAVIEST[self.layout.version]
        (self.layout.cpu_root / f"{self.name}-{end}" / knob).write_text(value)
        return paths

    def cpu_seconds(self, end: str) -> float:
        """CPU time that a helper group has used, in core-seconds."""
        return read_cpu_seconds(tuple(point / f"{self.name}-{end}" for point in self.layout.accounted()))

    def enter(self, paths: Iterable[Path]) -> None:
        """Move this whole process."""
        for path in paths:
            (path / "cgroup.procs").write_text("0")

    def remove(self) -> list[Path]:
        """Remove what was made; those that could not be removed are returned."""
        left = [path for path in self.made if not remove_tree(path)]
        if self.layout.v2:
            for name in self._enabled:
                with contextlib.suppress(OSError):
                    (self.layout.v2 / "cgroup.subtree_control").write_text(f"-{name}")
        self.made = left
        return left


def read_cpu_seconds(paths: Iterable[Path]) -> float:
    """CPU time of a group in core-seconds, from cpuacct (v1) or cpu.stat (v2); 0 where neither tells."""
    for path in paths:
        if (path / "cpuacct.usage").exists():
            return int((path / "cpuacct.usage").read_text()) / 1e9
    for path in paths:
        for line in (path / "cpu.stat").read_text().splitlines():
            if line.startswith("usage_usec "):
                return int(line.split()[1]) / 1e6
    return 0.0
