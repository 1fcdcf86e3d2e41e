"""The bench's own side of every stage: control groups, heartbeat, lines to the guests, their loads, and the recorder.

Where the guests come from is the stage's own affair: `Lab` boots them under a libvirtd of its own, `stella.bench.openstack` asks
Nova for them.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self, Unpack
from uuid import uuid4

from stella.bench.lab import heartbeat
from stella.bench.lab.channel import Lines
from stella.bench.lab.confining import chosen_cpus, with_fewer_cpus
from stella.bench.lab.groups import Groups, Layout, parse_mounts
from stella.bench.lab.leftovers import HOME, Note, kill_guests
from stella.bench.lab.loads import GuestLoads
from stella.bench.lab.model import Guest, LabError
from stella.bench.lab.process import Streams, finish, launch
from stella.bench.lab.sampler import Recorder, process_cpu_seconds
from stella.linux.cpuset import show_cpus

PROOF_SECONDS = 60.0
IDLE_SECONDS = 1.0
PINGS_PER_GUEST = 8
CPUS_FILE = "cpus"


class Rig(ABC):
    """A context manager that leaves nothing behind; use it in the main thread, as root. A stage derives from it."""

    accelerator = ""
    partition = "/machine"
    """The guests' parent group, as libvirt names it."""

    def __init__(self, progress: Callable[[str], None], *, cores: int | None = None) -> None:
        """``cores``: how many CPUs the laboratory confines itself to; None: all."""
        self.cpus = chosen_cpus(cores)
        self.is_confined = len(self.cpus) < len(os.sched_getaffinity(0))
        self.name = f"stella-bench-{uuid4().hex[:6]}"
        self.home = HOME / self.name  # sockets and state: short, for a socket's path has at most 107 bytes
        self.progress = progress
        self.groups = Groups(self.name, parse_mounts(Path("/proc/self/mounts").read_text()))
        self.loads: dict[str, GuestLoads] = {}
        self.guests: dict[str, Guest] = {}
        self.qemu_pids: dict[str, int] = {}
        self.stalls: list[tuple[float, float]] = []
        self.libvirtd_idle_cores = 0.0
        self.ready = False
        self._handlers: dict[int, Any] = {}
        self._undo = contextlib.ExitStack()

    @abstractmethod
    def _open(self) -> None:
        """Open the stage; whatever must be undone goes to ``_undo`` at once."""

    @abstractmethod
    def boot(self, guests: Sequence[Guest], *, prepare: bool = True) -> None:
        """Start guests. Returns when all answer, and with ``prepare`` when their loads are prepared. Raises `LabError`."""

    @property
    @abstractmethod
    def libvirtd_pid(self) -> int:
        """The libvirtd that the guests run under."""

    @property
    @abstractmethod
    def network_namespace(self) -> str:
        """The network namespace with the guests' taps: its name under /run/netns, or its path."""

    @property
    @abstractmethod
    def uri(self) -> str:
        """Of that libvirtd."""

    @property
    def limited_uplinks(self) -> Mapping[str, float]:
        """Devices in that namespace through which uplinks with a limit send, and the limits in bytes/s."""
        return {}

    @property
    def limited_backends(self) -> Mapping[str, float]:
        """The sources of disks on back ends with a limit, as the agent names them, and the limits in bytes/s."""
        return {}

    @abstractmethod
    def uuid(self, name: str) -> str:
        """A guest's uuid."""

    def __enter__(self) -> Self:
        self._catch_signals()
        try:
            self._open()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _catch_signals(self) -> None:
        if threading.current_thread() is threading.main_thread():

            def interrupt(number: int, frame: FrameType | None) -> None:
                raise KeyboardInterrupt

            for number in (signal.SIGINT, signal.SIGTERM):
                self._handlers[number] = signal.signal(number, interrupt)

    def _open_helpers(self, *directories: Path, guests_parent: bool = False) -> None:
        """Make control groups and directories, move this process into its own, start heartbeat and the reader of lines."""
        self.home.mkdir(parents=True)
        self._undo.callback(self._delete, (self.home, *directories))
        for directory in directories:
            directory.mkdir(parents=True)
        self.note = Note(self.home, name=self.name, groups=self.groups.planned(), directories=[self.home, *directories])
        self._undo.callback(self.groups.remove)
        if self.is_confined:
            self._confine()
        self._undo.callback(self.groups.enter, self.groups.home)
        if guests_parent:
            self.groups.make_partition(self.cpus if self.is_confined else ())
        self._load_groups = self.groups.make_helper("load")
        self.groups.enter(self.groups.make_helper("meter"))
        self._undo.callback(self._end_helpers)
        self.lines = Lines()
        self._undo.callback(self.lines.close)
        self._beat()

    def _confine(self) -> None:
        """Hold this process, and whatever it starts from now on, to the laboratory's CPUs; guests have their parent's cpuset."""
        self._undo.callback(os.sched_setaffinity, 0, os.sched_getaffinity(0))
        os.sched_setaffinity(0, self.cpus)
        (self.home / CPUS_FILE).write_text(f"{show_cpus(self.cpus)}\n", encoding="ascii")

    def _beat(self) -> None:
        groups = self.groups.make_helper("heart")
        self._heart = launch(
            ["/usr/bin/python3", "-I", "-S", heartbeat.__file__], groups=groups, stdout=subprocess.PIPE
        )
        assert self._heart.stdout is not None

        def stalled(text: str) -> None:
            for line in text.splitlines():
                moment, late = line.split()
                self.stalls.append((float(moment), float(late)))

        self.lines.add_text(self._heart.stdout.fileno(), stalled)

    def _end_helpers(self) -> None:
        for loads in self.loads.values():
            loads.close()
        if hasattr(self, "_heart"):
            finish(self._heart)
            if self._heart.stdout:
                self._heart.stdout.close()
        kill_guests([path for path in self.groups.made if path.name.endswith((".partition", "-load"))])

    @staticmethod
    def _delete(directories: Iterable[Path]) -> None:
        for directory in directories:
            shutil.rmtree(directory, ignore_errors=True)
        with contextlib.suppress(OSError):
            HOME.rmdir()

    def _close(self) -> None:
        for number in self._handlers:
            signal.signal(number, signal.SIG_IGN)
        try:
            self._undo.close()
        finally:
            for number, handler in self._handlers.items():
                signal.signal(number, handler)
            self._handlers = {}
            self.ready = False

    # Guests

    def _console(self, loads: GuestLoads) -> str:
        """The last words of a guest that does not answer, where they can be read."""
        return ""

    def _wait_until_all_answer(self, waiting: Sequence[GuestLoads], limit: float) -> None:
        for loads in waiting:
            link = loads.link
            assert link is not None
            while not link.answered.wait(0.3):
                if loads.died or time.monotonic() > limit:
                    words = self._console(loads)
                    raise LabError(f"guest {link.name} does not boot: {loads.died or 'no answer'}: {words}")
                if not link.pings:
                    link.ping()

    def prepare(self, guests: Sequence[Guest]) -> None:
        """Prepare the loads of guests that answer; returns when all generators have shown that they work. Raises `LabError`.

        Loads run from then on, but those of a guest that starts idle.
        """
        self.progress("preparing the loads")
        mine = [self.loads[guest.name] for guest in guests]
        for loads in mine:
            loads.configure()
        for loads in mine:
            loads.prepare()
        limit = time.monotonic() + PROOF_SECONDS
        while not all([loads.hold_when_proved() for loads in mine]):
            dead = next((loads for loads in mine if loads.died), None)
            if dead or time.monotonic() > limit:
                slow = dead or next(loads for loads in mine if not all(slot.proved for slot in loads.slots))
                raise LabError(f"guest {slow.guest.name}: its load does not start: {slow.died or 'no report'}")
            time.sleep(0.05)
        self._settle(mine)
        for loads in mine:
            if not loads.guest.start_idle:
                loads.start()

    def _settle(self, mine: list[GuestLoads]) -> None:
        """While nothing runs: read the guests' clocks, and what an idle libvirtd uses."""
        pid = self.libvirtd_pid
        for loads in mine:
            if loads.link:
                loads.link.pings.clear()  # a guest that boots tells no time
        began, before = time.monotonic(), process_cpu_seconds(pid) or 0.0
        for _ in range(PINGS_PER_GUEST):
            for loads in mine:
                if loads.link:
                    loads.link.ping()
            time.sleep(IDLE_SECONDS / PINGS_PER_GUEST)
        self.libvirtd_idle_cores = ((process_cpu_seconds(pid) or 0.0) - before) / (time.monotonic() - began)
        self.ready = True

    # At run time

    def _of(self, name: str) -> GuestLoads:
        if name not in self.loads:
            raise LabError(f"there is no guest {name!r}")
        return self.loads[name]

    def start(self, name: str, *, index: int | None = None) -> None:
        """Let a guest's loads run, or only the workload ``index``."""
        self._of(name).start(index)

    def stop(self, name: str) -> None:
        """Halt a guest's loads; the guest itself goes on."""
        self._of(name).stop()

    def halt(self) -> None:
        """Halt the loads of all guests."""
        for loads in self.loads.values():
            if loads.link is not None:
                loads.stop()

    def died(self, name: str) -> str:
        """Why a guest or its load ended; empty while all is well."""
        return self._of(name).died

    def change(self, name: str, *, index: int | None = None, **keys: Any) -> None:
        """Change keys of a guest's workload, running or not: ``rate`` (None: unbounded) or any other key of `Workload`.

        ``index`` picks one of several workloads; without it, every one that takes the keys. Raises `WorkloadError`.
        """
        self._of(name).change(index, keys)

    def record(self) -> Recorder:
        """Start sampling."""
        return Recorder(
            loads=self.loads,
            qemu_pids=self.qemu_pids,
            libvirtd_pid=self.libvirtd_pid,
            load_groups=self._load_groups,
            stalls=self.stalls,
            libvirtd_idle_cores=self.libvirtd_idle_cores,
            cpus=self.cpus,
        )

    def spawn(
        self,
        argv: Sequence[str],
        *,
        groups: Iterable[Path] = (),
        outside: bool = False,
        **streams: Unpack[Streams],
    ) -> "subprocess.Popen[bytes]":
        """Run a program in the lab's network namespace, in the control groups the bench was started in (or ``groups``): the agent.

        ``outside``: in the host's own network namespace instead. The process has the pid returned, and dies when the thread that
        called this does. Ctrl-C does not reach it.
        """
        where = tuple(groups) or self.groups.home
        if self.is_confined and not outside:
            argv = with_fewer_cpus(argv, self.home / CPUS_FILE, self.cgroup)
        namespace = "" if outside else self.network_namespace
        process = launch(argv, namespace=namespace, groups=where, **streams)
        self.note.add_process(process.pid)
        return process

    @property
    def cgroup(self) -> Layout:
        """Where the control groups are mounted."""
        return self.groups.layout
