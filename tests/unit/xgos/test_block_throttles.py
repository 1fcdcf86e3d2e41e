"""Throttles are put and not waited for: what is on its way, what failed, what hangs; and libvirt's own driver."""

import time
from collections.abc import Iterator

import pytest

from stella.linux.block_throttle import group_of
from stella.model.snapshot import NO_THROTTLE, Throttle
from stella.xgos.block_throttles import BlockThrottles, LibvirtThrottles
from stella.xgos.host_files import InstanceGone, Unavailable, WriteFailed
from tests.unit.xgos.conftest import ThrottleSetter

A, B = "a", "b"  # a is the one that may hang
SLOW = Throttle(limits=(("total_bytes_sec", 1000),))
FAST = Throttle(limits=(("total_bytes_sec", 2000),))


@pytest.fixture
def setter() -> Iterator[ThrottleSetter]:
    made = ThrottleSetter()
    yield made
    made.gate.set()


def soon() -> float:
    return time.monotonic() + 5


def test_what_is_put_counts_at_once_and_holds_soon(setter: ThrottleSetter) -> None:
    throttles = BlockThrottles(lambda: setter)
    setter.gate.clear()
    throttles.put(A, "vda", SLOW)
    assert throttles.sensed(A, "vda", NO_THROTTLE, time.monotonic()) == SLOW, "libvirt tells of the time before"
    before = time.monotonic()
    setter.gate.set()
    throttles.settle(A, "vda", soon())
    assert setter.held == {(A, "vda"): SLOW}
    assert throttles.sensed(A, "vda", NO_THROTTLE, before) == SLOW, "this was told before it was set"
    assert throttles.sensed(A, "vda", FAST, time.monotonic()) == FAST, "somebody else set it since"
    assert throttles.was_put(A, "vda", SLOW) and not throttles.was_put(A, "vda", FAST)
    throttles.close()


def test_only_the_last_of_several_is_set_and_another_instance_does_not_wait(setter: ThrottleSetter) -> None:
    throttles = BlockThrottles(lambda: setter)
    setter.gate.clear()
    throttles.put(A, "vda", SLOW)
    while not throttles._busy:
        time.sleep(0.001)
    for throttle in (FAST, NO_THROTTLE, FAST):
        throttles.put(A, "vda", throttle)
    throttles.put(B, "vda", FAST)
    throttles.settle(B, "vda", soon())
    with pytest.raises(WriteFailed, match="does not answer"):
        throttles.settle(A, "vda", time.monotonic() + 0.05)
    setter.gate.set()
    throttles.settle(A, "vda", soon())
    assert [t for uuid, t in setter.sets if uuid == A] == [SLOW, FAST]
    throttles.close()


def test_an_instance_that_hangs_is_refused_and_shows_what_it_holds(setter: ThrottleSetter) -> None:
    now = [100.0]
    throttles = BlockThrottles(lambda: setter, monotonic=lambda: now[0])
    setter.gate.clear()
    throttles.put(A, "vda", SLOW)
    while not throttles._busy:
        time.sleep(0.001)
    now[0] += 3
    assert throttles.sensed(A, "vda", NO_THROTTLE, now[0]) == NO_THROTTLE
    with pytest.raises(WriteFailed, match="does not answer"):
        throttles.put(A, "vda", FAST)
    throttles.close()


def test_a_failure_is_told_by_the_next_one_or_when_it_is_waited_for(setter: ThrottleSetter) -> None:
    throttles = BlockThrottles(lambda: setter)
    setter.fails = WriteFailed("no")
    throttles.put(B, "vda", SLOW)
    with pytest.raises(WriteFailed, match="no"):
        throttles.settle(B, "vda", soon())
    setter.fails = RuntimeError("odd")
    throttles.put(B, "vda", SLOW)
    while throttles._busy or throttles._waiting:
        time.sleep(0.001)
    setter.fails = None
    with pytest.raises(WriteFailed, match="RuntimeError: odd"):
        throttles.put(B, "vda", SLOW)
    throttles.put(B, "vda", SLOW)
    throttles.settle(B, "vda", soon())
    throttles.close()


def test_reading_asks_where_nothing_is_known_and_always_for_the_guard(setter: ThrottleSetter) -> None:
    setter.held[B, "vda"] = SLOW
    agent, guard = BlockThrottles(lambda: setter), BlockThrottles(lambda: setter, remembers=False)
    assert agent.read(B, "vda") == guard.read(B, "vda") == SLOW
    setter.held[B, "vda"] = FAST
    assert agent.read(B, "vda") == SLOW and guard.read(B, "vda") == FAST
    with pytest.raises(InstanceGone):
        agent.read("gone", "vda")
    agent.keep(frozenset())
    assert agent.read(B, "vda") == FAST
    agent.close()
    guard.close()


LIMITS = (("size_iops_sec", 16384), ("total_iops_sec", 100), ("total_iops_sec_max", 100))  # this driver wants a maximum
XML = """<domain type='test'><name>throttled</name><uuid>5a7d1b0e-5f0c-4f43-9f0f-2f1f5a1a0001</uuid>
<memory>65536</memory><vcpu>1</vcpu><os><type>hvm</type></os><devices>
<disk type='file' device='disk'><source file='/a'/><target dev='vda'/></disk>
<disk type='file' device='disk'><source file='/b'/><target dev='vdb'/></disk></devices></domain>"""


def test_with_libvirts_own_test_driver() -> None:
    """The names and arguments of the real library: its driver within this process needs no daemon."""
    library = pytest.importorskip("libvirt")
    connection = library.open("test:///default")
    domain = connection.createXML(XML, 0)
    uuid, setter = domain.UUIDString(), LibvirtThrottles("test:///default")
    ours = Throttle(limits=LIMITS, group=group_of("vda", SLOW))
    setter.set(uuid, "vda", ours)
    assert setter.read(uuid, "vda") == ours and setter.read(uuid, "vdb") == NO_THROTTLE
    for wrong in (
        lambda: setter.read(uuid, "vdx"),
        lambda: setter.set("5a7d1b0e-5f0c-4f43-9f0f-2f1f5a1affff", "vda", ours),
    ):
        with pytest.raises(InstanceGone):
            wrong()
    with pytest.raises(WriteFailed):
        setter.set(uuid, "vda", Throttle(limits=(("read_bytes_sec", 1), ("total_bytes_sec", 1))))
    domain.destroy()
    setter.close()
    with pytest.raises(Unavailable):
        LibvirtThrottles("nonsense:///").read(uuid, "vda")
