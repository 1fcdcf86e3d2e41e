"""What became of a case, measured on the model and not by the agent's word: windows, waste, fair shares, changes of set-points."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from stella.control.capacity import pack, pieces, sellable_cores
from stella.control.reservation import Reservation
from stella.model.allocation import Decision, Intent
from stella.model.attainment import TOLERANCE_RATIO
from stella.model.intent import IntentState
from stella.model.slo import Metric, Objective
from stella.model.snapshot import Role
from stella.sim.cases import WARM_UP_SECONDS
from stella.sim.closed_loop import ClosedLoop
from stella.sim.instance import Flow, Instance
from stella.sim.loads import LoadKind
from stella.sim.scheduler import fill

WINDOW_SECONDS = 1.0
GRACE_SECONDS = 2.0
"""A floor that was just accepted or raised is to hold from then on; the demonstration's bound for a late SLO."""
COMES_BACK_TICKS = 2.0
"""A floor that was lent comes back within so many ticks after its load woke up."""
CALM_AFTER_SECONDS = 5.0
CHANGE_RATIO, CHANGE_CORES = 0.1, 0.05
"""An allocation counts as another one when it differs by more than both."""
UNEVEN_CORES_PER_CPU = 0.03
"""Homes are kept while they are within this of more even ones (`stella.control.placement`)."""
_LARGEST_STAGE_CORES = 0.85
_KINDS = {LoadKind.NETWORK: Metric.NETWORK_PACKETS, LoadKind.BLOCK: Metric.BLOCK_BYTES, LoadKind.CPU: Metric.CPU}
_NOTHING = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Miss:
    """A floor that was asked for and not reached in the window that ends at ``at_seconds``."""

    at_seconds: float
    uuid: str
    metric: Metric
    floor: float
    got: float


@dataclass(slots=True, kw_only=True)
class Measured:
    """Sums over the windows of a case after the warm-up.

    ``windows`` are those of a floor that was in force, asked for and fitted; ``misses`` those in which it was not reached.
    ``got_seconds`` and ``fair_seconds``: CPU of each best-effort instance, and its max-min share of what floors leave, both
    over the windows in which the host was full; ``uneven_seconds`` is what homes that are kept may be uneven by meanwhile.
    ``calm_seconds``: instance-seconds in which nothing in the case changed; ``changes``: set-points that changed meanwhile.
    """

    windows: int = 0
    misses: list[Miss] = field(default_factory=list)
    wasted_seconds: float = 0.0
    cpu_seconds: float = 0.0
    got_seconds: dict[str, float] = field(default_factory=dict)
    fair_seconds: dict[str, float] = field(default_factory=dict)
    uneven_seconds: float = 0.0
    calm_seconds: float = 0.0
    changes: int = 0

    @property
    def held_ratio(self) -> float:
        """The part of windows in which the floor was reached; 1 where there was none."""
        return 1.0 - len(self.misses) / self.windows if self.windows else 1.0

    @property
    def wasted_ratio(self) -> float:
        """Idle CPU beside threads that wanted more, as a part of all CPU."""
        return self.wasted_seconds / self.cpu_seconds if self.cpu_seconds else 0.0

    @property
    def best_effort_ratio(self) -> float:
        """What all best-effort instances had of their fair shares together, where what homes may be uneven by counts as had."""
        fair = sum(self.fair_seconds.values())
        return (sum(self.got_seconds.values()) + self.uneven_seconds) / fair if fair > _NOTHING else 1.0

    @property
    def changes_per_minute(self) -> float:
        """Set-points that changed for each instance and minute in which nothing else did."""
        return self.changes / self.calm_seconds * 60.0 if self.calm_seconds else 0.0


@dataclass(frozen=True, slots=True)
class _Sums:
    """Counters of one instance at the beginning of a window."""

    moved: tuple[float, ...]
    asked: tuple[float, ...]
    vcpu_seconds: float
    run_seconds: float
    wanted_seconds: float


def _sums(instance: Instance) -> _Sums:
    return _Sums(
        moved=tuple(flow.moved for flow in instance.flows),
        asked=tuple(flow.asked for flow in instance.flows),
        vcpu_seconds=sum(t.run_seconds for t in instance.threads if t.role is Role.VCPU),
        run_seconds=sum(t.run_seconds for t in instance.threads),
        wanted_seconds=instance.wanted_seconds,
    )


def needed(instance: Instance, intent: Intent) -> Reservation:
    """What the floors of an intent really cost on average, without a margin: the model's own figures."""
    guest = io = cpu = 0.0
    for objective in intent.slo.objectives:
        floor = objective.floor or 0.0
        if objective.metric is Metric.CPU:
            cpu = floor
            continue
        for flow in instance.flows:
            if _KINDS[flow.load.kind] is objective.metric:
                guest += floor * flow.stages[0][1]
                io += sum(floor * cost for _, cost in flow.stages[1:])
    return Reservation(vcpu_cores=max(cpu, guest), io_cores=io)


def work_of(instance: Instance) -> float:
    """What the loads of an instance moved, in seconds of their peaks."""
    return sum(flow.moved / instance.spec.loads[flow.number].peak for flow in instance.flows)


class Recorder:
    """Looks at a loop after each tick."""

    def __init__(self, loop: ClosedLoop) -> None:
        self.measured = Measured()
        self._loop = loop
        self._before: dict[str, _Sums] = {}
        self._intents: Mapping[str, Intent] = {}
        self._accepted: dict[str, tuple[int, float]] = {}
        self._wasted = 0.0
        self._window_from = 0.0
        self._awake: dict[tuple[str, int], float] = {}
        self._calm_from = 0.0
        self._asked: dict[str, tuple[float, ...]] = {}
        self._points: dict[str, float] = {}
        self._homes: dict[str, object] = {}

    def look(self) -> None:
        """After one tick."""
        loop, now = self._loop, self._loop.seconds
        self._follow_demands(now)
        for uuid, intent in loop.intents.items():
            known = self._accepted.get(uuid)
            if known is None or known[0] != intent.generation:
                self._accepted[uuid] = (intent.generation, now)
        if now - self._window_from >= WINDOW_SECONDS - 1e-6:
            if self._window_from >= WARM_UP_SECONDS - 1e-6:
                self._window(now, now - self._window_from)
            self._before = {u: _sums(i) for u, i in loop.machine.instances.items()}
            self._intents, self._wasted, self._window_from = dict(loop.intents), loop.machine.wasted_seconds, now

    # --- windows ------------------------------------------------------------------------------------------------------

    def _window(self, now: float, seconds: float) -> None:
        machine, found = self._loop.machine, self.measured
        here = {u: i for u, i in machine.instances.items() if u in self._before}
        since = {u: _difference(_sums(i), self._before[u]) for u, i in here.items()}
        found.wasted_seconds += machine.wasted_seconds - self._wasted
        found.cpu_seconds += machine.cores * seconds
        needs = {u: needed(here[u], i) for u, i in self._intents.items() if u in here}
        if self._fit(here, needs):
            for uuid, intent in self._intents.items():
                if uuid in here and self._in_force(uuid, intent):
                    for objective in intent.slo.objectives:
                        self._floor(now, here[uuid], objective, since[uuid], needs[uuid], seconds)
        self._fair(here, since, seconds)

    def _in_force(self, uuid: str, intent: Intent) -> bool:
        now = self._loop.intents.get(uuid)
        generation, at = self._accepted.get(uuid, (0, 0.0))
        settled = generation == intent.generation and self._window_from - at >= GRACE_SECONDS - 1e-6
        enforced = IntentState.ENFORCED
        return now is not None and settled and intent.state is enforced and now.state is enforced

    def _fit(self, here: Mapping[str, Instance], needs: Mapping[str, Reservation]) -> bool:
        """Whether admission would sell all that is in force at what it really costs now, in all and on the CPUs."""
        settings, cores = self._loop.settings, self._loop.machine.cores
        room = cores - max(settings.host_reserved_cores, self._loop.machine.services_cores)
        if sum(need.cores for need in needs.values()) * settings.margin > sellable_cores(room):
            return False
        parts = [p for u, need in needs.items() for p in pieces(need, here[u].spec.vcpus)]
        return max(pack(range(cores), parts).values()) <= sellable_cores(room / cores)

    def _floor(
        self,
        now: float,
        instance: Instance,
        objective: Objective,
        since: _Sums,
        need: Reservation,
        seconds: float,
    ) -> None:
        floor = (objective.floor or 0.0) * seconds
        uuid = instance.spec.uuid
        mine = [n for n, f in enumerate(instance.flows) if _KINDS[f.load.kind] is objective.metric]
        awake = self._window_from - max(self._awake.get((uuid, n), now) for n in mine)
        asked = sum(since.asked[n] for n in mine) >= floor and awake >= COMES_BACK_TICKS * self._loop.case.tick_seconds
        if not (floor and asked and all(_reachable(instance.flows[n], floor / seconds) for n in mine)):
            return
        got = since.vcpu_seconds if objective.metric is Metric.CPU else sum(since.moved[n] for n in mine)
        self.measured.windows += 1
        if got < floor * TOLERANCE_RATIO and not _spent_elsewhere(objective, since, need, seconds):
            self.measured.misses.append(Miss(at_seconds=now, uuid=uuid, metric=objective.metric, floor=floor, got=got))

    def _fair(
        self,
        here: Mapping[str, Instance],
        since: Mapping[str, _Sums],
        seconds: float,
    ) -> None:
        """What each could fairly expect: what is set aside for it, and its max-min share of the rest (`stella.bench.fair`)."""
        room = (self._loop.machine.cores - self._loop.settings.host_reserved_cores) * seconds
        wants = {u: one.wanted_seconds for u, one in since.items()}
        if sum(wants.values()) < room:
            return
        self.measured.uneven_seconds += UNEVEN_CORES_PER_CPU * self._loop.machine.cores * seconds
        held = {u: self._intents[u].reserved_cpu_cores * seconds if u in self._intents else 0.0 for u in here}
        floors = {u: min(wants[u], held[u]) for u in here}
        names = list(here)
        shares = fill(room - sum(floors.values()), [wants[u] - floors[u] for u in names], [1.0] * len(names))
        for uuid, share in zip(names, shares, strict=True):
            if uuid not in self._loop.intents and uuid not in self._intents:
                got, fair = self.measured.got_seconds, self.measured.fair_seconds
                got[uuid] = got.get(uuid, 0.0) + since[uuid].run_seconds
                fair[uuid] = fair.get(uuid, 0.0) + share

    # --- set-points ---------------------------------------------------------------------------------------------------

    def _follow_demands(self, now: float) -> None:
        """Count set-points that change while neither instances nor SLOs nor demands do."""
        loop = self._loop
        asks = {u: _demands(i, loop.machine.unix_seconds) for u, i in loop.machine.instances.items()}
        for uuid, levels in asks.items():
            before = self._asked.get(uuid, ())
            for n, level in enumerate(levels):
                if level > (before[n] if n < len(before) else 0.0):
                    self._awake[uuid, n] = now
        if asks != self._asked or loop.happened:
            self._asked, self._calm_from = asks, now
        if now - self._calm_from < CALM_AFTER_SECONDS or now < WARM_UP_SECONDS or loop.decision is None:
            self._points, self._homes = {}, {}
            return
        self.measured.calm_seconds += loop.case.tick_seconds * len(asks)
        self.measured.changes += self._changed(loop.decision)

    def _changed(self, decision: Decision) -> int:
        count = 0
        for one in decision.instances:
            point = one.cpu.allocation_cores
            before = self._points.setdefault(one.uuid, point)
            if abs(point - before) > max(CHANGE_RATIO * before, CHANGE_CORES):
                self._points[one.uuid] = point
                count += 1
        for uuid, homes in self._loop.memory.placement.homes.at.items():
            count += self._homes.setdefault(uuid, homes) != homes
            self._homes[uuid] = homes
        return count


def _demands(instance: Instance, unix_seconds: float) -> tuple[float, ...]:
    """What each flow asks for, in units/s."""
    return tuple(flow.load.demand(flow.seed, unix_seconds) for flow in instance.flows)


def _reachable(flow: Flow, floor: float) -> bool:
    """Whether the threads that serve a flow can carry a floor (units/s), however dear it is for a moment."""
    dearest = max(cost for _, cost in flow.stages) if len(flow.stages) > 1 else 0.0
    return floor * dearest * (1.0 + flow.load.jitter_ratio) <= _LARGEST_STAGE_CORES


def _spent_elsewhere(objective: Objective, since: _Sums, need: Reservation, seconds: float) -> bool:
    """Whether a guest had all the CPU that its floors need and computed with it instead: SELF_LIMITED, as on a real machine."""
    return objective.metric is not Metric.CPU and since.vcpu_seconds >= need.vcpu_cores * seconds


def _difference(now: _Sums, before: _Sums) -> _Sums:
    return _Sums(
        moved=_minus(now.moved, before.moved),
        asked=_minus(now.asked, before.asked),
        vcpu_seconds=now.vcpu_seconds - before.vcpu_seconds,
        run_seconds=now.run_seconds - before.run_seconds,
        wanted_seconds=now.wanted_seconds - before.wanted_seconds,
    )


def _minus(now: Sequence[float], before: Sequence[float]) -> tuple[float, ...]:
    return tuple(a - b for a, b in zip(now, before, strict=True))
