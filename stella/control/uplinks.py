"""The uplinks of a host, each divided on its own by the law of `stella.control.uplink`: each direction, in bytes and in packets.

What comes in has passed the uplink already when the host sees it. It is divided all the same: senders that slow down when packets are
lost or late (TCP) leave the uplink to the floors, and packets dropped at a tap cost the host no further CPU. Against a sender that
does not slow down nothing on this host helps, and what the uplink dropped of a floor's packets cannot be seen (`overrun`).
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from stella.control.instance_state import InstanceState
from stella.control.rates import InstanceRates
from stella.control.uplink import Sender, UplinkState, Way, divide, passed_ratio
from stella.model.slo import Direction, Metric, Objective, Slo
from stella.model.snapshot import HostReading, InstanceReading, LinkReading, Snapshot

METRICS = {"bytes": Metric.NETWORK_BYTES, "packets": Metric.NETWORK_PACKETS}
_OTHER_WAY = {"tx": Direction.RX, "rx": Direction.TX}
_OVERRUN_RATIO = 0.97
_LARGEST_FRAME_BYTES = 1514.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What the uplink carried one way, and what passed the links of all instances behind it, in the unit of the way."""

    used: float
    through: float


def ways(host: HostReading) -> tuple[Way, ...]:
    """All that is bounded of this host's uplinks."""
    return tuple(
        Way(uplink.name, direction, kind)
        for uplink in host.uplinks
        for direction in ("tx", "rx")
        for kind in ("bytes", "packets")
        if uplink.capacity_of(kind) is not None
    )


def traffic(before: Snapshot, now: Snapshot) -> Mapping[Way, Traffic]:
    """The rates of each uplink between two snapshots; empty for one that was not there before."""
    seconds = now.monotonic_seconds - before.monotonic_seconds
    old = {uplink.name: uplink for uplink in before.host.uplinks}
    known = [way for way in ways(now.host) if way.uplink in old]
    if seconds <= 0 or not known:
        return {}
    new = {uplink.name: uplink for uplink in now.host.uplinks}
    earlier = {(i.uuid, link.name): link for i in before.instances for link in i.links or ()}
    behind: dict[str, list[tuple[LinkReading, LinkReading]]] = {name: [] for name in new}
    for instance in now.instances:
        for link in instance.links or ():
            first = earlier.get((instance.uuid, link.name))
            if first is not None and link.uplink in behind:
                behind[link.uplink].append((first, link))
    found = {}
    for way in known:
        counter = f"{way.direction}_{way.kind}"
        used = max(0, getattr(new[way.uplink], counter) - getattr(old[way.uplink], counter))
        through = sum(max(0, getattr(last, counter) - getattr(first, counter)) for first, last in behind[way.uplink])
        found[way] = Traffic(used=used / seconds, through=through / seconds)
    return found


def carried_ratios(host: HostReading, seen: Mapping[Way, Traffic]) -> Mapping[str, float]:
    """By uplink, the part of what instances sent that it carried."""
    found: dict[str, float] = {}
    for way, rate in seen.items():
        if way.direction == "tx":
            ratio = passed_ratio(_capacity(host, way), rate.used, rate.through)
            found[way.uplink] = min(ratio, found.get(way.uplink, 1.0))
    return found


def overrun(host: HostReading, seen: Mapping[Way, Traffic]) -> frozenset[str]:
    """The uplinks that received all they can carry: what was lost before them is not known."""
    return frozenset(
        way.uplink
        for way, rate in seen.items()
        if way.direction == "rx" and rate.used >= _capacity(host, way) * _OVERRUN_RATIO
    )


def divided(
    states: Sequence[InstanceState], now: Snapshot, seen: Mapping[Way, Traffic], before: Mapping[Way, UplinkState]
) -> Mapping[Way, UplinkState]:
    """The shares of each way that is full; none of one that no instance has a claim on, or where nothing can be limited."""
    lacks = dict(now.host.link_limits_lack or ())
    found = {}
    for way in ways(now.host):
        if now.host.link_limits_lack is None or way.kind in lacks or way not in seen:
            continue
        state = before.get(way, UplinkState())
        senders = [s for one in states if not one.frozen and (s := _sender(one, way, state)) is not None]
        if any(s.floor > 0 or s.weight != 1.0 for s in senders):
            shares = divide(
                _capacity(now.host, way),
                seen[way].used,
                senders,
                state,
                now.monotonic_seconds,
                receives=way.direction == "rx",
            )
            if shares != UplinkState():
                found[way] = shares
    return found


def shares_of(uuid: str, shares: Mapping[Way, UplinkState]) -> Mapping[Way, float]:
    """What one instance is limited to, of each way that it is limited on."""
    return {way: state.limits[uuid] for way, state in shares.items() if uuid in state.limits}


def said(way: Way, share: float, rates: InstanceRates | None) -> str:
    """Why an instance is limited, for people."""
    verb = "send" if way.direction == "tx" else "receive"
    text = f"may {verb} {share:.0f} {way.kind}/s: the uplink {way.uplink} is full"
    if way.direction == "rx" and rates is not None and rates.network is not None:
        lost = getattr(rates.network, f"rx_limited_{way.kind}")
        if lost > share / 2:
            text += ", and what sends to it does not slow down"
    return text


def uplinks_of(reading: InstanceReading) -> frozenset[str]:
    """Those that its links reach."""
    return frozenset(link.uplink for link in reading.links or () if link.uplink)


def floors_of(slo: Slo, direction: str, kind: str, packet_bytes: float = 0.0) -> Mapping[Metric, float]:
    """The floors of one direction in ``bytes`` or ``packets`` a second; a floor of both directions may go one way whole.

    A floor in packets is for packets of ``packet_bytes``, at least of the size that it names. One in bytes is for packets of that size
    (of the largest frame where it is not known).
    """
    found = {}
    for named, metric in METRICS.items():
        objective = slo.objective(metric)
        if objective is None or objective.floor is None or objective.direction is _OTHER_WAY[direction]:
            continue
        found[metric] = objective.floor
        if named != kind and kind == "bytes":
            found[metric] *= max(packet_bytes, objective.unit_bytes)
        elif named != kind:
            found[metric] /= packet_bytes or _LARGEST_FRAME_BYTES
    return found


def floor_of(slo: Slo, direction: str, kind: str, packet_bytes: float = 0.0) -> float:
    """The largest of `floors_of`: what meets it meets all."""
    return max(floors_of(slo, direction, kind, packet_bytes).values(), default=0.0)


def _capacity(host: HostReading, way: Way) -> float:
    return next((u.capacity_of(way.kind) or math.inf for u in host.uplinks if u.name == way.uplink), math.inf)


def _sender(state: InstanceState, way: Way, before: UplinkState) -> Sender | None:
    """Its claim on one way of an uplink; None while its traffic is not known, or cannot be limited."""
    links = [link for link in state.reading.links or () if link.uplink == way.uplink]
    rates = state.rates.links if state.rates else {}
    counter = f"{way.direction}_{way.kind}"
    if not links or any(link.name not in rates or counter in dict(link.unlimited_because) for link in links):
        return None
    slo = state.intent.slo if state.intent else None
    through = sum(getattr(rates[link.name], counter) for link in links)
    dropped = sum(getattr(rates[link.name], f"{way.direction}_limited_{way.kind}") for link in links)
    objectives = [o for o in slo.objectives if o.metric.resource == "network"] if slo else []
    return Sender(
        uuid=state.reading.uuid,
        offered=through + dropped,
        through=through,
        floor=floor_of(slo, way.direction, way.kind, _packet_bytes(state, way.direction, links)) if slo else 0.0,
        weight=max((o.weight for o in objectives if o.weight is not None), default=1.0),
        priority=max((o.priority for o in objectives), default=0),
        ceiling=min((o.ceiling for o in objectives if o.ceiling and _caps(o, way)), default=math.inf),
        limit=before.limits.get(state.reading.uuid),
        kept=before.kept.get(state.reading.uuid),
    )


def _caps(objective: Objective, way: Way) -> bool:
    return objective.metric is METRICS[way.kind] and objective.direction is not _OTHER_WAY[way.direction]


def _packet_bytes(state: InstanceState, direction: str, links: Collection[LinkReading]) -> float:
    """The mean size of what passes these links one way, limits included."""
    rates = state.rates.links if state.rates else {}
    octets, packets = (
        sum(
            getattr(rates[link.name], f"{direction}_{kind}") + getattr(rates[link.name], f"{direction}_limited_{kind}")
            for link in links
        )
        for kind in ("bytes", "packets")
    )
    return octets / packets if packets > 0 else 0.0
