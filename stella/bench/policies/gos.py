"""The original's policy on our guests: `gos_law` every 3 s, fed by libvirt's statistics, acting by CFS quotas on their groups."""

import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stella.bench.lab.rig import Rig
from stella.bench.policies import gos_law
from stella.bench.policies.base import NonePolicy, PolicyError, connect, guest_group
from stella.bench.results import PolicyReport, Refusal
from stella.bench.scenario import Scenario
from stella.model.slo import Direction, Metric, Objective, Slo

_PERIOD_US = 100_000
_LEAST_QUOTA_US = 1_000
_WAYS = {Direction.TX: "tx", Direction.RX: "rx", Direction.READ: "rd", Direction.WRITE: "wr"}
_COUNTERS = {
    Metric.NETWORK_PACKETS: ("net", "pkts"),
    Metric.NETWORK_BYTES: ("net", "bytes"),
    Metric.BLOCK_BYTES: ("block", "bytes"),
    Metric.BLOCK_OPERATIONS: ("block", "reqs"),
}


def read_stats(connection: Any) -> dict[str, dict[str, int]]:
    """libvirt's counters of network devices and disks, by domain name. Raises `PolicyError`."""
    import libvirt  # noqa: PLC0415 (only a bench that runs guests needs it)

    try:
        found = connection.getAllDomainStats(libvirt.VIR_DOMAIN_STATS_INTERFACE | libvirt.VIR_DOMAIN_STATS_BLOCK)
    except libvirt.libvirtError as error:
        raise PolicyError(f"libvirt: {error}") from None
    return {domain.name(): {k: v for k, v in stats.items() if isinstance(v, int)} for domain, stats in found}


def counter(stats: Mapping[str, int], objective: Objective) -> int | None:
    """The counter that an I/O objective is measured by; None for other metrics."""
    if objective.metric not in _COUNTERS:
        return None
    device, what = _COUNTERS[objective.metric]
    both = ("tx", "rx") if device == "net" else ("rd", "wr")
    wanted = {f"{way}.{what}" for way in both if _WAYS.get(objective.direction, way) == way}
    return sum(v for k, v in stats.items() if k.startswith(f"{device}.") and k.split(".", 2)[-1] in wanted)


def readings(
    scenario: Scenario,
    slos: Mapping[str, Slo],
    before: Mapping[str, Mapping[str, int]],
    now: Mapping[str, Mapping[str, int]],
    elapsed_seconds: float,
    target_ratio: float = 1.0,
) -> tuple[gos_law.Reading, ...]:
    """What the law needs, from two readings of the statistics. Pure. A latency target is unknown to the law (it was inverted).

    ``target_ratio``: of its floor that the law aims at for each I/O instance.
    """
    found = []
    for instance in scenario.instances:
        slo = slos.get(instance.name)
        ratios = []
        for objective in slo.objectives if slo else ():
            first = counter(before.get(instance.name, {}), objective)
            second = counter(now.get(instance.name, {}), objective)
            if objective.floor and first is not None and second is not None:
                ratios.append(max(0, second - first) / elapsed_seconds / (objective.floor * target_ratio))
        found.append(
            gos_law.Reading(
                name=instance.name,
                vcpus=instance.vcpus,
                attainment_ratio=min(ratios) if ratios else None,
                cpu_floor_cores=slo.floor(Metric.CPU) if slo else 0.0,
            )
        )
    return tuple(found)


class GosPolicy(NonePolicy):
    """Runs the law in a thread of the bench. ``target_ratio``: of a floor that it aims at; the original's is 1."""

    def __init__(self, cgroup_root: Path = Path("/sys/fs/cgroup"), *, target_ratio: float = 1.0) -> None:
        self.name = "gos" if target_ratio == 1.0 else f"gos-{target_ratio * 100:.0f}"
        self._root, self._target = cgroup_root, target_ratio
        self._slos: dict[str, Slo] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._paused = threading.Event()
        self._thread: threading.Thread | None = None
        self._ticks = self._late = 0
        self._notes: dict[str, None] = {}
        self._written: dict[str, float | None] = {}

    def begin(self, lab: Rig, scenario: Scenario, slos: Mapping[str, Slo]) -> Sequence[Refusal]:
        """Start the loop. Raises `PolicyError` when libvirt does not answer."""
        self._slos = dict(slos)
        connection = connect(lab.uri)
        self._thread = threading.Thread(target=self._loop, args=(lab, connection, scenario), daemon=True, name="gos")
        self._thread.start()
        return ()

    def _loop(self, lab: Rig, connection: Any, scenario: Scenario) -> None:
        state, before, then, due = gos_law.State(), None, 0.0, time.monotonic()
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            due += gos_law.PERIOD_SECONDS
            if self._paused.is_set():
                before = None
                continue
            try:
                now, moment = read_stats(connection), time.monotonic()
                if before is not None:
                    with self._lock:
                        slos = dict(self._slos)
                    found = readings(scenario, slos, before, now, moment - then, self._target)
                    state, quotas = gos_law.decide(state, found, cores=len(lab.cpus))
                    for name, quota in quotas.items():
                        self._write(lab.partition, name, quota)
                    self._ticks += 1
                before, then = now, moment
            except (PolicyError, OSError) as error:
                self._notes[str(error)] = None
            if time.monotonic() > due:
                self._late += 1
                due = time.monotonic()
        connection.close()

    def _write(self, partition: str, name: str, cores: float | None) -> None:
        if self._written.get(name) == cores and name in self._written:
            return
        group = guest_group(self._root, partition, name)
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

    def report(self) -> PolicyReport:
        """Periods and what went wrong."""
        return PolicyReport(ticks=self._ticks, late_ticks=self._late, notes=tuple(self._notes))

    def end(self) -> None:
        """Stop the loop; the quotas stay as they are, as `NonePolicy.end` says."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=30.0)
