"""Actuators of a simulated host: the same protocol and the same texts as on a machine, but what is written lands in the model."""

from collections.abc import Callable

from stella.linux import cgroup, cpuset, scheduling
from stella.model.target import Target, TargetKind
from stella.sim.instance import Group, Thread
from stella.sim.machine import MOUNT, Machine
from stella.xgos.actuation.actuators import Actuators
from stella.xgos.host_files import Gone, InstanceGone, Unavailable, Unsupported, WriteFailed


class SimulatedGroups:
    """Weight, quota and CPU set of the model's control groups (cgroup v2)."""

    blocking = False

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def _group(self, target: Target) -> Group:
        found = self._machine.group(target.place.removeprefix(MOUNT))
        if found is None:
            raise Gone(f"{target.place}: no such group")
        return found

    def identity(self, target: Target) -> str:
        """See `Actuator.identity`."""
        return str(self._group(target).inode)

    def read(self, target: Target) -> str:
        """See `Actuator.read`."""
        group = self._group(target)
        if target.knob == cgroup.V2.weight:
            return str(group.weight)
        if target.knob == cgroup.V2.quota:
            return cgroup.show_quota_v2(group.quota)
        if target.knob == cgroup.CPUSET and group.cpus is not None:
            return cpuset.show_cpus(group.cpus)
        raise Gone(f"{target.place}/{target.knob}: no such file")

    def write(self, target: Target, value: str, identity: str) -> None:
        """See `Actuator.write`."""
        try:
            group = self._group(target)
        except Gone as error:
            raise InstanceGone(str(error)) from None
        if str(group.inode) != identity:
            raise InstanceGone(f"{target.place}: another group has this name now")
        try:
            self._set(group, target.knob, value)
        except cgroup.InvalidText as error:
            raise WriteFailed(f"{target.place}/{target.knob}: {error}") from None

    def _set(self, group: Group, knob: str, value: str) -> None:
        if knob == cgroup.V2.weight:
            weight = cgroup.parse_weight(value)
            if not cgroup.V2.smallest_weight <= weight <= cgroup.V2.largest_weight:
                raise cgroup.InvalidText(f"weight out of range: {weight}")
            self._machine.set_weight(group, weight)
        elif knob == cgroup.V2.quota:
            self._machine.set_quota(group, cgroup.parse_quota_v2(value))
        elif knob == cgroup.CPUSET and group.cpus is not None:
            cpus = cpuset.parse_cpus(value)
            if not set(cpus) <= set(range(self._machine.cores)):
                raise cgroup.InvalidText(f"CPUs that this host does not have: {value}")
            self._machine.set_cpus(group, cpus)
        else:
            raise Unsupported(f"{group.path}: no knob {knob}")

    def remove(self, target: Target) -> None:
        """The agent makes no groups on a simulated host."""
        raise Unsupported(f"{target}: not made by Stella")


class SimulatedThreads:
    """Scheduling policies of the model's threads. With ``overruns`` those that serve I/O yield under `SCHED_BATCH`."""

    blocking = False

    def __init__(self, find: Callable[[int, int], tuple[Thread, int] | None], *, overruns: bool) -> None:
        """``find``: the thread of a process, and when that began; ``overruns``: whether threads that batch yield."""
        self._find, self._overruns = find, overruns

    def _thread(self, target: Target) -> tuple[Thread, int]:
        parts = target.place.split("/")
        try:
            found = self._find(int(parts[2]), int(parts[4]))
        except (ValueError, IndexError):
            raise Unavailable(f"{target.place}: is no thread") from None
        if found is None:
            raise Gone(f"{target.place}: no such thread")
        return found

    def identity(self, target: Target) -> str:
        """See `Actuator.identity`."""
        return str(self._thread(target)[1])

    def read(self, target: Target) -> str:
        """See `Actuator.read`."""
        return self._thread(target)[0].policy

    def write(self, target: Target, value: str, identity: str) -> None:
        """See `Actuator.write`."""
        try:
            thread, start_ticks = self._thread(target)
        except Unavailable as error:
            raise InstanceGone(str(error)) from None
        if str(start_ticks) != identity:
            raise InstanceGone(f"{target.place}: another thread has this number now")
        try:
            scheduling.parse_policy(value)
        except cgroup.InvalidText as error:
            raise WriteFailed(f"{target.place}: {error}") from None
        thread.policy = value
        thread.task.yields = self._overruns and thread.sleeps and value.partition("+")[0] == scheduling.BATCH

    def remove(self, target: Target) -> None:
        """Threads are never made by Stella."""
        raise Unsupported(f"{target}: not made by Stella")


def simulated_actuators(machine: Machine, *, overruns: bool = False) -> Actuators:
    """All actuators of a simulated host, by kind; ``overruns``: see `stella.sim.cases.Case`."""
    return {
        TargetKind.CGROUP: SimulatedGroups(machine),
        TargetKind.THREAD: SimulatedThreads(machine.thread, overruns=overruns),
    }
