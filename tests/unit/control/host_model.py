"""A tiny host in closed loop with `decide`: threads that want CPU, CPUs that divide themselves by weight, time that is counted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from stella.control.memory import Memory, Settings
from stella.control.tick import decide
from stella.model.allocation import Decision, Intent
from stella.model.slo import parse_slo
from stella.model.snapshot import (
    GroupReading,
    HostReading,
    InstanceReading,
    Quota,
    Role,
    RunState,
    Snapshot,
    ThreadReading,
)

TICK_SECONDS = 0.25
_QUANTA_PER_CPU = 20
_NO_QUOTA = Quota(quota_us=None, period_us=100_000)
Thread = tuple[Role, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """An instance whose vCPUs and main loop want so much of a core each (``demand``), with a CPU floor or without an SLO."""

    uuid: str
    demand: Sequence[float]
    emulator: float = 0.0
    floor: float | None = None
    allowed: tuple[int, ...] | None = None

    def wants(self) -> dict[Thread, float]:
        """What each of its threads wants, in cores."""
        return {**{(Role.VCPU, n): d for n, d in enumerate(self.demand)}, (Role.EMULATOR, 0): self.emulator}

    def intent(self) -> Intent | None:
        """What admission would have set aside for its floor."""
        if self.floor is None:
            return None
        slo = parse_slo({"cpu": {"floor": self.floor}})
        return Intent(uuid=self.uuid, slo=slo, generation=1, reserved_cpu_cores=self.floor * 1.2, estimated=False)


@dataclass
class Host:
    """CPUs and guests. `tick` runs the control law once and then the guests for a quarter of a second."""

    cpus: Sequence[int]
    guests: Sequence[Guest]
    state: RunState = RunState.RUNNING
    """Of the first guest."""
    host_cpus: tuple[int, ...] | None = None
    """Those that the host reports; None: all."""
    now: float = 100.0
    memory: Memory = field(default_factory=Memory)
    decision: Decision | None = None
    _busy: float = 0.0
    _idle: float = 0.0
    _run: dict[tuple[str, Thread], float] = field(default_factory=dict)
    _wait: dict[tuple[str, Thread], float] = field(default_factory=dict)
    _known: dict[object, Mapping[tuple[str, Thread], float]] = field(default_factory=dict)

    def sets(self, guest: Guest) -> dict[Thread, tuple[int, ...]]:
        """The CPUs that each thread of a guest may use now."""
        allowed = guest.allowed or tuple(self.cpus)
        found = self.decision and next((i for i in self.decision.instances if i.uuid == guest.uuid), None)
        placed = {(r, i): cpus for r, i, cpus in found.cpu.placement} if found else {}
        return {thread: placed.get(thread, allowed) for thread in guest.wants()}

    def weights(self) -> dict[str, float]:
        """The weight of each guest: its allocation."""
        found = {i.uuid: i.cpu.allocation_cores for i in self.decision.instances} if self.decision else {}
        return {g.uuid: max(round(found.get(g.uuid, 1.0), 3), 0.001) for g in self.guests}

    def received(self) -> Mapping[tuple[str, Thread], float]:
        """What each thread gets, in cores: CPUs filled in small steps, the guest with least for its weight next."""
        weights, sets = self.weights(), {g.uuid: self.sets(g) for g in self.guests}
        key = (tuple(sorted(weights.items())), tuple((u, tuple(s.items())) for u, s in sorted(sets.items())))
        if key not in self._known:
            self._known[key] = self._filled(weights, sets)
        return self._known[key]

    def _filled(
        self, weights: Mapping[str, float], sets: Mapping[str, Mapping[Thread, tuple[int, ...]]]
    ) -> Mapping[tuple[str, Thread], float]:
        got = {(g.uuid, t): 0 for g in self.guests for t in g.wants()}
        wants = {(g.uuid, t): round(d * _QUANTA_PER_CPU) for g in self.guests for t, d in g.wants().items()}
        room = dict.fromkeys(self.cpus, _QUANTA_PER_CPU)
        total = dict.fromkeys(weights, 0)
        hungry = {uuid: [t for t in of if wants[uuid, t] > 0] for uuid, of in sets.items()}
        while hungry := {uuid: of for uuid, of in hungry.items() if of}:
            uuid = min(hungry, key=lambda u: (total[u] / weights[u], u))
            thread = min(hungry[uuid], key=lambda t: got[uuid, t])
            cpu = max(sets[uuid][thread], key=lambda c: room[c])
            if room[cpu] == 0 or got[uuid, thread] >= wants[uuid, thread]:
                hungry[uuid].remove(thread)
                continue
            room[cpu] -= 1
            got[uuid, thread] += 1
            total[uuid] += 1
        return {key: quanta / _QUANTA_PER_CPU for key, quanta in got.items()}

    def cores_of(self, uuid: str) -> float:
        """What a guest gets now, in cores."""
        return sum(cores for (owner, _), cores in self.received().items() if owner == uuid)

    def _reading(self, guest: Guest, state: RunState) -> InstanceReading:
        sets = self.sets(guest)
        allowed = guest.allowed or tuple(self.cpus)
        wants = guest.wants()
        groups = [GroupReading(path="/g", role=None, index=0, weight=1024, quota=_NO_QUOTA, throttled_seconds=None)]
        groups += [
            GroupReading(
                path=f"/g/{role}{index}", role=role, index=index, weight=1024, quota=_NO_QUOTA, throttled_seconds=0.0,
                cpus=sets[role, index], allowed_cpus=allowed,
            )
            for role, index in wants
        ]  # fmt: skip
        threads = [
            ThreadReading(
                tid=number, start_ticks=1, role=thread[0], index=thread[1],
                run_seconds=self._run.get((guest.uuid, thread), 0.0), wait_seconds=self._wait.get((guest.uuid, thread), 0.0),
            )
            for number, thread in enumerate(wants)
        ]  # fmt: skip
        return InstanceReading(
            uuid=guest.uuid, name=guest.uuid, pid=7, state=state, vcpus=len(guest.demand), iothreads=0,
            threads=tuple(threads), links=None, disks=None, disks_monotonic_seconds=None, groups=tuple(groups),
        )  # fmt: skip

    def snapshot(self) -> Snapshot:
        """What the sensors would read now."""
        reported = tuple(self.cpus) if self.host_cpus is None else self.host_cpus
        host = HostReading(
            cores=len(reported), busy_seconds=self._busy, idle_seconds=self._idle, softirq_seconds=0.0,
            steal_seconds=0.0, cgroup_version=2, cpuset_mount="/sys/fs/cgroup", cpus=reported,
        )  # fmt: skip
        states = [self.state] + [RunState.RUNNING] * len(self.guests)
        return Snapshot(
            monotonic_seconds=self.now,
            wall_seconds=self.now,
            host=host,
            instances=tuple(self._reading(g, s) for g, s in zip(self.guests, states, strict=False)),
        )

    def tick(self) -> Decision:
        """Decide, then let the guests run."""
        intents = {g.uuid: intent for g in self.guests if (intent := g.intent())}
        self.decision, _, self.memory = decide(self.snapshot(), intents, self.memory, Settings())
        received = self.received()
        for guest in self.guests:
            for thread, wanted in guest.wants().items():
                got = received[guest.uuid, thread]
                key = (guest.uuid, thread)
                self._run[key] = self._run.get(key, 0.0) + got * TICK_SECONDS
                self._wait[key] = self._wait.get(key, 0.0) + max(0.0, wanted - got) * TICK_SECONDS
        used = sum(received.values())
        self._busy += used * TICK_SECONDS
        self._idle += (len(self.cpus) - used) * TICK_SECONDS
        self.now += TICK_SECONDS
        return self.decision

    def placement_of(self, uuid: str) -> Mapping[Thread, tuple[int, ...]]:
        """Where the last decision confines a guest."""
        assert self.decision
        found = next(i for i in self.decision.instances if i.uuid == uuid)
        return {(r, i): cpus for r, i, cpus in found.cpu.placement}
