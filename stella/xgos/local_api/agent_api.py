"""What the loop offers to those who ask it: the control socket and the exporter. The loop implements `AgentApi`.

Reads look at values that the loop published at the end of a tick and never changes again. What changes an intent is put
into the loop's own thread through a `Mailbox`, so that no lock is ever held during a tick.
"""

import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Generic, Protocol, TypeVar

from stella.model.allocation import Decision, Intent, Outcome
from stella.model.intent import Mode, Standing
from stella.model.snapshot import Snapshot
from stella.model.wire import Json
from stella.sla.terms import Terms
from stella.xgos.accounting.history import History
from stella.xgos.accounting.outbox import Outbox
from stella.xgos.accounting.violations import ViolationLog
from stella.xgos.intents.changes import Accepted, IntentEvent, SloChange

T = TypeVar("T")

TICK_BUCKETS_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentCounters:
    """What the loop counted since it started. A fold: each tick makes a new value."""

    ticks: int = 0
    late_ticks: int = 0
    failed_ticks: int = 0
    tick_seconds: float = 0.0
    tick_buckets: tuple[int, ...] = (0,) * (len(TICK_BUCKETS_SECONDS) + 1)
    writes: Mapping[str, int] = field(default_factory=dict)
    reasserted_writes: int = 0
    admission_refusals: int = 0
    sensor_failures: Mapping[str, int] = field(default_factory=dict)

    def after_tick(
        self,
        *,
        duration_seconds: float,
        late: bool,
        failed: bool = False,
        snapshot: Snapshot | None = None,
        outcomes: tuple[Outcome, ...] = (),
        reasserted_writes: int = 0,
    ) -> "AgentCounters":
        """These counters with one more tick; ``snapshot`` and ``outcomes`` are that tick's."""
        slot = sum(1 for bound in TICK_BUCKETS_SECONDS if duration_seconds > bound)
        writes = dict(self.writes)
        for outcome in outcomes:
            writes[outcome.result.value] = writes.get(outcome.result.value, 0) + 1
        failures = dict(self.sensor_failures)
        for sensor in snapshot.sensors if snapshot else ():
            failures[sensor.name] = failures.get(sensor.name, 0) + (not sensor.ok)
        return replace(
            self,
            ticks=self.ticks + 1,
            late_ticks=self.late_ticks + late,
            failed_ticks=self.failed_ticks + failed,
            tick_seconds=self.tick_seconds + duration_seconds,
            tick_buckets=tuple(count + (i == slot) for i, count in enumerate(self.tick_buckets)),
            writes=writes,
            reasserted_writes=self.reasserted_writes + reasserted_writes,
            sensor_failures=failures,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SlaClass:
    """The SLA class that an instance is under, from ``start`` to ``end`` (Unix seconds): within its present period."""

    name: str
    terms: Terms
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkStatus:
    """The link to stella-api. Times are Unix seconds, None: never yet. An error is empty where the last exchange went well.

    ``mode`` is what the API has this host in; the configuration's mode is the most that it can ask for. ``rejected_rows`` were
    reported and will never be taken. ``failures`` and ``reports`` count since the process started. ``classes``: by uuid.
    """

    url: str
    host_name: str
    mode: str = ""
    revision: int = 0
    last_intent_seconds: float | None = None
    intent_error: str = ""
    last_report_seconds: float | None = None
    report_error: str = ""
    backlog_rows: int = 0
    reports: int = 0
    failures: int = 0
    rejected_rows: int = 0
    classes: Mapping[str, SlaClass] = field(default_factory=dict, repr=False)

    @property
    def connected(self) -> bool:
        """Whether the last exchanges went well."""
        return self.last_intent_seconds is not None and not self.intent_error and not self.report_error


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """All that a tick left behind for readers. Never changed after it was published.

    ``mode`` is what the agent does; ``configured_mode`` the most that it may (None: the same).
    ``capacity_cpu_cores`` is what may be promised: the host's reservation is taken off already; ``one_cpu_capacity_cores`` is the same
    of any one CPU (0 to 1). ``reservation_margin_ratio`` multiplies every reservation.
    ``costs`` is, for each uuid, whatever the cost model tells of the CPU its I/O takes, as JSON.
    ``persisted`` is False while state cannot be written to disk. ``pending`` are the uuids of intents that were accepted and of
    which no window has closed yet that began after that, or that wait. ``intents`` is what is in force or waits for its instance;
    ``standings``: what became of the newest intent of the source that governs each instance. ``capabilities``: what this host can
    enforce, by name: empty where it can, else the reason why it cannot. ``events``: the last ones, the oldest first.
    """

    mode: Mode
    snapshot: Snapshot
    decision: Decision
    outcomes: tuple[Outcome, ...]
    intents: Mapping[str, Intent]
    counters: AgentCounters
    capacity_cpu_cores: float
    host_reserved_cpu_cores: float
    one_cpu_capacity_cores: float = 1.0
    reservation_margin_ratio: float = 1.0
    costs: Mapping[str, Json] = field(default_factory=dict)
    persisted: bool = True
    started_wall_seconds: float = 0.0
    pending: frozenset[str] = frozenset()
    standings: Mapping[str, Standing] = field(default_factory=dict)
    capabilities: Mapping[str, str] = field(default_factory=dict)
    events: tuple[IntentEvent, ...] = ()
    configured_mode: Mode | None = None

    @property
    def reserved_cpu_cores(self) -> float:
        """The sum of what admission set aside."""
        return sum(intent.reserved_cpu_cores for intent in self.intents.values())


class AgentApi(Protocol):
    """The loop, as others see it. Every method may be called from any thread."""

    def published(self) -> Published | None:
        """The last tick; None before the first one has ended. Must not block."""

    @property
    def history(self) -> History:
        """The account of windows."""

    @property
    def violations(self) -> ViolationLog:
        """The log of violations."""

    @property
    def outbox(self) -> Outbox | None:
        """What waits to be reported; None where it cannot be kept."""

    def link_status(self) -> LinkStatus | None:
        """The link to stella-api; None where none is configured. Must not block."""

    def change_slo(self, uuid: str, change: SloChange, *, dry_run: bool) -> Accepted:
        """Apply ``change`` to the instance's SLO in the loop's thread, admit it, and keep it on disk before returning.

        Raises `Refused` when it does not fit or may not be changed by hand, `InvalidSlo` from ``change``, `Busy` when the loop
        does not answer. In all three cases, and in a dry run, nothing was changed.
        """

    def calibrate(self) -> Mapping[str, Json]:
        """Measure the host's priors (may take seconds, in the caller's thread) and return what was found. Raises `Refused`."""


class Busy(Exception):
    """The loop did not answer in time."""


class _Call(Generic[T]):
    def __init__(self, function: Callable[[], T]) -> None:
        self.function = function
        self.done = threading.Event()
        self.result: T | None = None
        self.error: Exception | None = None
        self.state = threading.Lock()  # held while it is decided whether the call runs or was given up
        self.abandoned = False


class Mailbox:
    """Calls from other threads, run in the loop's thread between two ticks.

    The loop sleeps in `run_until` instead of `time.sleep`, so that a call is answered within milliseconds.
    """

    def __init__(self, *, capacity: int = 64) -> None:
        self._calls: queue.Queue[_Call[object]] = queue.Queue(capacity)

    def call(self, function: Callable[[], T], *, timeout_seconds: float = 5.0) -> T:
        """Run ``function`` in the loop's thread and return or raise what it does. Raises `Busy`; then it never runs."""
        call: _Call[T] = _Call(function)
        try:
            self._calls.put_nowait(call)  # type: ignore[arg-type]
        except queue.Full:
            raise Busy("the agent has too many requests") from None
        if not call.done.wait(timeout_seconds):
            with call.state:
                call.abandoned = not call.done.is_set()
            if call.abandoned:
                raise Busy("the agent did not answer in time")
        if call.error is not None:
            raise call.error
        return call.result  # type: ignore[return-value]  # T's own None

    def run_until(self, deadline_monotonic: float) -> None:
        """Run calls as they come until the monotonic clock shows ``deadline_monotonic``."""
        while True:
            remaining = deadline_monotonic - time.monotonic()
            try:
                call = self._calls.get(timeout=remaining) if remaining > 0 else self._calls.get_nowait()
            except queue.Empty:
                return
            self._run(call)
            if remaining <= 0:
                return  # one call per tick even where ticks are late

    @staticmethod
    def _run(call: _Call[object]) -> None:
        with call.state:
            if call.abandoned:
                return
            try:
                call.result = call.function()
            except Exception as error:  # handed to the caller
                call.error = error
            call.done.set()
