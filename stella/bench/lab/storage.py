"""Disks: raw files on the host, or network disks served by nbdkit with a rate limit. Really written, so that reads are reads."""

import mmap
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stella.bench.lab.model import Backend, LabError
from stella.bench.lab.process import finish, launch, run, wait_until

_CHUNK_BYTES = 4 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """One guest's disk. ``path`` is the file; ``socket`` is set for a network disk, where ``path``'s name is its export."""

    path: Path
    socket: Path | None = None


def write_disk(path: Path, size_bytes: int) -> None:
    """Fill a file with data that no layer below can leave out; directly, past the page cache; whole blocks of 4 KiB."""
    size_bytes = -(-size_bytes // 4096) * 4096
    with mmap.mmap(-1, _CHUNK_BYTES) as chunk:  # aligned, as direct I/O wants it
        chunk.write(os.urandom(_CHUNK_BYTES))
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_DIRECT, 0o600)
        try:
            written = 0
            while written < size_bytes:
                chunk[0:8] = written.to_bytes(8, "little")
                with memoryview(chunk) as whole, whole[: min(_CHUNK_BYTES, size_bytes - written)] as piece:
                    written += os.write(descriptor, piece)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def warm_disk(path: Path) -> None:
    """Read a file once, directly: what lies below this machine's disk caches on reading, and a cold start is not what is measured."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
    try:
        with mmap.mmap(-1, _CHUNK_BYTES) as chunk:
            while os.readv(descriptor, [chunk]) > 0:
                pass
    finally:
        os.close(descriptor)


class Storage:
    """The back ends. Network disks are served from the load's group: they stand for machines that are elsewhere."""

    def __init__(
        self, backends: Sequence[Backend], *, directory: Path, sockets: Path, groups: tuple[Path, ...]
    ) -> None:
        self.backends = {backend.name: backend for backend in backends}
        self.directory, self.sockets, self.groups = directory, sockets, groups
        self.servers: dict[str, subprocess.Popen[bytes]] = {}
        self._numbers = {name: number for number, name in enumerate(self.backends)}

    def _home(self, backend: str) -> Path:
        return self.directory / f"backend{self._numbers[backend]}"

    def _rate_file(self, backend: str) -> Path:
        return self.sockets / f"rate{self._numbers[backend]}"

    def open(self) -> None:
        """Start a server for each network back end. Raises `LabError` when one does not come up."""
        for backend in self.backends.values():
            self._home(backend.name).mkdir(parents=True)
            if backend.kind == "nbd":
                self._serve(backend)
            elif backend.kind != "file":
                raise LabError(f"backends: {backend.name}: kind must be file or nbd")
            elif backend.rate_bytes_per_second is not None:
                raise LabError(f"backends: {backend.name}: rate: only an nbd back end can be limited")

    def _serve(self, backend: Backend) -> None:
        socket, rate_file = self._socket(backend.name), self._rate_file(backend.name)
        self._write_rate(backend.name, backend.rate_bytes_per_second)
        options = ["--foreground", "--threads", "16", "--unix", str(socket), "--filter=rate", "file"]
        words = [f"dir={self._home(backend.name)}", f"rate-file={rate_file}"]
        process = launch(["/usr/bin/nbdkit", *options, *words], groups=self.groups)
        self.servers[backend.name] = process
        wait_until(lambda: socket.exists() or process.poll() is not None, 10.0)
        if not socket.exists():
            raise LabError(f"nbdkit for back end {backend.name} does not start: is it installed?")

    def limited(self) -> dict[str, float]:
        """Back ends with a limit, by the source that their disks have (``nbd:SOCKET``), with their rates in bytes/s."""
        each = self.backends.values()
        return {f"nbd:{self._socket(b.name)}": b.rate_bytes_per_second for b in each if b.rate_bytes_per_second}

    def _socket(self, backend: str) -> Path:
        return self.sockets / f"nbd{self._numbers[backend]}"

    def _write_rate(self, backend: str, rate_bytes_per_second: float | None) -> None:
        # bits/s; 0 is no limit. In one step, because nbdkit reads it whenever it likes.
        path = self._rate_file(backend)
        unfinished = path.with_suffix(".new")
        unfinished.write_text(f"{0 if rate_bytes_per_second is None else int(rate_bytes_per_second * 8)}\n")
        unfinished.rename(path)

    def make(self, guest: str, backend: str, size_bytes: int, index: int) -> Disk:
        """Write one guest's disk, and warm it."""
        if backend not in self.backends:
            raise LabError(f"{guest}: disk: no backend {backend!r}")
        path = self._home(backend) / f"disk{index}"
        try:
            write_disk(path, size_bytes)
            warm_disk(path)
        except OSError as error:
            raise LabError(f"{guest}: disk: {error.strerror}: {path}") from None
        nbd = self.backends[backend].kind == "nbd"
        return Disk(path=path, socket=self._socket(backend) if nbd else None)

    def close(self) -> None:
        """Stop the servers."""
        for process in self.servers.values():
            finish(process)
        self.servers = {}


def check_room(directory: Path, bytes_needed: int) -> None:
    """Raises `LabError` when a directory cannot hold the disks, or lies on tmpfs, which has no direct I/O."""
    kind = run("/usr/bin/stat", "-f", "-c", "%T", str(directory)).strip()
    if kind in ("tmpfs", "ramfs"):
        raise LabError(f"{directory} is a {kind}, which has no direct I/O: choose a directory on a disk")
    found = os.statvfs(directory)
    if found.f_bavail * found.f_frsize < bytes_needed + 2**30:
        raise LabError(
            f"{directory} has no room for the disks: {bytes_needed / 1e9:.1f} GB and 1 GB to spare are needed"
        )
