"""The agent's own CPU: a group with a large weight, so that it keeps its deadline on a full host; and the lock of a host.

An agent that waits for a CPU together with the load cannot rescue anybody from it. Its share is large, its use small: weights
conserve work, so the reservation costs the tenants nothing but what the agent really uses.
"""

import contextlib
import fcntl
import os

from stella.linux import cgroup
from stella.model.target import cgroup_target
from stella.xgos.actuation.journal import Journal
from stella.xgos.host_files import HostFiles, InstanceGone, Unavailable, Unsupported, WriteFailed

GROUP_NAME = "stella-xgos"
SHARES_V1 = 32_768
WEIGHT_V2 = 3_200


class AlreadyRunning(Exception):
    """Another agent manages this host."""


class HostLock:
    """Held by the one agent of a CPU hierarchy: the lock is on the hierarchy itself, whatever state directory is used."""

    def __init__(self, files: HostFiles, hierarchy: cgroup.Hierarchy) -> None:
        """Take the lock. Raises `AlreadyRunning`."""
        self._descriptor = os.open(files.real(hierarchy.mount), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self.close()
            raise AlreadyRunning(f"another agent manages {hierarchy.mount}") from None

    def close(self) -> None:
        """Give the lock back; again is no harm."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _managed_by_systemd(path: str) -> bool:
    return any(part.endswith((".service", ".scope")) for part in path.split("/"))


def reserve(files: HostFiles, hierarchy: cgroup.Hierarchy, journal: Journal, pid: int | None = None) -> str:
    """Move this process (or ``pid``) and its later children into a group of its own with a large weight.

    Under v2 in a systemd unit nothing is done: the unit's CPUWeight says it. Under v1 the group is made in the CPU hierarchy
    alone. The group is journalled, and removed at release. Returns one line for the log. Raises `Unsupported`.
    """
    pid = pid or os.getpid()
    names = cgroup.files(hierarchy.version)
    try:
        text = files.read(f"/proc/{pid}/cgroup")
        now = cgroup.parse_process_cgroup(text, hierarchy.version) or "/"
        if hierarchy.version == 2:
            if _managed_by_systemd(now):
                return f"CPU weight is left to the service manager ({now})"
            if "cpu" not in files.read(f"{hierarchy.mount}/cgroup.subtree_control").split():
                raise Unsupported("the cpu controller is not enabled at the top of the hierarchy")
        path = f"{hierarchy.mount}/{GROUP_NAME}"
        weight = SHARES_V1 if hierarchy.version == 1 else WEIGHT_V2
        journal.record_made(cgroup_target(path, ""))
        files.make_group(path)
        files.write_knob(f"{path}/{names.weight}", str(weight))
        files.move_process(path, pid)
    except (Unavailable, WriteFailed, InstanceGone) as error:
        raise Unsupported(f"no CPU reservation for the agent: {error}") from None
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, -10)
    return f"CPU reserved: {path} with {names.weight} {weight}"
