"""Limits from outside Stella, which cap an instance whatever its SLO says: a flavor's ``quota:*``, QoS of Neutron and of Cinder.

Their units and meaning are those of the code that applies them (Nova 34, Neutron 29, Cinder, libvirt, QEMU):

================================= ============================ ==========================================================
limit                             its unit                     what it caps
================================= ============================ ==========================================================
``quota:cpu_quota``               microseconds per period      each vCPU: they add up over the flavor's vCPUs
``quota:vif_*_average``           1000 bytes/s                 each NIC; inbound is what the guest receives
``quota:disk_*_bytes_sec``        bytes/s                      each disk that is no volume
``quota:disk_*_iops_sec``         requests/s                   each disk that is no volume
Neutron's ``bandwidth_limit``     1000 bit/s                   one port; egress is what the guest sends
Neutron's ``packet_rate_limit``   1000 packets/s               one port
Cinder's ``*_bytes_sec``          bytes/s                      one volume, where the front end (QEMU) applies it
Cinder's ``*_iops_sec``           requests/s                   one volume, likewise
================================= ============================ ==========================================================

What bursts allow beyond it is left out: a floor is for as long as it is asked for.

**Operations.** QEMU counts requests of any size, unless ``size_iops_sec`` says of which size one counts. Stella counts a request above
16 KiB as several, and a floor is of operations of that size. So what the limit leaves of these is compared: with ``size_iops_sec``
of 4 KiB a quarter, without it all.

**Several devices.** A floor is of the instance, over all of its NICs or disks and, without a direction, both ways together. Limits of
its devices and directions add up to what can be reached at all; a device or a way without a limit leaves the sum open.
"""

import enum
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from stella.model import units, wire
from stella.model.slo import Direction, Metric, Objective, Slo


class Source(enum.StrEnum):
    """Whose limit it is."""

    FLAVOR = "flavor"
    NEUTRON = "neutron"
    CINDER = "cinder"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """One cap. ``value`` is in the metric's base unit, ``name`` as its source calls it, ``direction`` as the guest sees it.

    ``device`` is the NIC or disk that is capped, of ``devices`` that the instance has; empty: all of them, or the CPU of the instance.
    ``is_floor``: a minimum that Neutron keeps. It is shown and never compared.
    """

    source: Source
    name: str
    metric: Metric
    direction: Direction
    value: float
    device: str = ""
    devices: int = 1
    is_floor: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Contradiction:
    """A floor above a limit. ``reach`` is the most that all limits together leave the instance, perhaps infinite."""

    metric: Metric
    floor: float
    limit: Limit
    reach: float

    @property
    def is_reachable(self) -> bool:
        """Whether other devices or the other direction could still make up for it."""
        return _at_most(self.floor, self.reach)

    @property
    def field(self) -> str:
        """The key of the SLO."""
        return f"{self.metric.value}.floor"

    @property
    def message(self) -> str:
        """What is wrong, in one line."""
        limit, unit = self.limit, self.metric.unit
        way = "" if limit.direction is Direction.BOTH else f" {limit.direction.value}"
        where = f" on {limit.device}" if limit.device else ""
        text = (
            f"{units.show(self.floor, unit)} is above the limit {limit.name} of {_OWNERS[limit.source]}, "
            f"{units.show(limit.value, unit)}{way}{where}"
        )
        return f"{text}; only other devices or the other direction can make up for it" if self.is_reachable else text


_OWNERS = {Source.FLAVOR: "its flavor", Source.NEUTRON: "Neutron", Source.CINDER: "Cinder"}
_TOLERANCE_RATIO = 1e-9
_WAYS = {"network": (Direction.TX, Direction.RX), "block": (Direction.READ, Direction.WRITE), "cpu": (Direction.BOTH,)}


def contradictions(slo: Slo, limits: Iterable[Limit]) -> list[Contradiction]:
    """Each limit below a floor that it touches, in the order of the SLO's metrics and then the smallest limit first."""
    found = []
    for objective in slo.objectives:
        relevant = [one for one in limits if one.metric is objective.metric and _touches(one, objective)]
        if objective.floor is None or not relevant:
            continue
        most = reach(objective, relevant)
        found += [
            Contradiction(metric=objective.metric, floor=objective.floor, limit=one, reach=most)
            for one in sorted(relevant, key=lambda limit: limit.value)
            if not _at_most(objective.floor, one.value)
        ]
    return found


def _touches(limit: Limit, objective: Objective) -> bool:
    both = Direction.BOTH in (limit.direction, objective.direction)
    return not limit.is_floor and (both or limit.direction is objective.direction)


def _at_most(value: float, limit: float) -> bool:
    return value <= limit * (1 + _TOLERANCE_RATIO)


def reach(objective: Objective, limits: Sequence[Limit]) -> float:
    """The most that ``limits``, which all touch ``objective``, leave the instance; infinite where a device has none."""
    by_device: dict[str, list[Limit]] = defaultdict(list)
    for one in limits:
        by_device[one.device].append(one)
    shared = _least(objective, by_device.pop("", []))
    own = [_least(objective, found) for found in by_device.values()]
    if len(own) < max(one.devices for one in limits):
        own.append(math.inf)
    return min(shared, sum(own))


def _least(objective: Objective, limits: Sequence[Limit]) -> float:
    """What the limits of one device leave in the objective's direction, or both ways together."""

    def least(direction: Direction) -> float:
        return min((one.value for one in limits if one.direction is direction), default=math.inf)

    ways = _WAYS[objective.metric.resource] if objective.direction is Direction.BOTH else (objective.direction,)
    return min(least(Direction.BOTH), sum(least(way) for way in ways))


_CPU_QUOTA, _CPU_PERIOD = "quota:cpu_quota", "quota:cpu_period"
_DEFAULT_PERIOD_MICROSECONDS = 100_000
_VIF_WAYS = {"inbound": Direction.RX, "outbound": Direction.TX}
_BLOCK_WAYS = {"read": Direction.READ, "write": Direction.WRITE, "total": Direction.BOTH}
_BLOCK_METRICS = {"bytes": Metric.BLOCK_BYTES, "iops": Metric.BLOCK_OPERATIONS}
_BLOCK_KEYS = {
    f"{way}_{kind}_sec": (metric, direction)
    for kind, metric in _BLOCK_METRICS.items()
    for way, direction in _BLOCK_WAYS.items()
}
_OPERATION_BYTES = 16 * 1024
_KILO = 1000
_BYTES_PER_KILOBIT = 125


def of_flavor(
    extra_specs: Mapping[str, object],
    *,
    vcpus: int,
    nics: Sequence[str] = ("",),
    disks: Sequence[str] = ("",),
    volumes: int = 0,
) -> list[Limit]:
    """The limits that a flavor with ``vcpus`` sets by its extra specs.

    ``nics`` and ``disks`` name the instance's; without them they are of an instance with one of each. ``volumes``, which the flavor
    does not limit, are disks too. What is no positive number is no limit: Nova lets no such thing pass, or takes it as none.
    """
    found = []
    quota = _positive(extra_specs.get(_CPU_QUOTA))
    if quota:
        period = _positive(extra_specs.get(_CPU_PERIOD)) or _DEFAULT_PERIOD_MICROSECONDS
        value = vcpus * quota / period
        found.append(
            Limit(source=Source.FLAVOR, name=_CPU_QUOTA, metric=Metric.CPU, direction=Direction.BOTH, value=value)
        )
    for way, direction in _VIF_WAYS.items():
        name = f"quota:vif_{way}_average"
        value = _positive(extra_specs.get(name)) * _KILO
        found += _of_each(nics, len(nics), name, Metric.NETWORK_BYTES, direction, value)
    for key, (metric, direction) in _BLOCK_KEYS.items():
        name = f"quota:disk_{key}"
        found += _of_each(disks, len(disks) + volumes, name, metric, direction, _positive(extra_specs.get(name)))
    return found


def _of_each(
    names: Sequence[str], devices: int, name: str, metric: Metric, direction: Direction, value: float
) -> list[Limit]:
    return [
        Limit(
            source=Source.FLAVOR,
            name=name,
            metric=metric,
            direction=direction,
            value=value,
            device=device,
            devices=devices,
        )
        for device in names
        if value > 0
    ]


_NEUTRON_WAYS = {"egress": Direction.TX, "ingress": Direction.RX, "any": Direction.BOTH}
_NEUTRON_RULES: Mapping[str, tuple[str, Metric, float, bool]] = {
    "bandwidth_limit": ("max_kbps", Metric.NETWORK_BYTES, _BYTES_PER_KILOBIT, False),
    "packet_rate_limit": ("max_kpps", Metric.NETWORK_PACKETS, _KILO, False),
    "minimum_bandwidth": ("min_kbps", Metric.NETWORK_BYTES, _BYTES_PER_KILOBIT, True),
    "minimum_packet_rate": ("min_kpps", Metric.NETWORK_PACKETS, _KILO, True),
}


def of_port(rules: Iterable[Mapping[str, object]], *, device: str, nics: int) -> list[Limit]:
    """The limits of a port to which a QoS policy of Neutron with these rules applies. Other kinds of rules are none."""
    found = []
    for rule in rules:
        kind = str(rule.get("type"))
        key, metric, factor, is_floor = _NEUTRON_RULES.get(kind, ("", Metric.NETWORK_BYTES, 0.0, False))
        direction = _NEUTRON_WAYS.get(str(rule.get("direction", "egress")))
        value = _positive(rule.get(key)) * factor
        if value > 0 and direction is not None:
            found.append(
                Limit(
                    source=Source.NEUTRON,
                    name=kind,
                    metric=metric,
                    direction=direction,
                    value=value,
                    device=device,
                    devices=nics,
                    is_floor=is_floor,
                )
            )
    return found


def of_volume(specs: Mapping[str, object], *, size_gb: int, device: str, disks: int) -> list[Limit]:
    """The limits of a volume of ``size_gb`` GiB whose type has QoS specs of Cinder with these keys, for the front end.

    ``*_per_gb`` is multiplied by the size, is at least ``*_per_gb_min`` and at most ``*_max``, as cinder-volume does.
    """
    found = []
    counted = _positive(specs.get("size_iops_sec"))
    for key, (metric, direction) in _BLOCK_KEYS.items():
        name, value = key, _positive(specs.get(key))
        per_gb = _positive(specs.get(f"{key}_per_gb"))
        if per_gb:
            name = f"{key}_per_gb"
            value = max(per_gb * size_gb, _positive(specs.get(f"{key}_per_gb_min")))
            value = min(value, _positive(specs.get(f"{key}_max")) or math.inf)
        if metric is Metric.BLOCK_OPERATIONS and counted:
            value /= max(1.0, _OPERATION_BYTES / counted)
        if value > 0:
            found.append(
                Limit(
                    source=Source.CINDER,
                    name=name,
                    metric=metric,
                    direction=direction,
                    value=value,
                    device=device,
                    devices=disks,
                )
            )
    return found


def _positive(value: object) -> float:
    """The number, where it is one above 0 and finite; else 0."""
    try:
        number = float(str(value))
    except ValueError:
        return 0.0
    return number if math.isfinite(number) and number > 0 else 0.0


MOST_OF_A_METRIC = 50
"""So many limits of a metric are kept, the smallest: the column in the database holds 64 KiB of text."""


def to_text(limits: Iterable[Limit]) -> str:
    """One line of JSON, the same for the same limits in any order. Of more than `MOST_OF_A_METRIC` the largest are left out."""
    by_metric: dict[Metric, list[Limit]] = defaultdict(list)
    for one in sorted(limits, key=lambda one: (one.value, one.source, one.name, one.device, one.direction)):
        by_metric[one.metric].append(one)
    return wire.dumps([one for metric in Metric for one in by_metric[metric][:MOST_OF_A_METRIC]])


def from_text(text: str) -> tuple[Limit, ...]:
    """What `to_text` wrote; what this release does not know is left out."""
    found: list[Limit] = []
    entries = wire.parse(text)
    for entry in entries if isinstance(entries, list) else []:
        try:
            found.append(wire.decode(Limit, entry))
        except wire.InvalidWire:
            continue
    return tuple(found)
