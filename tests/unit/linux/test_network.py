"""Messages for limits of links: what is asked of the kernel reads back as what was meant, and cut answers are refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stella.linux import netlink, nftables, traffic_control
from stella.linux.cgroup import InvalidText
from stella.linux.link_limit import parse_limit, show_limit
from stella.model.snapshot import NO_LIMIT, LinkLimit

rates = st.one_of(st.none(), st.integers(1, 10**12).map(float))


def chains(data: bytes) -> dict[str, nftables.Chain]:
    return nftables.RuleReader().read(netlink.messages(data))


@given(rates, st.one_of(st.none(), st.integers(1, 2**31 - 1)), st.booleans())
def test_the_rules_of_a_chain_read_back(packets: float | None, forward: int | None, exists: bool) -> None:
    data = nftables.set_limit("tap0", "tx", 64, exists=exists, packets=packets, forward=forward)
    assert chains(data) == {"tap0.tx": nftables.Chain(packets=packets, forward=forward)}


def test_a_transaction_has_its_begin_and_its_end_and_a_probe_has_no_end() -> None:
    kinds = [m.kind for m in netlink.messages(nftables.remove_table(64))]
    assert kinds[0] == 16 and kinds[-1] == 17
    assert 17 not in [m.kind for m in netlink.messages(nftables.probe("lo", 1, 64))]


def test_a_rule_of_another_table_is_not_ours() -> None:
    data = nftables.set_limit("tap0", "tx", 64, exists=False, packets=5.0, forward=None)
    assert chains(data.replace(b"stella\0", b"others\0")) == {}


@given(st.integers(1, 10**11), st.integers(1, 2**31 - 1))
def test_a_bucket_reads_back(rate: int, index: int) -> None:
    found: dict[int, traffic_control.Root] = {}
    for message in netlink.messages(traffic_control.set_bucket(index, float(rate), 1)):
        traffic_control.parse_root(message, found)
    assert found == {index: traffic_control.Root(bytes_per_second=float(rate))}


def test_only_the_intermediate_devices_of_taps_are_ours() -> None:
    assert traffic_control.is_intermediate(traffic_control.intermediate_name(7))
    assert not any(map(traffic_control.is_intermediate, ("stella", "stella-probe", "stella0x", "tap7")))


@given(rates, rates)
def test_the_text_of_a_limit_reads_back(packets: float | None, octets: float | None) -> None:
    limit = LinkLimit(packets=packets, bytes=octets)
    assert parse_limit(show_limit(limit)) == limit
    assert (show_limit(limit) == "none") == (limit == NO_LIMIT)


@pytest.mark.parametrize(
    "text", ["", "packets", "packets 0", "packets -1", "packets 1 packets 2", "frames 3", "none none", "packets 1e9"]
)
def test_what_is_no_limit_is_refused(text: str) -> None:
    with pytest.raises(InvalidText):
        parse_limit(text)


@given(st.binary(max_size=80))
def test_no_answer_is_believed_that_is_cut(data: bytes) -> None:
    try:
        for message in netlink.messages(data):
            nftables.RuleReader().read([message._replace(kind=10 << 8 | 6)])
            traffic_control.parse_root(message, {})
    except netlink.InvalidMessage:
        pass
