"""The lab as a whole: a context manager that leaves nothing behind."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO, Any
from uuid import uuid4

from stella.bench.lab import heartbeat
from stella.bench.lab.accelerator import choose
from stella.bench.lab.channel import Lines, Link
from stella.bench.lab.groups import Groups, parse_mounts
from stella.bench.lab.hypervisor import Hypervisor, domain_xml
from stella.bench.lab.image import build
from stella.bench.lab.leftovers import HOME, Note, kill_guests, sweep
from stella.bench.lab.loads import GuestLoads
from stella.bench.lab.model import Backend, CgroupInfo, Guest, LabError, Uplink
from stella.bench.lab.network import Network
from stella.bench.lab.process import launch
from stella.bench.lab.sampler import Recorder, process_cpu_seconds
from stella.bench.lab.storage import Disk, Storage, check_room

PROGRAMS = ("libvirtd", "virtlogd", "qemu-system-x86_64", "ip", "bridge", "tc", "setpriv", "nsenter", "unshare")
BOOT_SECONDS = 120.0
PROOF_SECONDS = 60.0
IDLE_SECONDS = 1.0
PINGS_PER_GUEST = 8
SMALLEST_MEMORY_BYTES = 320 * 10**6
MOST_GUESTS = 200


class Lab:
    """Real guests, their load and their peers. Use as a context manager, in the main thread; needs root.

    ``directory`` keeps the guest image (under ``cache``) and, while the lab lives, the disks: it must lie on a real disk.
    Entering it starts libvirtd, bridges and back ends (and first cleans up after benches that were killed); `boot` starts guests.
    """

    def __init__(
        self,
        *,
        directory: Path,
        uplinks: Sequence[Uplink] = (),
        backends: Sequence[Backend] = (),
        progress: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.name = f"stella-bench-{uuid4().hex[:6]}"
        self.home = HOME / self.name  # sockets and state: short, for a socket's path has at most 107 bytes
        self.cache, self.disks = directory.resolve() / "cache", directory.resolve() / self.name
        self.progress = progress
        named = {u.name for u in uplinks}
        self.network = Network(self.name, (*uplinks, *(() if "up0" in named else (Uplink("up0"),))))
        self.groups = Groups(self.name, parse_mounts(Path("/proc/self/mounts").read_text()))
        self.partition = f"/{self.name}"
        self.accelerator = ""
        self.loads: dict[str, GuestLoads] = {}
        self.guests: dict[str, Guest] = {}
        self.qemu_pids: dict[str, int] = {}
        self.stalls: list[tuple[float, float]] = []
        self.boot_seconds = 0.0
        self.libvirtd_idle_cores = 0.0
        self.ready = False
        self._backends = tuple(backends)
        self._handlers: dict[int, Any] = {}
        self._undo = contextlib.ExitStack()

    # Opening and closing

    def __enter__(self) -> "Lab":
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

    def _open(self) -> None:
        if os.geteuid() != 0:
            raise LabError("the laboratory needs root")
        for program in (*PROGRAMS, *(("nbdkit",) if any(b.kind == "nbd" for b in self._backends) else ())):
            if shutil.which(program, path="/usr/bin:/usr/sbin:/bin:/sbin") is None:
                raise LabError(f"the laboratory needs {program}: install it")
        for name in sweep():
            self.progress(f"cleaned up after {name}, whose bench was killed")
        self.progress("building the guest image")
        self.image = build(self.cache)
        self.accelerator = choose(self.image, self.cache)
        self.home.mkdir(parents=True)
        self._undo.callback(self._delete_directories)
        self.disks.mkdir(parents=True)
        self.note = Note(self.home, name=self.name, groups=self.groups.planned(), directories=[self.home, self.disks])
        self._undo.callback(self.groups.remove)
        self._undo.callback(self.groups.enter, self.groups.home)
        self.groups.make_partition()
        self._load_groups = self.groups.make_helper("load")
        self.groups.enter(self.groups.make_helper("meter"))
        self._undo.callback(self._end_helpers)
        self.lines = Lines()
        self._undo.callback(self.lines.close)
        self._beat()
        self._undo.callback(self.network.remove)
        self.network.build()
        self.storage = Storage(self._backends, directory=self.disks, sockets=self.home, groups=self._load_groups)
        self._undo.callback(self.storage.close)
        self.storage.open()
        self.progress("starting libvirtd")
        self.hypervisor = Hypervisor(
            directory=self.home / "libvirt", cache=self.cache / "libvirt", namespace=self.name, groups=self.groups.home
        )
        self._undo.callback(self._end_guests)
        self.hypervisor.open(self.note.add_process)

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

    def _end_guests(self) -> None:
        for loads in self.loads.values():
            loads.closing = True
        self.hypervisor.close()

    def _end_helpers(self) -> None:
        for loads in self.loads.values():
            loads.close()
        if hasattr(self, "_heart"):
            self._heart.kill()
            self._heart.wait()
            if self._heart.stdout:
                self._heart.stdout.close()
        kill_guests([path for path in self.groups.made if path.name.endswith((".partition", "-load"))])

    def _delete_directories(self) -> None:
        shutil.rmtree(self.home, ignore_errors=True)
        shutil.rmtree(self.disks, ignore_errors=True)
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

    def boot(self, guests: Sequence[Guest]) -> None:
        """Start guests side by side; returns when all answer and all generators have shown that they work.

        Loads run from then on, but those of a guest that starts idle. Raises `LabError` that names the guest.
        """
        self._check(guests)
        began = time.monotonic()
        self.progress(f"booting {len(guests)} guests ({self.accelerator})")
        descriptions: dict[str, str] = {}
        for guest in guests:
            seat = self.network.seat(guest.name, guest.uplink, len(self.guests) + 1, peer=_has_udp(guest))
            self.guests[guest.name] = guest
            self.loads[guest.name] = GuestLoads(guest, seat, self.network, self._load_groups)
            disk: Disk | None = None
            if guest.disk:
                disk = self.storage.make(guest.name, guest.disk[0], guest.disk[1], seat.index)
            descriptions[guest.name] = domain_xml(
                guest,
                image=self.image,
                accelerator=self.accelerator,
                partition=self.partition,
                seat=seat,
                disk=disk,
                sockets=self.home,
            )
        self.progress("disks are written")
        self.hypervisor.boot(descriptions)
        self.progress("domains are started")
        for guest in guests:
            self.qemu_pids[guest.name] = self.hypervisor.pid(guest.name)
            self.note.add_process(self.qemu_pids[guest.name])
            self.network.attach(guest.name)
            loads = self.loads[guest.name]
            loads.link = Link(guest.name, self.home / f"guest{loads.seat.index}", loads.handle)
            self.lines.add(loads.link)
        self._wait_until_all_answer([self.loads[guest.name] for guest in guests], began + BOOT_SECONDS)
        self.boot_seconds = time.monotonic() - began
        self._prepare(guests)

    def _check(self, guests: Sequence[Guest]) -> None:
        for guest in guests:
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}", guest.name):
                raise LabError(f"{guest.name[:40]!r} is no name for a guest: letters, digits, - and _")
            if guest.name in self.guests:
                raise LabError(f"there is a guest {guest.name} already")
            if guest.memory_bytes < SMALLEST_MEMORY_BYTES:
                raise LabError(f"{guest.name}: memory: at least {SMALLEST_MEMORY_BYTES // 10**6} MB")
        if len(self.guests) + len(guests) > MOST_GUESTS or len({g.name for g in guests}) < len(guests):
            raise LabError(f"guests: at most {MOST_GUESTS}, each with a name of its own")
        check_room(self.disks, sum(guest.disk[1] for guest in guests if guest.disk))

    def _wait_until_all_answer(self, waiting: list[GuestLoads], limit: float) -> None:
        for loads in waiting:
            link = loads.link
            assert link is not None
            while not link.answered.wait(0.3):
                if loads.died or time.monotonic() > limit:
                    console = self.home / f"console{loads.seat.index}"
                    words = console.read_text(errors="replace").strip()[-300:] if console.exists() else ""
                    raise LabError(f"guest {link.name} does not boot: {loads.died or 'no answer'}: {words}")
                if not link.pings:
                    link.ping()

    def _prepare(self, guests: Sequence[Guest]) -> None:
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
        pid = self.hypervisor.daemons["libvirtd"].pid
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

    def died(self, name: str) -> str:
        """Why a guest or its load ended; empty while all is well."""
        return self._of(name).died

    def change(self, name: str, *, index: int | None = None, **keys: Any) -> None:
        """Change keys of a guest's workload, running or not: ``rate`` (None: unbounded) or any other key of `Workload`.

        ``index`` picks one of several workloads; without it, every one that takes the keys. Raises `WorkloadError`.
        """
        self._of(name).change(index, keys)

    def set_backend_rate(self, backend: str, rate_bytes_per_second: float | None) -> None:
        """Change the limit of a network back end."""
        self.storage.set_rate(backend, rate_bytes_per_second)

    def record(self) -> Recorder:
        """Start sampling."""
        return Recorder(
            loads=self.loads,
            qemu_pids=self.qemu_pids,
            libvirtd_pid=self.hypervisor.daemons["libvirtd"].pid,
            load_groups=self._load_groups,
            stalls=self.stalls,
            libvirtd_idle_cores=self.libvirtd_idle_cores,
        )

    def spawn(
        self,
        argv: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        stdout: int | IO[bytes] = subprocess.DEVNULL,
        stderr: int | IO[bytes] = subprocess.DEVNULL,
        groups: Iterable[Path] = (),
        outside: bool = False,
    ) -> "subprocess.Popen[bytes]":
        """Run a program in the lab's network namespace, in the control groups the bench was started in (or ``groups``): the agent.

        ``outside``: in the host's own network namespace instead. The process has the pid returned, and dies when the thread that
        called this does. Ctrl-C does not reach it.
        """
        where = tuple(groups) or self.groups.home
        namespace = "" if outside else self.name
        process = launch(argv, namespace=namespace, groups=where, stdout=stdout, stderr=stderr, environment=environment)
        self.note.add_process(process.pid)
        return process

    # What the layer above needs to know

    @property
    def uri(self) -> str:
        """The lab's libvirtd."""
        return self.hypervisor.uri

    @property
    def network_namespace(self) -> str:
        """The network namespace with the bridges and taps, by its name under /run/netns."""
        return self.name

    @property
    def cgroup(self) -> CgroupInfo:
        """The version and mount point of the hierarchy with the cpu controller."""
        return self.groups.info

    @property
    def partition_cgroup(self) -> Path:
        """The guests' parent on that hierarchy."""
        return self.cgroup.cpu_root / f"{self.name}.partition"

    def tap(self, name: str) -> str:
        """A guest's device in the lab's network namespace."""
        return self._of(name).seat.tap

    @property
    def python(self) -> str:
        """The interpreter to start Stella's own programs with."""
        return sys.executable


def _has_udp(guest: Guest) -> bool:
    return any(workload.kind == "udp" for workload in guest.workloads)
