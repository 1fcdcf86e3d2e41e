"""The agent's process: puts the parts together, runs the loop, and leaves the host as it was."""

import contextlib
import logging
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from stella.control.cost import Prior
from stella.control.memory import Memory, Settings
from stella.model import wire
from stella.xgos import supervision
from stella.xgos.accounting.history import History
from stella.xgos.accounting.outbox import Outbox
from stella.xgos.accounting.violations import ViolationLog
from stella.xgos.actuation.apply import Apply
from stella.xgos.actuation.audit import Audit
from stella.xgos.actuation.guard import SILENCE_SECONDS
from stella.xgos.actuation.guard_process import Guard
from stella.xgos.actuation.host import HostActuation
from stella.xgos.actuation.journal import Journal
from stella.xgos.actuation.journal_storage import JournalLock
from stella.xgos.actuation.private_files import filesystem_of
from stella.xgos.actuation.restore import Restored
from stella.xgos.host_files import Broken, HostFiles, Unavailable, Unsupported
from stella.xgos.intents.cloud import CloudSource
from stella.xgos.intents.slo_file import SloFile
from stella.xgos.intents.source import IntentSource
from stella.xgos.intents.store import IntentStore
from stella.xgos.line_log import LineWriter
from stella.xgos.local_api.control_socket import ControlSocket
from stella.xgos.local_api.exporter import MetricsServer
from stella.xgos.process import learned_costs, own_group
from stella.xgos.process.config import Config, Mode, Options
from stella.xgos.process.loop import Loop, Stores
from stella.xgos.process.service_notify import ServiceNotifier
from stella.xgos.sensing.groups import find_hierarchy
from stella.xgos.sensing.sensors import Sensors, open_sensors

_LOG = logging.getLogger(__name__)
_SAVE_SECONDS = 10.0
_HYPERVISOR_SECONDS = 5.0
FAILED = 1


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
    def journal_copy(self) -> str:
        return str(self.state / "journal.copy")

    @property
    def audit(self) -> str:
        return str(self.state / "audit.jsonl")

    @property
    def intents(self) -> Path:
        return self.state / "intents.json"

    @property
    def cloud(self) -> Path:
        return self.state / "intents-cloud.json"

    @property
    def costs(self) -> Path:
        return self.state / "costs.json"


def _paths(config: Config) -> _Paths:
    return _Paths(config.state_directory, config.run_directory)


def _open_apply(config: Config, options: Options, stack: contextlib.ExitStack) -> Apply:
    """The journal, held for this process alone, and what writes. A dry run holds and changes nothing."""
    files, paths = HostFiles(os.fspath(options.root)), _paths(config)
    if not options.dry_run:
        _make_directory(config.run_directory)
        _make_directory(config.socket.parent)
        try:
            stack.callback(JournalLock(paths.journal).close)
        except BlockingIOError:
            raise own_group.AlreadyRunning(f"another agent, or its guard, holds {paths.journal}") from None
        except OSError as error:
            _LOG.error("%s: %s; restraints are not set", paths.run, error.strerror or error)
        _warn_of_slow_directory(paths.run)
    journal = Journal.load(paths.journal, paths.journal_copy, keep=options.dry_run)
    if journal.set_aside:
        _LOG.error("journal set aside: %s", journal.set_aside)
    if journal.recovered:
        _LOG.error("journal recovered: %s", journal.recovered)
    audit = Audit(paths.audit)
    stack.callback(audit.close)
    return Apply(files, journal, audit, dry_run=options.dry_run)


def _make_directory(path: Path) -> None:
    """Make a run-time directory that users of the socket may pass through; what lies in it is protected by its own mode."""
    if not path.exists():
        path.mkdir(parents=True)
        path.chmod(0o751)


def _warn_of_slow_directory(path: Path) -> None:
    """The journal is stored within a tick: a disk would hold it up, and would outlive the boot for nothing."""
    with contextlib.suppress(OSError):
        kind = filesystem_of(os.path.realpath(path), Path("/proc/self/mountinfo").read_text(encoding="utf-8"))
        if kind and kind not in ("tmpfs", "ramfs"):
            _LOG.warning("run_directory %s lies on %s; the journal is stored in each tick: use a tmpfs", path, kind)


def run(config: Config, options: Options) -> int:
    """Run the agent as configured. Returns the process's exit code."""
    level = getattr(logging, config.log_level.name)
    logging.basicConfig(level=level, format="%(asctime)s xgos %(levelname)s %(message)s", stream=sys.stderr)
    os.umask(0o027)  # state 0640, directories 0750: usage and names of all tenants are in it
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
    with contextlib.ExitStack() as stack:
        if options.dry_run:
            for entry in _open_apply(config, options, stack).journal.entries:
                does = "would remove" if entry.original is None else "would restore"
                print(f"{does} {entry.target}" + ("" if entry.original is None else f" to {entry.original!r}"))
            return 0
        stack.callback(own_group.HostLock(files, find_hierarchy(files)).close)
        return _release(_open_apply(config, options, stack))


def _release(apply: Apply) -> int:
    results = apply.release(time.time())
    failed = [r for r in results if r.error]
    for each in failed:
        print(f"xgos: {each.target}: {each.error}", file=sys.stderr)
    print(f"released {sum(1 for r in results if not r.error and not r.gone)} knobs, {len(failed)} failed")
    return FAILED if failed else 0


def once(config: Config, options: Options) -> int:
    """One tick: prints what was seen, decided, and written (or, in a dry run and in observe mode, would be) as JSON.

    In enforce mode weights are set; restraints are not, since this process ends at once and could not lift them. SLOs of the
    file are admitted as in the loop, by a tick before that one.
    """
    act = config.mode is Mode.ENFORCE and not options.dry_run
    with contextlib.ExitStack() as stack:
        sensors = open_sensors(os.fspath(options.root), uri=config.libvirt_uri)
        stack.callback(sensors.close)
        if act:
            stack.callback(own_group.HostLock(HostFiles(os.fspath(options.root)), sensors.hierarchy).close)
        apply = _open_apply(config, options if act else replace(options, dry_run=True), stack)
        if act:
            _clear(apply, observe=False)
        sensors.wait_ready(_HYPERVISOR_SECONDS)
        actuation = HostActuation(apply, None, observe=True)
        accounts = stack.enter_context(
            tempfile.TemporaryDirectory(prefix="xgos-once-")
        )  # two ticks account for nothing
        loop = _assemble(config, sensors, actuation, stack, accounts=Path(accounts))
        loop.tick()
        if options.root == Path("/"):
            time.sleep(config.tick_milliseconds / 1000)
        actuation.observe = not act
        loop.tick()
        tick = loop.published()
        assert tick is not None
        shown = {
            "snapshot": tick.snapshot,
            "decision": tick.decision,
            "writes": actuation.planned_writes,
            "outcomes": tick.outcomes,
        }
        print(wire.dumps({key: wire.encode(value) for key, value in shown.items()}))
    return 0


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
        apply = _open_apply(config, options, stack)
        observe = config.mode is Mode.OBSERVE or options.dry_run
        guard = None if observe else Guard(os.fspath(options.root), apply.journal.path, apply.journal.lines)
        if not options.dry_run:
            _prepare(config, options, sensors, apply)
            if guard is not None:
                apply.journal.told = guard.tell
                stack.callback(guard.close)
                guard.ensure(time.monotonic())
            stack.callback(_log_release, apply)
        loop = _assemble(config, sensors, HostActuation(apply, guard, observe=observe), stack)
        sensors.wait_ready(_HYPERVISOR_SECONDS)
        stack.enter_context(_serving(loop, config))
        saver = supervision.start(lambda: _save_until(stop, loop, config), name="saver", stop=stop)
        if guard is not None and config.tick_milliseconds >= SILENCE_SECONDS * 1000:
            _LOG.warning("tick_milliseconds %d: the guard lifts restraints between ticks", config.tick_milliseconds)
        _LOG.info("mode %s, %d ms a tick, %s", config.mode, config.tick_milliseconds, config.libvirt_uri)
        notifier = ServiceNotifier()
        stack.callback(notifier.close)
        loop.run(stop, notifier.after_tick)
        notifier.stopping("restoring the host")
        saver.join(timeout=_SAVE_SECONDS)
        _LOG.info("stopping: the host is restored")
    return 0


def _prepare(config: Config, options: Options, sensors: Sensors, apply: Apply) -> None:
    """The agent's own CPU share. What a killed agent left restrained is lifted first."""
    _clear(apply, observe=config.mode is Mode.OBSERVE)
    try:
        _LOG.info("%s", own_group.reserve(HostFiles(os.fspath(options.root)), sensors.hierarchy, apply.journal))
    except Unsupported as error:
        _LOG.warning("%s", error)


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
    count = sum(1 for each in lifted if each.changed)
    _LOG.warning("an earlier agent was killed: %d restraints lifted, %d knobs taken over", count, held)


def _log_release(apply: Apply) -> None:
    _log_failed(apply.release(time.time()))


def _log_failed(results: tuple[Restored, ...]) -> None:
    for each in results:
        if each.error:
            _LOG.error("not restored: %s: %s", each.target, each.error)


def _assemble(
    config: Config,
    sensors: Sensors,
    actuation: HostActuation,
    stack: contextlib.ExitStack,
    *,
    accounts: Path | None = None,
) -> Loop:
    """The loop and its stores. ``accounts``: where history and violations go, if not into the state directory."""
    state = accounts or config.state_directory
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
        sources=tuple(_sources(config, stack)),
        acknowledge=outbox.record_state if outbox else None,
        outbox=outbox,
    )
    clock = history.clock(time.time(), time.monotonic())
    memory: Memory = replace(learned_costs.recall(learned), clock=clock)
    return Loop(config, settings_of(config, learned.prior), sensors, actuation, stores, memory)


def _sources(config: Config, stack: contextlib.ExitStack) -> Iterator[IntentSource]:
    """Who may ask for SLOs beside the control socket. The SLO file is read in a thread of its own."""
    yield CloudSource(_paths(config).cloud)
    if config.slo_file:
        file = SloFile(Path(config.slo_file))
        file.watch()
        stack.callback(file.close)
        yield file


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
