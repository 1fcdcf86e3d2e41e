r"""The names that libvirt gives to cgroups, with and without systemd.

Layouts known (below the CPU hierarchy's mount)::

    /machine/qemu-1-web.libvirt-qemu/{vcpu0,emulator,iothread1}                      without systemd
    /machine.slice/machine-qemu\x2d1\x2dweb.scope/libvirt/{vcpu0,emulator,...}       libvirt >= 7.1 with systemd
    /machine.slice/machine-qemu\x2d1\x2dweb.scope/{vcpu0,emulator,...}               older, with systemd
    /any/partition/qemu-1-web.libvirt-qemu/...                                       <resource><partition>
    /libvirt/qemu/web/{vcpu0,emulator}                                               very old
"""

import re
from dataclasses import dataclass

from stella.model.snapshot import Role

_INNER = re.compile(r"^(?:(vcpu)(\d+)|(iothread)(\d+)|(emulator))$")
_ESCAPE = re.compile(r"\\x([0-9a-f]{2})")
_USER = re.compile(r"""^\s*user\s*=\s*["']?([^"'#\s]+)""")


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceGroup:
    """``path`` is the instance's own group; its inner groups lie in ``inner`` (the same one, or ``libvirt`` below it)."""

    path: str
    inner: str


def parse_inner(name: str) -> tuple[Role, int] | None:
    """Role and number of an inner group; None for any other name."""
    match = _INNER.match(name)
    if match is None:
        return None
    if match[1]:
        return Role.VCPU, int(match[2])
    if match[3]:
        return Role.IOTHREAD, int(match[4])
    return Role.EMULATOR, 0


def instance_group(path: str) -> InstanceGroup | None:
    """From the group of any thread of QEMU up to the instance's own.

    None at the hierarchy's root or directly in a slice: such a process has no group of its own.
    """
    parts = [part for part in path.split("/") if part]
    if parts and parse_inner(parts[-1]):
        parts.pop()
    inner = "/" + "/".join(parts)
    if parts and parts[-1] == "libvirt":
        parts.pop()
    if not parts or parts[-1].endswith((".slice", ".partition")) or (len(parts) == 1 and parts[0] == "machine"):
        return None
    return InstanceGroup(path="/" + "/".join(parts), inner=inner)


def parents(path: str) -> tuple[str, ...]:
    """Groups above ``path``, from the top down, without the hierarchy's root."""
    parts = [part for part in path.split("/") if part][:-1]
    return tuple("/" + "/".join(parts[: n + 1]) for n in range(len(parts)))


def systemd_unescape(text: str) -> str:
    r"""``machine-qemu\x2d1`` to ``machine-qemu-1`` (only the escapes: a plain ``-`` stays)."""
    return _ESCAPE.sub(lambda m: chr(int(m[1], 16)), text)


def belongs_to(path: str, domain_id: int, name: str) -> bool:
    """Whether ``path`` is, or lies in, the group that libvirt made for this run of a domain.

    libvirt shortens and simplifies a domain's name there, so its number decides, which no other running domain has.
    """
    parts = [systemd_unescape(part) for part in path.split("/") if part]
    marks = (f"qemu-{domain_id}-", f"machine-qemu-{domain_id}-")
    if any(part.startswith(marks) and part.endswith((".libvirt-qemu", ".scope")) for part in parts):
        return True
    return any(parts[n : n + 3] == ["libvirt", "qemu", name] for n in range(len(parts)))


def parse_qemu_user(text: str) -> str | None:
    """The value of ``user`` in libvirt's qemu.conf; None when it is not set."""
    found = None
    for line in text.splitlines():
        if match := _USER.match(line):
            found = match[1]
    return found
