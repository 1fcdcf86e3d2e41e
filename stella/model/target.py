"""What a write changes: one knob of one object of the host, named by kind, so that a name is never mistaken for a file.

The object need not be a file. ``place`` names it in the way its kind does:

========= ============================== ======================
kind      place                          knob
========= ============================== ======================
cgroup    the group's directory          a file name in it
thread    ``/proc/PID/task/TID``         ``policy``
link      a tap                          ``tx`` or ``rx``
disk      ``/proc/PID``                  a disk (``vda``)
========= ============================== ======================

A link's knob is what one direction, as the guest sees it, is limited to: nftables and traffic control together.
A disk's knob is QEMU's throttle, set through libvirt; the process tells the instance from a later run of it.
"""

import enum
from dataclasses import dataclass, field


class TargetKind(enum.StrEnum):
    """Which actuator sets it."""

    CGROUP = "cgroup"
    THREAD = "thread"
    LINK = "link"
    DISK = "disk"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One knob. ``kind``, ``place`` and ``knob`` identify it; an empty ``knob`` is the object itself (a group that Stella made).

    ``instance`` is the uuid of the instance it belongs to (empty: the host's), ``part`` what of it, for people (``vcpu 0``).
    """

    kind: TargetKind
    place: str
    knob: str
    instance: str = field(default="", compare=False)
    part: str = field(default="", compare=False)

    def __str__(self) -> str:
        return f"{self.kind} {self.place}/{self.knob}" if self.knob else f"{self.kind} {self.place}"


def cgroup_target(group: str, knob: str, *, instance: str = "", part: str = "") -> Target:
    """The file ``knob`` of the group at the absolute path ``group``."""
    return Target(kind=TargetKind.CGROUP, place=group, knob=knob, instance=instance, part=part)


def thread_policy_target(pid: int, tid: int, *, instance: str = "", part: str = "") -> Target:
    """The scheduling policy of one thread of a process."""
    return Target(kind=TargetKind.THREAD, place=f"/proc/{pid}/task/{tid}", knob="policy", instance=instance, part=part)


def link_target(device: str, direction: str, *, instance: str = "") -> Target:
    """The limit of one direction (``tx`` or ``rx``) of the link with this tap."""
    return Target(kind=TargetKind.LINK, place=device, knob=direction, instance=instance, part=f"{device} {direction}")


def disk_target(pid: int, disk: str, *, instance: str) -> Target:
    """QEMU's throttle of one disk of the instance that this process runs."""
    return Target(kind=TargetKind.DISK, place=f"/proc/{pid}", knob=disk, instance=instance, part=disk)
