"""The OpenStack that `make openstack` left on this machine: whose credentials there are, and where its compute host's sockets lie."""

import os
import shlex
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from stella.bench.lab.model import LabError

_PEER = struct.Struct("3i")  # pid, user, group: `struct ucred` of unix(7)
_OF_HOST = "XGOS_SOCKET_"
_LIBVIRT_PREFIX = "qemu+unix:///system?socket="


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """``member`` and ``operator`` are environments for `openstack`: a plain member of a project, and the administrator.

    ``checkout`` has the laboratory's own commands; ``hosts`` are the compute hosts where there are several.
    """

    member: Mapping[str, str]
    operator: Mapping[str, str]
    agent_socket: Path
    libvirt_uri: str
    checkout: Path = Path()
    hosts: tuple[str, ...] = ()

    @property
    def libvirt_socket(self) -> Path:
        """libvirtd's socket, as seen from the machine itself."""
        return Path(self.libvirt_uri.removeprefix(_LIBVIRT_PREFIX))


def parse_exports(text: str) -> dict[str, str]:
    """The variables of a file of ``export NAME=VALUE`` lines, but for ``PATH``."""
    found = {}
    for line in text.splitlines():
        name, equals, value = line.removeprefix("export ").partition("=")
        if line.startswith("export ") and equals and name != "PATH":
            found[name] = " ".join(shlex.split(value))
    return found


def find(directory: Path) -> Surroundings:
    """What ``directory`` (``.run`` of the checkout) tells. Raises `LabError` when no laboratory is up."""
    try:
        member, operator = (
            parse_exports((directory / name).read_text(encoding="utf-8")) for name in ("member.env", "openstack.env")
        )
        agent, libvirt = Path(operator["XGOS_SOCKET"]), operator["STELLA_OPENSTACK_LIBVIRT"]
    except (OSError, KeyError, ValueError):
        raise LabError(f"no OpenStack of `make openstack` is up: {directory}/openstack.env is not there") from None
    if not agent.exists():
        raise LabError("the OpenStack of `make openstack` is not up: its agent does not answer; run make openstack")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OS_")}
    return Surroundings(
        member={**kept, **member},
        operator={**kept, **operator},
        agent_socket=agent,
        libvirt_uri=libvirt,
        checkout=directory.resolve().parent,
        hosts=tuple(
            sorted(name.removeprefix(_OF_HOST).lower() for name in operator if name.startswith(_OF_HOST)),
        ),
    )


def listener(path: Path) -> int:
    """The process that listens on a Unix socket. Raises `LabError`."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(path))
            said = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
    except OSError as error:
        raise LabError(f"{path}: {error.strerror}; run make openstack") from None
    return int(_PEER.unpack(said)[0])


def qemu_of(uuid: str, processes: Path = Path("/proc")) -> tuple[int, str]:
    """The QEMU process of an instance, and its accelerator. Raises `LabError`."""
    for entry in processes.iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if "-uuid" in words and words[words.index("-uuid") + 1] == uuid:
            given = words[words.index("-accel") + 1] if "-accel" in words else ""
            return int(entry.name), given.partition(",")[0] or "tcg"
    raise LabError(f"server {uuid}: no QEMU process on this machine")
