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
from dataclasses import replace
from pathlib import Path

from stella.model import wire
from stella.model.intent import Mode
from stella.xgos import supervision
from stella.xgos.actuation.apply import Apply
from stella.xgos.actuation.guard import SILENCE_SECONDS
from stella.xgos.actuation.guard_process import Guard
from stella.xgos.actuation.host import HostActuation
from stella.xgos.actuation.restore import Restored
from stella.xgos.block_throttles import DEADLINE_SECONDS, BlockThrottles, LibvirtThrottles
from stella.xgos.host_files import Broken, HostFiles, Unavailable, Unsupported
from stella.xgos.local_api.control_socket import ControlSocket
from stella.xgos.local_api.exporter import MetricsServer
from stella.xgos.process import garbage_collection, own_group
from stella.xgos.process.assembly import assemble, connect, open_apply, paths_of, warn_of_slow_directory
from stella.xgos.process.config import Config, Options
from stella.xgos.process.loop import Loop
from stella.xgos.process.service_notify import ServiceNotifier
from stella.xgos.sensing.groups import find_hierarchy
from stella.xgos.sensing.sensors import Sensors, open_sensors

_LOG = logging.getLogger(__name__)
_SAVE_SECONDS = 10.0
_HYPERVISOR_SECONDS = 5.0
FAILED = 1


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
            for entry in open_apply(config, options, stack).journal.entries:
                does = "would remove" if entry.original is None else "would restore"
                print(f"{does} {entry.target}" + ("" if entry.original is None else f" to {entry.original!r}"))
            return 0
        stack.callback(own_group.HostLock(files, find_hierarchy(files)).close)
        return _release(open_apply(config, options, stack, throttles=_throttles(config, stack, remembers=False)))


def _throttles(config: Config, stack: contextlib.ExitStack, *, remembers: bool = True) -> BlockThrottles:
    """The throttles of disks. Nothing is asked of libvirt before one is to be set."""
    throttles = BlockThrottles(lambda: LibvirtThrottles(config.libvirt_uri), remembers=remembers)
    stack.callback(throttles.close)
    return throttles


def _sensors(config: Config, options: Options, throttles: BlockThrottles) -> Sensors:
    return open_sensors(
        os.fspath(options.root),
        uri=config.libvirt_uri,
        uplinks=config.uplinks,
        throttles=throttles,
        backends=config.block_backends,
    )


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
        throttles = _throttles(config, stack)
        sensors = _sensors(config, options, throttles)
        stack.callback(sensors.close)
        if act:
            stack.callback(own_group.HostLock(HostFiles(os.fspath(options.root)), sensors.hierarchy).close)
        apply = open_apply(config, options if act else replace(options, dry_run=True), stack, throttles=throttles)
        if act:
            _clear(apply, observe=False)
        sensors.wait_ready(_HYPERVISOR_SECONDS)
        actuation = HostActuation(apply, None, observe=True)
        accounts = stack.enter_context(
            tempfile.TemporaryDirectory(prefix="xgos-once-")
        )  # two ticks account for nothing
        loop = assemble(config, sensors, actuation, stack, accounts=Path(accounts))
        loop.tick()
        if options.root == Path("/"):
            time.sleep(config.tick_milliseconds / 1000)
        actuation.observe = not act
        loop.tick()
        throttles.drain(DEADLINE_SECONDS)
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
        throttles = _throttles(config, stack)
        sensors = _sensors(config, options, throttles)
        stack.callback(sensors.close)
        stack.callback(own_group.HostLock(HostFiles(os.fspath(options.root)), sensors.hierarchy).close)
        apply = open_apply(config, options, stack, throttles=throttles)
        observe = config.mode is Mode.OBSERVE or options.dry_run
        guard = (
            None
            if observe
            else Guard(os.fspath(options.root), apply.journal.path, apply.journal.lines, libvirt_uri=config.libvirt_uri)
        )
        if not options.dry_run:
            warn_of_slow_directory(config.run_directory)
            _prepare(config, options, sensors, apply)
            if guard is not None:
                apply.journal.told = guard.tell
                stack.callback(guard.close)
                guard.ensure(time.monotonic())
            stack.callback(_log_release, apply)
        loop = assemble(config, sensors, HostActuation(apply, guard, observe=observe), stack)
        sensors.wait_ready(_HYPERVISOR_SECONDS)
        stack.enter_context(_serving(loop, config))
        saver = supervision.start(lambda: _save_until(stop, loop, config), name="saver", stop=stop)
        if guard is not None and config.tick_milliseconds >= SILENCE_SECONDS * 1000:
            _LOG.warning("tick_milliseconds %d: the guard lifts restraints between ticks", config.tick_milliseconds)
        _LOG.info("mode %s, %d ms a tick, %s", config.mode, config.tick_milliseconds, config.libvirt_uri)
        garbage_collection.settle()
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
    apply.clear_strays()
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


@contextlib.contextmanager
def _serving(loop: Loop, config: Config) -> Iterator[None]:
    """The control socket, the metrics server and the link to stella-api, while the loop runs."""
    with contextlib.ExitStack() as stack:
        stack.callback(ControlSocket(config.socket, loop, group=config.socket_group).close)
        address = config.metrics_address
        if address is not None:
            stack.callback(MetricsServer(loop, address).close)
        connect(config, loop, stack)
        yield


def _save_until(stop: threading.Event, loop: Loop, config: Config) -> None:
    """Write what was learned to disk now and then, off the loop's thread, and once more at the end."""
    path = paths_of(config).costs
    while True:
        last = stop.wait(_SAVE_SECONDS)
        loop.save(path)
        if last:
            return
