"""The law for a shared back end, against a back end that serves first come, first served."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from stella.control.backend import BackendMemory, DiskClaim, divide_backend

MB = 1e6
TICK_SECONDS = 0.25
_BASE_SECONDS = 0.0005
_SETS_AFTER_TICKS = 1  # a cap takes effect a tick after it was decided


@dataclass(kw_only=True)
class Guest:
    """A load on the back end: ``outstanding`` bytes are always asked for, unless ``asks`` bounds the rate (bytes/s)."""

    uuid: str
    outstanding: float = 16 * 65536
    floor: float = 0.0
    target: float | None = None
    weight: float = 1.0
    priority: int = 0
    asks: float = float("inf")
    got: list[float] = field(default_factory=list)
    latency: list[float] = field(default_factory=list)


def served(capacity: float, guests: list[Guest], caps: dict[str, float]) -> dict[str, float]:
    """What a queue gives that serves in order of arrival: in proportion to what is outstanding, bounded by cap and demand."""
    bounds = {g.uuid: min(caps.get(g.uuid, float("inf")), g.asks) for g in guests}
    got = dict.fromkeys(bounds, 0.0)
    open_guests, left = list(guests), capacity
    while open_guests:
        whole = sum(g.outstanding for g in open_guests)
        full = [g for g in open_guests if bounds[g.uuid] <= left * g.outstanding / whole]
        for g in full or open_guests:
            got[g.uuid] = bounds[g.uuid] if full else left * g.outstanding / whole
        left -= sum(got[g.uuid] for g in full)
        open_guests = [g for g in open_guests if g not in full] if full else []
    return got


class Host:
    """Runs the law on the back end."""

    def __init__(self, guests: list[Guest], *, configured: float | None) -> None:
        self.guests, self.configured = guests, configured
        self.memory, self.now = BackendMemory(), 0.0
        self.caps: dict[str, float] = {}
        self.changes: list[float] = []

    def run(self, seconds: float, capacity: float, each: Callable[[float], None] | None = None) -> None:
        coming: list[dict[str, float]] = [dict(self.caps)] * _SETS_AFTER_TICKS
        for _ in range(round(seconds / TICK_SECONDS)):
            self.now += TICK_SECONDS
            if each:
                each(self.now)
            coming.append(dict(self.caps))
            in_force = coming.pop(0)
            got = served(capacity, self.guests, in_force)
            queue = sum(
                g.outstanding for g in self.guests if got[g.uuid] < min(in_force.get(g.uuid, 9e99), g.asks) * 0.999
            )
            busy = sum(got.values()) >= capacity * 0.999
            latency = _BASE_SECONDS + (queue / capacity if busy else 0.0)
            claims = []
            for g in self.guests:
                g.got.append(got[g.uuid])
                g.latency.append(latency)
                wants = got[g.uuid] < g.asks * 0.999
                claims.append(
                    DiskClaim(
                        uuid=g.uuid,
                        usage=got[g.uuid],
                        wants_more=wants,
                        floor=g.floor,
                        weight=g.weight,
                        priority=g.priority,
                        latency_seconds=latency if g.uuid not in in_force else None,
                        target_seconds=g.target,
                    )
                )
            caps, self.memory = divide_backend(
                claims, self.memory, configured=self.configured, now_seconds=self.now, seconds=TICK_SECONDS
            )
            if dict(caps) != self.caps:
                self.changes += [self.now] * len({u for u in {*caps, *self.caps} if caps.get(u) != self.caps.get(u)})
            self.caps = dict(caps)


def met(guest: Guest, after_seconds: float = 2.0) -> float:
    seen = guest.got[round(after_seconds / TICK_SECONDS) :]
    return sum(g >= 0.95 * guest.floor for g in seen) / len(seen)


def mean(values: list[float], last: int) -> float:
    return sum(values[-last:]) / last


@pytest.mark.parametrize("configured", [400 * MB, None])
def test_a_floor_is_kept_beside_two_hogs_and_the_rest_is_used(configured: float | None) -> None:
    promised = Guest(uuid="a", floor=250 * MB, asks=255 * MB)
    hogs = [Guest(uuid=u, outstanding=64 * 262144) for u in ("b", "c")]
    host = Host([promised, *hogs], configured=configured)
    host.run(60, 400 * MB)
    assert met(promised) >= 0.97
    assert sum(mean(h.got, 100) for h in hogs) >= 0.9 * 145 * MB
    assert abs(mean(hogs[0].got, 100) - mean(hogs[1].got, 100)) <= 0.05 * 72 * MB
    assert sum(1 for t in host.changes if t > 10) <= 6


def test_an_idle_floor_is_lent_and_is_back_at_once() -> None:
    promised = Guest(uuid="a", floor=250 * MB, asks=0.0)
    hog = Guest(uuid="b", outstanding=64 * 262144)
    host = Host([promised, hog], configured=400 * MB)
    host.run(20, 400 * MB)
    assert mean(hog.got, 40) >= 0.95 * 400 * MB
    promised.asks = float("inf")
    host.run(10, 400 * MB)
    assert min(promised.got[-34:]) >= 0.95 * promised.floor  # all but the first 1.5 s
    promised.asks = 0.0
    host.run(15, 400 * MB)
    assert mean(hog.got, 8) >= 0.95 * 400 * MB


@pytest.mark.parametrize("configured", [400 * MB, None])
def test_when_the_capacity_is_halved_the_higher_priority_keeps_its_floor(configured: float | None) -> None:
    high = Guest(uuid="a", floor=150 * MB, priority=2)
    low = Guest(uuid="b", floor=150 * MB, priority=1)
    hog = Guest(uuid="c", outstanding=64 * 262144)
    host = Host([high, low, hog], configured=configured)
    host.run(20, 400 * MB)
    assert met(high) >= 0.97 and met(low) >= 0.97
    high.got.clear()
    host.changes.clear()
    host.run(60, 200 * MB)
    assert met(high, 1.5) >= 0.98
    assert mean(low.got, 100) >= 30 * MB
    assert sum(1 for t in host.changes if t > 30) <= 6
    host.run(60, 400 * MB)
    assert mean(low.got, 40) >= 0.95 * low.floor  # found again


def test_weights_divide_what_there_is() -> None:
    guests = [Guest(uuid=u, weight=w, outstanding=o * MB) for u, w, o in (("a", 1, 8), ("b", 2, 2), ("c", 4, 4))]
    Host(guests, configured=None).run(40, 400 * MB)
    one = mean(guests[0].got, 40)
    assert mean(guests[1].got, 40) == pytest.approx(2 * one, rel=0.1)
    assert mean(guests[2].got, 40) == pytest.approx(4 * one, rel=0.1)
    assert sum(mean(g.got, 40) for g in guests) >= 0.9 * 400 * MB


def test_a_latency_target_is_kept_beside_a_deep_queue() -> None:
    promised = Guest(uuid="a", outstanding=65536, asks=40 * MB, target=2 * _BASE_SECONDS)
    hog = Guest(uuid="b", outstanding=64 * 65536)
    host = Host([promised, hog], configured=None)
    host.run(60, 400 * MB)
    seen = promised.latency[round(3 / TICK_SECONDS) :]
    assert sum(value <= promised.target for value in seen) >= 0.95 * len(seen)  # type: ignore[operator]
    assert mean(hog.got, 100) >= 0.5 * 360 * MB


def test_nobody_is_bounded_where_nothing_is_promised() -> None:
    host = Host([Guest(uuid="a"), Guest(uuid="b")], configured=400 * MB)
    host.run(10, 400 * MB)
    assert host.caps == {} and host.changes == []
