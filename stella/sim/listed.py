"""Instances of a simulated host that another program lists in a file, as a hypervisor tells its agent which guests it has.

The file is replaced whole: ``{"instances": [{"uuid", "name", "project", "flavor", "vcpus", "running"}, ...]}``. Where it does not
exist there are none; one that cannot be read is told of once, and the instances stay as they were.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stella.sim.instance import InstanceSpec
from stella.sim.machine import Machine

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One instance: idle, with one link and one disk and, as Nova makes it, without iothread."""

    spec: InstanceSpec
    running: bool


def read(text: str) -> Mapping[str, Listed]:
    """The instances in a file's text, by uuid. Raises `ValueError` where it is not such a file."""
    try:
        return {one["uuid"]: _listed(one) for one in json.loads(text)["instances"]}
    except (KeyError, TypeError) as error:
        raise ValueError(f"it is no list of instances: {error!r}") from None


def _listed(one: Mapping[str, Any]) -> Listed:
    vcpus, running = one["vcpus"], one["running"]
    if type(vcpus) is not int or vcpus < 1 or type(running) is not bool:
        raise ValueError(f"instance {one['uuid']}: needs vcpus from 1 and running true or false")
    uuid, name, project, flavor = (str(one[key]) for key in ("uuid", "name", "project", "flavor"))
    spec = InstanceSpec(uuid=uuid, name=name, project=project, flavor=flavor, vcpus=vcpus, iothreads=0)
    return Listed(spec=spec, running=running)


class ListedInstances:
    """Keeps a machine in step with a file. For one thread at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None
        self._wanted: Mapping[str, Listed] = {}

    def follow(self, machine: Machine) -> None:
        """Start and remove what the file says, where it changed since the last time."""
        if self._changed():
            self._apply(machine)

    def _changed(self) -> bool:
        try:
            found = self._path.stat()
            seen = (found.st_mtime_ns, found.st_ino)
            if seen == self._seen:
                return False
            self._seen = seen
            wanted = read(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            self._seen, wanted = None, {}
        except (OSError, ValueError) as error:
            _LOG.warning("%s: %s; the instances stay as they were", self._path, error)
            return False
        changed, self._wanted = wanted != self._wanted, wanted
        return changed

    def _apply(self, machine: Machine) -> None:
        there = {uuid: each.spec for uuid, each in machine.instances.items()} | machine.shut_off
        for uuid, spec in there.items():
            if uuid not in self._wanted or self._wanted[uuid].spec != spec:
                machine.remove(uuid)
                machine.shut_off.pop(uuid, None)
        for uuid, one in self._wanted.items():
            if one.running and uuid not in machine.instances:
                machine.start(one.spec)
            elif not one.running and uuid in machine.instances:
                machine.stop(uuid)
            elif not one.running:
                machine.shut_off[uuid] = one.spec
