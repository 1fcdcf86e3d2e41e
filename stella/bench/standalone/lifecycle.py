"""Starting and stopping a stand-alone Stella. What was started is recorded first, so that a start that was killed can be undone."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType

from stella.bench.lab.leftovers import sweep
from stella.bench.standalone import control_plane, processes
from stella.bench.standalone.control_plane import ControlPlane, Reported
from stella.bench.standalone.environment import env_text
from stella.bench.standalone.errors import StandaloneError, WrongRequest
from stella.bench.standalone.paths import LABORATORY_HOST, Hosts, Paths
from stella.bench.standalone.state import State, boot_id, is_running, locked, read_state, show_state, write_private

HOSTS_PROCESS = "hosts"
API_SECONDS = 60.0
SIMULATED_SECONDS = 60.0
LABORATORY_SECONDS = 240.0
PATIENCE_SECONDS = {HOSTS_PROCESS: 60.0}
_OTHERS_PATIENCE_SECONDS = 15.0
_POLL_SECONDS = 0.2
_TAIL_CHARACTERS = 300

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class _Started:
    """The processes of this start, and where their logs are."""

    paths: Paths
    running: dict[str, "subprocess.Popen[bytes]"]

    def start(self, name: str, argv: list[str]) -> None:
        log = self.paths.logs / f"{name}.log"
        self.running[name] = processes.start(name, argv, records=self.paths.processes, log=log)

    def tail(self, name: str) -> str:
        """The last line of a log."""
        with contextlib.suppress(OSError):
            lines = (self.paths.logs / f"{name}.log").read_text(errors="replace").strip().splitlines()
            return lines[-1].strip()[-_TAIL_CHARACTERS:] if lines else ""
        return ""

    def wait_for(self, name: str, what: str, is_done: Callable[[], bool], seconds: float, say: Say) -> None:
        """Raises `StandaloneError` when a process ends or the time is over."""
        limit = time.monotonic() + seconds
        while not is_done():
            for each, process in self.running.items():
                if process.poll() is not None:
                    raise StandaloneError(f"{each} ended with {process.returncode}: {self.tail(each) or 'no log'}")
            if time.monotonic() > limit:
                raise StandaloneError(f"{what} within {seconds:.0f} s; {name} says: {self.tail(name) or 'nothing'}")
            say(f"{name}: {self.tail(name) or 'starting'}")
            time.sleep(_POLL_SECONDS)


def up(paths: Paths, hosts: Hosts, say: Say) -> tuple[State, bool]:
    """Start it and wait until its hosts have reported; what runs, and whether it ran before.

    ``say`` is told what is being done. Raises `StandaloneError`, having removed all but the logs, and `WrongRequest`.
    """
    if not hosts.simulated and os.geteuid() != 0:
        raise WrongRequest(
            "--hosts lab needs root (libvirt, network namespaces, cgroups); without it use --hosts sim:5"
        )
    with _interruptible(), locked(paths):
        before = read_state(paths)
        if before is not None:
            if is_running(paths, before):
                if before.hosts != hosts:
                    raise WrongRequest(f"--hosts: it runs with {before.hosts}; stop it first (stella-bench down)")
                return before, True
            say("removing what an earlier start left")
        _remove(paths, before, keep_logs=False)
        try:
            return _start(_Started(paths, {}), hosts, say), False
        except BaseException:
            _remove(paths, State(boot=boot_id(), hosts=hosts), keep_logs=True)
            raise


def _start(started: _Started, hosts: Hosts, say: Say) -> State:
    paths = started.paths
    state = State(boot=boot_id(), hosts=hosts)
    with control_plane.private_files():
        paths.home.mkdir(parents=True)
        paths.processes.mkdir()
        paths.logs.mkdir(exist_ok=True)
    write_private(paths.state, show_state(state))
    say("making the database")
    plane = control_plane.prepare(paths.home, hosts.names)
    for name, argv in plane.programs.items():
        started.start(name, argv)
    started.wait_for("stella-api", "it does not answer", lambda: control_plane.is_healthy(plane), API_SECONDS, say)
    started.start(HOSTS_PROCESS, hosts_command(paths, hosts, plane))
    found = _wait_for_instances(started, hosts, plane, say)
    project, server = control_plane.most_used_project(found)
    text = env_text(
        programs=Path(sys.executable).parent,
        endpoint=plane.endpoint,
        admin_token=plane.admin_token,
        member_token=control_plane.add_member(plane, project),
    )
    write_private(paths.env, text)
    state = replace(
        state,
        endpoint=plane.endpoint,
        server=server,
        instances=len(found),
        is_ready=True,
        processes=tuple(started.running),
    )
    write_private(paths.state, show_state(state))
    return state


def hosts_command(paths: Paths, hosts: Hosts, plane: ControlPlane) -> list[str]:
    """The process that has the hosts."""
    if hosts.simulated:
        return [
            *(sys.executable, "-m", "stella.cmd.stella_sim", "run", "--hosts", str(hosts.simulated)),
            *("--api-url", plane.endpoint, "--credentials-dir", str(paths.home / "credentials")),
            *("--state-dir", str(paths.home / "simulated")),
        ]
    return [
        *(sys.executable, "-m", "stella.bench.standalone.laboratory", str(paths.directory)),
        *(plane.endpoint, str(plane.credentials[LABORATORY_HOST]), *hosts.guests),
    ]


def _wait_for_instances(started: _Started, hosts: Hosts, plane: ControlPlane, say: Say) -> list[Reported]:
    found: list[Reported] = []

    def visible() -> bool:
        found[:] = control_plane.reported(plane)
        return bool(found) and (bool(hosts.simulated) or set(hosts.guests) <= {one.name for one in found})

    seconds = SIMULATED_SECONDS if hosts.simulated else LABORATORY_SECONDS
    started.wait_for(HOSTS_PROCESS, "the hosts' instances are not reported", visible, seconds, say)
    return found


def down(paths: Paths, say: Say) -> bool:
    """Stop it and remove its files, also after a crash, a half-finished start or a reboot. False when there was nothing.

    Raises `StandaloneError` when a process does not end or belongs to another user.
    """
    if not paths.directory.is_dir():
        return False
    with locked(paths):
        if not paths.home.exists() and not paths.env.exists():
            return False
        say("stopping")
        _remove(paths, read_state(paths), keep_logs=False)
    return True


def _remove(paths: Paths, state: State | None, *, keep_logs: bool) -> None:
    """End what was recorded, last started first, then remove the files."""
    left = []
    if state is not None and state.boot in ("", boot_id()):  # numbers of processes mean nothing after a reboot
        processes.wait_for_records(paths.processes)
        for record in reversed(processes.recorded(paths.processes)):
            try:
                patience = PATIENCE_SECONDS.get(record.name, _OTHERS_PATIENCE_SECONDS)
                if not processes.end(record, patience_seconds=patience):
                    left.append(f"{record.name} (process {record.pid})")
            except PermissionError:
                raise StandaloneError(f"{paths.directory}: {record.name} was started by another user") from None
    if os.geteuid() == 0:
        sweep()  # a laboratory that was killed
    if left:
        raise StandaloneError(f"cannot be ended: {', '.join(left)}")
    paths.env.unlink(missing_ok=True)
    for entry in sorted(paths.home.iterdir()) if paths.home.is_dir() else ():
        if keep_logs and entry == paths.logs:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry != paths.state:
            entry.unlink()
    paths.state.unlink(missing_ok=True)  # the last, so that a removal that was interrupted goes on next time
    with contextlib.suppress(OSError):
        paths.home.rmdir()


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """SIGTERM undoes what was started, as Ctrl-C does."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
