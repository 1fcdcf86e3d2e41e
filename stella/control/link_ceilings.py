"""Network ceilings: the limit of each direction of each link of an instance.

The kernel limits one direction of one tap. A ceiling on one direction of an instance with one link is that limit. Any other is spread
over both directions, or over several links, by what each asks for. The limits never add up to more than the ceiling:

    limit_i = share(ceiling, want)_i  +  an even part of what none of them wants,

by max-min (`stella.control.share`). A direction that reached its limit, or lost something to it, wants all there is; another wants its
use and some room to grow. So a load that moves to the other direction finds its limit there after a tick or two. Limits that still
serve are left as they are: each change fills a bucket anew.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stella.control.rates import InstanceRates, NetworkRates
from stella.control.share import Claim, share
from stella.control.uplink import Way
from stella.model.allocation import LinkAllocation
from stella.model.slo import Direction, Metric, Slo
from stella.model.snapshot import LinkLimit, LinkReading

_REACHED_RATIO = 0.9
_GROWTH_RATIO = 1.25
_SMALLEST_PART_RATIO = 0.01
_SLACK_RATIO, _MOST_SLACK_RATIO = 1.1, 2.5
_DEADBAND_RATIO = 0.02
_KINDS = {Metric.NETWORK_PACKETS: "packets", Metric.NETWORK_BYTES: "bytes"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One direction of one link, in packets/s or bytes/s: what got through, what limits dropped, and its limit (None: none yet)."""

    used: float
    dropped: float
    limit: float | None

    @property
    def is_held(self) -> bool:
        """Whether its limit keeps it from more. What was dropped may have been by a limit before this one, just raised."""
        return self.limit is not None and (self.dropped > 0 or self.used >= self.limit * _REACHED_RATIO)

    def wants(self, ceiling: float) -> float:
        """What it wants: all, while it is held; else use and room to grow, which stays while it serves."""
        if self.is_held:
            return ceiling
        least = self.used * _SLACK_RATIO + ceiling * _SMALLEST_PART_RATIO / 2
        if self.limit is not None and least <= self.limit <= least * _MOST_SLACK_RATIO:
            return self.limit
        return min(ceiling, self.used * _GROWTH_RATIO + ceiling * _SMALLEST_PART_RATIO)


def spread(ceiling: float, parts: Sequence[Part]) -> tuple[float, ...]:
    """The limit of each part, each above 0; their sum is the ceiling, or what they are now where that still serves."""
    if len(parts) == 1:
        return (ceiling,)
    smallest = ceiling * _SMALLEST_PART_RATIO
    claims = [Claim(floor=min(smallest, ceiling / len(parts)), demand=part.wants(ceiling)) for part in parts]
    granted = [grant.total for grant in share(ceiling, claims)]
    even = max(0.0, ceiling - sum(granted)) / len(parts)
    wanted = [one + even for one in granted]
    now = [part.limit for part in parts if part.limit is not None]
    serves = len(now) == len(parts) and (1.0 - _DEADBAND_RATIO) * ceiling <= sum(now) <= ceiling
    if serves and all(abs(new - old) <= _DEADBAND_RATIO * old for new, old in zip(wanted, now, strict=True)):
        return tuple(now)
    return tuple(wanted)


def allocations(
    slo: Slo | None,
    links: Sequence[LinkReading] | None,
    rates: InstanceRates | None,
    shares: Mapping[Way, float] | None = None,
) -> tuple[LinkAllocation, ...]:
    """Each direction of each link that is to be limited, in whole packets/s and bytes/s; a limit is never below 1.

    ``shares``: what the instance may send or receive while uplinks are full (`stella.control.uplink`).
    """
    asked: dict[tuple[str, str], dict[str, float]] = {}
    for metric, kind in _KINDS.items():
        objective = slo.objective(metric) if slo else None
        if objective is None or objective.ceiling is None:
            continue
        ways = ("tx", "rx") if objective.direction is Direction.BOTH else (objective.direction.value,)
        for key, limit in _spread(objective.ceiling, ways, kind, links, rates).items():
            asked.setdefault(key, {})[kind] = limit
    limits = {key: dict(one) for key, one in asked.items()}
    for way, part in (shares or {}).items():
        behind = [link for link in links or () if link.uplink == way.uplink]
        for key, limit in _spread(part, (way.direction,), way.kind, behind, rates).items():
            known = limits.setdefault(key, {})
            known[way.kind] = min(limit, known.get(way.kind, limit))
    return tuple(
        LinkAllocation(device=d, direction=way, limit=LinkLimit(**one), ceiling=LinkLimit(**asked.get((d, way), {})))
        for (d, way), one in sorted(limits.items())
    )


def _spread(
    total: float, ways: Sequence[str], kind: str, links: Sequence[LinkReading] | None, rates: InstanceRates | None
) -> dict[tuple[str, str], float]:
    at = [(link, way) for link in links or () for way in ways if f"{way}_{kind}" not in dict(link.unlimited_because)]
    parts = [_part(link, way, kind, rates) for link, way in at]
    found = spread(total, parts) if parts else ()
    return {(link.name, way): float(max(1, int(limit + 1e-6))) for (link, way), limit in zip(at, found, strict=True)}


def _part(link: LinkReading, way: str, kind: str, rates: InstanceRates | None) -> Part:
    seen: NetworkRates | None = rates.links.get(link.name) if rates else None
    return Part(
        used=getattr(seen, f"{way}_{kind}") if seen else 0.0,
        dropped=getattr(seen, f"{way}_limited_{kind}") if seen else 0.0,
        limit=getattr(link.limit(way), kind),
    )
