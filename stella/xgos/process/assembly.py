"""How the agent is put together: its files, its stores, and the loop over them."""

import contextlib
import logging
import os
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from stella.control.cost import Prior
from stella.control.memory import Memory, Settings
from stella.xgos.accounting.history import History
from stella.xgos.accounting.outbox import Outbox
from stella.xgos.accounting.violations import ViolationLog
from stella.xgos.actuation.actuators import Actuators, actuators
from stella.xgos.actuation.apply import Apply
from stella.xgos.actuation.audit import Audit
from stella.xgos.actuation.journal import Journal
from stella.xgos.actuation.journal_storage import JournalLock
from stella.xgos.actuation.private_files import filesystem_of
from stella.xgos.block_throttles import BlockThrottles
from stella.xgos.host_files import HostFiles
from stella.xgos.intents.cloud import CloudSource
from stella.xgos.intents.slo_file import SloFile
from stella.xgos.intents.source import IntentSource
from stella.xgos.intents.store import IntentStore
from stella.xgos.line_log import Lines, LineWriter
from stella.xgos.link.link import Link
from stella.xgos.link.transport import Endpoint
from stella.xgos.process import learned_costs, own_group
from stella.xgos.process.config import Config, HostOverhead, Options
from stella.xgos.process.loop import Loop, Stores
from stella.xgos.process.ports import Actuation, Sensors

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """Unix time and the monotonic clock, in seconds."""

    wall: Callable[[], float]
    monotonic: Callable[[], float]


MACHINE_CLOCK = Clock(wall=time.time, monotonic=time.monotonic)


def settings_of(config: Config, prior: Prior | None) -> Settings:
    """The control law's settings from the operator's configuration and the host's calibration."""
    settings = Settings(
        capacity_cores=config.capacity_cpu_cores,
        host_reserved_cores=config.host_reserved_cpu_cores,
        overhead_is_measured=config.host_overhead is HostOverhead.MEASURED,
        margin=config.reservation_margin_ratio,
    )
    return replace(settings, prior=prior) if prior else settings


@dataclass(frozen=True, slots=True)
class Paths:
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


def paths_of(config: Config) -> Paths:
    return Paths(config.state_directory, config.run_directory)


def open_apply(
    config: Config,
    options: Options,
    stack: contextlib.ExitStack,
    *,
    reach: Actuators | None = None,
    throttles: BlockThrottles | None = None,
    lines: Lines | None = None,
) -> Apply:
    """The journal, held for this process alone, and what writes. A dry run holds and changes nothing.

    ``reach``: the actuators, if not those of this machine; ``throttles``: of disks, for those; ``lines``: where the audit goes, if not
    to a thread of its own.
    """
    paths = paths_of(config)
    if not options.dry_run:
        _make_directory(config.run_directory)
        _make_directory(config.socket.parent)
        try:
            stack.callback(JournalLock(paths.journal).close)
        except BlockingIOError:
            raise own_group.AlreadyRunning(f"another agent, or its guard, holds {paths.journal}") from None
        except OSError as error:
            _LOG.error("%s: %s; restraints are not set", paths.run, error.strerror or error)
    journal = Journal.load(paths.journal, paths.journal_copy, keep=options.dry_run)
    if journal.set_aside:
        _LOG.error("journal set aside: %s", journal.set_aside)
    if journal.recovered:
        _LOG.error("journal recovered: %s", journal.recovered)
    audit = Audit(paths.audit, lines)
    stack.callback(audit.close)
    files = HostFiles(os.fspath(options.root))
    return Apply(reach or actuators(files, throttles), journal, audit, dry_run=options.dry_run)


def _make_directory(path: Path) -> None:
    """Make a run-time directory that users of the socket may pass through; what lies in it is protected by its own mode."""
    if not path.exists():
        path.mkdir(parents=True)
        path.chmod(0o751)


def warn_of_slow_directory(path: Path) -> None:
    """The journal is stored within a tick: a disk would hold it up, and would outlive the boot for nothing."""
    with contextlib.suppress(OSError):
        kind = filesystem_of(os.path.realpath(path), Path("/proc/self/mountinfo").read_text(encoding="utf-8"))
        if kind and kind not in ("tmpfs", "ramfs"):
            _LOG.warning("run_directory %s lies on %s; the journal is stored in each tick: use a tmpfs", path, kind)


def assemble(
    config: Config,
    sensors: Sensors,
    actuation: Actuation,
    stack: contextlib.ExitStack,
    *,
    accounts: Path | None = None,
    clock: Clock = MACHINE_CLOCK,
    lines: Lines | None = None,
    background: bool = True,
) -> Loop:
    """The loop and its stores, on whatever senses and acts.

    ``accounts``: where history and violations go, if not into the state directory; ``lines``: who writes them, if not a thread
    of their own. Without ``background`` there are no threads: history is loaded before this returns, and the outbox is written
    by `Outbox.flush` alone.
    """
    state = accounts or config.state_directory
    state.mkdir(mode=0o750, parents=True, exist_ok=True)
    paths = paths_of(config)
    learned = learned_costs.load(paths.costs)
    intents = IntentStore(paths.intents)
    if not config.slo_file and (handed := intents.hand_over()):
        _LOG.info("no slo_file is configured: the %d SLOs that one asked for are now kept as if set by hand", handed)
    writer = lines or LineWriter()
    if lines is None:
        stack.callback(writer.close)
    history = History(state / "history", writer, now_seconds=clock.wall(), background=background)
    outbox = _open_outbox(state / "outbox", history, stack, background=background)
    sources = tuple(_sources(config, stack))
    cloud = next(source for source in sources if isinstance(source, CloudSource))
    stores = Stores(
        intents=intents,
        history=history,
        violations=ViolationLog(state / "violations.jsonl", writer, epoch=outbox.epoch if outbox else ""),
        sources=sources,
        api_mode=lambda: cloud.mode,
        acknowledge=outbox.record_state if outbox else None,
        outbox=outbox,
    )
    account = history.clock(clock.wall(), clock.monotonic())
    memory: Memory = replace(learned_costs.recall(learned), clock=account)
    return Loop(config, settings_of(config, learned.prior), sensors, actuation, stores, memory)


def _sources(config: Config, stack: contextlib.ExitStack) -> Iterator[IntentSource]:
    """Who may ask for SLOs beside the control socket. The SLO file is read in a thread of its own."""
    yield CloudSource(paths_of(config).cloud, keep_mode=bool(config.api_url))
    if config.slo_file:
        file = SloFile(Path(config.slo_file))
        file.watch()
        stack.callback(file.close)
        yield file


def connect(config: Config, loop: Loop, stack: contextlib.ExitStack) -> None:
    """Start the link to stella-api, if one is configured. Floors are kept without it."""
    cloud = next((source for source in loop.sources if isinstance(source, CloudSource)), None)
    if not config.api_url or cloud is None:
        return
    endpoint = Endpoint(
        url=config.api_url,
        host_name=config.api_host_name or socket.gethostname(),
        credential_file=config.api_credential_file,
        ca_file=config.api_ca_file,
    )
    try:
        link = Link(endpoint, cloud, loop.outbox, loop.published)
    except OSError as error:
        raise OSError(f"api_ca_file: {config.api_ca_file}: {error.strerror or error}") from None
    stack.callback(link.close)
    loop.link = lambda: link.status
    _LOG.info("linked to %s as host %s", config.api_url, endpoint.host_name)


def _open_outbox(directory: Path, history: History, stack: contextlib.ExitStack, *, background: bool) -> Outbox | None:
    """The outbox; None where its directory cannot be written: floors are kept without it."""
    try:
        outbox = Outbox(directory, recent=history.recent_windows(), background=background)
    except OSError as error:
        _LOG.error("outbox: %s; nothing is kept for reports", error)
        return None
    stack.callback(outbox.close)
    return outbox
