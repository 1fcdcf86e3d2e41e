"""The control law in closed loop with the model of a host, at virtual time: sense -> admit -> decide -> plan -> write.

Admission, decision and plan are the agent's own functions. What is left out is what a file or a process would be needed for (journal,
guard, accounts, link): `stella.sim.host` has these.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from stella.control.memory import Memory, Settings
from stella.control.tick import decide
from stella.model.allocation import Decision, Intent, Write
from stella.model.slo import Slo
from stella.model.snapshot import GroupReading, InstanceReading, Quota, SensorReading, Snapshot
from stella.model.target import Target
from stella.sim.cases import Case, Event
from stella.sim.knobs import simulated_actuators
from stella.sim.machine import Machine
from stella.xgos.actuation.plan import plan
from stella.xgos.intents.admission import HostView
from stella.xgos.intents.changes import Refused
from stella.xgos.intents.reconcile import Reconciler
from stella.xgos.intents.store import IntentStore

BOOT_SECONDS = 1_800_000_000.0
_NOWHERE = Path("/nonexistent/intents.json")
_SENSORS = (SensorReading(name="hypervisor", ok=True, duration_seconds=0.0),)
_NO_QUOTA = Quota(quota_us=None, period_us=100_000)
_DEFAULTS = Settings()


class ClosedLoop:
    """One case. `tick` lets the host run for a tick and the agent decide once; between ticks everything may be looked at."""

    def __init__(self, case: Case, settings: Settings = _DEFAULTS, *, enforce: bool = True) -> None:
        """Without ``enforce`` everything is decided and nothing is written, as on a host in mode `observe`."""
        self.case = case
        self.settings = settings
        self.machine = Machine(
            cores=case.cores, seed=case.seed, boot_unix_seconds=BOOT_SECONDS, step_seconds=case.tick_seconds
        )
        for spec in case.instances:
            self.machine.start(spec)
        self.memory = Memory()
        self.decision: Decision | None = None
        self.writes: tuple[Write, ...] = ()
        self.happened: list[str] = []
        """What happened in the last tick, in words."""
        self._enforce = enforce
        self._store = IntentStore(_NOWHERE)
        self._reconciler = Reconciler(self._store)
        self._actuators = simulated_actuators(self.machine, overruns=case.overruns)
        self._originals: dict[Target, str] = {}
        self._bounded: dict[str, tuple[GroupReading, GroupReading]] = {}
        self._every = tuple(range(case.cores))
        self._ahead = list(case.events)

    @property
    def seconds(self) -> float:
        """Virtual time since the start."""
        return self.machine.unix_seconds - BOOT_SECONDS

    @property
    def intents(self) -> Mapping[str, Intent]:
        """What was admitted, by uuid."""
        return self._store.intents

    def tick(self) -> Decision:
        """Events that are due, a step of the model, and one tick of the agent."""
        self.happened = []
        asked = self._happen()
        self.machine.advance(self.case.tick_seconds)
        now = self._sensed()
        view = HostView(snapshot=now, memory=self.memory, settings=self.settings)
        self._reconciler.follow(view)
        for event in asked:
            self._ask(event.uuid, event.slo, view)
        self.decision, _, self.memory = decide(now, self._store.intents, self.memory, self.settings)
        self.writes = plan(now, self.decision, self._originals)
        if self._enforce:
            self._write(self.writes)
        return self.decision

    def _happen(self) -> list[Event]:
        """Let instances arrive and loads change; the SLOs that are asked for are returned, since only the agent can answer."""
        asked = []
        while self._ahead and self._ahead[0].at_seconds <= self.seconds + 1e-6:
            event = self._ahead.pop(0)
            self.happened.append(event.what)
            if event.arrives is not None:
                self.machine.start(event.arrives)
            elif event.load is not None:
                self.machine.set_load(event.uuid, *event.load)
            else:
                asked.append(event)
        return asked

    def _ask(self, uuid: str, slo: Slo | None, view: HostView) -> None:
        try:
            self._reconciler.change(uuid, lambda _: slo, dry_run=False, view=view)
        except Refused as refused:
            self.happened.append(f"refused: {uuid}: {refused}")

    def _sensed(self) -> Snapshot:
        at = self.machine.unix_seconds
        return Snapshot(
            monotonic_seconds=at,
            wall_seconds=at,
            host=self.machine.host_reading(),
            instances=tuple(self._with_bounds(one) for one in self.machine.instance_readings(at)),
            sensors=_SENSORS,
            shut_off=(),
        )

    def _with_bounds(self, reading: InstanceReading) -> InstanceReading:
        """What the journal adds on a machine: every CPU is allowed, and no quota is anybody else's."""
        groups = []
        for group in reading.groups or ():
            known = self._bounded.get(group.path)
            if known is None or known[0] is not group:
                bounded = replace(group, allowed_cpus=self._every, allowed_quota=_NO_QUOTA) if group.role else group
                known = self._bounded[group.path] = (group, bounded)
            groups.append(known[1])
        return replace(reading, groups=tuple(groups))

    def _write(self, writes: Sequence[Write]) -> None:
        for write in writes:
            actuator = self._actuators[write.target.kind]
            self._originals.setdefault(write.target, write.previous)
            actuator.write(write.target, write.value, actuator.identity(write.target))
