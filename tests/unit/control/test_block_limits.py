"""One throttle for each disk from ceilings, shares and what others set."""

import pytest

from stella.control.block_limits import BlockShare, allocations, reaches_throttle
from stella.control.rates import BlockRates
from stella.model.allocation import DiskAllocation
from stella.model.slo import Slo, parse_slo
from stella.model.snapshot import NO_THROTTLE, DiskReading, Throttle

MB = 10**6


def disk(name: str = "vda", before: Throttle = NO_THROTTLE, backend: str = "", **more: object) -> DiskReading:
    known = {"throttle": before, "allowed_throttle": before, **more}
    return DiskReading(
        name=name, read_operations=0, read_bytes=0, read_seconds=0, write_operations=0, write_bytes=0, write_seconds=0,
        backend=backend, **known,  # type: ignore[arg-type]
    )  # fmt: skip


def rates(read: float = 0.0, write: float = 0.0, size: float = 65536.0) -> BlockRates:
    return BlockRates(
        read_operations=read / size, read_bytes=read, read_seconds=1, write_operations=write / size, write_bytes=write,
        write_seconds=0,
    )  # fmt: skip


def limited(found: tuple[DiskAllocation, ...]) -> dict[str, dict[str, int]]:
    return {one.disk: dict(one.limit.limits) for one in found}


def slo(**metrics: object) -> Slo:
    return parse_slo(metrics)


def test_a_ceiling_over_all_disks_is_one_group() -> None:
    found = allocations(slo(block_bytes={"ceiling": 10 * MB}), [disk(), disk("vdb")], {})
    assert limited(found) == {"vda": {"total_bytes_sec": 10 * MB}, "vdb": {"total_bytes_sec": 10 * MB}}
    assert {one.unit for one in found} == {"vda"} and all(one.limit == one.ceiling for one in found)


@pytest.mark.parametrize(
    ("way", "name"), [("read", "read_iops_sec"), ("write", "write_iops_sec"), ("both", "total_iops_sec")]
)
def test_operations_are_counted_by_size(way: str, name: str) -> None:
    found = allocations(slo(block_operations={"ceiling": 800, "direction": way, "unit": "32KiB"}), [disk()], {})
    assert limited(found) == {"vda": {name: 800, "size_iops_sec": 32768}}


def test_the_tighter_of_ours_and_theirs_counts() -> None:
    theirs = Throttle(limits=(("total_bytes_sec", 5 * MB), ("total_bytes_sec_max", 9 * MB), ("total_iops_sec", 100)))
    found = allocations(slo(block_bytes={"ceiling": 10 * MB}), [disk(before=theirs)], {})
    assert limited(found)["vda"] == {"total_bytes_sec": 5 * MB, "total_iops_sec": 100}
    found = allocations(slo(block_bytes={"ceiling": 2 * MB}), [disk(before=theirs)], {})
    assert limited(found)["vda"] == {"total_bytes_sec": 2 * MB, "total_iops_sec": 100}


def test_a_total_beside_a_limit_of_reads_is_spread_over_both() -> None:
    theirs = Throttle(limits=(("read_bytes_sec", 4 * MB),))
    found = limited(
        allocations(slo(block_bytes={"ceiling": 10 * MB}), [disk(before=theirs)], {"vda": rates(read=9e6, write=9e6)})
    )["vda"]
    assert found.keys() == {"read_bytes_sec", "write_bytes_sec"}
    assert found["read_bytes_sec"] <= 4 * MB and sum(found.values()) == pytest.approx(10 * MB, abs=2)


def test_disks_that_others_limit_are_units_of_their_own_and_the_ceiling_is_spread() -> None:
    theirs = Throttle(limits=(("total_bytes_sec", 8 * MB),))
    found = allocations(
        slo(block_bytes={"ceiling": 10 * MB}),
        [disk(before=theirs), disk("vdb")],
        {"vda": rates(6e6), "vdb": rates(1e6)},
    )
    assert len({one.unit for one in found}) == 2
    together = [limits["total_bytes_sec"] for limits in limited(found).values()]
    assert sum(together) <= 10 * MB and max(together) <= 8 * MB and min(together) > 0


def test_a_share_is_below_the_ceiling_and_only_on_its_back_end() -> None:
    found = allocations(
        slo(block_bytes={"ceiling": 10 * MB}), [disk(backend="ssd")], {}, {"ssd": BlockShare(bytes=3e6, operations=50)}
    )
    assert dict(found[0].limit.limits) == {"size_iops_sec": 16384, "total_bytes_sec": 3 * MB, "total_iops_sec": 50}
    assert dict(found[0].ceiling.limits) == {"total_bytes_sec": 10 * MB}
    assert allocations(None, [disk(backend="ssd")], {}, {"other": BlockShare(bytes=3e6)}) == ()


def test_disks_whose_throttle_is_not_known_or_does_not_act_are_left_out() -> None:
    disks = [disk(throttle=None), disk("vdb", unlimited_because="device lun")]
    assert allocations(slo(block_bytes={"ceiling": MB}), disks, {}) == ()


def test_whether_a_throttle_holds_its_disks_together() -> None:
    held = Throttle(limits=(("total_bytes_sec", 10 * MB),), group="g")
    disks = [disk(before=held), disk("vdb", before=held)]
    assert reaches_throttle(disks, {"vda": rates(5e6), "vdb": rates(4.5e6)})
    assert not reaches_throttle(disks, {"vda": rates(5e6), "vdb": rates(1e6)})
    assert not reaches_throttle([disk()], {"vda": rates(5e9)})
