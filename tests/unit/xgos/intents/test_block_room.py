"""Block floors are admitted only as far as the back end of their disks carries them."""

from dataclasses import replace

import pytest

from stella.control.memory import Memory, Settings
from stella.model import reasons
from stella.model.allocation import Intent
from stella.model.slo import Metric, parse_slo
from stella.model.snapshot import (
    NO_THROTTLE,
    BlockBackend,
    DiskReading,
    HostReading,
    InstanceReading,
    Snapshot,
    Throttle,
)
from stella.xgos.intents.admission import HostView, Verdict
from tests.unit.xgos.conftest import VM1, VM2, reading

BACKENDS = (
    BlockBackend(name="ssd", sources=("/x",), capacity_bytes_per_second=100e6, capacity_operations_per_second=4000),
    BlockBackend(name="far", sources=("/y",), capacity_bytes_per_second=10e6),
)
HOST = HostReading(
    cores=64, busy_seconds=1, idle_seconds=1, softirq_seconds=0, steal_seconds=0, cgroup_version=1, throttles_lack="",
    block_backends=BACKENDS,
)  # fmt: skip
DISK = DiskReading(
    name="vda", read_operations=0, read_bytes=0, read_seconds=0, write_operations=0, write_bytes=0, write_seconds=0,
    backend="ssd", throttle=NO_THROTTLE, allowed_throttle=NO_THROTTLE,
)  # fmt: skip


def on(uuid: str, disk: DiskReading) -> InstanceReading:
    return replace(reading(uuid, uuid), disks=(disk,))


def ask(keys: dict[str, object], *, held: float, disk: DiskReading = DISK, other: str = "ssd") -> Verdict:
    instances = (on(VM1, disk), on(VM2, replace(DISK, backend=other)))
    snapshot = Snapshot(monotonic_seconds=1, wall_seconds=1, host=HOST, instances=instances)
    slo = parse_slo({"block_bytes": {"floor": held}})
    others = {VM2: Intent(uuid=VM2, slo=slo, generation=1, reserved_cpu_cores=0.1, estimated=False)}
    return HostView(snapshot=snapshot, memory=Memory(), settings=Settings()).ask(VM1, parse_slo(keys), others)


@pytest.mark.parametrize(
    ("keys", "field", "metric", "largest"),
    [
        ({"block_bytes": {"floor": 20e6}}, "block_bytes.floor", Metric.BLOCK_BYTES, 3800 * 16384 - 50e6),
        ({"block_operations": {"floor": 3000}}, "block_operations.floor", Metric.BLOCK_OPERATIONS, 3800 - 50e6 / 16384),
        (
            {"block_operations": {"floor": 1500, "unit": "32KiB"}},
            "block_operations.floor",
            Metric.BLOCK_OPERATIONS,
            (3800 - 50e6 / 16384) / 2,
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_what_would(
    keys: dict[str, object], field: str, metric: Metric, largest: float
) -> None:
    found = ask(keys, held=50e6)
    assert not found.accepted and found.field == field and "ssd" in found.message
    assert found.largest == ((metric, pytest.approx(largest)),)
    assert [one.code for one in reasons.read(found.reason)] == ["backend_room"]


def test_only_floors_on_the_same_back_end_count() -> None:
    assert not ask({"block_bytes": {"floor": 20e6}}, held=55e6).accepted
    assert ask({"block_bytes": {"floor": 20e6}}, held=9e6, other="far").accepted
    assert ask({"block_bytes": {"floor": 1e9}}, held=1e6, disk=replace(DISK, backend="")).message.count("back end") == 0


def test_a_floor_above_what_others_limit_the_disk_to_is_refused() -> None:
    limited = replace(DISK, allowed_throttle=Throttle(limits=(("total_bytes_sec", 5_000_000),)))
    found = ask({"block_bytes": {"floor": 6e6}}, held=1e6, disk=limited)
    assert not found.accepted and found.largest == ((Metric.BLOCK_BYTES, 5e6),)
    assert [one.code for one in reasons.read(found.reason)] == ["disk_limited"]
    assert ask({"block_bytes": {"floor": 4e6}}, held=1e6, disk=limited).accepted
