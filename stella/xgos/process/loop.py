"""The agent's loop: every tick sense, decide, plan, apply; between ticks, answer those who ask. One thread, one writer."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from stella.control.cost import Prior
from stella.control.memory import Memory, Settings
from stella.control.tick import decide
from stella.control.windows import Window
from stella.model.allocation import Intent, Outcome
from stella.model.attainment import Status
from stella.model.intent import IntentState, Mode
from stella.model.snapshot import Snapshot
from stella.model.wire import Json
from stella.xgos.accounting.history import History
from stella.xgos.accounting.outbox import Outbox
from stella.xgos.accounting.violations import ViolationLog
from stella.xgos.intents.acknowledgements import Acknowledge
from stella.xgos.intents.admission import HostView
from stella.xgos.intents.changes import Accepted, Refused, SloChange
from stella.xgos.intents.cloud import CloudSource
from stella.xgos.intents.reconcile import Reconciler
from stella.xgos.intents.source import IntentSource
from stella.xgos.intents.store import IntentStore
from stella.xgos.local_api.agent_api import AgentCounters, LinkStatus, Mailbox, Published
from stella.xgos.process import learned_costs
from stella.xgos.process.config import Config
from stella.xgos.process.ports import Actuation, Sensors

_LOG = logging.getLogger(__name__)
_FORGET_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """What is kept on disk, the sources of intents beside the control socket, and the call that acknowledges the cloud's.

    ``api_mode`` tells in which mode stella-api has this host; empty where it never said.
    """

    intents: IntentStore
    history: History
    violations: ViolationLog
    sources: tuple[IntentSource, ...] = ()
    acknowledge: Acknowledge | None = None
    outbox: Outbox | None = None
    api_mode: Callable[[], str] = lambda: ""


class Loop:
    """Implements `stella.xgos.local_api.agent_api.AgentApi`. `run` owns the thread; everything else may be called from any thread."""

    def __init__(
        self, config: Config, settings: Settings, sensors: Sensors, actuation: Actuation, stores: Stores, memory: Memory
    ) -> None:
        self.settings = settings
        self.memory = memory
        self.calibrated = settings.prior != Prior()
        self.link: Callable[[], LinkStatus] | None = None
        self._config = config
        self._sensors = sensors
        self._actuation = actuation
        self._stores = stores
        self._mailbox = Mailbox()
        self._published: Published | None = None
        self._counters = AgentCounters()
        self._started = time.time()
        self._reconciler = Reconciler(stores.intents, stores.sources, stores.acknowledge)
        self._seen_at: dict[str, float] = {}
        self._mode = config.mode
        self._evaluated: dict[
            str, int
        ] = {}  # the generation of which a window was last evaluated, PENDING ones left out

    @property
    def history(self) -> History:
        """The account of windows."""
        return self._stores.history

    @property
    def violations(self) -> ViolationLog:
        """The log of violations."""
        return self._stores.violations

    @property
    def sources(self) -> tuple[IntentSource, ...]:
        """Who may ask for SLOs beside the control socket."""
        return self._stores.sources

    @property
    def _clouds(self) -> tuple[CloudSource, ...]:
        return tuple(source for source in self._stores.sources if isinstance(source, CloudSource))

    @property
    def outbox(self) -> Outbox | None:
        """What waits to be reported."""
        return self._stores.outbox

    def link_status(self) -> LinkStatus | None:
        """The link to stella-api; None without one."""
        return self.link() if self.link is not None else None

    def published(self) -> Published | None:
        """The last tick; None before the first one has ended."""
        return self._published

    def run(self, stop: threading.Event, after_tick: Callable[[float], None] | None = None) -> None:
        """Tick at whole multiples of the period of the wall clock, so that windows end with a tick, until ``stop``.

        ``after_tick`` is called with the monotonic clock after each tick, also after one that failed; it must not block or raise.
        """
        period = self._config.tick_milliseconds / 1000
        while not stop.is_set():
            now = time.time()
            self._mailbox.run_until(time.monotonic() + period - now % period)
            if not stop.is_set():
                self._guarded_tick(period)
                if after_tick is not None:
                    after_tick(time.monotonic())

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
        snapshot = self._actuation.bounds(snapshot)
        self._reconciler.follow(self._view(snapshot))  # first: what it admits is decided upon and written in this tick
        intents = self._stores.intents.intents
        decision, closed, memory = decide(snapshot, _in_force(intents, snapshot), self.memory, self.settings)
        changed = self._follow_mode(snapshot)
        outcomes, reasserted = self._actuation.act(snapshot, decision)
        self._actuation.beat()
        self.memory = memory
        for window in closed:
            self._account(window, snapshot)
        view = self._view(snapshot)
        self._published = Published(
            mode=self._mode,
            configured_mode=self._config.mode,
            snapshot=snapshot,
            decision=decision,
            outcomes=outcomes,
            intents=intents,
            counters=replace(self._counters, admission_refusals=self._reconciler.refusals),
            capacity_cpu_cores=view.capacity_cpu_cores,
            host_reserved_cpu_cores=self.settings.host_reserved_cores,
            one_cpu_capacity_cores=view.one_cpu_capacity_cores,
            reservation_margin_ratio=self.settings.margin,
            costs=learned_costs.CostsView(memory),
            persisted=self._stores.intents.persisted and all(source.persisted for source in self._clouds),
            started_wall_seconds=self._started,
            pending=self._pending(intents),
            standings=self._reconciler.standings,
            capabilities=view.capabilities,
            events=self._reconciler.events,
        )
        if changed and self._stores.outbox is not None:
            self._stores.outbox.nudge()
        self._forget(snapshot)
        return snapshot, outcomes, reasserted

    def _follow_mode(self, snapshot: Snapshot) -> bool:
        """Do what the API's mode asks, as far as the configuration allows; returns whether that is another mode than before.

        In maintenance what is enforced stays so: the API refuses new SLOs.
        """
        asked, before = self._stores.api_mode(), self._mode
        self._mode = Mode.OBSERVE if asked == Mode.OBSERVE else self._config.mode
        paused = self._mode is Mode.OBSERVE and self._config.mode is Mode.ENFORCE
        self._actuation.pause(paused, snapshot.monotonic_seconds, snapshot.wall_seconds)
        if self._mode is not before:
            _LOG.warning("mode %s: stella-api has this host in mode %s", self._mode, asked)
        return self._mode is not before

    def _view(self, snapshot: Snapshot) -> HostView:
        return HostView(snapshot=snapshot, memory=self.memory, settings=self.settings)

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
        intents = self._stores.intents.intents
        for instance in window.instances:
            intent = intents.get(instance.uuid)
            if intent is not None and any(r.status is not Status.PENDING for r in instance.objectives):
                self._evaluated[instance.uuid] = intent.generation

    def _pending(self, intents: Mapping[str, Intent]) -> frozenset[str]:
        """Which intents wait, or have a generation of which no window was evaluated yet."""
        return frozenset(
            uuid
            for uuid, intent in intents.items()
            if intent.state is IntentState.PENDING or self._evaluated.get(uuid) != intent.generation
        )

    def _forget(self, snapshot: Snapshot) -> None:
        """Let go of the counts of instances that have been away for a while and have no SLO."""
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

        def changed() -> Accepted:
            published = self._published
            if published is None:
                raise Refused("agent", "has not finished its first tick yet")
            view = self._view(published.snapshot)
            return self._reconciler.change(uuid, change, dry_run=dry_run, view=view)

        accepted = self._mailbox.call(changed)
        if not dry_run:
            self._stores.intents.save()
        return accepted

    def save(self, costs_path: Path) -> None:
        """Write to disk what was learned and what changed. Blocks on the disk: not for the loop's thread."""
        self._stores.intents.save()
        for source in self._clouds:
            source.save()
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
        return learned_costs.show_prior(found)


def _in_force(intents: Mapping[str, Intent], snapshot: Snapshot) -> Mapping[str, Intent]:
    """Without those that wait although their instance was seen: until they are admitted they are not judged.

    What was learned of an instance that does not run is kept as long as its intent is here.
    """
    seen = {instance.uuid for instance in snapshot.instances}
    return {u: i for u, i in intents.items() if i.state is not IntentState.PENDING or u not in seen}
