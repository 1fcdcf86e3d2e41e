"""The agent's loop: every tick sense, decide, plan, apply; between ticks, answer those who ask. One thread, one writer."""

import logging
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from stella.control.admission import HostCapacity, admit
from stella.control.cost import Prior
from stella.control.memory import Memory, Settings, capacity_for_floors, capacity_of_one_cpu, remembered
from stella.control.reservation import io_floors, reserve
from stella.control.tick import decide
from stella.control.windows import Window
from stella.model.allocation import Decision, Intent, Outcome
from stella.model.attainment import Status
from stella.model.slo import Slo
from stella.model.snapshot import Snapshot
from stella.model.wire import Json
from stella.xgos.accounting.history import History
from stella.xgos.accounting.outbox import Outbox
from stella.xgos.accounting.violations import ViolationLog
from stella.xgos.intents.declared import Declared
from stella.xgos.intents.slo_file import SloFile
from stella.xgos.intents.store import FILE, MANUAL, IntentStore
from stella.xgos.local_api.agent_api import Accepted, AgentCounters, Mailbox, Published, Refused, SloChange
from stella.xgos.process import learned_costs
from stella.xgos.process.config import Config

_LOG = logging.getLogger(__name__)
_READMIT_SECONDS = 5.0
_READMIT_DEADBAND_RATIO = 0.05
_FORGET_SECONDS = 60.0


class Sensors(Protocol):
    """Whoever looks at the host."""

    def sense(self) -> Snapshot:
        """One pass over the host."""


class Actuation(Protocol):
    """Whoever touches the host: plans what differs, journals it, writes it."""

    def act(self, snapshot: Snapshot, decision: Decision) -> tuple[tuple[Outcome, ...], int]:
        """Write what differs; returns what became of it, and how many of the writes put back what somebody else had changed."""

    def beat(self) -> None:
        """Tell the guard that the agent lives."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """What is kept on disk."""

    intents: IntentStore
    history: History
    violations: ViolationLog
    slo_file: SloFile | None = None
    outbox: Outbox | None = None


class Loop:
    """Implements `stella.xgos.local_api.agent_api.AgentApi`. `run` owns the thread; everything else may be called from any thread."""

    def __init__(
        self, config: Config, settings: Settings, sensors: Sensors, actuation: Actuation, stores: Stores, memory: Memory
    ) -> None:
        self.settings = settings
        self.memory = memory
        self.calibrated = settings.prior != Prior()
        self._config = config
        self._sensors = sensors
        self._actuation = actuation
        self._stores = stores
        self._mailbox = Mailbox()
        self._published: Published | None = None
        self._counters = AgentCounters()
        self._started = time.time()
        self._readmitted_at = 0.0
        self._declared = Declared(stores.slo_file, stores.intents, self._declare) if stores.slo_file else None
        self._seen_at: dict[str, float] = {}
        self._accepted: dict[str, tuple[int, float]] = {}  # generation, and when it was first decided upon
        self._evaluated: dict[str, float] = {}  # when a window was last closed for it that is not PENDING

    @property
    def history(self) -> History:
        """The account of windows."""
        return self._stores.history

    @property
    def violations(self) -> ViolationLog:
        """The log of violations."""
        return self._stores.violations

    @property
    def outbox(self) -> Outbox | None:
        """What waits to be reported."""
        return self._stores.outbox

    def published(self) -> Published | None:
        """The last tick; None before the first one has ended."""
        return self._published

    def run(self, stop: threading.Event) -> None:
        """Tick at whole multiples of the period of the wall clock, so that windows end with a tick, until ``stop``."""
        period = self._config.tick_milliseconds / 1000
        while not stop.is_set():
            now = time.time()
            self._mailbox.run_until(time.monotonic() + period - now % period)
            if not stop.is_set():
                self._guarded_tick(period)

    def _guarded_tick(self, period: float) -> None:
        """The one catch-all: a tick that fails is counted and logged, and the last safe allocation stays."""
        begun = time.monotonic()
        late = time.time() % period > period / 2
        snapshot: Snapshot | None = None
        outcomes: tuple[Outcome, ...] = ()
        reasserted, failed = 0, False
        try:
            snapshot, outcomes, reasserted = self.tick()
        except Exception:
            failed = True
            _LOG.exception("tick failed; the last allocation stays")
        duration = time.monotonic() - begun
        self._counters = self._counters.after_tick(
            duration_seconds=duration,
            late=late or duration > period,
            failed=failed,
            snapshot=snapshot,
            outcomes=outcomes,
            reasserted_writes=reasserted,
        )

    def tick(self) -> tuple[Snapshot, tuple[Outcome, ...], int]:
        """One tick. Raises whatever went wrong; then nothing was published."""
        snapshot = self._sensors.sense()
        intents = self._stores.intents.intents
        decision, closed, memory = decide(snapshot, intents, self.memory, self.settings)
        outcomes, reasserted = self._actuation.act(snapshot, decision)
        self._actuation.beat()
        self.memory = memory
        for window in closed:
            self._account(window, snapshot)
        self._readmit(snapshot)
        capacity = capacity_for_floors(memory, snapshot.host.cores, self.settings)
        self._published = Published(
            mode=self._config.mode,
            snapshot=snapshot,
            decision=decision,
            outcomes=outcomes,
            intents=intents,
            counters=self._counters,
            capacity_cpu_cores=capacity,
            host_reserved_cpu_cores=self.settings.host_reserved_cores,
            costs=_CostsView(memory),
            persisted=self._stores.intents.persisted,
            started_wall_seconds=self._started,
            pending=self._pending(intents, snapshot.wall_seconds),
        )
        if self._declared is not None:  # what it admits is decided upon in the next tick
            self._declared.follow({i.uuid: i.name for i in snapshot.instances}, snapshot.monotonic_seconds)
        self._forget(snapshot)
        return snapshot, outcomes, reasserted

    def _account(self, window: Window, snapshot: Snapshot) -> None:
        names = {i.uuid: i.name for i in snapshot.instances}
        self.history.record(
            window.start_unix_seconds,
            [(i.uuid, i.objectives) for i in window.instances],
            seconds=window.seconds,
            end_monotonic_seconds=window.end_monotonic_seconds,
        )
        changed = self.violations.record(
            window.start_unix_seconds,
            [(i.uuid, names.get(i.uuid, ""), i.objectives) for i in window.instances],
            seconds=window.seconds,
            evidence={i.uuid: i.offender for i in window.instances if i.offender is not None},
        )
        if self._stores.outbox is not None:
            self._stores.outbox.record_window(window)
            for episode in changed:
                self._stores.outbox.record_violation(episode)
        judged = [i.uuid for i in window.instances if any(r.status is not Status.PENDING for r in i.objectives)]
        self._evaluated.update(dict.fromkeys(judged, snapshot.wall_seconds))

    def _pending(self, intents: Mapping[str, Intent], wall_seconds: float) -> frozenset[str]:
        """Of which intents no window has closed yet that began after they were accepted."""
        before = self._accepted
        self._accepted = {
            uuid: known
            if (known := before.get(uuid)) and known[0] == intent.generation
            else (intent.generation, wall_seconds)
            for uuid, intent in intents.items()
        }
        return frozenset(uuid for uuid, (_, at) in self._accepted.items() if self._evaluated.get(uuid, 0) < at)

    def _forget(self, snapshot: Snapshot) -> None:
        """Let go of the counts of instances that have been away for a while and are promised nothing."""
        now = snapshot.monotonic_seconds
        self._seen_at.update((i.uuid, now) for i in snapshot.instances)
        intents = self._stores.intents.intents
        for uuid in [u for u, at in self._seen_at.items() if now - at > _FORGET_SECONDS and u not in intents]:
            del self._seen_at[uuid]
            self._evaluated.pop(uuid, None)
            self.history.forget(uuid)
            self.violations.forget(uuid)

    # --- asking -----------------------------------------------------------------------------------------------------

    def change_slo(self, uuid: str, change: SloChange, *, dry_run: bool) -> Accepted:
        """See `AgentApi.change_slo`."""
        accepted = self._mailbox.call(lambda: self._change(uuid, change, dry_run=dry_run, source=MANUAL))
        if not dry_run:
            self._stores.intents.save()
        return accepted

    def _declare(self, uuid: str, slo: Slo, key: str) -> Accepted:
        return self._change(uuid, lambda _: slo, dry_run=False, source=FILE, declared_as=key)

    def _change(self, uuid: str, change: SloChange, *, dry_run: bool, source: str, declared_as: str = "") -> Accepted:
        intents = self._stores.intents
        if source == MANUAL and intents.source(uuid) == FILE:
            raise Refused("instance", "its SLO is kept by the SLO file; change it there")
        slo = change(intents.slo(uuid))
        if slo is None:
            known = intents.intents.get(uuid)
            generation = known.generation if known else 0
            if not dry_run:
                generation = intents.unset(uuid) or generation
            return Accepted(uuid=uuid, slo=None, generation=generation, reserved_cpu_cores=0.0, estimated=False)
        reserved, estimated = self._admitted(uuid, slo)
        if dry_run:
            known = intents.intents.get(uuid)
            generation = known.generation if known else 0
        else:
            generation = intents.set(
                uuid,
                slo,
                reserved_cpu_cores=reserved,
                estimated=estimated,
                source=source,
                declared_as=declared_as,
            ).generation
        return Accepted(uuid=uuid, slo=slo, generation=generation, reserved_cpu_cores=reserved, estimated=estimated)

    def _admitted(self, uuid: str, slo: Slo) -> tuple[float, bool]:
        """(cores to reserve, whether that is estimated). Raises `Refused` with the largest that would fit."""
        published = self._published
        reading = published.snapshot.instance(uuid) if published else None
        if published is None or reading is None:
            raise Refused("instance", "is not running on this host")
        answer = admit(
            slo,
            remembered(self.memory, uuid, self.settings.prior, slo),
            vcpus=reading.vcpus,
            margin=self.settings.margin,
            room=self._host_capacity(published, uuid),
        )
        if not answer.accepted:
            self._counters = replace(self._counters, admission_refusals=self._counters.admission_refusals + 1)
            field = f"{answer.metric.value}.floor" if answer.metric else "slo"
            raise Refused(field, answer.message, largest=dict(answer.largest))
        return answer.reserved_cpu_cores, answer.estimated

    def _host_capacity(self, published: Published, uuid: str) -> HostCapacity:
        """What the host has to promise to one instance, beside the others."""
        snapshot = published.snapshot
        others = {u: i for u, i in self._stores.intents.intents.items() if u != uuid}
        vcpus = {i.uuid: i.vcpus for i in snapshot.instances}
        return HostCapacity(
            capacity_cores=published.capacity_cpu_cores,
            cpus=snapshot.host.cores,
            one_cpu_cores=capacity_of_one_cpu(self.memory, snapshot.host.cores, self.settings),
            held=[(i.reserved_cpu_cores, vcpus.get(u, 1)) for u, i in others.items()],
        )

    def _readmit(self, snapshot: Snapshot) -> None:
        """Follow the learned cost: set aside less when it is lower, more when it is higher and there is room."""
        if snapshot.monotonic_seconds - self._readmitted_at < _READMIT_SECONDS:
            return
        self._readmitted_at = snapshot.monotonic_seconds
        store = self._stores.intents
        capacity = capacity_for_floors(self.memory, snapshot.host.cores, self.settings)
        for uuid, intent in store.intents.items():
            known, reading = self.memory.instances.get(uuid), snapshot.instance(uuid)
            if known is None or reading is None:
                continue
            if any(known.costs[o.metric].estimated for o in io_floors(intent.slo)):
                continue
            needed = reserve(intent.slo, known.costs, vcpus=reading.vcpus, margin=self.settings.margin).cores
            others = sum(i.reserved_cpu_cores for u, i in store.intents.items() if u != uuid)
            target = min(needed, max(capacity - others, min(needed, intent.reserved_cpu_cores)))
            small = abs(target - intent.reserved_cpu_cores) <= _READMIT_DEADBAND_RATIO * intent.reserved_cpu_cores
            if not small or intent.estimated:
                store.readmit(uuid, reserved_cpu_cores=target, estimated=False)

    def save(self, costs_path: Path) -> None:
        """Write to disk what was learned and what changed. Blocks on the disk: not for the loop's thread."""
        self._stores.intents.save()
        learned_costs.save(costs_path, self.memory, self.settings.prior if self.calibrated else None)

    def calibrate(self) -> Mapping[str, Json]:
        """Take the host's priors from what its instances' I/O is seen to cost. Raises `Refused` when none does any."""
        found = learned_costs.calibrated(self.memory, self.settings.prior)
        if found is None:
            raise Refused(
                "calibrate", "no instance on this host does I/O that could be measured; start one and try again"
            )

        def adopt() -> Settings:
            self.settings = replace(self.settings, prior=found)
            self.calibrated = True
            return self.settings

        self._mailbox.call(adopt)
        return {
            "vcpu_seconds_per_packet": found.vcpu_per_packet,
            "io_seconds_per_packet": found.io_per_packet,
            "vcpu_seconds_per_operation": found.vcpu_per_operation,
            "io_seconds_per_operation": found.io_per_operation,
            "vcpu_seconds_per_byte": found.vcpu_per_byte,
            "io_seconds_per_byte": found.io_per_byte,
        }


class _CostsView(Mapping[str, Json]):
    """What the cost model tells of each instance, printed only for those who look."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    def __getitem__(self, uuid: str) -> Json:
        return {
            cost.metric.value: {
                "vcpu_seconds_per_unit": cost.vcpu,
                "io_seconds_per_unit": cost.io,
                "estimated": cost.estimated,
            }
            for cost in self._memory.instances[uuid].costs.values()
        }

    def __iter__(self) -> Iterator[str]:
        return iter(self._memory.instances)

    def __len__(self) -> int:
        return len(self._memory.instances)
