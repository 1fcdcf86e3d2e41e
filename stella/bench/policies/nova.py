"""What Nova and libvirt offer today, set once from the SLOs: the flavor extra specs that a careful operator would choose.

- ``quota:cpu_shares``: in proportion to what each instance needs: its CPU floor, and half a core as a rule of thumb for each I/O
  floor, since nobody knows what its I/O costs; instances without SLO share what is left of the machine.
- ``quota:cpu_quota``: a CPU ceiling, spread evenly over the vCPUs.
- ``hw:cpu_policy=dedicated`` with ``hw:emulator_threads_policy=share``: where every guaranteed vCPU can have a CPU to itself and one
  is left for the others. On a host of two CPUs nothing fits, and all instances float.
- ``quota:disk_*``: a tier: what was bought is the most one gets, so a floor (or the ceiling, where given) becomes a cap, with 10 %
  of room so that the cap itself does not break the floor.
- ``quota:vif_*_average``: the same for network bytes. There is no such knob for packets.

An SLO that changes later changes nothing: it would take a resize.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from xml.etree import ElementTree

from stella.bench.lab.rig import Rig
from stella.bench.policies.base import PolicyError, SetOncePolicy, connect, cpu_map
from stella.bench.results import Refusal
from stella.bench.scenario import Scenario
from stella.model.slo import Direction, Metric, Objective, Slo

IO_FLOOR_CORES = 0.5
CAP_MARGIN_RATIO = 1.1
_SHARES_PER_CORE = 1024
_LEAST_SHARES = 2
_LEAST_LEFT_CORES = 0.1
_PERIOD_US = 100_000
_KIB = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One instance's knobs; None leaves one alone. Bytes and operations are per second.

    ``vcpu_cpus``: for each vCPU the CPUs that it may use; ``emulator_cpus`` those of QEMU's other threads. Empty: any.
    """

    cpu_shares: int
    vcpu_quota_us: int | None = None
    vcpu_cpus: tuple[tuple[int, ...], ...] = ()
    emulator_cpus: tuple[int, ...] = ()
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


def settings(scenario: Scenario, slos: Mapping[str, Slo], *, cpus: Sequence[int]) -> dict[str, Settings]:
    """The knobs of every instance. Pure."""
    needs = {name: need_cores(slo) for name, slo in slos.items()}
    free = [i.name for i in scenario.instances if needs.get(i.name, 0.0) == 0.0]
    left = max(_LEAST_LEFT_CORES, (len(cpus) - sum(needs.values())) / max(1, len(free)))
    pinned, shared = _dedicated(scenario, needs, cpus)
    found = {}
    for instance in scenario.instances:
        name, slo = instance.name, slos.get(instance.name)
        cpu = slo.objective(Metric.CPU) if slo else None
        ceiling = cpu.ceiling if cpu else None
        network = slo.objective(Metric.NETWORK_BYTES) if slo else None
        way, cap = network.direction if network else None, _cap(network)
        found[name] = Settings(
            cpu_shares=max(_LEAST_SHARES, round(_SHARES_PER_CORE * (needs.get(name) or left))),
            vcpu_quota_us=None if ceiling is None else round(ceiling / instance.vcpus * _PERIOD_US),
            vcpu_cpus=pinned.get(name, (shared,) * instance.vcpus if shared else ()),
            emulator_cpus=shared,
            disk=_disk(slo) if slo and instance.disk else None,
            inbound_bytes=cap if way in (Direction.RX, Direction.BOTH) else None,
            outbound_bytes=cap if way in (Direction.TX, Direction.BOTH) else None,
        )
    return found


def _dedicated(
    scenario: Scenario, needs: Mapping[str, float], cpus: Sequence[int]
) -> tuple[dict[str, tuple[tuple[int, ...], ...]], tuple[int, ...]]:
    """A CPU of its own for every guaranteed vCPU, and the CPUs that the others share; both empty when they do not fit."""
    guaranteed = [i for i in scenario.instances if needs.get(i.name, 0.0) > 0]
    if not guaranteed or sum(i.vcpus for i in guaranteed) >= len(cpus):
        return {}, ()
    waiting = iter(cpus)
    pinned: dict[str, tuple[tuple[int, ...], ...]] = {}
    for instance in guaranteed:
        pinned[instance.name] = tuple((next(waiting),) for _ in range(instance.vcpus))
    return pinned, tuple(waiting)


def _disk(slo: Slo) -> dict[str, int] | None:
    words = {Direction.READ: "read", Direction.WRITE: "write", Direction.BOTH: "total"}
    found = {}
    for metric, name in ((Metric.BLOCK_BYTES, "bytes"), (Metric.BLOCK_OPERATIONS, "iops")):
        objective = slo.objective(metric)
        cap = _cap(objective)
        if objective is not None and cap is not None:
            found[f"{words[objective.direction]}_{name}_sec"] = round(cap)
            if metric is Metric.BLOCK_OPERATIONS:
                found["size_iops_sec"] = round(objective.unit_bytes)
    return found or None


class NovaPolicy(SetOncePolicy):
    """Sets the knobs once. What this host's libvirt or kernel cannot set is noted in the results."""

    name = "nova"
    why = ", as it would take a resize"

    def __init__(self) -> None:
        super().__init__()
        self._undo: list[Callable[[], object]] = []
        self._connection: Any = None

    def begin(self, lab: Rig, scenario: Scenario, slos: Mapping[str, Slo]) -> Sequence[Refusal]:
        """Set every instance's knobs. Without CPU shares the policy would be none: that raises `PolicyError`."""
        import libvirt  # noqa: PLC0415 (only a bench that runs guests needs it)

        self._connection = connect(lab.uri)
        for name, knobs in settings(scenario, slos, cpus=lab.cpus).items():
            try:
                domain = self._connection.lookupByName(name)
                domain.setSchedulerParametersFlags({"cpu_shares": knobs.cpu_shares}, libvirt.VIR_DOMAIN_AFFECT_LIVE)
            except libvirt.libvirtError as error:
                raise PolicyError(f"{name}: {error}") from None
            try:
                self._others(domain, knobs, libvirt.VIR_DOMAIN_AFFECT_LIVE)
            except libvirt.libvirtError as error:
                self._notes.append(f"{name}: {error}")
        return ()

    def _others(self, domain: Any, knobs: Settings, live: int) -> None:
        size = os.cpu_count() or 1
        if knobs.vcpu_quota_us is not None:
            domain.setSchedulerParametersFlags({"vcpu_period": _PERIOD_US, "vcpu_quota": knobs.vcpu_quota_us}, live)
        for number, cpus in enumerate(knobs.vcpu_cpus):
            domain.pinVcpuFlags(number, cpu_map(cpus, size), live)
        if knobs.emulator_cpus:
            domain.pinEmulator(cpu_map(knobs.emulator_cpus, size), live)
            domain.pinIOThread(1, cpu_map(knobs.emulator_cpus, size), live)
        devices = ElementTree.fromstring(domain.XMLDesc())  # noqa: S314 (libvirt's own)
        for target in devices.findall("./devices/disk/target") if knobs.disk else ():
            device, caps = target.get("dev"), dict(knobs.disk or {})
            domain.setBlockIoTune(device, caps, live)
            self._undo.append(partial(domain.setBlockIoTune, device, dict.fromkeys(caps, 0), live))
        for way, cap in (("inbound", knobs.inbound_bytes), ("outbound", knobs.outbound_bytes)):
            for target in devices.findall("./devices/interface/target") if cap is not None else ():
                device, key = target.get("dev"), f"{way}.average"
                domain.setInterfaceParameters(device, {key: max(1, round((cap or 0.0) / _KIB))}, live)
                self._undo.append(partial(domain.setInterfaceParameters, device, {key: 0}, live))

    def end(self) -> None:
        """Lift the caps inside QEMU and on the taps, which nobody sees in control groups. Raises `PolicyError`."""
        if self._connection is None:
            return
        import libvirt  # noqa: PLC0415

        try:
            for lift in self._undo:
                lift()
        except libvirt.libvirtError as error:
            raise PolicyError(f"nova: a cap cannot be lifted: {error}") from None
        finally:
            self._connection.close()
            self._connection = None
