"""A private libvirtd with its virtlogd, in a network and mount namespace of their own, and the guests' domain descriptions."""

import contextlib
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

from stella.bench.lab.image import Image, kernel_arguments
from stella.bench.lab.model import Guest, LabError
from stella.bench.lab.network import Seat
from stella.bench.lab.process import end, finish, launch, start_ticks, wait_until
from stella.bench.lab.storage import Disk

# Fixed text: arguments are bound over libvirt's directories one by one, then the daemon takes over the same process.
_ENCLOSE = """
mount --make-rprivate /
for d in run lib etc log cache; do
  case $d in
    run) at=/run/libvirt;; etc) at=/etc/libvirt;; lib) at=/var/lib/libvirt;;
    log) at=/var/log/libvirt;; cache) at=/var/cache/libvirt;;
  esac
  mount --bind "$1/$d" "$at" || exit 125
done
shift
exec "$@"
"""
_MOUNT_POINTS = tuple(
    Path(p) for p in ("/run/libvirt", "/var/lib/libvirt", "/etc/libvirt", "/var/log/libvirt", "/var/cache/libvirt")
)
_QEMU_CONF = 'user = "root"\ngroup = "root"\nsecurity_driver = "none"\nremember_owner = 0\ndynamic_ownership = 0\nnamespaces = []\n'
_LIBVIRTD_CONF = 'listen_tls = 0\nlisten_tcp = 0\nauth_unix_rw = "none"\nauth_unix_ro = "none"\nmax_clients = 100\n'
PATIENCE_SECONDS = 30.0


class Hypervisor:
    """libvirtd and virtlogd under a directory of the lab's own (short: a socket's path has at most 107 bytes)."""

    def __init__(self, *, directory: Path, cache: Path, namespace: str, groups: tuple[Path, ...]) -> None:
        self.directory, self.namespace, self.groups, self._cache = directory, namespace, groups, cache
        self.uri = f"qemu+unix:///system?socket={directory}/run/libvirt-sock"
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}
        self.connection: Any = None
        self._made_points: list[Path] = []

    def open(self, started: Callable[[int], None]) -> None:
        """Start both daemons and connect; ``started`` is told each pid. Raises `LabError` with libvirtd's last words."""
        import libvirt  # noqa: PLC0415 - only a bench that runs guests needs it

        for name in ("run", "lib", "etc", "log"):
            (self.directory / name).mkdir(parents=True)
        self._cache.mkdir(parents=True, exist_ok=True)
        (self.directory / "cache").symlink_to(self._cache)
        (self.directory / "etc" / "qemu.conf").write_text(_QEMU_CONF)
        (self.directory / "etc" / "libvirtd.conf").write_text(_LIBVIRTD_CONF)
        (self.directory / "etc" / "virtlogd.conf").write_text("")
        for point in _MOUNT_POINTS:
            if not point.exists():
                point.mkdir(parents=True)
                self._made_points.append(point)
        self._start("virtlogd", started)
        self._start("libvirtd", started)
        libvirt.registerErrorHandler(lambda *_: None, None)
        limit = time.monotonic() + PATIENCE_SECONDS
        while self.connection is None:
            try:
                self.connection = libvirt.open(self.uri)
            except libvirt.libvirtError as error:
                dead = [name for name, process in self.daemons.items() if process.poll() is not None]
                if dead or time.monotonic() > limit:
                    raise LabError(
                        f"libvirtd does not start ({', '.join(dead) or error}): {self._last_words()}"
                    ) from None
                time.sleep(0.05)

    def _start(self, name: str, started: Callable[[int], None]) -> None:
        # Without its own pid file a second one would refuse.
        daemon = [f"/usr/sbin/{name}", "--pid-file", str(self.directory / f"{name}.pid")]
        argv = ["/usr/bin/unshare", "-m", "/bin/sh", "-c", _ENCLOSE, "stella-bench", str(self.directory), *daemon]
        with (self.directory / f"{name}.log").open("wb") as log:
            process = launch(argv, namespace=self.namespace, groups=self.groups, stdout=log, stderr=log)
        self.daemons[name] = process
        started(process.pid)
        if name == "virtlogd":
            listening = (self.directory / "run" / "virtlogd-sock").exists
            wait_until(lambda: listening() or process.poll() is not None, PATIENCE_SECONDS)

    def _last_words(self) -> str:
        texts = [path.read_text(errors="replace").strip() for path in sorted(self.directory.glob("*.log"))]
        return " ".join(texts)[-300:]

    def boot(self, descriptions: Mapping[str, str]) -> None:
        """Start domains, each from its XML, side by side. Raises `LabError` that names the first that fails."""
        with ThreadPoolExecutor(max_workers=max(1, len(descriptions))) as pool:
            started = {n: pool.submit(self.connection.createXML, xml, 0) for n, xml in descriptions.items()}
        for name, domain in started.items():
            if error := domain.exception():  # libvirt.libvirtError; whatever it is, the guest is named
                raise LabError(f"guest {name} does not start: {error}")

    def pid(self, name: str) -> int:
        """The QEMU process of a domain."""
        return int((self.directory / "run" / "qemu" / f"{name}.pid").read_text())

    def close(self) -> None:
        """Destroy all domains and end both daemons."""
        if self.connection is not None:
            with contextlib.suppress(Exception):
                for domain in self.connection.listAllDomains():
                    with contextlib.suppress(Exception):
                        domain.destroy()
            with contextlib.suppress(Exception):
                self.connection.close()
            self.connection = None
        for pid_file in self.directory.glob("run/qemu/*.pid"):  # a domain that libvirtd could not destroy
            with contextlib.suppress(OSError, ValueError):
                pid = int(pid_file.read_text())
                end(pid, start_ticks(pid), first=signal.SIGKILL)
        for name in ("libvirtd", "virtlogd"):
            process = self.daemons.pop(name, None)
            if process is not None:
                finish(process, patience_seconds=5.0)
        if (
            len(list(self.directory.parent.parent.iterdir())) == 1
        ):  # removing one would undo another lab's mount over it
            for point in self._made_points:
                with contextlib.suppress(OSError):
                    point.rmdir()


def _disk_xml(disk: Disk) -> str:
    target = "<target dev='vda' bus='virtio'/>"
    if disk.socket is not None:
        driver = "<driver name='qemu' type='raw' cache='none' iothread='1'/>"
        host = f"<host transport='unix' socket={quoteattr(str(disk.socket))}/>"
        source = f"<source protocol='nbd' name={quoteattr(disk.path.name)}>{host}</source>"
        return f"<disk type='network' device='disk'>{driver}{source}{target}</disk>"
    driver = "<driver name='qemu' type='raw' cache='none' io='native' iothread='1'/>"
    return f"<disk type='file' device='disk'>{driver}<source file={quoteattr(str(disk.path))}/>{target}</disk>"


def domain_xml(
    guest: Guest, *, image: Image, accelerator: str, partition: str, seat: Seat, disk: Disk | None, sockets: Path
) -> str:
    """The description of one guest: a plain PC with virtio devices, packets and disk handled inside QEMU (no vhost)."""
    arguments = kernel_arguments("" if accelerator == "kvm" else Path("/proc/cpuinfo").read_text())
    cpu = "<cpu mode='host-passthrough'/>" if accelerator == "kvm" else ""
    return f"""<domain type='{"kvm" if accelerator == "kvm" else "qemu"}'>
<name>{guest.name}</name><uuid>{guest.uuid}</uuid>
<memory unit='KiB'>{guest.memory_bytes // 1024}</memory><vcpu>{guest.vcpus}</vcpu><iothreads>1</iothreads>
<resource><partition>{partition}</partition></resource>
<os><type arch='x86_64' machine='pc'>hvm</type><kernel>{image.kernel}</kernel><initrd>{image.initramfs}</initrd>
<cmdline>{arguments}</cmdline></os>
<features><acpi/><apic/></features>{cpu}
<on_poweroff>destroy</on_poweroff><on_reboot>destroy</on_reboot><on_crash>destroy</on_crash>
<devices><emulator>/usr/bin/qemu-system-x86_64</emulator>
<controller type='usb' model='none'/><memballoon model='none'/><video><model type='none'/></video>
{_disk_xml(disk) if disk else ""}
<interface type='bridge'><mac address='{seat.guest_mac}'/><source bridge={quoteattr(seat.uplink)}/><target dev='{seat.tap}'/>
<model type='virtio'/><driver name='qemu'/></interface>
<serial type='file'><source path={quoteattr(str(sockets / f"console{seat.index}"))}/></serial>
<channel type='unix'><source mode='bind' path={quoteattr(str(sockets / f"guest{seat.index}"))}/>
<target type='virtio' name='stella.bench'/></channel>
</devices></domain>"""
