"""The host as a whole: /proc/stat, and the groups above all instances."""

import os

from stella.linux import cgroup, libvirt_groups, process
from stella.model.snapshot import GroupReading, HostReading
from stella.xgos.host_files import Gone, HostFiles, Unavailable
from stella.xgos.sensing.groups import Group, find_cpuset

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class Host:
    """Reads the host's CPU times and the knobs of parent groups."""

    def __init__(self, files: HostFiles, hierarchy: cgroup.Hierarchy) -> None:
        self._hierarchy = hierarchy
        self._files = files
        self._stat = files.keep("/proc/stat")
        self._cpuset_mount = find_cpuset(files)
        self._parents: dict[str, Group] = {}

    def read(self, instance_paths: tuple[str, ...]) -> HostReading:
        """The host now; ``instance_paths`` are the groups of all instances. Raises `Unavailable`."""
        try:
            times = process.parse_cpu_times(self._stat.read(16384).decode(), _TICKS_PER_SECOND)
        except cgroup.InvalidText as error:
            raise Unavailable(str(error)) from None
        return HostReading(
            cores=len(times.cpus),
            busy_seconds=times.busy_seconds,
            idle_seconds=times.idle_seconds,
            softirq_seconds=times.softirq_seconds,
            steal_seconds=times.steal_seconds,
            cgroup_version=self._hierarchy.version,
            cgroup_mount=self._hierarchy.mount,
            cpuset_mount=self._cpuset_mount,
            cpus=times.cpus,
            parents=self._read_parents(instance_paths),
        )

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
