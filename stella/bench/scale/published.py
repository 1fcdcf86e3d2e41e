"""What the agent of an emulated host publishes after a tick: what the real link makes its reports from."""

import random
from dataclasses import replace

from stella.bench.scale.fleet import (
    CAPABILITIES,
    CAPACITY_CPU_CORES,
    CPUS,
    MARGIN,
    ONE_CPU_CAPACITY_CORES,
    EmulatedHost,
    Guest,
)
from stella.control.cost import Prior
from stella.model.allocation import CpuAllocation, Decision, HostUsage, InstanceDecision, ObjectiveReport
from stella.model.attainment import Cause, Status
from stella.model.intent import IntentState, Mode, Standing
from stella.model.slo import Objective
from stella.model.snapshot import (
    DiskReading,
    HostReading,
    InstanceReading,
    LinkReading,
    RunState,
    SensorReading,
    Snapshot,
)
from stella.model.wire import Json
from stella.xgos.intents.source import CLOUD
from stella.xgos.local_api.agent_api import AgentCounters, Published

_LINK = LinkReading(name="tap0", tx_packets=1, tx_bytes=1, tx_drops=0, rx_packets=1, rx_bytes=1, rx_drops=0)
_DISK = DiskReading(
    name="vda", read_operations=1, read_bytes=1, read_seconds=0.0, write_operations=1, write_bytes=1, write_seconds=0.0
)


def publish(host: EmulatedHost, chance: random.Random, *, revision: int = 1) -> Published:
    """The host at one moment: usages are drawn by chance, one objective in fifty is missed. ``revision``: that of its intents."""
    snapshot = Snapshot(
        monotonic_seconds=0.0,
        wall_seconds=0.0,
        host=HostReading(
            cores=CPUS,
            busy_seconds=1.0,
            idle_seconds=1.0,
            softirq_seconds=0.0,
            steal_seconds=0.0,
            cgroup_version=2,
            cpus=tuple(range(CPUS)),
        ),
        instances=tuple(_reading(guest) for guest in host.guests),
        sensors=(SensorReading(name="hypervisor", ok=True, duration_seconds=0.001),),
        shut_off=(),
    )
    usage = HostUsage(
        cores=CPUS, busy_cores=9.0, instances_cores=8.0, overhead_cores=0.7, softirq_cores=0.1, steal_cores=0.0
    )
    guests = [guest for guest in host.guests if guest.terms]
    return Published(
        mode=Mode.ENFORCE,
        snapshot=snapshot,
        decision=Decision(
            monotonic_seconds=0.0,
            wall_seconds=0.0,
            host=replace(usage, overhead_cores=round(chance.uniform(0.5, 0.9), 3)),
            instances=tuple(_decision(guest, chance) for guest in host.guests),
            parent_weight_factor=None,
        ),
        outcomes=(),
        intents={},
        counters=AgentCounters(),
        capacity_cpu_cores=CAPACITY_CPU_CORES,
        host_reserved_cpu_cores=0.1,
        one_cpu_capacity_cores=ONE_CPU_CAPACITY_CORES,
        reservation_margin_ratio=MARGIN,
        costs={guest.uuid: _costs(guest) for guest in guests},
        standings={
            guest.uuid: Standing(uuid=guest.uuid, source=CLOUD, revision=revision, state=IntentState.ENFORCED)
            for guest in guests
        },
        capabilities=CAPABILITIES,
    )


def _reading(guest: Guest) -> InstanceReading:
    return InstanceReading(
        uuid=guest.uuid,
        name=guest.name,
        pid=1000,
        state=RunState.RUNNING,
        vcpus=guest.vcpus,
        iothreads=1,
        threads=None,
        links=(_LINK,),
        disks=(_DISK,),
        disks_monotonic_seconds=None,
        groups=None,
        project=guest.project,
    )


def _decision(guest: Guest, chance: random.Random) -> InstanceDecision:
    objectives = guest.terms.slo.objectives if guest.terms else ()
    return InstanceDecision(
        uuid=guest.uuid,
        name=guest.name,
        managed=bool(objectives),
        frozen=False,
        cpu=CpuAllocation(reservation_cores=0.0, allocation_cores=0.0, io_ratio=0.0),
        usage_cores=0.5,
        demand_cores=0.5,
        starved_ratio=0.0,
        objectives=tuple(_report(objective, chance) for objective in objectives),
        reason="",
    )


def _report(objective: Objective, chance: random.Random) -> ObjectiveReport:
    floor = objective.floor or 0.0
    missed = chance.random() < 0.02
    usage = floor * chance.uniform(0.5, 0.9 if missed else 1.5)
    return ObjectiveReport(
        metric=objective.metric,
        kind="floor",
        value=floor,
        usage=usage,
        demand=max(usage, floor * 1.1) if missed else usage,
        status=Status.VIOLATED if missed else Status.MET,
        cause=Cause.CPU if missed else None,
    )


def _costs(guest: Guest) -> Json:
    """Costs with a history, as an agent shows them."""
    found: dict[str, Json] = {}
    for objective in guest.terms.slo.objectives if guest.terms else ():
        vcpu, io = Prior().unit_costs(objective.metric, objective.unit_bytes)
        found[objective.metric.value] = {
            "unit_bytes": objective.unit_bytes,
            "vcpu_seconds_per_unit": vcpu,
            "io_seconds_per_unit": io,
            "history_seconds": 3600.0,
            "estimated": False,
        }
    return found
