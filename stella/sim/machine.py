"""The model of a host: CPUs, instances and their loads, at virtual time. Pure: no clock, no file, no chance but by seed."""

import itertools
import math

from stella.linux import cgroup
from stella.model.snapshot import HostReading, InstanceReading, Quota, RunState
from stella.sim.flows import settle
from stella.sim.instance import SLICE, Flow, Group, Instance, InstanceSpec, Thread, start
from stella.sim.loads import Load
from stella.sim.scheduler import Task

MOUNT = "/sys/fs/cgroup"
_NOTHING = 1e-6
_PIDS_EACH = 1000
_MOST_STEPS = 40
_TOLERATED_RATIO = 0.2
"""A step may be longer by this part: ticks in real time come a little early or late."""
_QUEUEING = 0.5
"""A task that gets what it wants waits so much for each second that it runs beside others that fill its CPU."""
_LARGEST_WAITING_BUSY_RATIO = 0.8
"""...but never so long that it looks as if it had not caught up."""


_LOAD_PACE = 0.25
"""The load of a task follows what it has to do at this pace in each step: slower than the kernel, which evens out within a step."""


class Machine:
    """A host with ``cores`` CPUs, booted at ``boot_unix_seconds``. `advance` moves its time; nothing else does."""

    def __init__(
        self,
        *,
        cores: int,
        seed: int,
        boot_unix_seconds: float,
        services_cores: float = 0.05,
        step_seconds: float = 0.25,
    ) -> None:
        """``services_cores`` is what host services use in all; ``step_seconds`` is the longest step of the model."""
        self.cores = cores
        self.seed = seed
        self.unix_seconds = boot_unix_seconds
        self.boot_unix_seconds = boot_unix_seconds
        self.busy_seconds = 0.0
        self.idle_seconds = 0.0
        self.wasted_seconds = 0.0
        """CPU that was idle although a thread wanted more, quotas included."""
        self.instances: dict[str, Instance] = {}
        self.shut_off: dict[str, InstanceSpec] = {}
        self.services_cores = services_cores
        self._step_seconds = step_seconds
        self._inodes = itertools.count(int(boot_unix_seconds * 1000))
        self._numbers = itertools.count(1)
        self._slice = Group(path=SLICE, role=None, index=0, inode=next(self._inodes))
        self._groups: dict[str, Group] = {}
        self._tasks: dict[str, Task] = {}
        self._processes: dict[int, Instance] = {}
        self._index()

    # --- instances --------------------------------------------------------------------------------------------------

    def start(self, spec: InstanceSpec) -> Instance:
        """Start an instance that is not defined here, or is shut off."""
        number = next(self._numbers)
        ticks = int((self.unix_seconds - self.boot_unix_seconds) * 100) + number
        found = start(
            spec,
            number=number,
            pid=_PIDS_EACH * number,
            start_ticks=int(self.boot_unix_seconds * 100) + ticks,
            inodes=self._inodes,
            cpus=self.cores,
            seed=self.seed,
        )
        self.shut_off.pop(spec.uuid, None)
        self.instances[spec.uuid] = found
        self._index()
        return found

    def stop(self, uuid: str) -> None:
        """Shut an instance off; it stays defined."""
        self.shut_off[uuid] = self.instances[uuid].spec
        self.remove(uuid)

    def remove(self, uuid: str) -> None:
        """Let an instance go; nothing to do when it is not here, but one that was shut off stays defined."""
        self.instances.pop(uuid, None)
        self._index()

    def set_load(self, uuid: str, number: int, load: Load) -> None:
        """Another peak, wave or cost of a load of an instance that runs here; its kind and its vCPUs stay."""
        for flow in self.instances[uuid].flows:
            if flow.number == number:
                ratio = load.vcpu_seconds / flow.load.vcpu_seconds
                io_ratio = load.io_seconds / flow.load.io_seconds if flow.load.io_seconds else 1.0
                first, *serving = flow.stages
                flow.stages = ((first[0], first[1] * ratio), *((n, cost * io_ratio) for n, cost in serving))
                flow.load = load

    def _index(self) -> None:
        running = self.instances.values()
        self._groups = {SLICE: self._slice} | {group.path: group for each in running for group in each.groups}
        self._tasks = {thread.group.path: thread.task for each in running for thread in each.threads}
        self._processes = {each.pid: each for each in running}
        for n, each in enumerate(running):
            for thread in each.threads:
                thread.task.instance = n

    # --- knobs ------------------------------------------------------------------------------------------------------

    def group(self, path: str) -> Group | None:
        """The control group at ``path``; None where there is none."""
        return self._groups.get(path)

    def thread(self, pid: int, tid: int) -> tuple[Thread, int] | None:
        """A thread, and when its process began, in ticks; None where there is none."""
        instance = self._processes.get(pid)
        if instance is None or not 0 <= tid - pid < len(instance.threads):
            return None
        return instance.threads[tid - pid], instance.start_ticks

    def set_weight(self, group: Group, weight: int) -> None:
        """Set cpu.weight."""
        group.weight = weight
        self._changed(group)

    def set_quota(self, group: Group, quota: Quota) -> None:
        """Set cpu.max."""
        group.quota = quota
        self._changed(group)

    def set_cpus(self, group: Group, cpus: tuple[int, ...]) -> None:
        """Set cpuset.cpus; empty means those of the parent."""
        group.cpus = cpus
        self._changed(group)

    def _changed(self, group: Group) -> None:
        group.changed()
        task = self._tasks.get(group.path)
        if task is not None:
            quota = group.quota
            task.weight = group.weight
            task.bound_cores = 1.0 if quota.quota_us is None else min(1.0, quota.quota_us / quota.period_us)
            task.cpus = group.cpus or tuple(range(self.cores))

    # --- time -------------------------------------------------------------------------------------------------------

    def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass, in steps of about ``step_seconds`` at most (longer ones after a very long pause)."""
        if seconds > 0:
            steps = max(1, min(_MOST_STEPS, math.ceil(seconds / self._step_seconds - _TOLERATED_RATIO)))
            for _ in range(steps):
                self._step(seconds / steps)

    def _step(self, seconds: float) -> None:
        now = self.unix_seconds
        instances = list(self.instances.values())
        threads = [thread for instance in instances for thread in instance.threads]
        tasks = [thread.task for thread in threads]
        flows: list[tuple[Instance, Flow]] = []
        stages: list[tuple[tuple[int, float], ...]] = []
        demands: list[float] = []
        wanted = [0.0] * len(tasks)
        first = 0
        for instance in instances:
            for flow in instance.flows if instance.state is not RunState.PAUSED else ():
                demand = flow.load.demand(flow.seed, now)
                if demand > 0:
                    factor = flow.load.cost_factor(flow.seed, now)
                    flows.append((instance, flow))
                    passed_by = tuple((first + n, cost * factor) for n, cost in flow.stages)
                    stages.append(passed_by)
                    demands.append(demand)
                    for n, cost in passed_by:
                        wanted[n] += demand * cost
            last = first + len(instance.threads)
            instance.wanted_seconds += sum(min(1.0, w) for w in wanted[first:last]) * seconds
            first = last
        room = [max(0.0, 1.0 - self.services_cores / self.cores)] * self.cores
        weights = [float(instance.own.weight) for instance in instances]
        passed = settle(room, weights, tasks, stages, demands)
        ran = [0.0] * len(tasks)
        for n, parts in enumerate(stages):
            for t, cost in parts:
                ran[t] += passed.rates[n] * cost
        for t, thread in enumerate(threads):
            used = passed.used[thread.task.home]
            _account(thread, ran=ran[t], asked=passed.asked[t], got=passed.got[t], used=used, seconds=seconds)
        for n, (instance, flow) in enumerate(flows):
            rate, demand = passed.rates[n], demands[n]
            flow.moved += rate * seconds
            flow.asked += demand * seconds
            instance.count(flow.load, rate, seconds, demand=demand, held_up=rate < demand * (1 - _NOTHING))
        idle = sum(room) - sum(passed.used)
        if idle > _NOTHING:
            lacking = sum(max(0.0, min(1.0, a) - g) for a, g in zip(passed.asked, passed.got, strict=True))
            self.wasted_seconds += min(idle, lacking) * seconds
        busy = sum(ran) + self.services_cores
        self.busy_seconds += busy * seconds
        self.idle_seconds += max(0.0, self.cores - busy) * seconds
        self.unix_seconds += seconds

    # --- readings ---------------------------------------------------------------------------------------------------

    def host_reading(self) -> HostReading:
        """The host as sensors see it."""
        return HostReading(
            cores=self.cores,
            busy_seconds=self.busy_seconds,
            idle_seconds=self.idle_seconds,
            softirq_seconds=0.0,
            steal_seconds=0.0,
            cgroup_version=cgroup.V2.version,
            cgroup_mount=MOUNT,
            cpuset_mount=MOUNT,
            cpus=tuple(range(self.cores)),
            parents=(self._slice.reading(),),
        )

    def instance_readings(self, monotonic_seconds: float) -> tuple[InstanceReading, ...]:
        """The running instances as sensors see them."""
        return tuple(instance.reading(monotonic_seconds) for instance in self.instances.values())


def _account(thread: Thread, *, ran: float, asked: float, got: float, used: float, seconds: float) -> None:
    """Add to the counters of a thread and its group: it ran, waited, or was held by its quota. All but ``seconds`` in cores."""
    task, waited = thread.task, 0.0
    if asked > got + _NOTHING:
        if got < task.bound_cores - _NOTHING:
            waited = 1.0 - ran
        elif task.bound_cores < 1.0:
            thread.group.throttled_seconds += (1.0 - ran) * seconds
            thread.group.changed()
    elif ran > 0.0:
        waited = min(ran * max(0.0, used - ran) * _QUEUEING, max(0.0, _LARGEST_WAITING_BUSY_RATIO - ran))
    thread.run_seconds += ran * seconds
    thread.wait_seconds += waited * seconds
    load = ran + waited
    task.load = load if task.load is None else task.load + _LOAD_PACE * (load - task.load)
