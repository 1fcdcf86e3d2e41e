"""Limits of links in the plan: only what differs, for good, and nothing for a frozen instance."""

from dataclasses import replace

from stella.model.allocation import Decision, LinkAllocation, Write
from stella.model.snapshot import LinkLimit, LinkReading
from stella.model.target import TargetKind
from stella.xgos.actuation.plan import plan
from tests.unit.xgos.actuation.test_plan import decision, instance, snapshot

LINK = LinkReading(name="tap0", tx_packets=0, tx_bytes=0, tx_drops=0, rx_packets=0, rx_bytes=0, rx_drops=0)
LIMITED = LinkLimit(packets=20000.0)


def decided(*network: LinkAllocation, frozen: bool = False) -> Decision:
    made = decision(("a", 0.1), frozen=frozen)
    return replace(made, instances=(replace(made.instances[0], network=network),))


def writes(link: LinkReading, decision: Decision) -> list[Write]:
    seen = snapshot(replace(instance("a"), links=(link,)))
    return [write for write in plan(seen, decision) if write.target.kind is TargetKind.LINK]


def test_a_limit_is_written_when_it_differs_and_is_no_restraint_that_ends_with_the_agent() -> None:
    wanted = LinkAllocation(device="tap0", direction="tx", limit=LIMITED, ceiling=LIMITED)
    (write,) = writes(LINK, decided(wanted))
    assert (write.target.place, write.target.knob, write.target.instance) == ("tap0", "tx", "a")
    assert (write.previous, write.value, write.temporary, write.lifts) == ("none", "packets 20000", False, False)
    assert writes(replace(LINK, tx_limit=LIMITED), decided(wanted)) == []
    (again,) = writes(replace(LINK, tx_limit=LinkLimit(packets=7.0)), decided(wanted))
    assert again.previous == "packets 7"


def test_what_nobody_asks_for_any_more_is_lifted_first() -> None:
    wanted = LinkAllocation(device="tap0", direction="tx", limit=LIMITED, ceiling=LIMITED)
    found = writes(replace(LINK, rx_limit=LIMITED), decided(wanted))
    assert [(w.target.knob, w.value, w.lifts) for w in found] == [("rx", "none", True), ("tx", "packets 20000", False)]


def test_a_frozen_instance_keeps_its_ceilings() -> None:
    wanted = LinkAllocation(device="tap0", direction="tx", limit=LIMITED, ceiling=LIMITED)
    assert writes(replace(LINK, tx_limit=LIMITED), decided(wanted, frozen=True)) == []
    (lifted,) = writes(replace(LINK, tx_limit=LinkLimit(packets=7.0)), decided(wanted, frozen=True))
    assert lifted.lifts and lifted.value == "packets 20000", "a share of packets below it was a restraint"


def test_a_share_below_the_ceiling_is_a_restraint_that_leaves_the_ceiling() -> None:
    ceiling, share = LinkLimit(bytes=1e6), LinkLimit(bytes=4e5)
    restrained = decided(LinkAllocation(device="tap0", direction="tx", limit=share, ceiling=ceiling))
    (write,) = writes(LINK, restrained)
    assert write.temporary and not write.lifts and write.fallback == "bytes 1000000"
    free = decided(LinkAllocation(device="tap0", direction="tx", limit=ceiling, ceiling=ceiling))
    (write,) = writes(replace(LINK, tx_limit=share), free)
    assert write.lifts and not write.temporary and write.value == "bytes 1000000"
    (write,) = writes(replace(LINK, tx_limit=share), decided())
    assert write.lifts and write.value == "none"


def test_a_frozen_instance_is_given_back_what_a_share_took() -> None:
    ceiling, share = LinkLimit(bytes=1e6), LinkLimit(bytes=4e5)
    kept = LinkAllocation(device="tap0", direction="tx", limit=ceiling, ceiling=ceiling)
    (write,) = writes(replace(LINK, tx_limit=share), decided(kept, frozen=True))
    assert write.value == "bytes 1000000" and write.lifts
    assert writes(replace(LINK, tx_limit=ceiling), decided(kept, frozen=True)) == []
    assert writes(LINK, decided(kept, frozen=True)) == []
