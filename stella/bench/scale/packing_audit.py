"""What the packing figure judges by: pure functions of what Placement, Stella and the scheduler's log said."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from stella.bench.scale.timings import MILLISECONDS

_TOOK = re.compile(r"Stella: (filter|weigher), \d+ of \d+ hosts left, took ([0-9.]+) ms for instance ([0-9a-f-]{36})")
_TOLERANCE_CORES = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """One host's provider in Placement at one moment: by resource class what may be used, and what is."""

    host: str
    room: Mapping[str, int]
    used: Mapping[str, int]

    @property
    def over(self) -> Mapping[str, int]:
        """How much more is used than may be, by class; nothing where all is well."""
        return {
            name: used - self.room.get(name, 0) for name, used in self.used.items() if used > self.room.get(name, 0)
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """What Stella says of a host, in cores."""

    host: str
    capacity_cores: float
    reserved_cores: float

    @property
    def is_over(self) -> bool:
        """Whether more is reserved than the host has."""
        return self.reserved_cores > self.capacity_cores + _TOLERANCE_CORES


def overbooked(ledgers: Iterable[Ledger], hosts: Iterable[Host]) -> list[str]:
    """A line for each host that holds more than it has."""
    found = [f"{one.host}: {dict(one.over)} too much in Placement" for one in ledgers if one.over]
    return found + [
        f"{one.host}: {one.reserved_cores:.3f} of {one.capacity_cores:.3f} cores reserved"
        for one in hosts
        if one.is_over
    ]


def differing(ledgers: Iterable[Ledger], allocated: Mapping[str, Mapping[str, int]]) -> list[str]:
    """A line for each host whose use in Placement is not the sum of its allocations; ``allocated`` is that by host."""
    return [
        f"{one.host}: {dict(one.used)} used, {dict(allocated.get(one.host, {}))} allocated"
        for one in ledgers
        if {k: v for k, v in one.used.items() if v} != {k: v for k, v in allocated.get(one.host, {}).items() if v}
    ]


def with_room(in_placement: Iterable[str], in_stella: Mapping[str, bool]) -> list[str]:
    """The hosts that both would have taken: room in all that Placement counts, and by what Stella says."""
    return sorted(host for host in set(in_placement) if in_stella.get(host, False))


def added_seconds(lines: Iterable[str]) -> Mapping[str, float]:
    """What filter and weigher added to the scheduling of each instance, by uuid, from the scheduler's log.

    An instance that is scheduled more than once (it was claimed by another in the meantime) counts with the dearest part of each.
    """
    parts: dict[tuple[str, str], float] = {}
    for line in lines:
        found = _TOOK.search(line)
        if found:
            key = (found[3], found[1])
            parts[key] = max(parts.get(key, 0.0), float(found[2]) / MILLISECONDS)
    added: dict[str, float] = {}
    for (uuid, _), seconds in parts.items():
        added[uuid] = added.get(uuid, 0.0) + seconds
    return added


def mixture(names: Sequence[str], count: int) -> list[str]:
    """``count`` flavors, each in turn: the large ones keep coming when only small ones still fit."""
    return [names[number % len(names)] for number in range(count)]
