"""Record a live host as a directory on which `xgos --root DIRECTORY --once` runs: what the sensors read, and nothing else.

Usage: capture_host.py DIRECTORY [LIBVIRT-URI]. For a bug report or a fixture; look through it before you give it away
(names and uuids of instances are in it). Writes nothing outside DIRECTORY.
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path

from stella.linux import cgroup
from stella.model.snapshot import InstanceReading, Snapshot
from stella.xgos.host_files import HostFiles, Unavailable
from stella.xgos.sensing.host import CPUSET_FILES
from stella.xgos.sensing.sensors import open_sensors


def _save(directory: Path, path: str, text: str) -> None:
    target = directory / path.lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)


def _copy(files: HostFiles, directory: Path, *paths: str) -> None:
    for path in paths:
        try:
            _save(directory, path, files.read(path))
        except Unavailable as error:
            print(f"left out: {error}", file=sys.stderr)


def _processes(files: HostFiles, directory: Path, instance: InstanceReading) -> None:
    _copy(files, directory, f"/proc/{instance.pid}/cgroup")
    for thread in instance.threads or ():
        task = f"/proc/{instance.pid}/task/{thread.tid}"
        _copy(files, directory, f"{task}/schedstat", f"{task}/comm", f"{task}/stat")


def _groups(files: HostFiles, directory: Path, snapshot: Snapshot) -> None:
    names = cgroup.files(snapshot.host.cgroup_version)
    mount = snapshot.host.cgroup_mount
    top = "cgroup.controllers" if names.version == 2 else "cgroup.procs"
    _copy(files, directory, f"{mount}/{top}")
    groups = [*snapshot.host.parents, *(group for each in snapshot.instances for group in each.groups or ())]
    for group in groups:
        wanted = sorted({names.weight, names.quota, names.period, names.stat, names.tasks})
        _copy(files, directory, *(f"{mount}{group.path}/{name}" for name in wanted))
        if group.cpus is not None:
            _copy(files, directory, f"{snapshot.host.cpuset_mount}{group.path}/{cgroup.CPUSET}")
    if cpusets := snapshot.host.cpuset_mount:
        present = [f"{cpusets}/{name}" for name in (top, *CPUSET_FILES)]
        _copy(files, directory, *(path for path in present if files.exists(path)))


def _hypervisor(instance: InstanceReading) -> dict[str, object]:
    return {
        "uuid": instance.uuid,
        "name": instance.name,
        "pid": instance.pid,
        "state": instance.state.value,
        "vcpus": instance.vcpus,
        "iothreads": instance.iothreads,
        "links": [link.name for link in instance.links or ()],
        "disks": [asdict(disk) for disk in instance.disks or ()],
        "start_ticks": instance.start_ticks,
        "project": instance.project,
        "flavor": instance.flavor,
    }


def _mounts(text: str) -> str:
    """Of all mounts those of cgroups, and those above them: one of these may hide another."""
    lines = [line for line in text.splitlines() if len(line.split(" ")) > 4]
    wanted = {line.split(" ")[4] for line in lines if " - cgroup" in line}
    above = {path.rsplit("/", depth)[0] or "/" for path in wanted for depth in range(path.count("/") + 1)}
    return "".join(f"{line}\n" for line in lines if line.split(" ")[4] in above)


def main() -> int:
    """Record the host. Exit code 2 for wrong usage."""
    if len(sys.argv) not in (2, 3):
        print(__doc__, file=sys.stderr)
        return 2
    directory = Path(sys.argv[1])
    sensors = open_sensors(uri=sys.argv[2] if len(sys.argv) == 3 else "qemu:///system")
    sensors.wait_ready(10.0)
    snapshot = sensors.sense()
    files = HostFiles()
    _save(directory, "/proc/self/mountinfo", _mounts(files.read("/proc/self/mountinfo", largest_bytes=1 << 24)))
    stat = files.read("/proc/stat", largest_bytes=1 << 22)
    cpu = [line for line in stat.splitlines() if not line.startswith(("intr", "softirq"))]
    _save(directory, "/proc/stat", "".join(f"{line}\n" for line in cpu))
    for instance in snapshot.instances:
        _processes(files, directory, instance)
    _groups(files, directory, snapshot)
    domains = [_hypervisor(instance) for instance in snapshot.instances]
    recorded = {"domains": domains} | ({} if snapshot.shut_off is None else {"shut_off": snapshot.shut_off})
    _save(directory, "/hypervisor.json", json.dumps(recorded, indent=1) + "\n")
    links = {
        link.name: {key: value for key, value in asdict(link).items() if key != "name"}
        for instance in snapshot.instances
        for link in instance.links or ()
    }
    _save(directory, "/links.json", json.dumps(links, indent=1) + "\n")
    sensors.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
