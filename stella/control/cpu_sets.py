"""The CPUs that each stage may use while the host is full: its home, and the CPUs that others leave idle.

A CPU whose stages, by demand, leave idle time is *open*. It is added to the set of every instance whose homes give it less than it
wants, so that a placement leaves no CPU idle that an instance wants (`docs/decisions/0013`). On a host that is full everywhere there
are no open CPUs.

A CPU is not open while an instance at home there misses a floor. One that was closed stays closed for a while: what moves in lets
the instances at home wait, which looks like demand.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from stella.control.placement import FEW_CPUS, Homes, Item, Stage, homes

OPENS_BELOW_CORES = 0.8
"""A CPU opens below this demand; above `IDLE_RATIO`, so that a placement never makes a full host look idle."""
CLOSES_ABOVE_CORES = 0.95
STAYS_CLOSED_SECONDS = 10.0
STAYS_CLOSED_AFTER_DEBT_SECONDS = 60.0
"""The same after a floor was missed there: trying again costs windows."""
IMPROVED_EVERY_SECONDS = 1.0
"""On a host with many CPUs, which then costs a tick little."""
_CONTENDED_CORES = 1.0
_CONTENDED_NO_LONGER_CORES = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where instances run while the host is full; empty while it is not.

    ``homes``: the CPU that carries each stage; ``sets``: all CPUs that it may use, in order. ``open_cpus`` leave idle time to
    the instances in ``reaching``. ``closed_until``: when a CPU that was closed may open again, and ``improved_seconds``: when a
    better placement of all was last looked for, on the monotonic clock.
    """

    homes: Homes = field(default_factory=Homes)
    sets: Mapping[str, Mapping[Stage, tuple[int, ...]]] = field(default_factory=dict)
    open_cpus: frozenset[int] = frozenset()
    reaching: frozenset[str] = frozenset()
    closed_until: Mapping[int, float] = field(default_factory=dict)
    improved_seconds: float = float("-inf")

    def cpus(self, uuid: str) -> frozenset[int]:
        """The CPUs that an instance may use; empty when it is not placed."""
        return frozenset().union(*self.sets.get(uuid, {}).values())

    def without(self, uuids: Iterable[str]) -> "Placement":
        """The same, with these instances forgotten."""
        gone = frozenset(uuids)
        return replace(
            self,
            homes=Homes(
                at={u: stages for u, stages in self.homes.at.items() if u not in gone}, spread=self.homes.spread - gone
            ),
            sets={u: stages for u, stages in self.sets.items() if u not in gone},
            reaching=self.reaching - gone,
        )


def _demand_cores(item: Item, stage: Stage) -> float:
    return item.demand_cores.get(stage, item.allocation_cores * item.stages[stage])


def _opened(
    cpus: Sequence[int],
    items: Sequence[Item],
    at: Mapping[str, Mapping[Stage, int]],
    load: Mapping[int, float],
    before: Placement,
    now: float,
    *,
    improve: bool,
) -> tuple[frozenset[int], dict[int, float]]:
    """The open CPUs, and until when others stay closed. Without ``improve`` CPUs close only for floors that are missed."""
    owed = {c for i in items if i.owed for c in at.get(i.uuid, {}).values()}
    strained = owed | {c for i in items if i.strained for c in at.get(i.uuid, {}).values()}
    closed_until = {c: until for c, until in before.closed_until.items() if until > now}
    found = set()
    for cpu in cpus:
        if cpu in before.open_cpus:
            if cpu in owed:
                closed_until[cpu] = now + STAYS_CLOSED_AFTER_DEBT_SECONDS
            elif improve and load[cpu] > CLOSES_ABOVE_CORES:
                closed_until[cpu] = now + STAYS_CLOSED_SECONDS
            else:
                found.add(cpu)
        elif improve and load[cpu] < OPENS_BELOW_CORES and cpu not in strained and cpu not in closed_until:
            found.add(cpu)
    return frozenset(found), closed_until


def _reaches(item: Item, at: Mapping[Stage, int], load: Mapping[int, float], before: Placement) -> bool:
    """Whether the homes of an instance give it less than it wants."""
    if item.guaranteed and sum(item.demand_cores.values()) <= item.reserved_cores:
        return False
    limit = _CONTENDED_NO_LONGER_CORES if item.uuid in before.reaching else _CONTENDED_CORES
    return any(load[cpu] > limit for cpu in at.values())


def place(cpus: Sequence[int], items: Sequence[Item], before: Placement, now_seconds: float) -> Placement:
    """The placement of ``items`` on ``cpus`` (numbers of CPUs); empty as `homes` is. ``now_seconds`` is monotonic.

    An instance that sleeps stays where it was: it is not among the items before it runs again.
    """
    improve = len(cpus) <= FEW_CPUS or now_seconds - before.improved_seconds >= IMPROVED_EVERY_SECONDS
    found = homes(cpus, items, before.homes, improve=improve)
    at = found.at
    if not at:
        return Placement(closed_until=before.closed_until)
    load = dict.fromkeys(cpus, 0.0)
    for item in items:
        for stage, cpu in at.get(item.uuid, {}).items():
            load[cpu] += _demand_cores(item, stage)
    opened, closed_until = _opened(cpus, items, at, load, before, now_seconds, improve=improve)
    reaching = frozenset(i.uuid for i in items if _reaches(i, at.get(i.uuid, {}), load, before))
    sets: dict[str, Mapping[Stage, tuple[int, ...]]] = {}
    for item in items:
        if item.uuid in at:
            more = opened if item.uuid in reaching else frozenset()
            sets[item.uuid] = _sets(item, at[item.uuid], more, few=len(cpus) <= FEW_CPUS)
    active = {item.uuid for item in items}
    here = frozenset(cpus)
    asleep = {u for u in before.sets if u not in active and before.cpus(u) <= here}
    return Placement(
        homes=Homes(
            at={**{u: before.homes.at[u] for u in asleep}, **at}, spread=found.spread | (before.homes.spread & asleep)
        ),
        sets={**{u: before.sets[u] for u in asleep}, **sets},
        open_cpus=opened,
        reaching=reaching,
        closed_until=closed_until,
        improved_seconds=now_seconds if improve else before.improved_seconds,
    )


def _sets(item: Item, at: Mapping[Stage, int], more: frozenset[int], *, few: bool) -> Mapping[Stage, tuple[int, ...]]:
    """The CPUs of each stage: its home, or on a host with many CPUs all homes of the instance, and ``more``; within its allowed."""
    shared = more if few else more | frozenset(at.values())
    ordered: dict[tuple[int, tuple[int, ...] | None], tuple[int, ...]] = {}
    found = {}
    for stage, home in at.items():
        allowed = item.allowed.get(stage)
        key = (home if home not in shared else -1, allowed)
        if key not in ordered:
            wanted = shared | {home}
            ordered[key] = tuple(sorted(wanted if allowed is None else wanted & frozenset(allowed)))
        found[stage] = ordered[key]
    return found
