"""The laboratory's own namespaces and control groups: what carries guests' packets touches nothing of the machine's own network.

All processes of the laboratory are in one tree of control groups, which is also how they are found and ended. On cgroup v1 the tree is
made under every hierarchy, below the group that this process is in; on v2 at the top, because only there a group with processes
may have children with controllers.
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

from laboratory.settings import HOST, NAME, LaboratoryError, Settings

HERE = Path(__file__).parent
MOUNT = Path("/sys/fs/cgroup")
SHARES = {1: ("cpu.shares", "4096"), 2: ("cpu.weight", "400")}
"""The laboratory as a whole competes with each process of the machine's top group."""
DATA_PATH_SHARES = {1: "65536", 2: "6400"}
"""What carries guests' packets uses little CPU, and comes before the guests, whose weight Stella raises while they miss a floor."""
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


class Enclosure:
    """Makes the namespaces, runs programs in them, and removes all of it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        # In memory, as what it speaks of: there is one laboratory for each machine, and this says whose.
        self._note = settings.volatile / "enclosure.json"
        self._owner = str(settings.run.resolve().parent)  # another worktree may link to it

    def _read(self) -> dict[str, object]:
        try:
            found: dict[str, object] = json.loads(self._note.read_text())
        except (OSError, ValueError):
            return {}
        return found

    def _groups(self) -> list[Path]:
        return [Path(path) for path in self._read().get("groups", [])]  # type: ignore[attr-defined]

    @property
    def holder(self) -> int | None:
        """The process that holds the namespaces, if it lives and is still ours."""
        note = self._read()
        pid = note.get("holder")
        if note.get("owner") != self._owner or not isinstance(pid, int):
            return None
        return pid if any(pid in _processes(group) for group in self._groups()[:1]) else None

    def is_open(self) -> bool:
        """Whether the namespaces are there."""
        return self.holder is not None

    def is_mine(self) -> bool:
        """Whether there is anything of this checkout's to remove."""
        return self._read().get("owner") == self._owner

    def open(self) -> None:
        """Make control groups, directories and namespaces. Raises `LaboratoryError`."""
        self.close()
        settings = self.settings
        settings.volatile.mkdir(parents=True, exist_ok=True)
        settings.volatile.chmod(0o700)
        version, own = _own_groups()
        groups = list(own.values())
        note = {"owner": self._owner, "groups": [str(group) for group in groups]}
        self._note.write_text(json.dumps(note))
        if version == 2:
            self._enable(MOUNT)
        for group in groups:
            self._make(group, version)
        knob, value = SHARES[version]
        weighed = own["cpu" if version == 1 else "unified"]
        (weighed / knob).write_text(value)
        if version == 1:
            (weighed / DATA_PATH / knob).write_text(DATA_PATH_SHARES[version])
        self._forget()
        self._directories()
        script = ["/bin/bash", str(HERE / "enclosure.sh"), str(settings.state), str(settings.volatile), HOST]
        unshare = ["/usr/bin/unshare", "--mount", "--net", "--uts", "--cgroup"]
        # The namespace's top is the group that the process is in when it is made; the services are in a group below.
        with (settings.logs / "enclosure.log").open("wb") as log:
            holder = subprocess.Popen(
                self._joined(groups, [*unshare, *script, str(version), *own]),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        limit = time.monotonic() + 20
        while not (settings.volatile / "ready").exists():
            if holder.poll() is not None or time.monotonic() > limit:
                words = (settings.logs / "enclosure.log").read_text(errors="replace").strip()[-200:]
                raise LaboratoryError(f"the namespaces could not be made (as root?): {words}")
            time.sleep(0.05)
        self._settle(groups, version)
        if version == 2:  # only now the laboratory's group hands its controllers on
            (weighed / DATA_PATH / knob).write_text(DATA_PATH_SHARES[version])
        self._note.write_text(json.dumps({**note, "holder": holder.pid}))

    def _make(self, group: Path, version: int) -> None:
        for each in (group, group / SYSTEM, group / DATA_PATH):
            each.mkdir(exist_ok=True)
            for knob in ("cpuset.cpus", "cpuset.mems"):
                if version == 1 and (each / knob).exists():
                    (each / knob).write_text((each.parent / knob).read_text())

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
        settings = self.settings
        for path in (
            *(settings.etc / "libvirt", settings.logs, settings.stamps),
            *(settings.data / "libvirt" / name for name in ("lib", "log", "cache")),
            *(settings.volatile / "run" / name for name in ("libvirt", "openvswitch", "netns", "lock", "services")),
        ):
            path.mkdir(parents=True, exist_ok=True)
        link = settings.state / "sockets"
        link.unlink(missing_ok=True)
        link.symlink_to(settings.volatile / "run")
        (settings.etc / "hosts").write_text(f"127.0.0.1 localhost\n127.0.0.1 {HOST}\n")

    @staticmethod
    def _joined(groups: Sequence[Path], argv: Sequence[str]) -> list[str]:
        return ["/bin/sh", "-c", _JOIN, NAME, str(len(groups)), *map(str, groups), *argv]

    def outside(self, argv: Sequence[str], group: str = SYSTEM) -> list[str]:
        """The command that runs ``argv`` on the machine itself, but in the laboratory's groups, so that `close` ends it.

        ``group``: `SYSTEM` or `DATA_PATH`.
        """
        return self._joined([each / group for each in self._groups()], argv)

    def inside(self, argv: Sequence[str], group: str = SYSTEM) -> list[str]:
        """The command that runs ``argv`` in the laboratory. Raises `LaboratoryError` when there is none."""
        holder = self.holder
        if holder is None:
            raise LaboratoryError("the laboratory is not up: make openstack")
        spaces = ["/usr/bin/nsenter", f"--target={holder}", "--mount", "--net", "--uts", "--cgroup", "--"]
        return self.outside([*spaces, *argv], group)

    def run(self, argv: Sequence[str], *, environment: Mapping[str, str] | None = None, text: str | None = None) -> str:
        """Run a program in the laboratory to its end; its output. Raises `LaboratoryError` with its last words."""
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
        """End every process in the laboratory's groups and remove the groups; the namespaces go with the last process.

        Raises `LaboratoryError`, also for the laboratory of another checkout.
        """
        groups = self._groups()
        owner = self._read().get("owner", self._owner)
        if owner != self._owner and any(_processes(group) for group in groups):
            raise LaboratoryError(f"the laboratory of {owner} runs on this machine: run make openstack-down there")
        limit = time.monotonic() + 30
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
        shutil.rmtree(self.settings.volatile, ignore_errors=True)
