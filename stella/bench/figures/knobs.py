"""Every CPU knob of the guests' groups, bit for bit: what they held before the agent came, and after it went."""

import contextlib
import os
import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stella.bench.figures.probes import PeriodicProbe, Probe
from stella.bench.lab.laboratory import Lab
from stella.bench.policies import Policy
from stella.xgos.process.own_group import GROUP_NAME

RESTRAINTS = ("cpu.cfs_quota_us", "cpu.cfs_period_us", "cpu.max")
WEIGHTS = ("cpu.shares", "cpu.weight")
PLACES = ("cpuset.cpus",)
OTHERS = ("cpu.cfs_burst_us", "cpu.max.burst", "cpu.idle", "cpu.uclamp.min", "cpu.uclamp.max", "cpu.weight.nice")


def read_knobs(top: Path, names: tuple[str, ...] = (*RESTRAINTS, *WEIGHTS, *OTHERS)) -> dict[str, str]:
    """The text of all knobs in a group and below, by path below ``top``."""
    found = {}
    for group in (top, *(p for p in top.rglob("*") if p.is_dir())):
        for name in names:
            with contextlib.suppress(OSError):
                found[str((group / name).relative_to(top))] = (group / name).read_text(encoding="utf-8")
    return found


def read_policies(pids: Mapping[str, int]) -> dict[str, str]:
    """The scheduling policy of the guests' threads, by guest and number, flags included; without workers, which come and go."""
    found = {}
    for name, pid in pids.items():
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{pid}/task").iterdir():
                with contextlib.suppress(OSError):
                    if (task / "comm").read_text().strip() == "worker":
                        continue
                    found[f"policy of {name}/{task.name}"] = str(os.sched_getscheduler(int(task.name)))
    return found


def differences(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """What is not as it was: one line for each knob."""
    return [
        f"{path}: {before.get(path, 'absent').strip()!r} -> {after.get(path, 'absent').strip()!r}"
        for path in sorted({*before, *after})
        if before.get(path) != after.get(path)
    ]


class Knobs(Probe):
    """All knobs before the agent starts, and after it ended."""

    name = "knobs"

    def __init__(self) -> None:
        self.lab: Lab | None = None
        self.original: dict[str, str] = {}
        self.left: list[str] = ["not compared"]
        self.changed = 0

    def _read(self) -> dict[str, str]:
        assert self.lab is not None
        root = self.lab.cgroup.cpu_root
        here = {f"{GROUP_NAME} (the agent's group)": "there"} if (root / GROUP_NAME).exists() else {}
        cpusets = self.lab.cgroup.cpuset_root
        placed = read_knobs(cpusets / self.lab.partition_cgroup.name, PLACES) if cpusets else {}
        places = {f"cpuset {path}": text for path, text in placed.items()}
        return {**read_knobs(self.lab.partition_cgroup), **places, **read_policies(self.lab.qemu_pids), **here}

    def before(self, lab: Lab, policy: Policy) -> None:
        """Remember them."""
        self.lab = lab
        self.original = self._read()

    def ending(self) -> None:
        """How many the agent changed: a comparison of nothing would prove nothing."""
        self.changed = len(differences(self.original, self._read()))

    def ended(self) -> None:
        """Compare."""
        self.left = differences(self.original, self._read())

    def restraints(self) -> list[str]:
        """What restrains instances or host services and is not as it was.

        Quotas, CPU sets, thread policies, and the weight of the group above all instances, which holds back the host's own work.
        """
        weights = {f"{name}" for name in WEIGHTS}  # of the top group: instance weights lie in groups below it
        return [
            line
            for line in differences(self.original, self._read())
            if (path := line.partition(": ")[0]) in weights
            or path.rpartition("/")[2] in RESTRAINTS
            or path.startswith(("cpuset ", "policy of "))
        ]

    def not_restored(self) -> list[str]:
        """Every knob that is not as it was."""
        return differences(self.original, self._read())

    def facts(self, start: float, end: float) -> dict[str, Any]:
        """How many knobs there were, how many were changed, and what was not restored."""
        return {"read": len(self.original), "changed": self.changed, "not_restored": self.left[:20]}


class OuterWeights(PeriodicProbe):
    """The weights of the instances' own groups and their parent over a run: what a run with default inner weights is given."""

    name = "outer_weights"

    def __init__(self) -> None:
        super().__init__(1.0)
        self._lab: Lab | None = None
        self.samples: list[tuple[float, dict[str, int]]] = []

    def before(self, lab: Lab, policy: Policy) -> None:
        """Learn the groups."""
        self._lab = lab

    def look(self) -> None:
        """Read them."""
        assert self._lab is not None
        self.samples.append((time.time(), {key: int(path.read_text()) for key, path in outer_paths(self._lab).items()}))

    def facts(self, start: float, end: float) -> dict[str, int]:
        """The median of each."""
        inside = [weights for moment, weights in self.samples if start <= moment <= end]
        names = {name for weights in inside for name in weights}
        return {n: round(statistics.median(w[n] for w in inside if n in w)) for n in sorted(names)}


def outer_paths(lab: Lab) -> dict[str, Path]:
    """The weight files of the instances' own groups by name, and of their parent (empty name)."""
    top = lab.partition_cgroup
    knob = WEIGHTS[0] if lab.cgroup.version == 1 else WEIGHTS[1]
    found = {"": top / knob}
    for name in lab.qemu_pids:
        for group in top.glob(f"qemu-*-{name}.libvirt-qemu"):
            found[name] = group / knob
    return found


class SetOuterWeights(Probe):
    """Gives the instances' own groups fixed weights, and leaves libvirt's default ones inside them."""

    name = "set_outer_weights"

    def __init__(self, weights: Mapping[str, int]) -> None:
        self._weights = weights
        self._lab: Lab | None = None

    def before(self, lab: Lab, policy: Policy) -> None:
        """Learn the groups."""
        self._lab = lab

    def begun(self) -> None:
        """Set them."""
        assert self._lab is not None
        for name, path in outer_paths(self._lab).items():
            if name in self._weights:
                path.write_text(str(self._weights[name]), encoding="ascii")
