"""What must hold of every division of a back end, and how floors, weights and latency targets settle in closed loop."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stella.control.block_backends import USABLE_RATIO, BackendState, Taker, floors, step
from stella.control.block_latency import FREE, LEAST_RATIO, Allowance, follow
from stella.control.block_limits import BlockShare
from stella.model.slo import parse_slo
from stella.model.snapshot import BlockBackend

MB = 1e6
CAPACITY = 100 * MB
BACKEND = BlockBackend(name="ssd", sources=("/x",), capacity_bytes_per_second=CAPACITY)
takers = st.lists(
    st.builds(
        lambda taken, flight, floor, weight, limit: (taken, flight, floor, weight, limit),
        st.floats(0, CAPACITY), st.floats(0, 4), st.floats(0, CAPACITY / 8), st.floats(0.1, 10),
        st.one_of(st.none(), st.floats(1, CAPACITY)),
    ),
    min_size=1, max_size=7,
).map(
    lambda rows: [
        Taker(
            uuid=f"i{n}", taken={"bytes": taken, "operations": taken / 65536}, in_flight=flight,
            floors={"bytes": floor} if floor else {}, weight=weight, limit=BlockShare(bytes=limit),
        )
        for n, (taken, flight, floor, weight, limit) in enumerate(rows)
    ]
)  # fmt: skip


@given(takers)
def test_shares_fit_and_leave_each_floor_that_is_asked_for(given_takers: list[Taker]) -> None:
    found = step(BACKEND, given_takers, BackendState(), 10.0)
    usable = CAPACITY * USABLE_RATIO
    limits = {uuid: share.bytes for uuid, share in found.shares.items() if share.bytes is not None}
    divided = found.divisions["bytes"].limits if found.divisions else {}
    assert sum(divided.values()) <= usable * 1.001 + len(given_takers)
    assert (
        all(limits[uuid] <= limit for uuid, limit in divided.items())
        and max(limits.values(), default=0.0) <= usable + 1
    )
    for one in given_takers:
        floor = one.floors.get("bytes", 0.0)
        if one.in_flight >= 0.7 and sum(t.floors.get("bytes", 0.0) for t in given_takers) <= usable * 0.98:
            assert limits.get(one.uuid, math.inf) >= floor * 0.98 - 1


class Storage:
    """Guests that keep requests under way on a back end that serves all of them alike; latency rises with what waits."""

    def __init__(self, *wants: float, slos: tuple[dict[str, object], ...], base_seconds: float = 0.001) -> None:
        self.wants, self.slos, self.base = list(wants), [parse_slo(s) if s else None for s in slos], base_seconds
        self.state, self.now, self.got, self.latency = BackendState(), 0.0, [0.0] * len(wants), base_seconds

    def tick(self) -> None:
        shares = [self.state.shares.get(str(n), BlockShare()).bytes for n in range(len(self.wants))]
        offered = [min(w, math.inf if s is None else s) for w, s in zip(self.wants, shares, strict=True)]
        load = sum(offered) / CAPACITY
        self.got = [o / max(1.0, load) for o in offered]
        self.latency = self.base * (1 + 10 * min(load, 2.0) ** 2)
        made = []
        for n, slo in enumerate(self.slos):
            target = slo.objectives[0].target if slo else None
            made.append(
                Taker(
                    uuid=str(n), taken={"bytes": self.got[n], "operations": self.got[n] / 65536},
                    in_flight=2.0 if self.wants[n] > self.got[n] * 1.01 else 0.1,
                    floors={k: v for k, v in floors(slo).items() if v} if slo else {},
                    weight=max((o.weight or 1.0 for o in slo.objectives), default=1.0) if slo else 1.0,
                    has_target=target is not None,
                    latency_ratio=self.latency / target if target and self.got[n] > 0 else None,
                    limit=self.state.limit_in(str(n), self.now - 0.3, self.now),
                )
            )  # fmt: skip
        self.now += 0.25
        self.state = step(BACKEND, made, self.state, self.now)

    def run(self, ticks: int) -> None:
        for _ in range(ticks):
            self.tick()


def test_a_floor_beside_two_floods_is_whole_and_the_rest_is_used() -> None:
    storage = Storage(60 * MB, 300 * MB, 300 * MB, slos=({"block_bytes": {"floor": 60 * MB}}, {}, {}))
    storage.run(1)
    assert storage.got[0] < 20 * MB
    storage.run(3)
    assert storage.got[0] >= 0.99 * 60 * MB
    settled = storage.state.shares
    storage.run(40)
    assert storage.got[0] >= 0.99 * 60 * MB and storage.state.shares == settled, "limits stand still"
    assert sum(storage.got) >= 0.85 * CAPACITY


def test_an_idle_floor_is_lent_and_comes_back_within_two_ticks() -> None:
    storage = Storage(0.5 * MB, 300 * MB, slos=({"block_bytes": {"floor": 60 * MB}}, {}))
    storage.run(10)
    assert storage.got[1] >= 0.9 * CAPACITY
    storage.wants[0] = 60 * MB
    storage.run(3)
    assert storage.got[0] >= 0.99 * 60 * MB


def test_weights_and_limits_that_go_when_the_floods_end() -> None:
    weights = tuple({"block_bytes": {"weight": w}} for w in (1, 2, 4))
    storage = Storage(300 * MB, 300 * MB, 300 * MB, slos=weights)
    storage.run(12)
    assert [got / storage.got[0] for got in storage.got] == pytest.approx([1, 2, 4], rel=0.06)
    storage.wants = [MB, MB, MB]
    storage.run(14)
    assert storage.state.shares == {}


def test_a_latency_target_holds_back_the_others_calmly_and_lets_go() -> None:
    storage = Storage(5 * MB, 200 * MB, slos=({"block_latency": {"target": 0.004}}, {}))
    storage.run(40)
    ratios, used = [], []
    for _ in range(80):
        storage.tick()
        ratios.append(storage.latency / 0.004)
        used.append(storage.got[1])
    assert sum(r <= 1.05 for r in ratios) >= 0.9 * len(ratios)
    assert min(used) >= 0.25 * CAPACITY and sum(used) / len(used) >= 0.35 * CAPACITY, (
        "the others keep what harms nobody"
    )
    assert storage.got[0] == 5 * MB
    storage.wants[0] = 0.0
    storage.run(30)
    assert storage.state.allowance == FREE and storage.state.shares == {}


def test_a_target_out_of_reach_leaves_the_others_their_least_part() -> None:
    storage = Storage(5 * MB, 200 * MB, slos=({"block_latency": {"target": 0.0005}}, {}))
    storage.run(120)
    assert storage.got[1] == pytest.approx(LEAST_RATIO * USABLE_RATIO * CAPACITY, rel=0.05)


@given(st.lists(st.tuples(st.one_of(st.none(), st.floats(0, 100)), st.floats(0, 2)), min_size=1, max_size=60))
def test_an_allowance_has_bounds(signals: list[tuple[float | None, float]]) -> None:
    state: Allowance = FREE
    for n, (worst, others) in enumerate(signals):
        state = follow(state, worst_ratio=worst, others_ratio=others, now_seconds=n * 0.25)
        assert state.ratio is None or LEAST_RATIO <= state.ratio < 1.0


def test_a_floor_counts_in_both_capacities() -> None:
    assert floors(parse_slo({"block_bytes": {"floor": 65_536_000}})) == {"bytes": 65_536_000, "operations": 4000}
    assert floors(parse_slo({"block_operations": {"floor": 100, "unit": "32KiB"}})) == {
        "bytes": 3_276_800,
        "operations": 200,
    }
