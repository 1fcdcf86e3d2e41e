"""Actuators: one for each kind of target, all with the same protocol. The guard uses them too, so imports here stay light.

An actuator knows how a target is identified, read, set, and removed if Stella made it. What to set is decided in
`stella.xgos.actuation.plan`; in which order, and whether at all, in `stella.xgos.actuation.apply`. A blocking actuator (one that
waits for another process, such as QEMU) is refused in the tick: it needs a worker with a deadline, for its reading too.
"""

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Protocol, runtime_checkable

from stella.linux import cgroup, cpuset
from stella.model.target import Target, TargetKind
from stella.xgos.actuation.disk_throttles import DiskActuator, before
from stella.xgos.actuation.link_limits import LinkActuator
from stella.xgos.actuation.recorded import NothingThere
from stella.xgos.block_throttles import BlockThrottles
from stella.xgos.host_files import HostFiles, InstanceGone, Unavailable, Unsupported, WriteFailed
from stella.xgos.link_limits import LinkLimits

_EMPTYING_TRIES = 5
_LARGEST_TASKS_BYTES = 1 << 20


class Actuator(Protocol):
    """Reaches the targets of one kind. Every method may raise `Gone` or `Unavailable` (reading), and, where it writes,
    `Unsupported`, `InstanceGone` or `WriteFailed`.
    """

    @property
    def blocking(self) -> bool:
        """Whether a call may wait for another process."""

    def identity(self, target: Target) -> str:
        """Tells the target's object from a later one of the same name: an inode, a moment of start, an interface index."""

    def read(self, target: Target) -> str:
        """What it holds now, in the text that `write` takes."""

    def write(self, target: Target, value: str, identity: str) -> None:
        """Set it, if its object is still the one with ``identity``."""

    def remove(self, target: Target) -> None:
        """Remove an object that Stella made; nothing to do when it is gone."""


@runtime_checkable
class Delayed(Protocol):
    """An actuator whose writes are only put on their way."""

    def settle(self, target: Target, until_seconds: float) -> None:
        """Wait until what was written last holds, at most until this monotonic second. Raises as `Actuator.write`."""


Actuators = Mapping[TargetKind, Actuator]


def original_of(kind: TargetKind, text: str) -> str:
    """What a knob held before Stella, from what it holds when Stella's journal does not know it."""
    return before(text) if kind is TargetKind.DISK else text


def same(kind: TargetKind, one: str, other: str) -> bool:
    """Whether two texts of a knob mean the same: ``0-1`` and ``0,1`` do, ``batch`` and ``batch+reset-on-fork`` too."""
    return one == other or _meaning(kind, one) == _meaning(kind, other)


def lifting(actuator: Actuator, target: Target, original: str) -> str:
    """What to write so that nothing restrains any more: ``original``, but not an empty list of CPUs (cgroup v2: the parent's).

    The kernel takes that from groups without threads only: it is left to the release, and until then all CPUs of the hierarchy do.
    """
    if original or target.knob != cgroup.CPUSET:
        return original
    place = target.place
    found: list[str] = [original]
    with contextlib.suppress(Unavailable):
        if actuator.read(target):
            while place := place.rpartition("/")[0]:
                found.append(actuator.read(replace(target, place=place, knob=cgroup.CPUSET_EFFECTIVE)))
    return found[-1]


def _meaning(kind: TargetKind, text: str) -> object:
    if kind is TargetKind.THREAD:
        return text.partition("+")[0]
    if "," in text or "-" in text[1:]:
        with contextlib.suppress(cgroup.InvalidText):
            return cpuset.parse_cpus(text)
    return text


class CgroupActuator:
    """CPU knobs of cgroups: weight, quota, CPU set. A group is identified by its inode."""

    blocking = False

    def __init__(self, files: HostFiles) -> None:
        self._files = files

    def identity(self, target: Target) -> str:
        """See `Actuator.identity`."""
        return str(self._files.identity(f"{target.place}/{target.knob}"))

    def read(self, target: Target) -> str:
        """See `Actuator.read`."""
        return self._files.read(f"{target.place}/{target.knob}").rstrip("\n")

    def write(self, target: Target, value: str, identity: str) -> None:
        """See `Actuator.write`."""
        try:
            if self.identity(target) != identity:
                raise InstanceGone(f"{target.place}: another group has this name now")
        except Unavailable as error:
            raise InstanceGone(str(error)) from None
        try:
            self._files.write_knob(f"{target.place}/{target.knob}", value)
        except WriteFailed:
            if value or target.knob != cgroup.CPUSET:
                raise
            self._write_without_threads(target, value)

    def _write_without_threads(self, target: Target, value: str) -> None:
        """Its threads wait in the parent meanwhile: the kernel takes an empty list of CPUs from groups without threads only."""
        parent, moved = target.place.rpartition("/")[0], set[str]()
        try:
            for attempt in range(_EMPTYING_TRIES):  # threads may be born meanwhile
                found = self._files.read(f"{target.place}/cgroup.threads", largest_bytes=_LARGEST_TASKS_BYTES).split()
                moved.update(found)
                self._move_threads(found, parent)
                try:
                    self._files.write_knob(f"{target.place}/{target.knob}", value)
                    break
                except WriteFailed:
                    if attempt == _EMPTYING_TRIES - 1:
                        raise
        except Unavailable as error:
            raise WriteFailed(str(error)) from None
        finally:
            self._move_threads(moved, target.place)

    def _move_threads(self, tids: Iterable[str], group: str) -> None:
        for tid in tids:
            with contextlib.suppress(WriteFailed, InstanceGone, Unsupported):  # it has ended
                self._files.move_thread(group, int(tid))

    def remove(self, target: Target) -> None:
        """See `Actuator.remove`. What is left in the group is moved to its parent first."""
        parent = target.place.rpartition("/")[0]
        with contextlib.suppress(Unavailable):
            for pid in self._files.read(f"{target.place}/cgroup.procs").split():
                with contextlib.suppress(WriteFailed, InstanceGone, Unsupported, ValueError):
                    self._files.move_process(parent, int(pid))
        self._files.remove_group(target.place)


class ThreadPolicyActuator:
    """Scheduling policies of threads. A thread is identified by the moment of its start."""

    blocking = False

    def __init__(self, files: HostFiles) -> None:
        self._files = files

    def identity(self, target: Target) -> str:
        """See `Actuator.identity`."""
        return str(self._files.read_start_ticks(target.place))

    def read(self, target: Target) -> str:
        """See `Actuator.read`."""
        return self._files.read_policy(target.place)

    def write(self, target: Target, value: str, identity: str) -> None:
        """See `Actuator.write`. The moment of start is compared just before the policy is set."""
        self._files.write_policy(target.place, value, start_ticks=int(identity))

    def remove(self, target: Target) -> None:
        """Threads are never made by Stella."""
        raise Unsupported(f"{target}: not made by Stella")


def actuators(files: HostFiles, throttles: BlockThrottles | None = None) -> Actuators:
    """All actuators of this host, by kind. Without ``throttles`` no disk is limited."""
    links = NothingThere() if files.recorded else LinkActuator(LinkLimits())
    return {
        TargetKind.CGROUP: CgroupActuator(files),
        TargetKind.THREAD: ThreadPolicyActuator(files),
        TargetKind.LINK: links,
        TargetKind.DISK: NothingThere() if throttles is None or files.recorded else DiskActuator(files, throttles),
    }
