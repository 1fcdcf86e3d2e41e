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
    }


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
    mounts = [line for line in files.read("/proc/self/mountinfo").splitlines() if " - cgroup" in line]
    _save(directory, "/proc/self/mountinfo", "".join(f"{line}\n" for line in mounts))
    cpu = [line for line in files.read("/proc/stat").splitlines() if not line.startswith(("intr", "softirq"))]
    _save(directory, "/proc/stat", "".join(f"{line}\n" for line in cpu))
    for instance in snapshot.instances:
        _processes(files, directory, instance)
    _groups(files, directory, snapshot)
    domains = [_hypervisor(instance) for instance in snapshot.instances]
    _save(directory, "/hypervisor.json", json.dumps({"domains": domains}, indent=1) + "\n")
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
