"""The agent's process: puts the parts together, runs the loop, and leaves the host as it was."""

import contextlib
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from stella.control.cost import Prior
from stella.control.memory import Memory, Settings
from stella.control.tick import decide
from stella.model import wire
from stella.model.allocation import Decision, Outcome, Write, WriteResult
from stella.model.snapshot import Snapshot
from stella.xgos.accounting.history import History
from stella.xgos.accounting.outbox import Outbox
from stella.xgos.accounting.violations import ViolationLog
from stella.xgos.actuation.apply import Apply
from stella.xgos.actuation.audit import Audit
from stella.xgos.actuation.guard import Guard
from stella.xgos.actuation.journal import Journal, Restored
from stella.xgos.actuation.plan import plan
from stella.xgos.host_files import Broken, HostFiles, Unavailable, Unsupported
from stella.xgos.intents.declared import assign
from stella.xgos.intents.slo_file import SloFile
from stella.xgos.intents.store import IntentStore
from stella.xgos.line_log import LineWriter
from stella.xgos.local_api.control_socket import ControlSocket
from stella.xgos.local_api.exporter import MetricsServer
from stella.xgos.process import learned_costs, own_group
from stella.xgos.process.config import Config, Mode, Options
from stella.xgos.process.loop import Loop, Stores
from stella.xgos.sensing.groups import find_hierarchy
from stella.xgos.sensing.sensors import Sensors, open_sensors

_LOG = logging.getLogger(__name__)
_SAVE_SECONDS = 10.0
_HYPERVISOR_SECONDS = 5.0
FAILED = 1


class HostActuation:
    """Touches the host: the plan's writes through `Apply`, and the guard's heartbeat. With ``observe`` it only beats."""

    def __init__(self, apply: Apply, guard: Guard | None, *, observe: bool) -> None:
        self._apply = apply
        self._guard = guard
        self._observe = observe
        self._written: dict[str, str] = {}

    def planned(self, snapshot: Snapshot, decision: Decision) -> tuple[Write, ...]:
        """What would be written now."""
        return plan(snapshot, decision, self._apply.journal.originals)

    def act(self, snapshot: Snapshot, decision: Decision) -> tuple[tuple[Outcome, ...], int]:
        """See `stella.xgos.process.loop.Actuation.act`."""
        if self._observe:
            return (), 0
        writes = self.planned(snapshot, decision)
        reasserted = sum(1 for w in writes if self._written.get(w.path, w.previous) != w.previous)
        if reasserted:
            _LOG.warning("%d knobs had been changed by somebody else and are set again", reasserted)
        outcomes = self._apply.apply(writes, snapshot.wall_seconds)
        for outcome in outcomes:
            if outcome.result is WriteResult.WRITTEN:
                self._written[outcome.write.path] = outcome.write.value
            else:
                self._written.pop(outcome.write.path, None)
        return outcomes, reasserted

    def beat(self) -> None:
        """Tell the guard; start another one when it died."""
        if self._guard is not None and not self._guard.beat():
            _LOG.error("the guard died; starting another")
            self._guard.start()


def settings_of(config: Config, prior: Prior | None) -> Settings:
    """The control law's settings from the operator's configuration and the host's calibration."""
    settings = Settings(
        capacity_cores=config.capacity_cpu_cores,
        host_reserved_cores=config.host_reserved_cpu_cores,
        margin=config.reservation_margin_ratio,
    )
    return replace(settings, prior=prior) if prior else settings


@dataclass(frozen=True, slots=True)
class _Paths:
    """Files below the state directory; the journal below the run directory."""

    state: Path
    run: Path

    @property
    def journal(self) -> str:
        return str(self.run / "journal")

    @property
    def intents(self) -> Path:
        return self.state / "intents.json"

    @property
    def costs(self) -> Path:
        return self.state / "costs.json"


def _paths(config: Config) -> _Paths:
    return _Paths(config.state_directory, config.run_directory)


def _open_apply(config: Config, options: Options) -> Apply:
    files = HostFiles(os.fspath(options.root))
    paths = _paths(config)
    journal = Journal.load(paths.journal)
    if journal.set_aside:
        _LOG.error("journal set aside: %s", journal.set_aside)
    audit = Audit(str(paths.state / "audit.jsonl"))
    return Apply(files, journal, audit, dry_run=options.dry_run)


def run(config: Config, options: Options) -> int:
    """Run the agent as configured. Returns the process's exit code."""
    level = getattr(logging, config.log_level.name)
    logging.basicConfig(level=level, format="%(asctime)s xgos %(levelname)s %(message)s", stream=sys.stderr)
    try:
        if options.release:
            return release(config, options)
        if options.once:
            return once(config, options)
        return _serve(config, options)
    except (Broken, Unavailable, own_group.AlreadyRunning, OSError) as error:
        print(f"xgos: {error}", file=sys.stderr)
        return FAILED


def release(config: Config, options: Options) -> int:
    """Put every knob back as it was. An agent that runs would only set them again: then nothing is done."""
    files = HostFiles(os.fspath(options.root))
    if not options.dry_run:
        with contextlib.closing(own_group.HostLock(files, find_hierarchy(files))):
            return _release(_open_apply(config, options))
    for entry in _open_apply(config, options).journal.entries:
        print(f"would restore {entry.path} to {entry.original!r}" if entry.original else f"would remove {entry.path}")
    return 0


def _release(apply: Apply) -> int:
    results = apply.release(time.time())
    failed = [r for r in results if r.error]
    for each in failed:
        print(f"xgos: {each.path}: {each.error}", file=sys.stderr)
    print(f"released {sum(1 for r in results if not r.error and not r.gone)} knobs, {len(failed)} failed")
    return FAILED if failed else 0


def once(config: Config, options: Options) -> int:
    """One tick: prints what was seen, decided, and written (or, in a dry run and in observe mode, would be) as JSON."""
    act = config.mode is Mode.ENFORCE and not options.dry_run
    with contextlib.ExitStack() as stack:
        sensors = open_sensors(os.fspath(options.root), uri=config.libvirt_uri)
        stack.callback(sensors.close)
        if act:
            stack.callback(own_group.HostLock(HostFiles(os.fspath(options.root)), sensors.hierarchy).close)
        apply = _open_apply(config, options)
        sensors.wait_ready(_HYPERVISOR_SECONDS)
        paths = _paths(config)
        learned = learned_costs.load(paths.costs)
        settings = settings_of(config, learned.prior)
        intents = IntentStore(paths.intents)
        slo_file = SloFile(Path(config.slo_file)) if config.slo_file else None
        first = sensors.sense()
        recorded = options.root != Path("/")
        _, _, memory = decide(first, intents.intents, learned_costs.recall(learned), settings)
        if slo_file is not None:
            _adopt(intents, slo_file, first)
        if not recorded:
            time.sleep(config.tick_milliseconds / 1000)
        snapshot = sensors.sense()
        decision, _, _ = decide(snapshot, intents.intents, memory, settings)
        actuation = HostActuation(apply, None, observe=False)
        writes = actuation.planned(snapshot, decision)
        outcomes = apply.apply(writes, snapshot.wall_seconds) if act else ()
        shown = {"snapshot": snapshot, "decision": decision, "writes": writes, "outcomes": outcomes}
        print(wire.dumps({key: wire.encode(value) for key, value in shown.items()}))
    return 0


def _adopt(intents: IntentStore, file: SloFile, snapshot: Snapshot) -> None:
    """Take the file's SLOs as they stand, for a single tick."""
    file.poll()
    keys, _ = assign(file.slos, {i.uuid: i.name for i in snapshot.instances})
    for instance in snapshot.instances:
        if instance.uuid in keys:
            slo = file.slos[keys[instance.uuid]]
            intents.set(instance.uuid, slo, reserved_cpu_cores=float(instance.vcpus), estimated=True)


@contextlib.contextmanager
def _signals(stop: threading.Event) -> Iterator[None]:
    """SIGTERM and SIGINT end the loop after its tick."""

    def end(_number: int, _frame: object) -> None:
        stop.set()

    before = {n: signal.signal(n, end) for n in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _serve(config: Config, options: Options) -> int:
    """The agent proper: from the lock to the release."""
    stop = threading.Event()
    with contextlib.ExitStack() as stack, _signals(stop):
        sensors = open_sensors(os.fspath(options.root), uri=config.libvirt_uri)
        stack.callback(sensors.close)
        stack.callback(own_group.HostLock(HostFiles(os.fspath(options.root)), sensors.hierarchy).close)
        apply = _open_apply(config, options)
        guard = _prepare(config, options, sensors, apply)
        if guard is not None:
            stack.callback(guard.close)
            stack.callback(_log_release, apply)
        loop = _assemble(config, sensors, HostActuation(apply, guard, observe=config.mode is Mode.OBSERVE), stack)
        sensors.wait_ready(_HYPERVISOR_SECONDS)
        stack.enter_context(_serving(loop, config))
        saver = threading.Thread(target=_save_until, args=(stop, loop, config), name="saver", daemon=True)
        saver.start()
        _LOG.info("mode %s, %d ms a tick, %s", config.mode, config.tick_milliseconds, config.libvirt_uri)
        loop.run(stop)
        saver.join(timeout=_SAVE_SECONDS)
        _LOG.info("stopping: the host is restored")
    return 0


def _prepare(config: Config, options: Options, sensors: Sensors, apply: Apply) -> Guard | None:
    """The agent's own CPU share and, when it may act, its guard. What a killed agent left restrained is lifted first."""
    if options.dry_run:
        return None
    _clear(apply, observe=config.mode is Mode.OBSERVE)
    try:
        _LOG.info("%s", own_group.reserve(HostFiles(os.fspath(options.root)), sensors.hierarchy, apply.journal))
    except Unsupported as error:
        _LOG.warning("%s", error)
    guard = Guard(os.fspath(options.root), apply.journal.path)
    if config.mode is Mode.ENFORCE:
        guard.start()
    return guard


def _clear(apply: Apply, *, observe: bool) -> None:
    """Undo what a killed agent left: its restraints or, to observe a host as it is, everything. Weights stay and are decided anew."""
    held = len(apply.journal.entries)
    if not held:
        return
    if observe:
        _log_release(apply)
        _LOG.warning("an earlier agent was killed: %d knobs of its journal restored", held)
        return
    lifted = apply.lift(time.time())
    _log_failed(lifted)
    _LOG.warning("an earlier agent was killed: %d restraints lifted, %d knobs taken over", len(lifted), held)


def _log_release(apply: Apply) -> None:
    _log_failed(apply.release(time.time()))


def _log_failed(results: tuple[Restored, ...]) -> None:
    for each in results:
        if each.error:
            _LOG.error("not restored: %s: %s", each.path, each.error)


def _assemble(config: Config, sensors: Sensors, actuation: HostActuation, stack: contextlib.ExitStack) -> Loop:
    state = config.state_directory
    state.mkdir(mode=0o750, parents=True, exist_ok=True)
    paths = _paths(config)
    learned = learned_costs.load(paths.costs)
    intents = IntentStore(paths.intents)
    if not config.slo_file and (handed := intents.hand_over()):
        _LOG.info("no slo_file is configured: the %d SLOs that one asked for are now kept as if set by hand", handed)
    writer = LineWriter()
    stack.callback(writer.close)
    history = History(state / "history", writer, now_seconds=time.time())
    outbox = _open_outbox(state / "outbox", history, stack)
    stores = Stores(
        intents=intents,
        history=history,
        violations=ViolationLog(state / "violations.jsonl", writer, epoch=outbox.epoch if outbox else ""),
        slo_file=SloFile(Path(config.slo_file)) if config.slo_file else None,
        outbox=outbox,
    )
    clock = history.clock(time.time(), time.monotonic())
    memory: Memory = replace(learned_costs.recall(learned), clock=clock)
    return Loop(config, settings_of(config, learned.prior), sensors, actuation, stores, memory)


def _open_outbox(directory: Path, history: History, stack: contextlib.ExitStack) -> Outbox | None:
    """The outbox; None where its directory cannot be written: floors are kept without it."""
    try:
        outbox = Outbox(directory, recent=history.recent_windows())
    except OSError as error:
        _LOG.error("outbox: %s; nothing is kept for reports", error)
        return None
    stack.callback(outbox.close)
    return outbox


@contextlib.contextmanager
def _serving(loop: Loop, config: Config) -> Iterator[None]:
    """The control socket and the metrics server, while the loop runs."""
    with contextlib.ExitStack() as stack:
        stack.callback(ControlSocket(config.socket, loop, group=config.socket_group).close)
        address = config.metrics_address
        if address is not None:
            stack.callback(MetricsServer(loop, address).close)
        yield


def _save_until(stop: threading.Event, loop: Loop, config: Config) -> None:
    """Write what was learned to disk now and then, off the loop's thread, and once more at the end."""
    path = _paths(config).costs
    while True:
        last = stop.wait(_SAVE_SECONDS)
        loop.save(path)
        if last:
            return
