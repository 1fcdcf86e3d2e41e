"""The lab as a whole: a context manager that leaves nothing behind."""

import os
import re
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from stella.bench.lab.accelerator import choose
from stella.bench.lab.channel import Link, connect_local
from stella.bench.lab.hypervisor import Hypervisor, domain_xml
from stella.bench.lab.image import build
from stella.bench.lab.leftovers import sweep
from stella.bench.lab.loads import GuestLoads
from stella.bench.lab.model import Backend, Guest, LabError, Uplink
from stella.bench.lab.network import Network
from stella.bench.lab.rig import Rig
from stella.bench.lab.storage import Disk, Storage, check_room

PROGRAMS = ("libvirtd", "virtlogd", "qemu-system-x86_64", "ip", "bridge", "tc", "setpriv", "nsenter", "unshare")
BOOT_SECONDS = 120.0
SMALLEST_MEMORY_BYTES = 320 * 10**6
MOST_GUESTS = 200


class Lab(Rig):
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
        cores: int | None = None,
    ) -> None:
        super().__init__(progress, cores=cores)
        self.cache, self.disks = directory.resolve() / "cache", directory.resolve() / self.name
        named = {u.name for u in uplinks}
        self.network = Network(self.name, (*uplinks, *(() if "up0" in named else (Uplink("up0"),))))
        self.partition = f"/{self.name}"
        self._backends = tuple(backends)

    # Opening and closing

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
        self._open_helpers(self.disks, guests_parent=True)
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

    def _end_guests(self) -> None:
        for loads in self.loads.values():
            loads.closing = True
        self.hypervisor.close()

    # Guests

    def boot(self, guests: Sequence[Guest], *, prepare: bool = True) -> None:
        """Start guests side by side. Raises `LabError` that names the guest."""
        self._check(guests)
        began = time.monotonic()
        self.progress(f"booting {len(guests)} guests ({self.accelerator})")
        descriptions: dict[str, str] = {}
        for guest in guests:
            seat = self.network.seat(guest.name, guest.uplink, len(self.guests) + 1, peer=_has_udp(guest))
            self.guests[guest.name] = guest
            self.loads[guest.name] = GuestLoads(guest, seat, self._load_groups, self.home)
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
            line = connect_local(self.home / f"guest{loads.seat.index}")
            loads.link = Link(guest.name, line, loads.handle)
            self.lines.add(loads.link)
        self._wait_until_all_answer([self.loads[guest.name] for guest in guests], began + BOOT_SECONDS)
        if prepare:
            self.prepare(guests)

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

    def _console(self, loads: GuestLoads) -> str:
        console = self.home / f"console{loads.seat.index}"
        return console.read_text(errors="replace").strip()[-300:] if console.exists() else ""

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
    def limited_uplinks(self) -> Mapping[str, float]:
        """Where guests share a wire with a limit: its inner end."""
        return self.network.limited()

    @property
    def limited_backends(self) -> Mapping[str, float]:
        """Where guests share a network disk with a limit."""
        return self.storage.limited()

    @property
    def libvirtd_pid(self) -> int:
        """The lab's own libvirtd."""
        return self.hypervisor.daemons["libvirtd"].pid

    def uuid(self, name: str) -> str:
        """A guest's uuid, the same whenever it has this name."""
        return Guest(name=name).uuid

    @property
    def partition_cgroup(self) -> Path:
        """The guests' parent on that hierarchy."""
        return self.cgroup.cpu_root / f"{self.name}.partition"

    def tap(self, name: str) -> str:
        """A guest's device in the lab's network namespace."""
        return self.network.tap(name)


def _has_udp(guest: Guest) -> bool:
    return any(workload.kind == "udp" for workload in guest.workloads)
