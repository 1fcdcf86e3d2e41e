"""An initramfs with the agent and what runs it, made of the packages that are installed here."""

import importlib.util
import py_compile
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from stella.bench.lab.image import (
    GUEST_PYTHON,
    Archive,
    Image,
    add_libraries,
    add_system,
    libraries_of,
    newest_kernel,
)

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[2]
PACKAGES = "opt/stella"
"""Where the guest finds what is not Python's own."""
QEMU = "usr/bin/qemu-system-x86_64"
"""A Python by the name of QEMU: the agent takes no other program for an instance."""
_STELLA = ("__init__.py", "model", "control", "linux", "sla", "xgos", "cmd")
_NOT_NEEDED = {"test", "idlelib", "lib2to3", "ensurepip", "tkinter", "turtledemo", "pydoc_data", "distutils"}
_FILE, _PROGRAM = stat.S_IFREG | 0o644, stat.S_IFREG | 0o755

_INIT = f"""#!/bin/sh
export PATH=/usr/bin:/usr/sbin HOME=/root PYTHONPATH=/{PACKAGES} PYTHONDONTWRITEBYTECODE=1
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
mount -t tmpfs run /run
mount -t cgroup2 cgroup /sys/fs/cgroup
for m in $(cat /modules/order); do insmod /modules/$m.ko; done
ip link set lo up
exec python3 -m guest
"""


def _library() -> Iterator[tuple[str, Path]]:
    """Python's own library as the distribution compiled it: a compiled file in its source's place needs no source."""
    top = Path("/usr/lib", Path(GUEST_PYTHON).resolve().name)
    for path in sorted(top.rglob("*")):
        if _NOT_NEEDED.intersection(path.relative_to(top).parts) or not path.is_file():
            continue
        if path.suffix == ".py":
            compiled = Path(importlib.util.cache_from_source(str(path)))
            yield (f"{path}c", compiled) if compiled.exists() else (str(path), path)
        elif path.suffix == ".so":
            yield str(path), path


def _packages() -> Iterator[tuple[str, Path]]:
    """The agent, what it imports, and what runs in the guest: its name in the image, and where it lies here."""
    places = [(REPOSITORY / "stella" / name, REPOSITORY) for name in _STELLA]
    places += [(HERE / name, HERE) for name in ("guest.py", "instance.py")]
    for name in ("yaml", "prometheus_client", "libvirt", "libvirtmod"):
        spec = importlib.util.find_spec(name)
        assert spec is not None and spec.origin is not None, f"the agent's library {name} is not installed"
        origin = Path(spec.origin)
        place = origin.parent if spec.submodule_search_locations else origin
        places.append((place, place.parent))
    for place, top in places:
        for path in sorted(place.rglob("*")) if place.is_dir() else [place]:
            if path.suffix in (".py", ".so"):
                yield f"{PACKAGES}/{path.relative_to(top)}", path


def make(path: Path) -> Image:
    """Write the image to ``path``. Raises `LabError` that names a missing package."""
    release, kernel = newest_kernel()
    archive = Archive(path)
    archive.add("init", _PROGRAM, _INIT.encode())
    add_system(archive, release, "tun")
    python = Path(GUEST_PYTHON).resolve()
    archive.add(QEMU, _PROGRAM, python.read_bytes())
    libraries = libraries_of(python)
    for name, found in (*_library(), *_packages()):
        if found.suffix == ".so":
            libraries |= libraries_of(found)
        archive.add(*_compiled(name, found) if found.suffix == ".py" else (name, _FILE, found.read_bytes()))
    add_libraries(archive, libraries)
    archive.close()
    return Image(kernel=kernel, initramfs=path, release=release)


def _compiled(name: str, source: Path) -> tuple[str, int, bytes]:
    with tempfile.NamedTemporaryFile() as file:
        mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
        py_compile.compile(str(source), cfile=file.name, dfile=f"/{name}", doraise=True, invalidation_mode=mode)
        return f"{name}c", _FILE, Path(file.name).read_bytes()
