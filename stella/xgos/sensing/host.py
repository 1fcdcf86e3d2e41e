"""The host as a whole: which CPUs it may use, their times, and the groups above all instances.

A host may be a part of a machine: a cgroup namespace whose own group holds some of the machine's CPUs. Its CPUs are those of
the cpuset at the top of the hierarchy as it is mounted here, as far as they are on line.
"""

import os

from stella.linux import cgroup, cpuset, libvirt_groups, process
from stella.model.snapshot import GroupReading, HostReading
from stella.xgos.host_files import Gone, HostFiles, KeptFile, Unavailable
from stella.xgos.sensing.groups import CPU_LIST_BYTES, Group, find_cpuset

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
CPUSET_FILES = ("cpuset.effective_cpus", "cpuset.cpus.effective", "cpuset.cpus")
"""Where a hierarchy tells the CPUs of its topmost group: v1, v2, v1 of old."""
_SMALLEST_STAT_BYTES, _LARGEST_STAT_BYTES = 1 << 14, 1 << 22
_NONE = process.CpuTicks(0, 0, 0, 0)


class _CpuTimes:
    """Sums over CPUs that may come and go: what one CPU counts backwards, or counted before it came, is not added."""

    def __init__(self) -> None:
        self._highest: dict[int, process.CpuTicks] | None = None
        self._sums = _NONE

    def add(self, ticks: dict[int, process.CpuTicks], cpus: tuple[int, ...]) -> process.CpuTicks:
        """The sums over ``cpus``, which only grow. At first they are those since boot."""
        old, highest = self._highest, {}
        sums = list(self._sums)
        for cpu in cpus:
            now = ticks[cpu]
            before = _NONE if old is None else old.get(cpu, now)
            if now != before:
                for n in range(4):
                    sums[n] += max(0, now[n] - before[n])
                now = process.CpuTicks(*map(max, now, before))
            highest[cpu] = now
        self._highest, self._sums = highest, process.CpuTicks(*sums)
        return self._sums


class Host:
    """Reads the host's CPUs, their times, and the knobs of parent groups."""

    def __init__(self, files: HostFiles, hierarchy: cgroup.Hierarchy) -> None:
        self._hierarchy = hierarchy
        self._files = files
        self._stat = files.keep("/proc/stat")
        self._stat_bytes = _SMALLEST_STAT_BYTES
        self.cpuset_mount = find_cpuset(files)
        self._cpuset = self._find_allowed()
        self._times = _CpuTimes()
        self._parents: dict[str, Group] = {}

    def read(self, instance_paths: tuple[str, ...]) -> HostReading:
        """The host now; ``instance_paths`` are the groups of all instances. Raises `Unavailable`."""
        try:
            ticks = process.parse_cpu_ticks(self._read_stat())
            cpus = self._usable(tuple(ticks))
        except cgroup.InvalidText as error:
            raise Unavailable(str(error)) from None
        sums = self._times.add(ticks, cpus)
        return HostReading(
            cores=len(cpus),
            busy_seconds=sums.busy / _TICKS_PER_SECOND,
            idle_seconds=sums.idle / _TICKS_PER_SECOND,
            softirq_seconds=sums.softirq / _TICKS_PER_SECOND,
            steal_seconds=sums.steal / _TICKS_PER_SECOND,
            cgroup_version=self._hierarchy.version,
            cgroup_mount=self._hierarchy.mount,
            cpuset_mount=self.cpuset_mount,
            cpus=cpus,
            parents=self._read_parents(instance_paths),
        )

    def _read_stat(self) -> str:
        """/proc/stat as far as its ``cpu`` lines go. Each read of it begins anew, so what is cut is read again, larger."""
        while True:
            text = self._stat.read(self._stat_bytes)
            if len(text) < self._stat_bytes or process.cpu_lines_complete(text):
                return text.decode(errors="replace")
            if self._stat_bytes >= _LARGEST_STAT_BYTES:
                raise Unavailable(f"/proc/stat: the cpu lines do not end within {_LARGEST_STAT_BYTES} bytes")
            self._stat_bytes *= 2

    def _find_allowed(self) -> KeptFile | None:
        for name in CPUSET_FILES if self.cpuset_mount else ():
            try:
                return self._files.keep(f"{self.cpuset_mount}/{name}")
            except Unavailable:
                continue
        return None

    def _usable(self, online: tuple[int, ...]) -> tuple[int, ...]:
        """Those of ``online`` that this host's cpuset holds; without a cpuset, those that the first process may use."""
        if self._cpuset is not None:
            allowed = cpuset.parse_cpus(self._cpuset.read(CPU_LIST_BYTES).decode(errors="replace"))
        else:
            try:
                allowed = process.parse_allowed_cpus(self._files.read("/proc/1/status")) or ()
            except Unavailable:
                allowed = ()
        return tuple(sorted(set(online).intersection(allowed))) or tuple(sorted(online))

    def _read_parents(self, instance_paths: tuple[str, ...]) -> tuple[GroupReading, ...]:
        directories = {path.rpartition("/")[0] for path in instance_paths}
        wanted = sorted({parent for d in directories if d for parent in (*libvirt_groups.parents(d), d)})
        for path in set(self._parents) - set(wanted):
            del self._parents[path]
        readings = []
        for path in wanted:
            try:
                if path not in self._parents:
                    self._parents[path] = Group(self._files, self._hierarchy, path)
                readings.append(self._parents[path].read())
            except Gone:
                self._parents.pop(path, None)
        return tuple(readings)
