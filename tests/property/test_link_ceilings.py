"""What must hold of every ceiling that is spread over directions and links."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stella.control.link_ceilings import Part, allocations, spread
from stella.control.rates import InstanceRates, NetworkRates
from stella.control.uplink import Way
from stella.model.slo import parse_slo
from stella.model.snapshot import LinkLimit, LinkReading

amounts = st.floats(0, 1e9, allow_nan=False)
parts = st.lists(
    st.builds(Part, used=amounts, dropped=amounts, limit=st.one_of(st.none(), st.floats(1, 1e9))),
    min_size=1,
    max_size=8,
)


@given(st.floats(1, 1e9), parts)
def test_the_limits_are_above_nothing_and_never_add_up_to_more_than_the_ceiling(
    ceiling: float, given: list[Part]
) -> None:
    found = spread(ceiling, given)
    assert len(found) == len(given) and min(found) > 0
    assert ceiling * 0.979 <= sum(found) <= ceiling * (1 + 1e-9)


@given(st.floats(1, 1e9), st.floats(0, 1))
def test_one_direction_that_is_held_gets_what_the_other_does_not_want(ceiling: float, used: float) -> None:
    limits: tuple[float | None, float | None] = (None, None)
    for _ in range(12):
        idle = min(used * ceiling * 0.3, limits[1] or ceiling)
        busy = limits[0] or ceiling
        held, light = Part(used=busy, dropped=1.0, limit=limits[0]), Part(used=idle, dropped=0.0, limit=limits[1])
        limits = spread(ceiling, [held, light])  # type: ignore[assignment]
    assert limits[0] is not None and limits[1] is not None
    assert limits[1] >= used * ceiling * 0.3, "the light one is not held"
    assert limits[0] >= ceiling * (1 - 0.3 * used * 2.6 - 0.05)


@given(st.floats(100, 1e9))
def test_a_load_that_turns_round_has_its_half_within_three_ticks(ceiling: float) -> None:
    one, other = ceiling * 0.97, ceiling * 0.03
    for _ in range(3):
        one, other = spread(ceiling, [Part(used=one, dropped=1, limit=one), Part(used=other, dropped=1, limit=other)])
    assert one == pytest.approx(other) == pytest.approx(ceiling / 2)


SENT, RECEIVED = Way("eth0", "tx", "bytes"), Way("eth0", "rx", "packets")


def link(name: str, **keys: LinkLimit) -> LinkReading:
    counters = dict.fromkeys(("tx_packets", "tx_bytes", "tx_drops", "rx_packets", "rx_bytes", "rx_drops"), 0)
    return LinkReading(name=name, uplink="eth0", **counters, **keys)


def test_a_ceiling_of_one_direction_of_one_link_is_its_limit() -> None:
    slo = parse_slo(
        {"network_packets": {"ceiling": 20000, "direction": "rx"}, "network_bytes": {"ceiling": 1e6, "direction": "tx"}}
    )
    found = {(one.device, one.direction): one.limit for one in allocations(slo, [link("tap0")], None)}
    assert found == {("tap0", "rx"): LinkLimit(packets=20000.0), ("tap0", "tx"): LinkLimit(bytes=1e6)}
    assert allocations(slo, None, None) == () and allocations(slo, [], None) == ()
    assert allocations(parse_slo({"network_packets": {"floor": 5}}), [link("tap0")], None) == ()


def test_each_kind_is_spread_by_its_own_use() -> None:
    rates = InstanceRates(
        start_seconds=0,
        end_seconds=1,
        vcpus=1,
        cpu=None,
        network=None,
        block=None,
        links={
            "tap0": NetworkRates(tx_packets=900, tx_bytes=9e5, tx_drops=0, rx_packets=10, rx_bytes=9e5, rx_drops=0),
        },
    )
    now = {"tx_limit": LinkLimit(packets=500, bytes=1e6), "rx_limit": LinkLimit(packets=500, bytes=1e6)}
    slo = parse_slo({"network_packets": {"ceiling": 1000}, "network_bytes": {"ceiling": 2e6}})
    tx, rx = sorted(allocations(slo, [link("tap0", **now)], rates), key=lambda one: one.direction, reverse=True)
    assert tx.limit.packets is not None and tx.limit.packets > 950 and rx.limit.packets is not None
    assert tx.limit.bytes == rx.limit.bytes == 1e6, "both are held: half each"


def test_a_share_of_the_uplink_binds_what_is_sent_where_it_is_below_the_ceiling() -> None:
    slo = parse_slo(
        {"network_bytes": {"ceiling": 1e6, "direction": "tx"}, "network_packets": {"ceiling": 500, "direction": "tx"}}
    )
    (one,) = allocations(slo, [link("tap0")], None, {SENT: 4e5})
    assert one.limit == LinkLimit(packets=500.0, bytes=4e5) and one.ceiling == LinkLimit(packets=500.0, bytes=1e6)
    (one,) = allocations(slo, [link("tap0")], None, {SENT: 4e6})
    assert one.limit == one.ceiling
    (one,) = allocations(None, [link("tap0")], None, {SENT: 4e5})
    assert one.limit == LinkLimit(bytes=4e5) and one.ceiling == LinkLimit()
    found = allocations(None, [link("tap0"), link("tap1")], None, {SENT: 4e5})
    assert sum(one.limit.bytes or 0 for one in found) == pytest.approx(4e5, abs=2)


def test_what_no_limit_can_act_on_is_left_out() -> None:
    bad = replace(link("tap0"), unlimited_because=(("rx_bytes", "another program has set its queue (htb)"),))
    found = allocations(parse_slo({"network_bytes": {"ceiling": 1e6}}), [bad], None)
    assert [(one.device, one.direction, one.limit) for one in found] == [("tap0", "tx", LinkLimit(bytes=1e6))]


def test_shares_are_of_the_links_behind_their_uplink_each_direction_and_kind_apart() -> None:
    links = [link("tap0"), replace(link("tap1"), uplink="eth1")]
    found = allocations(None, links, None, {SENT: 4e5, RECEIVED: 700.0})
    assert [(one.device, one.direction, one.limit) for one in found] == [
        ("tap0", "rx", LinkLimit(packets=700.0)),
        ("tap0", "tx", LinkLimit(bytes=4e5)),
    ]
