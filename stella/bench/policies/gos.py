"""The original's policy on our guests: `gos_law` every 3 s, fed by libvirt's statistics, acting by CFS quotas on their groups."""

import os
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from stella.bench.policies import gos_law
from stella.bench.policies.base import LabPort, PolicyError, virsh
from stella.bench.results import PolicyReport, Refusal
from stella.bench.scenario import Scenario
from stella.model.slo import Direction, Metric, Objective, Slo

_PERIOD_US = 100_000
_LEAST_QUOTA_US = 1_000
_COUNTERS = {
    Metric.NETWORK_PACKETS: (
        "net",
        "pkts",
        {Direction.TX: ("tx",), Direction.RX: ("rx",), Direction.BOTH: ("tx", "rx")},
    ),
    Metric.NETWORK_BYTES: (
        "net",
        "bytes",
        {Direction.TX: ("tx",), Direction.RX: ("rx",), Direction.BOTH: ("tx", "rx")},
    ),
    Metric.BLOCK_BYTES: (
        "block",
        "bytes",
        {Direction.READ: ("rd",), Direction.WRITE: ("wr",), Direction.BOTH: ("rd", "wr")},
    ),
    Metric.BLOCK_OPERATIONS: (
        "block",
        "reqs",
        {Direction.READ: ("rd",), Direction.WRITE: ("wr",), Direction.BOTH: ("rd", "wr")},
    ),
}


def parse_domstats(text: str) -> dict[str, dict[str, int]]:
    """The whole numbers of ``virsh domstats --raw``, by domain name."""
    found: dict[str, dict[str, int]] = {}
    current: dict[str, int] = {}
    for line in map(str.strip, text.splitlines()):
        if line.startswith("Domain:"):
            current = found.setdefault(line.split("'")[1], {})
        elif "=" in line:
            key, _, value = line.partition("=")
            if value.isdigit():
                current[key] = int(value)
    return found


def counter(stats: Mapping[str, int], objective: Objective) -> int | None:
    """The counter that an I/O objective is measured by; None for other metrics."""
    where = _COUNTERS.get(objective.metric)
    if where is None:
        return None
    device, what, ways = where
    wanted = {f"{way}.{what}" for way in ways[objective.direction]}
    return sum(v for k, v in stats.items() if k.startswith(f"{device}.") and k.split(".", 2)[-1] in wanted)


def readings(
    scenario: Scenario,
    slos: Mapping[str, Slo],
    before: Mapping[str, Mapping[str, int]],
    now: Mapping[str, Mapping[str, int]],
    elapsed_seconds: float,
) -> tuple[gos_law.Reading, ...]:
    """What the law needs, from two readings of the statistics. Pure. A latency target is unknown to the law (it was inverted)."""
    found = []
    for instance in scenario.instances:
        slo = slos.get(instance.name)
        ratios = []
        for objective in slo.objectives if slo else ():
            first = counter(before.get(instance.name, {}), objective)
            second = counter(now.get(instance.name, {}), objective)
            if objective.floor and first is not None and second is not None:
                ratios.append(max(0, second - first) / elapsed_seconds / objective.floor)
        found.append(
            gos_law.Reading(
                name=instance.name,
                vcpus=instance.vcpus,
                attainment_ratio=min(ratios) if ratios else None,
                cpu_floor_cores=slo.floor(Metric.CPU) if slo else 0.0,
            )
        )
    return tuple(found)


class GosPolicy:
    """Runs the law in a thread of the bench. ``cgroup_root``: where the cgroup hierarchies are mounted."""

    name = "gos"
    agent_pid: int | None = None  # it runs in the bench itself

    def __init__(self, cgroup_root: Path = Path("/sys/fs/cgroup")) -> None:
        self._root = cgroup_root
        self._slos: dict[str, Slo] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._paused = threading.Event()
        self._thread: threading.Thread | None = None
        self._ticks = self._late = 0
        self._notes: dict[str, None] = {}
        self._written: dict[str, float | None] = {}

    def begin(self, lab: LabPort, scenario: Scenario, slos: Mapping[str, Slo]) -> Sequence[Refusal]:
        """Start the loop."""
        self._slos = dict(slos)
        self._thread = threading.Thread(target=self._loop, args=(lab, scenario), daemon=True, name="gos")
        self._thread.start()
        return ()

    def _loop(self, lab: LabPort, scenario: Scenario) -> None:
        state, before, then, due = gos_law.State(), None, 0.0, time.monotonic()
        cores = os.cpu_count() or 1
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            due += gos_law.PERIOD_SECONDS
            if self._paused.is_set():
                before = None
                continue
            try:
                now, moment = (
                    parse_domstats(virsh(lab.uri, "domstats", "--raw", "--interface", "--block", "--vcpu")),
                    time.monotonic(),
                )
                if before is not None:
                    with self._lock:
                        slos = dict(self._slos)
                    state, quotas = gos_law.decide(
                        state, readings(scenario, slos, before, now, moment - then), cores=cores
                    )
                    for name, quota in quotas.items():
                        self._write(lab.partition, name, quota)
                    self._ticks += 1
                before, then = now, moment
            except (PolicyError, OSError) as error:
                self._notes[str(error)] = None
            if time.monotonic() > due:
                self._late += 1
                due = time.monotonic()

    def group(self, partition: str, name: str) -> Path | None:
        """The cgroup of a guest: v1's ``cpu`` hierarchy, or v2's only one."""
        for base in (self._root / "cpu", self._root):
            for parent in (partition.strip("/"), f"{partition.strip('/')}.partition"):
                found = sorted((base / parent).glob(f"qemu-*-{name}.libvirt-qemu"))
                if found:
                    return found[-1]
        return None

    def _write(self, partition: str, name: str, cores: float | None) -> None:
        if self._written.get(name) == cores and name in self._written:
            return
        group = self.group(partition, name)
        if group is None:
            self._notes[f"{name}: no cgroup found"] = None
            return
        quota = None if cores is None else max(_LEAST_QUOTA_US, round(cores * _PERIOD_US))
        if (group / "cpu.max").exists():
            (group / "cpu.max").write_text(f"{'max' if quota is None else quota} {_PERIOD_US}")
        else:
            (group / "cpu.cfs_quota_us").write_text(str(-1 if quota is None else quota))
        self._written[name] = cores

    def slo_changed(self, instance: str, slo: Slo | None, at_seconds: float) -> Sequence[Refusal]:
        """The next period works with the new SLO."""
        with self._lock:
            if slo is None:
                self._slos.pop(instance, None)
            else:
                self._slos[instance] = slo
        return ()

    def agent_event(self, action: str) -> None:
        """The loop pauses on ``stop`` and runs on; it starts again at once after ``kill`` and ``restart``."""
        if action == "stop":
            self._paused.set()
        else:
            self._paused.clear()

    def collect(self) -> None:
        """There is nothing to collect."""

    def measured(self, start: float, end: float) -> None:
        """There is nothing to ask."""

    def report(self) -> PolicyReport:
        """Periods and what went wrong."""
        return PolicyReport(ticks=self._ticks, late_ticks=self._late, notes=tuple(self._notes))

    def end(self) -> None:
        """Stop the loop; the quotas go with the guests."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=30.0)
