"""The CPUs of a simulated host, divided as control groups do it: each CPU has a queue, and weights divide each queue.

A task is one thread of QEMU. It has a home CPU within the CPUs that it may use, and balancing moves it, as the kernel does. The weight
of an instance counts on each CPU in proportion to what it has to run there (CFS: the group's shares times the part of its load);
inside its part the weights of its inner groups count. Weighted max-min at both levels; what a CPU then leaves idle goes to tasks
that may run there and want more, so no CPU idles beside work that is allowed on it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

_NOTHING = 1e-9
_IMBALANCE_CORES = 0.1
_MOST_MOVES = 4
_SPINS_CORES = 0.95
_OVERRUN_RATIO = 0.4
"""Threads that never sleep have so much of a CPU beside those of another instance that yield, whatever their weight: the kernel looks
who should run at each tick of its timer only (measured, `docs/decisions/0012`)."""
_NEW_LOAD_RATIO = 0.2
"""A task that wakes counts at once for this part of what it wants."""


@dataclass(slots=True, kw_only=True)
class Task:
    """One thread. ``instance`` numbers its instance; ``weight`` is its own within it; ``bound_cores`` is 1, or less by a quota.

    ``cpus``: those it may use, in order. ``home`` is an index into the host's CPUs. ``load`` is the part of time in which it had
    something to do lately, 0 to 1; None: not known, what it wants counts.
    One that ``yields`` sleeps often and does not interrupt when it wakes (`SCHED_BATCH`).
    """

    instance: int
    weight: float
    bound_cores: float
    cpus: tuple[int, ...]
    home: int = 0
    load: float | None = None
    yields: bool = False

    def counted(self, want: float) -> float:
        """The load that it counts for while it wants so much."""
        return self.weight * (want if self.load is None else max(self.load, want * _NEW_LOAD_RATIO))


def fill(room: float, wants: Sequence[float], weights: Sequence[float]) -> list[float]:
    """Weighted max-min: ``room`` divided by ``weights``, none given more than it ``wants``."""
    if len(wants) == 1:  # most often: an instance has one thread on a CPU
        return [min(wants[0], room / weights[0] * weights[0]) if wants[0] > _NOTHING and room > _NOTHING else 0.0]
    got = [0.0] * len(wants)
    hungry = [n for n, want in enumerate(wants) if want > _NOTHING]
    while hungry and room > _NOTHING:
        level = room / sum(weights[n] for n in hungry)
        full = [n for n in hungry if wants[n] <= level * weights[n]]
        if not full:
            for n in hungry:
                got[n] = level * weights[n]
            break
        for n in full:
            got[n] = wants[n]
            room -= wants[n]
        hungry = [n for n in hungry if got[n] == 0.0]
    return got


def balance(tasks: Sequence[Task], wants: Sequence[float], cpus: int) -> None:
    """Give each task a home that it may use, and move some from the CPU with the most to run to the one with the least."""
    load = [0.0] * cpus
    homeless = []
    for n, task in enumerate(tasks):
        if task.home in task.cpus:
            load[task.home] += wants[n]
        else:
            homeless.append(n)
    for n in homeless:
        task = tasks[n]
        task.home = min(task.cpus, key=lambda cpu: (load[cpu], cpu))
        load[task.home] += wants[n]
    for _ in range(_MOST_MOVES):
        fullest = max(range(cpus), key=load.__getitem__)
        best, lowered = None, _IMBALANCE_CORES
        emptiest: dict[tuple[int, ...], int] = {}
        for n, task in enumerate(tasks):
            if task.home == fullest and wants[n] > _NOTHING and len(task.cpus) > 1:
                if task.cpus not in emptiest:
                    emptiest[task.cpus] = min(task.cpus, key=load.__getitem__)
                there = emptiest[task.cpus]
                gain = load[fullest] - max(load[fullest] - wants[n], load[there] + wants[n])
                if gain > lowered:
                    best, lowered = (n, there), gain
        if best is None:
            return
        n, there = best
        load[fullest] -= wants[n]
        load[there] += wants[n]
        tasks[n].home = there


def divide(
    room: Sequence[float], weights: Sequence[float], tasks: Sequence[Task], wants: Sequence[float]
) -> tuple[list[float], list[float]]:
    """(what each task gets, what of each CPU is used), in cores.

    ``room``: what each CPU has for instances; ``weights``: of each instance; ``wants``: of each task, at most its bound.
    """
    queues: list[list[int]] = [[] for _ in room]
    loads = [0.0] * len(weights)
    counted = [0.0] * len(tasks)
    some_yield = False
    for n, want in enumerate(wants):
        if want > _NOTHING:
            task = tasks[n]
            queues[task.home].append(n)
            counted[n] = task.counted(want)
            loads[task.instance] += counted[n]
            some_yield = some_yield or task.yields
    got = [0.0] * len(tasks)
    used = [0.0] * len(room)
    for cpu, queue in enumerate(queues):
        asked = sum([wants[n] for n in queue])
        if asked <= room[cpu]:
            for n in queue:
                got[n] = wants[n]
            used[cpu] = asked
        else:
            _divide_queue(
                room[cpu], weights, tasks, wants, queue, got, loads=loads, counted=counted, some_yield=some_yield
            )
            used[cpu] = sum([got[n] for n in queue])
    _lend(room, used, tasks, wants, got)
    return got, used


def _divide_queue(
    room: float,
    weights: Sequence[float],
    tasks: Sequence[Task],
    wants: Sequence[float],
    queue: Sequence[int],
    got: list[float],
    *,
    loads: Sequence[float],
    counted: Sequence[float],
    some_yield: bool,
) -> None:
    """One CPU: among instances first, then inside each. ``counted``: the load of each task, ``loads``: of each instance in all."""
    inside: dict[int, list[int]] = {}
    for n in queue:
        inside.setdefault(tasks[n].instance, []).append(n)
    instances = list(inside)
    # what of the weight of each counts here
    parts = [weights[i] * sum([counted[n] for n in inside[i]]) / loads[i] for i in instances]
    asked = [sum([wants[n] for n in inside[i]]) for i in instances]
    granted = fill(room, asked, parts)
    if some_yield and any(tasks[n].yields for n in queue):
        spins = [any(wants[n] >= _SPINS_CORES for n in inside[i]) for i in instances]
        yields = [all(tasks[n].yields for n in inside[i]) for i in instances]
        granted = _overrun(room, granted, asked, parts, spins=spins, yields=yields)
    for i, part in zip(instances, granted, strict=True):
        members = inside[i]
        inner = fill(part, [wants[n] for n in members], [tasks[n].weight for n in members])
        for n, cores in zip(members, inner, strict=True):
            got[n] = cores


def _overrun(
    room: float,
    granted: list[float],
    asked: Sequence[float],
    parts: Sequence[float],
    *,
    spins: Sequence[bool],
    yields: Sequence[bool],
) -> list[float]:
    """What each instance gets where some never sleep beside some that yield: the former at least `_OVERRUN_RATIO` of the CPU.

    ``spins``: whether it has a thread here that never sleeps; ``yields``: whether all that it has here yield.
    """
    spinning = [k for k, spin in enumerate(spins) if spin]
    had = sum(granted[k] for k in spinning)
    least = min(room * _OVERRUN_RATIO, sum(asked[k] for k in spinning))
    yielding = [k for k, each in enumerate(yields) if each and not spins[k]]
    if had >= least or not yielding:
        return granted
    lost = min(least - had, sum(granted[k] for k in yielding))
    more = fill(had + lost, [asked[k] for k in spinning], [parts[k] for k in spinning])
    kept = 1.0 - lost / max(sum(granted[k] for k in yielding), _NOTHING)
    found = [g * kept if k in yielding else g for k, g in enumerate(granted)]
    for k, cores in zip(spinning, more, strict=True):
        found[k] = cores
    return found


def _lend(
    room: Sequence[float], used: list[float], tasks: Sequence[Task], wants: Sequence[float], got: list[float]
) -> None:
    """What a CPU leaves idle goes to tasks that may use it and want more, the one that lacks most first."""
    idle = [cpu for cpu in range(len(room)) if room[cpu] - used[cpu] > _NOTHING]
    if not idle:
        return
    lacking = sorted((n for n in range(len(tasks)) if wants[n] - got[n] > _NOTHING), key=lambda n: got[n] - wants[n])
    for n in lacking:
        cpus = tasks[n].cpus
        anywhere = len(cpus) == len(room)
        for cpu in idle:
            spare = room[cpu] - used[cpu]
            if spare > _NOTHING and (anywhere or cpu in cpus):
                more = min(spare, wants[n] - got[n])
                got[n] += more
                used[cpu] += more
