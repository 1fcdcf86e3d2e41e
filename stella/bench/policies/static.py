"""What OpenStack offers today, set once through libvirt: the flavor extra specs ``quota:*`` as a careful operator would choose them.

- ``quota:cpu_shares``: in proportion to what each instance needs: its CPU floor, and half a core as a rule of thumb for each I/O
  floor, since nobody knows what its I/O costs; instances without SLO share what is left of the machine.
- ``quota:cpu_quota``: a CPU ceiling, spread evenly over the vCPUs.
- ``quota:disk_*``: a tier: what was bought is the most one gets, so a floor (or the ceiling, where given) becomes a cap, with 10 %
  of room so that the cap itself does not break the floor.
- ``quota:vif_*_average``: the same for network bytes. There is no such knob for packets.

An SLO that changes later changes nothing: it would take a resize.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stella.bench.policies.base import LabPort, PolicyError, virsh
from stella.bench.results import PolicyReport, Refusal
from stella.bench.scenario import Scenario
from stella.model.slo import Direction, Metric, Objective, Slo

IO_FLOOR_CORES = 0.5
CAP_MARGIN_RATIO = 1.1
_SHARES_PER_CORE = 1024
_LEAST_SHARES = 2
_LEAST_LEFT_CORES = 0.1
_PERIOD_US = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One instance's knobs; None leaves one alone. Bytes and operations are per second."""

    cpu_shares: int
    vcpu_quota_us: int | None = None
    disk: Mapping[str, int] | None = None
    inbound_bytes: float | None = None
    outbound_bytes: float | None = None


def need_cores(slo: Slo) -> float:
    """What an operator would set aside for an SLO, in cores."""
    io_floors = sum(o.floor is not None for o in slo.objectives if o.metric is not Metric.CPU)
    return slo.floor(Metric.CPU) + IO_FLOOR_CORES * io_floors


def _cap(objective: Objective | None) -> float | None:
    if objective is None:
        return None
    if objective.ceiling is not None:
        return objective.ceiling
    return None if objective.floor is None else objective.floor * CAP_MARGIN_RATIO


def settings(scenario: Scenario, slos: Mapping[str, Slo], *, cores: int) -> dict[str, Settings]:
    """The knobs of every instance. Pure."""
    needs = {name: need_cores(slo) for name, slo in slos.items()}
    free = [i.name for i in scenario.instances if needs.get(i.name, 0.0) == 0.0]
    left = max(_LEAST_LEFT_CORES, (cores - sum(needs.values())) / max(1, len(free)))
    found = {}
    for instance in scenario.instances:
        slo = slos.get(instance.name)
        shares = round(_SHARES_PER_CORE * (needs.get(instance.name) or left))
        cpu = slo.objective(Metric.CPU) if slo else None
        ceiling = cpu.ceiling if cpu else None
        network = slo.objective(Metric.NETWORK_BYTES) if slo else None
        way, cap = network.direction if network else None, _cap(network)
        found[instance.name] = Settings(
            cpu_shares=max(_LEAST_SHARES, shares),
            vcpu_quota_us=None if ceiling is None else round(ceiling / instance.vcpus * _PERIOD_US),
            disk=_disk(slo) if slo and instance.disk else None,
            inbound_bytes=cap if way in (Direction.RX, Direction.BOTH) else None,
            outbound_bytes=cap if way in (Direction.TX, Direction.BOTH) else None,
        )
    return found


def _disk(slo: Slo) -> dict[str, int] | None:
    words = {Direction.READ: "read", Direction.WRITE: "write", Direction.BOTH: "total"}
    found = {}
    for metric, name in ((Metric.BLOCK_BYTES, "bytes"), (Metric.BLOCK_OPERATIONS, "iops")):
        objective = slo.objective(metric)
        cap = _cap(objective)
        if objective is not None and cap is not None:
            found[f"{words[objective.direction]}-{name}-sec"] = round(cap)
            if metric is Metric.BLOCK_OPERATIONS:
                found["size-iops-sec"] = round(objective.unit_bytes)
    return found or None


class StaticPolicy:
    """Sets the knobs once. What this host's libvirt or kernel cannot set is noted in the results."""

    name = "static"
    agent_pid: int | None = None

    def __init__(self, cores: int | None = None) -> None:
        self._cores = cores
        self._notes: list[str] = []

    def begin(self, lab: LabPort, scenario: Scenario, slos: Mapping[str, Slo]) -> Sequence[Refusal]:
        """Set every instance's knobs. Without CPU shares the policy would be none: that raises `PolicyError`."""
        cores = self._cores or os.cpu_count() or 1
        for name, knobs in settings(scenario, slos, cores=cores).items():
            virsh(lab.uri, "schedinfo", name, "--live", "--set", f"cpu_shares={knobs.cpu_shares}")
            if knobs.vcpu_quota_us is not None:
                quota = (f"vcpu_period={_PERIOD_US}", f"vcpu_quota={knobs.vcpu_quota_us}")
                virsh(lab.uri, "schedinfo", name, "--live", *(x for q in quota for x in ("--set", q)))
            self._caps(lab.uri, name, knobs)
        return ()

    def _caps(self, uri: str, name: str, knobs: Settings) -> None:
        try:
            if knobs.disk:
                options = [x for key, value in knobs.disk.items() for x in (f"--{key}", str(value))]
                for target in first_column(virsh(uri, "domblklist", name), 0):
                    virsh(uri, "blkdeviotune", name, target, "--live", *options)
            for way, cap in (("--inbound", knobs.inbound_bytes), ("--outbound", knobs.outbound_bytes)):
                if cap is not None:
                    for device in first_column(virsh(uri, "domiflist", name), 0):
                        virsh(uri, "domiftune", name, device, "--live", way, f"{max(1, round(cap / 1024))}")
        except PolicyError as error:
            self._notes.append(f"{name}: {error}")

    def slo_changed(self, instance: str, slo: Slo | None, at_seconds: float) -> Sequence[Refusal]:
        """Nothing: it would take a resize."""
        self._notes.append(f"{instance}: the SLO of {at_seconds:g} s was not applied, as it would take a resize")
        return ()

    def agent_event(self, action: str) -> None:
        """There is no agent."""

    def collect(self) -> None:
        """There is nothing to collect."""

    def measured(self, start: float, end: float) -> None:
        """There is nothing to ask."""

    def report(self) -> PolicyReport:
        """What could not be set."""
        return PolicyReport(notes=tuple(self._notes))

    def end(self) -> None:
        """Nothing to undo: the knobs go with the guests."""


def first_column(table: str, column: int) -> list[str]:
    """One column of a virsh table, without its two lines of heading."""
    rows = [line.split() for line in table.splitlines()[2:]]
    return [row[column] for row in rows if len(row) > column]
