"""What must hold of every division of a full uplink, and how it settles in closed loop."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stella.control.uplink import USABLE_RATIO, Sender, UplinkState, divide, passed_ratio
from stella.control.uplinks import floor_of
from stella.model.slo import parse_slo

MBIT = 125_000.0
CAPACITY = 200 * MBIT
amounts = st.floats(0, 400 * MBIT)
senders = st.lists(
    st.tuples(
        amounts, amounts, st.floats(0, 60 * MBIT), st.floats(0.1, 10), st.one_of(st.none(), st.floats(1, CAPACITY))
    ),
    min_size=1,
    max_size=8,
).map(
    lambda rows: [
        Sender(uuid=f"i{n}", offered=max(a, b), through=min(a, b), floor=floor, weight=weight, limit=limit)
        for n, (a, b, floor, weight, limit) in enumerate(rows)
    ]
)


@given(senders, st.floats(0, CAPACITY))
def test_limits_fit_the_uplink_and_leave_each_floor(given_senders: list[Sender], used: float) -> None:
    before = UplinkState(contended_until_seconds=11.0)
    found = divide(CAPACITY, used, given_senders, before, 10.0)
    usable = CAPACITY * USABLE_RATIO
    others = max(0.0, used - sum(s.through for s in given_senders))
    assert sum(found.limits.values()) <= max(usable - others, usable * 0.01) + len(given_senders)
    if sum(s.floor for s in given_senders) <= usable - others - 0.002 * usable * len(given_senders):
        for one in given_senders:
            limit = found.limits.get(one.uuid, math.inf)
            assert limit >= min(one.floor, one.wants(usable)) * 0.98 - 1


@given(senders)
def test_nobody_is_limited_while_the_uplink_has_room(given_senders: list[Sender]) -> None:
    assert divide(CAPACITY, 0.5 * CAPACITY, given_senders, UplinkState(), 10.0) == UplinkState()


class Uplink:
    """Floods and one with a floor behind an uplink that carries so much and drops the rest evenly."""

    def __init__(self, *offers: float, floors: tuple[float, ...], weights: tuple[float, ...] = ()) -> None:
        self.offers, self.floors = list(offers), floors
        self.weights = weights or (1.0,) * len(offers)
        self.state, self.now, self.got = UplinkState(), 0.0, [0.0] * len(offers)

    def tick(self) -> None:
        limits = [self.state.limits.get(str(n)) for n in range(len(self.offers))]
        through = [min(o, math.inf if x is None else x) for o, x in zip(self.offers, limits, strict=True)]
        used = min(sum(through), CAPACITY)
        self.got = [t * passed_ratio(CAPACITY, used, sum(through)) for t in through]
        made = [
            Sender(
                uuid=str(n),
                offered=o,
                through=t,
                floor=self.floors[n],
                weight=self.weights[n],
                limit=limits[n],
                kept=self.state.kept.get(str(n)),
            )
            for n, (o, t) in enumerate(zip(self.offers, through, strict=True))
        ]
        self.now += 0.25
        self.state = divide(CAPACITY, used, made, self.state, self.now)


def test_a_floor_beside_two_floods_is_whole_after_two_ticks_and_limits_stand_still() -> None:
    uplink = Uplink(100 * MBIT, 400 * MBIT, 400 * MBIT, floors=(100 * MBIT, 0.0, 0.0))
    uplink.tick()
    assert uplink.got[0] < 50 * MBIT, "alone the uplink would drop from all alike"
    uplink.tick()
    uplink.tick()
    assert uplink.got[0] == 100 * MBIT
    first = uplink.state.limits
    for _ in range(40):
        uplink.tick()
        assert uplink.state.limits == first and uplink.got[0] == 100 * MBIT
    assert sum(uplink.got) >= 0.9 * CAPACITY


def test_an_idle_floor_is_lent_and_comes_back_within_two_ticks() -> None:
    uplink = Uplink(1 * MBIT, 400 * MBIT, floors=(100 * MBIT, 0.0))
    for _ in range(8):
        uplink.tick()
    assert uplink.got[1] >= 0.9 * CAPACITY
    uplink.offers[0] = 100 * MBIT
    uplink.tick()
    uplink.tick()
    assert uplink.got[0] >= 99 * MBIT


def test_weights_without_floors() -> None:
    uplink = Uplink(*(400 * MBIT,) * 3, floors=(0.0,) * 3, weights=(1.0, 2.0, 4.0))
    for _ in range(8):
        uplink.tick()
    assert [got / uplink.got[0] for got in uplink.got] == pytest.approx([1, 2, 4], rel=0.05)


def test_limits_go_when_the_floods_end() -> None:
    uplink = Uplink(50 * MBIT, 400 * MBIT, floors=(100 * MBIT, 0.0))
    for _ in range(4):
        uplink.tick()
    assert uplink.state.limits
    uplink.offers[1] = 10 * MBIT
    for _ in range(12):
        uplink.tick()
    assert uplink.state == UplinkState()


def test_a_floor_of_packets_counts_with_the_size_that_is_sent_or_named() -> None:
    slo = parse_slo({"network_packets": {"floor": 10_000}, "network_bytes": {"floor": 1e6, "direction": "rx"}})
    assert floor_of(slo, "tx", "bytes") == 640_000 and floor_of(slo, "tx", "bytes", 1500.0) == 15e6
    assert floor_of(slo, "rx", "bytes") == 1e6 and floor_of(slo, "rx", "packets") == 10_000
    sent = parse_slo({"network_bytes": {"floor": 1e6, "direction": "tx"}})
    assert floor_of(sent, "tx", "bytes") == 1e6 and floor_of(sent, "tx", "packets", 100.0) == 10_000
    assert floor_of(sent, "rx", "bytes") == 0.0


class Senders(Uplink):
    """The same for what comes in: of each sender so much comes through the uplink, and one that listens sends what its limit lets."""

    def __init__(self, *offers: float, floors: tuple[float, ...], listens: bool) -> None:
        super().__init__(*offers, floors=floors)
        self.sent, self.listens = list(offers), listens

    def tick(self) -> None:
        part = min(1.0, CAPACITY / sum(self.sent))
        came = [one * part for one in self.sent]
        limits = [self.state.limits.get(str(n), math.inf) for n in range(len(came))]
        self.got = [min(*pair) for pair in zip(came, limits, strict=True)]
        made = [
            Sender(
                uuid=str(n),
                offered=c,
                through=g,
                floor=self.floors[n],
                limit=None if math.isinf(x) else x,
                kept=self.state.kept.get(str(n)),
            )
            for n, (c, g, x) in enumerate(zip(came, self.got, limits, strict=True))
        ]
        self.now += 0.25
        self.state = divide(CAPACITY, sum(came), made, self.state, self.now, receives=True)
        if self.listens:
            nexts = [self.state.limits.get(str(n), math.inf) for n in range(len(came))]
            self.sent = [min(o, n * 1.02) for o, n in zip(self.offers, nexts, strict=True)]


def test_a_received_floor_is_whole_once_the_senders_to_others_have_slowed_down() -> None:
    uplink = Senders(100 * MBIT, 400 * MBIT, 400 * MBIT, floors=(100 * MBIT, 0.0, 0.0), listens=True)
    for _ in range(4):
        uplink.tick()
    for _ in range(20):
        uplink.tick()
        assert uplink.got[0] >= 95 * MBIT and sum(uplink.got) >= 0.9 * CAPACITY


def test_beside_senders_that_do_not_slow_down_a_received_floor_is_lost_before_the_host() -> None:
    uplink = Senders(100 * MBIT, 400 * MBIT, floors=(100 * MBIT, 0.0), listens=False)
    for _ in range(20):
        uplink.tick()
    assert uplink.got[0] == pytest.approx(40 * MBIT, rel=0.1) and uplink.state.limits.keys() == {"1"}
