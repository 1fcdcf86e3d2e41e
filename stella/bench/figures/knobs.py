"""Every CPU knob of the guests' groups, bit for bit: what they held before the agent came, and after it went."""

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from stella.bench.lab.laboratory import Lab
from stella.bench.lab.rig import Rig
from stella.bench.policies import Policy
from stella.bench.probes import Probe
from stella.linux.cpuset import parse_cpus, show_cpus
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


def read_threads(pids: Mapping[str, int]) -> dict[str, str]:
    """Scheduling policy and CPUs of the guests' threads, by guest and number, flags included; without workers, which come and go."""
    found = {}
    for name, pid in pids.items():
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{pid}/task").iterdir():
                with contextlib.suppress(OSError):
                    if (task / "comm").read_text().strip() == "worker":
                        continue
                    tid = int(task.name)
                    found[f"policy of {name}/{tid}"] = str(os.sched_getscheduler(tid))
                    found[f"affinity of {name}/{tid}"] = show_cpus(os.sched_getaffinity(tid))
    return found


def differences(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """What is not as it was: one line for each knob."""
    return [
        f"{path}: {before.get(path, 'absent').strip()!r} -> {after.get(path, 'absent').strip()!r}"
        for path in sorted({*before, *after})
        if before.get(path) != after.get(path)
    ]


class Knobs(Probe):
    """All knobs before a policy begins, and after it ended."""

    name = "knobs"

    def __init__(self) -> None:
        self.lab: Lab | None = None
        self.original: dict[str, str] = {}
        self.left: list[str] = ["not compared"]
        self.changed = 0

    def _tops(self) -> dict[str, Path]:
        """The guests' parent group by the prefix of its knobs."""
        assert self.lab is not None
        cpusets, partition = self.lab.cgroup.cpuset_root, self.lab.partition_cgroup
        return {"": partition, **({"cpuset ": cpusets / partition.name} if cpusets else {})}

    def _read(self) -> dict[str, str]:
        assert self.lab is not None
        there = (self.lab.cgroup.cpu_root / GROUP_NAME).exists()
        found = {f"{GROUP_NAME} (the agent's group)": "there"} if there else {}
        for prefix, top in self._tops().items():
            knobs = read_knobs(top, PLACES) if prefix else read_knobs(top)
            found |= {f"{prefix}{path}": text for path, text in knobs.items()}
        return {**found, **read_threads(self.lab.qemu_pids)}

    def before(self, lab: Rig, policy: Policy) -> None:
        """Remember them."""
        self.lab = cast(Lab, lab)
        self.original = self._read()

    def ending(self) -> None:
        """How many the policy changed: a comparison of nothing would prove nothing."""
        self.changed = len(self.not_restored())

    def ended(self) -> None:
        """Compare."""
        self.left = self.not_restored()

    def restraints(self) -> list[str]:
        """What restrains instances or host services and is not as it was.

        Quotas, CPU sets, thread policies, and the weight of the group above all instances, which holds back the host's own work.
        """
        return [
            line
            for line in self.not_restored()
            if (path := line.partition(": ")[0]) in WEIGHTS  # of the top group: instance weights lie in groups below it
            or path.rpartition("/")[2] in RESTRAINTS
            or path.startswith(("cpuset ", "policy of "))
        ]

    def not_restored(self) -> list[str]:
        """Every knob that is not as it was."""
        return differences(self.original, self._read())

    def put_back(self) -> list[str]:
        """Write what was there before, parents first, as wide as they were; what is still not as it was."""
        now, tops = self._read(), self._tops()
        changed = [path for path in self.original if now.get(path, self.original[path]) != self.original[path]]
        for path in sorted(changed, key=lambda p: (p.startswith("affinity"), p.count("/"))):
            with contextlib.suppress(OSError):
                self._write(path, tops)
        return self.not_restored()

    def _write(self, path: str, tops: Mapping[str, Path]) -> None:
        text = self.original[path]
        what, _, thread = path.partition(" of ")
        if what == "policy":
            os.sched_setscheduler(int(thread.rpartition("/")[2]), int(text), os.sched_param(0))
        elif what == "affinity":
            os.sched_setaffinity(int(thread.rpartition("/")[2]), parse_cpus(text))
        else:
            prefix = "cpuset " if path.startswith("cpuset ") else ""
            (tops[prefix] / path.removeprefix(prefix)).write_text(text, encoding="utf-8")

    def facts(self, start: float, end: float) -> dict[str, Any]:
        """How many knobs there were, how many were changed, and what was not restored."""
        return {"read": len(self.original), "changed": self.changed, "not_restored": self.left[:20]}
