"""What a host can enforce, and for what it cannot, why: an objective that nothing enforces is never accepted."""

import enum
from collections.abc import Mapping, Sequence

from stella.model.slo import Direction, Metric, Objective, Slo
from stella.model.snapshot import DiskReading, HostReading, LinkReading


class Capability(enum.StrEnum):
    """What a host may be able to enforce. The names are stable: they are part of the API."""

    CPU_FLOOR = "cpu_floor"
    CPU_CEILING = "cpu_ceiling"
    CPU_WEIGHT = "cpu_weight"
    CPU_PLACEMENT = "cpu_placement"
    NETWORK_PACKETS_FLOOR = "network_packets_floor"
    NETWORK_PACKETS_CEILING = "network_packets_ceiling"
    NETWORK_PACKETS_WEIGHT = "network_packets_weight"
    NETWORK_BYTES_FLOOR = "network_bytes_floor"
    NETWORK_BYTES_CEILING = "network_bytes_ceiling"
    NETWORK_BYTES_WEIGHT = "network_bytes_weight"
    NETWORK_RECEIVED_FLOOR = "network_received_floor"
    BLOCK_BYTES_FLOOR = "block_bytes_floor"
    BLOCK_BYTES_CEILING = "block_bytes_ceiling"
    BLOCK_BYTES_WEIGHT = "block_bytes_weight"
    BLOCK_OPERATIONS_FLOOR = "block_operations_floor"
    BLOCK_OPERATIONS_CEILING = "block_operations_ceiling"
    BLOCK_OPERATIONS_WEIGHT = "block_operations_weight"
    BLOCK_LATENCY_TARGET = "block_latency_target"


_NO_CPU_GROUPS = "this host has no CPU control group hierarchy that xgos can use"
_NO_QUOTA = "the CPU control groups of this host have no quota (cpu.max or cpu.cfs_quota_us)"
_NO_LINK_LIMITS = "this host cannot limit network traffic: "
_NOT_TRIED = "it was not tried here"
_NO_CPUSET = "this host has no cpuset control group hierarchy, so weights are less exact while it is full"


_NO_UPLINK = "this host shares no uplink: "
_NO_LINK_UPLINK = "the uplink of its link {link} is not known: "
_RECEIVED = (
    "what comes in has passed the uplink before this host can hold it back: beside senders that do not slow down (UDP floods) "
    "a floor of what an instance receives is kept only while the uplink is not full"
)
_NO_THROTTLES = "this host cannot limit disk traffic: "
_NO_BACKEND = "this host shares no back end of disks: block_backends is not set"
_DISK_CEILINGS = (Capability.BLOCK_BYTES_CEILING, Capability.BLOCK_OPERATIONS_CEILING)
_BACKEND_SHARES = (Capability.BLOCK_BYTES_WEIGHT, Capability.BLOCK_OPERATIONS_WEIGHT, Capability.BLOCK_LATENCY_TARGET)
_UPLINK_SHARES = (Capability.NETWORK_PACKETS_WEIGHT, Capability.NETWORK_BYTES_WEIGHT)
_LINK_LIMITS = {Capability.NETWORK_PACKETS_CEILING: "packets", Capability.NETWORK_BYTES_CEILING: "bytes"}


def _link_limits(host: HostReading, kind: str) -> str:
    """Why links cannot be limited in ``packets`` or ``bytes``."""
    lacks = {kind: _NOT_TRIED} if host.link_limits_lack is None else dict(host.link_limits_lack)
    return f"{_NO_LINK_LIMITS}{lacks[kind]}" if kind in lacks else ""


def _uplink_shares(host: HostReading) -> str:
    """Why no uplink can be divided."""
    return _link_limits(host, "bytes") or ("" if host.uplinks else f"{_NO_UPLINK}{host.uplink_lack}")


def of(metric: Metric, kind: str) -> Capability:
    """The capability that an objective of ``kind`` (``floor``, ``ceiling``, ``weight`` or ``target``) needs."""
    return Capability(f"{metric.value}_{kind}")


def capabilities(host: HostReading, *, quota: bool = True) -> Mapping[str, str]:
    """Every capability by name: an empty text where this host has it, else the reason why not, in one sentence.

    ``quota``: whether the CPU groups have a quota knob. Floors for network and disks are enforced by the CPU that their I/O needs, so
    they need what a CPU floor needs. Without placement everything else is available. ``network_received_floor`` is against any sender
    outside, which no host has: it is told, and a floor that an SLO asks for does not need it.
    """
    groups = "" if host.cgroup_version in (1, 2) and host.cgroup_mount else _NO_CPU_GROUPS
    found: dict[str, str] = {}
    for capability in Capability:
        if capability is Capability.CPU_CEILING:
            reason = groups or ("" if quota else _NO_QUOTA)
        elif capability is Capability.CPU_PLACEMENT:
            reason = groups or ("" if host.cpuset_mount else _NO_CPUSET)
        elif capability in _LINK_LIMITS:
            reason = _link_limits(host, _LINK_LIMITS[capability])
        elif capability in _UPLINK_SHARES:
            reason = _uplink_shares(host)
        elif capability is Capability.NETWORK_RECEIVED_FLOOR:
            reason = groups or _uplink_shares(host) or _RECEIVED
        elif capability in (*_DISK_CEILINGS, *_BACKEND_SHARES):
            reason = f"{_NO_THROTTLES}{host.throttles_lack}" if host.throttles_lack else ""
            if not reason and capability in _BACKEND_SHARES and not host.block_backends:
                reason = _NO_BACKEND
        else:
            reason = groups
        found[capability.value] = reason
    return found


def unlimited_disk(slo: Slo, disks: Sequence[DiskReading] | None) -> tuple[str, str, str] | None:
    """(field, capability, reason) of the first block objective that cannot act on the disks of this instance; None when all can."""
    for objective in slo.objectives:
        if objective.metric.resource != "block":
            continue
        for kind in _kinds(objective):
            why = _disk_lack(kind, disks)
            if why:
                return f"{objective.metric.value}.{kind}", of(objective.metric, kind).value, why
    return None


def _disk_lack(kind: str, disks: Sequence[DiskReading] | None) -> str:
    if kind == "floor" or not disks:
        return ""
    bad = next((disk for disk in disks if disk.unlimited_because), None)
    if bad is not None:
        return f"its disk {bad.name} cannot be limited: {bad.unlimited_because}"
    shared = kind == "ceiling" or any(disk.backend for disk in disks)
    return "" if shared else "none of its disks is on a back end that block_backends names"


def _kinds(objective: Objective) -> list[str]:
    """What an objective asks to be enforced."""
    return [kind for kind in ("floor", "ceiling", "weight", "target") if getattr(objective, kind) is not None]


def unlimited_link(slo: Slo, links: Sequence[LinkReading] | None) -> tuple[str, str, str] | None:
    """(field, capability, reason) of the first ceiling or weight that cannot act on a link of this instance; None when all can.

    A weight acts by limiting bytes, and only where the link's uplink is known. A floor acts on the links of others.
    """
    for objective in slo.objectives:
        if objective.metric.resource != "network":
            continue
        ways = ("tx", "rx") if objective.direction is Direction.BOTH else (objective.direction.value,)
        for asked, part in (("ceiling", objective.metric.value.removeprefix("network_")), ("weight", "bytes")):
            if getattr(objective, asked) is None:
                continue
            for link in links or ():
                because = dict(link.unlimited_because)
                why = next((because[f"{way}_{part}"] for way in ways if f"{way}_{part}" in because), "")
                if why:
                    why = f"its link {link.name} cannot be limited: {why}"
                elif asked == "weight" and not link.uplink:
                    why = f"{_NO_LINK_UPLINK.format(link=link.name)}{link.uplink_lack}"
                if why:
                    return f"{objective.metric.value}.{asked}", of(objective.metric, asked).value, why
    return None


def receiving_note(slo: Slo, available: Mapping[str, str]) -> str:
    """What a host cannot do for floors of what an instance receives; empty for an SLO without any. ``available``: see `missing`."""
    floors = [o for o in slo.objectives if o.metric.resource == "network" and o.floor is not None]
    receives = any(o.direction is not Direction.TX for o in floors)
    return available.get(Capability.NETWORK_RECEIVED_FLOOR.value, "") if receives else ""


def missing(slo: Slo, available: Mapping[str, str]) -> tuple[str, str, str] | None:
    """(field, capability, reason) of the first objective that this host cannot enforce; None when it can enforce all.

    ``available`` is what `capabilities` returned; a capability that it does not name is missing.
    """
    for objective in slo.objectives:
        for kind in _kinds(objective):
            capability = of(objective.metric, kind).value
            reason = available.get(capability, "this host does not report it")
            if reason:
                return f"{objective.metric.value}.{kind}", capability, reason
    return None
