"""A pass over many instances reads them all, and keeps no more open than it needs."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from stella.control.memory import Memory, Settings
from stella.control.tick import decide
from stella.model.allocation import Intent
from stella.model.slo import parse_slo
from stella.model.snapshot import Role, Snapshot
from stella.xgos.actuation.plan import plan
from stella.xgos.sensing.sensors import Sensors, open_sensors
from tests.fixtures.many_instances import ManyInstances, uuid_of

from .test_sensors import Clock

INSTANCES = 200


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> ManyInstances:
    made = ManyInstances(root=tmp_path_factory.mktemp("many"), instances=INSTANCES, cpus=128)
    made.write()
    return made


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sensors(host: ManyInstances, clock: Clock) -> Iterator[Sensors]:
    opened = open_sensors(str(host.root), monotonic=clock, wall=lambda: clock.seconds)
    yield opened
    opened.close()


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


def assert_whole(seen: Snapshot) -> None:
    assert all(sensor.ok for sensor in seen.sensors), seen.sensors
    assert seen.host.cores == 128 and len(seen.instances) == INSTANCES
    for each in seen.instances:
        assert each.threads and each.groups and each.links and each.disks and each.start_ticks
        assert (each.vcpus, each.iothreads, each.flavor) == (2, 1, "slo.small")
        assert each.group(Role.VCPU, 1) and each.group(Role.EMULATOR) and each.group(Role.IOTHREAD, 1)
        assert len(each.group(Role.VCPU).cpus or ()) == 128  # type: ignore[union-attr]


def test_many_instances_are_read_whole_and_no_descriptor_is_lost(
    host: ManyInstances, sensors: Sensors, clock: Clock
) -> None:
    assert_whole(sensors.sense())
    held = descriptors()
    for _ in range(6):
        clock.seconds += 0.3
        assert_whole(sensors.sense())
    assert descriptors() <= held
    sensors.close()
    assert descriptors() < held / 10


def test_descriptors_stay_flat_while_instances_come_and_go(tmp_path: Path, clock: Clock) -> None:
    host = ManyInstances(root=tmp_path, instances=6, cpus=4)
    host.write()
    recorded = json.loads((tmp_path / "hypervisor.json").read_text())["domains"]
    opened = open_sensors(str(tmp_path), monotonic=clock, wall=lambda: 1.0)
    counts = set()
    for turn in range(300):
        here = [recorded[turn % 6], recorded[(turn + 1) % 6]]
        (tmp_path / "hypervisor.json").write_text(json.dumps({"domains": here}))
        clock.seconds += 0.25
        assert {each.uuid for each in opened.sense().instances} == {each["uuid"] for each in here}
        counts.add(descriptors())
    assert max(counts) - min(counts) < 10
    opened.close()


def test_a_tick_over_many_instances_decides_and_plans_for_all(
    host: ManyInstances, sensors: Sensors, clock: Clock
) -> None:
    slo = parse_slo({"cpu": {"floor": 0.2}, "network_packets": {"floor": 1000}})
    intents = {
        uuid_of(n): Intent(uuid=uuid_of(n), slo=slo, generation=1, reserved_cpu_cores=0.3, estimated=True)
        for n in range(0, INSTANCES, 2)
    }
    memory = Memory()
    for seconds in (60.0, 60.25, 60.5):
        host.advance(seconds)
        seen = sensors.sense()
        assert_whole(seen)
        decision, _, memory = decide(seen, intents, memory, Settings())
        clock.seconds += 0.25
    assert len(decision.instances) == INSTANCES
    assert sum(each.managed for each in decision.instances) == len(intents)
    assert decision.host.busy_cores > 100 and plan(seen, decision)
