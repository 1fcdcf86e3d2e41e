"""Why a server found no host is a decision, also where Nova asked Placement alone; on an emulated Nova and the API's own reports."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stella import conf
from stella.clouds.openstack.notifications import Hints, unplaced_in
from stella.clouds.openstack.session import OpenStack
from stella.clouds.standalone import NoLedger, Standalone
from stella.engine.duties.no_host import RECENT_SECONDS, NoHost, duty
from stella.engine.duty import Outcome, Work, limits_of
from tests.functional.conftest import Cloud, uuid
from tests.functional.nova import EmulatedNova, config_file

VM = uuid(1)
TOO_MUCH, LITTLE = {"stella:slo_cpu_floor": "3.5"}, {"stella:slo_cpu_floor": "0.1"}


class World:
    """A cloud with a host, its Nova, and the duty."""

    def __init__(self, cloud: Cloud, nova: EmulatedNova, directory: Path) -> None:
        self.cloud, self.servers, self.hints = cloud, nova.servers, Hints()
        self.adapter = OpenStack(conf.load([str(config_file(directory, nova.url))])).nova
        self.duty = NoHost(self.adapter, self.hints, margin=1.1)
        assert cloud.host("host1").report().status_code == 200
        self.work = Work(
            store=cloud.database,
            cloud=Standalone(),
            ledger=NoLedger(),
            limits=limits_of(cloud.config),
            clock=cloud.clock,
        )

    def fails(self, specs: dict[str, str], **changes: Any) -> Outcome:
        """A server of this flavor is not built, and Nova tells."""
        self.servers.create(VM, host=None, flavor="gold", extra_specs=specs)
        self.servers.set(VM, **{"status": "ERROR", **changes})
        self.hints.add(VM)
        assert self.duty.is_hinted()
        return self.duty.run(self.work)

    def decisions(self) -> list[dict[str, Any]]:
        found = self.cloud.admin.get("/v1/decisions", query_string="kind=no_candidate&limit=100")
        return list(found.json["decisions"])


@pytest.fixture
def world(cloud: Cloud, tmp_path: Path) -> Iterator[World]:
    nova = EmulatedNova()
    directory = tmp_path / "engine"
    directory.mkdir()
    yield World(cloud, nova, directory)
    nova.stop()


def test_each_host_s_reason_is_kept_with_the_server(world: World) -> None:
    assert world.fails(TOO_MUCH).changed == 1
    (decision,) = world.decisions()
    assert VM in decision["reason"] and "host1: cpu.floor" in decision["reason"]
    assert decision["detail"]["instance"] == VM and "cpu.floor" in decision["detail"]["hosts"]["host1"]
    assert not world.duty.is_hinted()


def test_where_stella_has_room_somebody_else_said_no(world: World) -> None:
    world.fails(LITTLE)
    assert "Placement" in world.decisions()[0]["reason"]


def test_what_the_scheduler_was_told_is_not_said_again(world: World) -> None:
    told = world.cloud.admin.ask("POST", "/v1/candidates", json={"extra_specs": TOO_MUCH, "vcpus": 1, "record": True})
    assert told.status_code == 200
    assert world.fails(TOO_MUCH).changed == 0
    world.cloud.clock.now += RECENT_SECONDS + 1
    world.hints.add(VM)
    assert world.duty.run(world.work).changed == 1


def test_why_a_server_was_not_moved_is_kept_too_with_what_its_user_added(world: World) -> None:
    home, other = world.cloud.host("home", cpus=1), world.cloud.host("other", cpus=1)
    for one in (VM, uuid(2)):
        (home if one == VM else other).add(one)
    for host in (home, other):
        assert host.report().status_code == 200
    for one in (VM, uuid(2)):
        assert world.cloud.member.put_slo(one, {"cpu": {"floor": 0.5}}).status_code == 201
    plain = {"hw:cpu_policy": "shared"}
    assert world.fails(plain, host="home", status="ACTIVE").changed == 1
    (decision,) = world.decisions()
    assert set(decision["detail"]["hosts"]) == {"other", "host1"} and decision["detail"]["instance"] == VM
    assert "cores left to guarantee" in decision["detail"]["hosts"]["other"]
    assert world.cloud.member.get(f"/v1/instances/{VM}/slo").json["state"] == "pending", "it stays as it is"


@pytest.mark.parametrize(
    ("specs", "changes"),
    [
        ({"hw:cpu_policy": "shared"}, {}),
        (TOO_MUCH, {"status": "ACTIVE"}),
        (LITTLE, {"host": "host1", "status": "ACTIVE"}),
        ({"stella:slo_cpu_floor": "much"}, {}),
    ],
)
def test_other_failures_are_none_of_stellas(world: World, specs: dict[str, str], changes: dict[str, Any]) -> None:
    assert world.fails(specs, **changes).changed == 0
    assert world.decisions() == []


def test_a_server_that_is_gone_is_forgotten(world: World) -> None:
    world.hints.add(uuid(2))
    made = duty(world.adapter, world.hints, margin=1.1)
    assert made.run(world.work).changed == 0 and len(world.hints) == 0


def test_only_a_server_that_was_not_built_or_moved_is_a_hint() -> None:
    payload = {"nova_object.data": {"instance_uuid": VM}}
    assert unplaced_in("compute_task.build_instances.error", payload) == VM
    assert unplaced_in("compute_task.migrate_server.error", payload) == VM
    assert unplaced_in("compute_task.resize_instance.error", payload) is None
    assert unplaced_in("compute_task.build_instances.error", {"nova_object.data": {"instance_uuid": "no"}}) is None
    assert unplaced_in("compute_task.build_instances.error", None) is None
