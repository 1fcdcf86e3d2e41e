"""The guest image, made on the spot from the distribution's own kernel and installed packages.

It is an initramfs: busybox, the load generators with their libraries, the part of Python's library the guest agent imports,
and the virtio modules. Made once and kept under a name that hashes what went in, so that an upgraded package makes a new one.
"""

import hashlib
import json
import lzma
import re
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from stella.bench.lab.model import LabError

# `virtio` depends on `virtio_ring`, not the other way round. A module that is built in, or that a later kernel has not, is left out.
MODULES = (
    *("virtio_ring", "virtio", "virtio_pci_modern_dev", "virtio_pci_legacy_dev", "virtio_pci", "virtio_blk"),
    *("failover", "net_failover", "virtio_net", "virtio_console", "sch_tbf"),
)
TOOLS = ("fio", "sysbench", "sockperf", "tc")
GUEST_PYTHON = "/usr/bin/python3"
_BUSYBOX = "/usr/bin/busybox"
AGENT_SOURCE = Path(__file__).with_name("guest_agent.py")

_LINKS = {"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64"}
_DIRECTORIES = "dev proc sys tmp run root etc usr usr/bin usr/sbin usr/lib usr/lib64 modules"

_INIT = """#!/bin/sh
export PATH=/usr/bin:/usr/sbin HOME=/root
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
mount -t cgroup2 cgroup /sys/fs/cgroup
for m in $(cat /modules/order); do insmod /modules/$m.ko; done
ip link set lo up
ulimit -n 4096
exec python3 -I -S /agent.pyc
"""

# Runs under the guest's Python, which knows best what it imports; writes byte code only (no source is compiled in the guest).
_COLLECT = """
import json, os, py_compile, sys
target, agent, names = sys.argv[1], sys.argv[2], sys.argv[3].split(',')
before = set(sys.modules)
for name in names: __import__(name)
files = {}
for name, module in list(sys.modules.items()):
    path = getattr(module, '__file__', None)
    if path and name != '__main__' and 'py_compile' not in name: files[path] = None
files[os.__file__] = None
n = 0
for path in list(files):
    if path.endswith('.py'):
        out = os.path.join(target, '%d.pyc' % n); n += 1
        py_compile.compile(path, cfile=out, doraise=True, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
        files[path] = out
out = os.path.join(target, 'agent.pyc')
py_compile.compile(agent, cfile=out, dfile='agent.py', doraise=True, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
json.dump({'files': files, 'agent': out}, sys.stdout)
"""
_AGENT_IMPORTS = "json,os,select,signal,time,errno,sys,encodings.utf_8,collections,types,zipimport"


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """What a guest boots: a kernel, an initramfs and the kernel's release name."""

    kernel: Path
    initramfs: Path
    release: str


class Archive:
    """A cpio archive in the ``newc`` format (see the kernel's Documentation/driver-api/early-userspace/buffer-format.rst)."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._inode = 0
        self._names: set[str] = set()

    def add(self, name: str, mode: int, data: bytes = b"", device: tuple[int, int] = (0, 0)) -> None:
        """Add one entry, once; its parent directories are made first."""
        name = name.lstrip("/")
        if name in self._names:
            return
        parent = str(Path(name).parent)
        if parent != "." and name != "TRAILER!!!":
            self.add(parent, stat.S_IFDIR | 0o755)
        self._names.add(name)
        self._inode += 1
        encoded = name.encode() + b"\0"
        fields = (self._inode, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(encoded), 0)
        self._write(b"070701" + b"".join(b"%08X" % f for f in fields) + encoded)
        self._write(data)

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._file.write(b"\0" * (-self._file.tell() % 4))

    def close(self) -> None:
        """Write the end mark."""
        self.add("TRAILER!!!", 0)
        self._file.close()


def newest_kernel(boot: Path = Path("/boot"), modules: Path = Path("/lib/modules")) -> tuple[str, Path]:
    """The newest kernel that has both an image and modules: its release and its file. Raises `LabError` if there is none."""

    def order(release: str) -> list[tuple[int, str]]:
        parts = release.replace("-", ".").split(".")
        return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]

    found = [m.name for m in modules.glob("*") if (boot / f"vmlinuz-{m.name}").exists()]
    if not found:
        raise LabError("no kernel for the guests: install linux-image-cloud-amd64")
    release = max((name for name in found if "cloud" in name), default=max(found, key=order), key=order)
    return release, boot / f"vmlinuz-{release}"


def _tool_paths() -> list[Path]:
    paths = []
    for name in TOOLS:
        path = shutil.which(name, path="/usr/bin:/usr/sbin:/usr/local/bin")
        if not path:
            raise LabError(f"the guests need {name}: install it")
        paths.append(Path(path))
    for path_text in (GUEST_PYTHON, _BUSYBOX):
        if not Path(path_text).exists():
            raise LabError(f"the guests need {path_text}: install it")
    return paths


def libraries_of(program: Path) -> set[Path]:
    """The shared libraries a program is linked with, as ldd finds them."""
    result = subprocess.run(["/usr/bin/ldd", str(program)], capture_output=True, text=True, check=False)
    words = (word for line in result.stdout.splitlines() for word in line.split())
    return {Path(word) for word in words if word.startswith("/")}


def _module_files(release: str, *more: str) -> dict[str, Path]:
    files = {path.name.split(".ko")[0]: path for path in Path("/lib/modules", release, "kernel").rglob("*.ko*")}
    return {name: files[name] for name in (*MODULES, *more) if name in files}


def _usr(path: Path) -> str:
    """Where a file goes in the image, whose /bin, /lib and so on are links into /usr."""
    text = str(path)
    return text if text.startswith("/usr/") or text.split("/")[1] not in _LINKS else f"/usr{text}"


def _digest(inputs: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in sorted(inputs):
        found = path.stat()
        digest.update(f"{path} {found.st_size} {found.st_mtime_ns}\n".encode())
    for source in (Path(__file__), AGENT_SOURCE):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


def _collect_python(directory: Path) -> dict[str, bytes]:
    """The guest agent and all it imports: path in the image to content."""
    run = subprocess.run(
        [GUEST_PYTHON, "-I", "-S", "-c", _COLLECT, str(directory), str(AGENT_SOURCE), _AGENT_IMPORTS],
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode:
        raise LabError(f"could not prepare the guest's Python: {run.stderr.strip()[-300:]}")
    found = json.loads(run.stdout)
    content = {"/agent.pyc": Path(found["agent"]).read_bytes()}
    for path, compiled in found["files"].items():
        content[f"{path}c" if compiled else path] = Path(compiled or path).read_bytes()
    return content


def _module_bytes(path: Path) -> bytes:
    data = path.read_bytes()
    return lzma.decompress(data) if path.suffix == ".xz" else data


def add_system(archive: Archive, release: str, *more_modules: str) -> None:
    """What every guest has: the directories, busybox, the guests' Python, and the modules (and ``more_modules``) in their order."""
    for name, target in _LINKS.items():
        archive.add(name, stat.S_IFLNK | 0o777, target.encode())
    for name in _DIRECTORIES.split():
        archive.add(name, stat.S_IFDIR | 0o755)
    archive.add("dev/console", stat.S_IFCHR | 0o600, device=(5, 1))
    archive.add("usr/bin/busybox", stat.S_IFREG | 0o755, Path(_BUSYBOX).read_bytes())
    for name in ("sh", "mount", "insmod", "ip", "ls", "cat", "sleep", "top", "dmesg", "arp"):
        archive.add(f"usr/bin/{name}", stat.S_IFLNK | 0o777, b"busybox")
    archive.add("usr/bin/python3", stat.S_IFREG | 0o755, Path(GUEST_PYTHON).read_bytes())
    modules = _module_files(release, *more_modules)
    for name, module in modules.items():
        archive.add(f"modules/{name}.ko", stat.S_IFREG | 0o644, _module_bytes(module))
    archive.add("modules/order", stat.S_IFREG | 0o644, " ".join(modules).encode())


def add_libraries(archive: Archive, libraries: Iterable[Path]) -> None:
    """Shared libraries, where programs look for them."""
    for library in sorted(libraries):
        archive.add(_usr(library), stat.S_IFREG | 0o755, library.read_bytes())


def _write(path: Path, release: str, tools: list[Path], libraries: set[Path], scratch: Path) -> None:
    archive = Archive(path)
    archive.add("init", stat.S_IFREG | 0o755, _INIT.encode())
    add_system(archive, release)
    for tool in tools:
        archive.add(f"usr/bin/{tool.name}", stat.S_IFREG | 0o755, tool.read_bytes())
    add_libraries(archive, libraries)
    for name, content in _collect_python(scratch).items():
        archive.add(name, stat.S_IFREG | 0o755, content)
    archive.close()


def build(cache: Path) -> Image:
    """The image for this machine's packages, from ``cache`` if it is there already; made in about two seconds if not.

    Raises `LabError` that names the package that is missing.
    """
    release, kernel = newest_kernel()
    tools = _tool_paths()
    programs = [*tools, Path(GUEST_PYTHON).resolve()]
    libraries = set().union(*(libraries_of(program) for program in programs))
    modules = _module_files(release)
    key = _digest([kernel, *programs, *libraries, *modules.values(), Path(_BUSYBOX)])
    target = cache / f"guest-{release}-{key}.cpio"
    if not target.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as scratch:
            unfinished = Path(scratch) / "image"
            _write(unfinished, release, tools, libraries, Path(scratch))
            unfinished.rename(target)
        for old in cache.glob("guest-*.cpio"):
            if old != target and old.stat().st_mtime < target.stat().st_mtime - 3600:
                old.unlink(missing_ok=True)
    return Image(kernel=kernel, initramfs=target, release=release)


def kernel_arguments(cpuinfo: str = "") -> str:
    """The guests' kernel command line; ``cpuinfo`` is the text of the host's /proc/cpuinfo (emulated guests only).

    ``tsc=reliable``: a starved guest must not give its clock up for the slow one. ``tsc_early_khz``: an emulated guest counts
    the host's own ticks, whose rate a virtual host knows exactly, while a guest that boots starved measures it wrong by per cents.
    ``highres=off``: timers tick at 4 ms, which makes paced sending cheap under emulation; clocks stay exact. The rest saves time.
    (``nohz=off`` beside it was measured: 30 % more CPU per byte read.)
    """
    found = re.search(r"^cpu MHz\s*: ([0-9.]+)$", cpuinfo, re.MULTILINE) if " hypervisor" in cpuinfo else None
    rate = f"tsc_early_khz={float(found[1]) * 1000:.0f} " if found else ""
    return (
        f"quiet console=ttyS0 {rate}tsc=reliable clocksource=tsc no_timer_check highres=off mitigations=off ipv6.disable=1 "
        "random.trust_cpu=on cryptomgr.notests nowatchdog audit=0 net.ifnames=0 panic=-1 8250.nr_uarts=1"
    )


if __name__ == "__main__":
    print(build(Path(sys.argv[1] if len(sys.argv) > 1 else ".run/bench")))
