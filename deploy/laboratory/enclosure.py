"""The hosts' own namespaces and control groups: what carries guests' packets touches nothing of the machine's own network.

All processes of the laboratory are in one tree of control groups, which is also how they are found and ended. On cgroup v1 the tree is
made under every hierarchy, below the group that this process is in; on v2 at the top, because only there a group with processes
may have children with controllers. The first host has the laboratory's own group; where there are several, each other one has a group
below it, confined to its CPUs, and a process namespace, so that it ends as a machine does whose plug is pulled.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from laboratory.settings import NAME, Host, LaboratoryError, Settings

HERE = Path(__file__).parent
MOUNT = Path("/sys/fs/cgroup")
SHARES = {1: ("cpu.shares", "4096"), 2: ("cpu.weight", "400")}
"""The laboratory as a whole competes with each process of the machine's top group, and one of several hosts with the control plane."""
DATA_PATH_SHARES = {1: "65536", 2: "6400"}
"""What carries guests' packets uses little CPU, and comes before the guests, whose weight Stella raises while they miss a floor."""
CONTROL_PLANE_MEMORY_MB = 4096
"""What the machine keeps for all but instances."""
KEPT_DATA = ("image", "horizon")
"""What is made from packages alone."""
SYSTEM = "system"
"""The group of all services, beside libvirt's ``machine``, as systemd's system.slice is."""
DATA_PATH = "datapath"
"""The group of what guests' packets and orders pass through on the host: the virtual switch, libvirt.

As an operator gives ``ovs-vswitchd.service`` a CPUWeight: beside fifty busy processes of a control plane in one group the switch, one
thread, delivers nothing.
"""
_JOIN = (
    'n=$1; shift; while [ "$n" -gt 0 ]; do echo 0 > "$1/cgroup.procs" || exit 126; shift; n=$((n-1)); done; exec "$@"'
)
_V2_CONTROLLERS = ("cpu", "cpuset", "io", "memory", "pids")


def _own_groups() -> tuple[int, dict[str, Path]]:
    """(cgroup version, controller to the directory of the laboratory's group)."""
    lines = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    found: dict[str, Path] = {}
    for _, names, path in lines:
        name = names.removeprefix("name=") if names else "unified"
        mount = MOUNT / name
        if mount.is_dir() and (mount / "cgroup.procs").exists():
            found[name] = mount / path.lstrip("/") / NAME
    if "cpu" in found:
        return 1, found
    if not (MOUNT / "cgroup.controllers").exists():
        raise LaboratoryError(f"no cgroup hierarchy with the cpu controller is mounted in {MOUNT}")
    return 2, {"unified": MOUNT / NAME}


def _processes(group: Path) -> set[int]:
    found: set[int] = set()
    for file in group.rglob("cgroup.procs") if group.exists() else ():
        with contextlib.suppress(OSError):
            found.update(int(pid) for pid in file.read_text().split())
    return found


def _machine_memory_mb() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20


def memory_mb(machine_mb: int, hosts: int) -> int:
    """The memory of each of several hosts: together they have what one alone would give to instances."""
    return max(1024, (machine_mb - CONTROL_PLANE_MEMORY_MB) // hosts)


class Enclosure:
    """Makes the namespaces of one host, runs programs in them, and removes all of it; by default those of the laboratory itself."""

    def __init__(self, settings: Settings, host: Host | None = None) -> None:
        self.settings = settings
        self.host = host or settings.controller
        self._is_one_of_several = bool(self.host.cpus)
        # In memory, as what it speaks of: there is one laboratory for each machine, and this says whose.
        self._note = self.host.volatile / "enclosure.json"
        self._owner = str(settings.run.resolve().parent)  # another worktree may link to it

    def _read(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads(self._note.read_text())
        except (OSError, ValueError):
            return {}
        return found

    def groups(self) -> list[Path]:
        """The host's control groups, one of each hierarchy; below them is all that runs on it."""
        return [Path(path) for path in self._read().get("groups", [])]

    @property
    def holder(self) -> int | None:
        """The process that holds the namespaces, if it lives and is still ours."""
        note = self._read()
        pid = note.get("holder")
        if note.get("owner") != self._owner or not isinstance(pid, int):
            return None
        return pid if any(pid in _processes(group) for group in self.groups()[:1]) else None

    def is_open(self) -> bool:
        """Whether the namespaces are there."""
        return self.holder is not None

    def is_mine(self) -> bool:
        """Whether there is anything of this checkout's to remove."""
        return self._read().get("owner") == self._owner

    def _wanted_groups(self) -> tuple[int, dict[str, Path]]:
        if not self._is_one_of_several:
            return _own_groups()
        around = Enclosure(self.settings)
        if not around.is_open():
            raise LaboratoryError("the laboratory is not up: make openstack")
        note = around._read()
        below = [group / self.host.name for group in around.groups()]
        return note["version"], dict(zip(note["controllers"], below, strict=True))

    def open(self) -> None:
        """Make control groups, directories and namespaces. Raises `LaboratoryError`."""
        self.close()
        host = self.host
        host.volatile.mkdir(parents=True, exist_ok=True)
        host.volatile.chmod(0o700)
        version, own = self._wanted_groups()
        groups = list(own.values())
        note = {
            "owner": self._owner,
            "version": version,
            "controllers": list(own),
            "groups": [str(group) for group in groups],
        }
        self._note.write_text(json.dumps(note))
        if version == 2 and not self._is_one_of_several:
            self._enable(MOUNT)
        for group in groups:
            self._make(group, version)
        knob, value = SHARES[version]
        weighed = own["cpu" if version == 1 else "unified"]
        (weighed / knob).write_text(value)
        if version == 1:
            (weighed / DATA_PATH / knob).write_text(DATA_PATH_SHARES[version])
        if not self._is_one_of_several:
            self._forget()
        self._directories()
        ready = host.volatile / "ready"
        script = [str(HERE / "enclosure.sh"), *map(str, (host.run, host.data, host.etc, ready)), host.name]
        unshare = ["/usr/bin/unshare", "--mount", "--net", "--uts", "--cgroup"]
        if self._is_one_of_several:
            unshare += ["--pid", "--fork", "--kill-child"]
        # The namespace's top is the group that the process is in when it is made; the services are in a group below.
        with (host.logs / "enclosure.log").open("wb") as log:
            made = subprocess.Popen(
                self._joined(groups, [*unshare, "/bin/bash", *script, str(version), *own]),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        limit = time.monotonic() + 20
        while not ready.exists():
            if made.poll() is not None or time.monotonic() > limit:
                words = (host.logs / "enclosure.log").read_text(errors="replace").strip()[-200:]
                raise LaboratoryError(f"the namespaces of {host.name} could not be made (as root?): {words}")
            time.sleep(0.05)
        self._settle(groups, version)
        if version == 2:  # only now the laboratory's group hands its controllers on
            (weighed / DATA_PATH / knob).write_text(DATA_PATH_SHARES[version])
        self._note.write_text(json.dumps({**note, "holder": int(ready.read_text())}))

    def _make(self, group: Path, version: int) -> None:
        cpus = ",".join(map(str, self.host.cpus))
        for each in (group, group / SYSTEM, group / DATA_PATH):
            each.mkdir(exist_ok=True)
            for knob in ("cpuset.cpus", "cpuset.mems"):
                if version == 1 and (each / knob).exists():
                    (each / knob).write_text((each.parent / knob).read_text())
            if cpus and each == group and (each / "cpuset.cpus").exists():
                (each / "cpuset.cpus").write_text(cpus)

    @staticmethod
    def _enable(group: Path) -> None:
        there = (group / "cgroup.controllers").read_text().split()
        wanted = " ".join(f"+{name}" for name in _V2_CONTROLLERS if name in there)
        (group / "cgroup.subtree_control").write_text(wanted)

    def _settle(self, groups: list[Path], version: int) -> None:
        """Move the holder down, beside the services: on v2 a group with processes may not hand controllers on."""
        for group in groups:
            while pids := (group / "cgroup.procs").read_text().split():
                for pid in pids:
                    with contextlib.suppress(ProcessLookupError):
                        (group / SYSTEM / "cgroup.procs").write_text(pid)
            if version == 2:
                self._enable(group)

    def _forget(self) -> None:
        """Remove what belongs to a database that is gone, as after a reboot: domains, instances, images, credentials, keys."""
        for path in (self.settings.etc, *self.settings.data.glob("*")):
            if path.name not in KEPT_DATA:
                shutil.rmtree(path, ignore_errors=True)

    def _directories(self) -> None:
        host = self.host
        for path in (
            *(host.etc / "libvirt", host.logs, host.stamps, host.services),
            *(host.data / "libvirt" / name for name in ("lib", "log", "cache")),
            *(host.run / name for name in ("libvirt", "openvswitch", "netns", "lock")),
        ):
            path.mkdir(parents=True, exist_ok=True)
        if not self._is_one_of_several:
            link = self.settings.state / "sockets"
            link.unlink(missing_ok=True)
            link.symlink_to(host.run)
        others = "".join(f"{each.address} {each.name}\n" for each in self.settings.hosts)
        (host.etc / "hosts").write_text(f"127.0.0.1 localhost\n{others}")
        if self._is_one_of_several:
            kib = memory_mb(_machine_memory_mb(), len(self.settings.host_cpus)) << 10
            (host.etc / "meminfo").write_text(f"Node 0 MemTotal: {kib} kB\nNode 0 MemFree: {kib} kB\n")

    @staticmethod
    def _joined(groups: Sequence[Path], argv: Sequence[str]) -> list[str]:
        return ["/bin/sh", "-c", _JOIN, NAME, str(len(groups)), *map(str, groups), *argv]

    def outside(self, argv: Sequence[str], group: str = SYSTEM) -> list[str]:
        """The command that runs ``argv`` on the machine itself, but in the host's groups, so that `close` ends it.

        ``group``: `SYSTEM` or `DATA_PATH`.
        """
        return self._joined([each / group for each in self.groups()], argv)

    def inside(self, argv: Sequence[str], group: str = SYSTEM) -> list[str]:
        """The command that runs ``argv`` on the host. Raises `LaboratoryError` when it is not up."""
        return self.outside([*self._entered(), "--", *argv], group)

    def supervised(self, argv: Sequence[str], group: str = SYSTEM) -> list[str]:
        """The same for a supervisor: it enters the host, but keeps a process number that the machine knows, as do its children."""
        return self.outside([*self._entered(forks=False), "--", *argv], group)

    def supervised_from_controller(self, argv: Sequence[str]) -> list[str]:
        """The same, as a command to be run in the laboratory's own namespaces, where groups have other paths."""
        note = self._read()
        mounts = [MOUNT / name if note.get("version") == 1 else MOUNT for name in note.get("controllers", ())]
        place = self.host.name if self._is_one_of_several else ""
        return self._joined([mount / place / SYSTEM for mount in mounts], [*self._entered(forks=False), "--", *argv])

    def _entered(self, *, forks: bool = True) -> list[str]:
        holder = self.holder
        if holder is None:
            host = f"the host {self.host.name}" if self._is_one_of_several else "the laboratory"
            raise LaboratoryError(f"{host} is not up: make openstack")
        spaces = ["/usr/bin/nsenter", f"--target={holder}", "--mount", "--net", "--uts", "--cgroup"]
        if self._is_one_of_several:
            spaces += ["--pid", *([] if forks else ["--no-fork"])]
        return spaces

    def run(self, argv: Sequence[str], *, environment: Mapping[str, str] | None = None, text: str | None = None) -> str:
        """Run a program on the host to its end; its output. Raises `LaboratoryError` with its last words."""
        done = subprocess.run(
            self.inside(argv),
            capture_output=True,
            text=True,
            check=False,
            input=text,
            env={**os.environ, **(environment or {})},
        )
        if done.returncode:
            words = " ".join((done.stderr.strip() or done.stdout.strip()).split())[-400:]
            raise LaboratoryError(f"{Path(argv[0]).name} ended with {done.returncode}: {words}")
        return done.stdout

    def close(self) -> None:
        """End every process in the host's groups and remove the groups; the namespaces go with the last process.

        Raises `LaboratoryError`, also for the laboratory of another checkout.
        """
        groups = self.groups()
        owner = self._read().get("owner", self._owner)
        if owner != self._owner and any(_processes(group) for group in groups):
            raise LaboratoryError(f"the laboratory of {owner} runs on this machine: run make openstack-down there")
        limit = time.monotonic() + 30
        self._end_processes(groups, limit)
        self._remove_groups(groups, limit)
        if self._is_one_of_several:  # its disk stays, as does what `power` starts again
            for path in (self.host.run, self.host.stamps):
                shutil.rmtree(path, ignore_errors=True)
            for path in (self._note, self.host.volatile / "ready"):
                path.unlink(missing_ok=True)
        else:
            shutil.rmtree(self.settings.volatile, ignore_errors=True)

    @staticmethod
    def _end_processes(groups: Sequence[Path], limit: float) -> None:
        while left := set().union(*(_processes(group) for group in groups)):
            if time.monotonic() > limit:
                raise LaboratoryError(f"these processes do not end: {sorted(left)}")
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            time.sleep(0.1)

    @staticmethod
    def _remove_groups(groups: Sequence[Path], limit: float) -> None:
        for group in groups:
            while group.exists() and time.monotonic() < limit:
                for path in sorted((p for p in group.rglob("*") if p.is_dir()), key=lambda p: -len(p.parts)):
                    with contextlib.suppress(OSError):
                        path.rmdir()
                with contextlib.suppress(OSError):
                    group.rmdir()
                time.sleep(0.05)
            if group.exists():
                raise LaboratoryError(f"{group} cannot be removed")
