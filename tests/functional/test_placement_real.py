"""The duty `placement` and a real Placement: what is written, what is left alone, what somebody else's writes do to it."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4, uuid5

import pytest
from keystoneauth1.adapter import Adapter

from stella.clouds.openstack import placement
from stella.clouds.openstack.placement import Changed, Inventory, Root
from stella.clouds.port import Unanswered
from stella.clouds.standalone import NoLedger, Standalone
from stella.db import hosts
from stella.db.leases import LeaseLost
from stella.engine.duties.placement import Inventories
from stella.engine.duty import Outcome, Work, limits_of
from stella.model.resources import NAMES
from stella.model.slo import Metric
from tests.functional.conftest import Cloud
from tests.functional.nova import EmulatedNova
from tests.functional.placement import TOKEN, Placement

pytestmark = pytest.mark.timeout(300)

CPU, KPPS, IOPS = NAMES[0], NAMES[1], NAMES[4]


@pytest.fixture
def emulated() -> Iterator[EmulatedNova]:
    made = EmulatedNova()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Placement]:
    made = Placement(tmp_path_factory.mktemp("placement"))
    made.start()
    yield made
    made.stop()


class World:
    """A cloud of one host whose compute node Placement knows."""

    def __init__(self, cloud: Cloud, service: Placement, adapter: Adapter) -> None:
        self.cloud, self.service = cloud, service
        self.name = f"host-{uuid4().hex[:8]}"
        self.root = service.compute_node(self.name)
        self.child = str(uuid5(UUID(self.root), "stella"))
        self.agent = cloud.host(self.name)
        self.agent.report()
        self.duty = Inventories(adapter, limits={Metric.BLOCK_OPERATIONS: 8000.0})

    def run(self, duty: Inventories | None = None) -> Outcome:
        work = Work(
            store=self.cloud.database,
            cloud=Standalone(),
            ledger=NoLedger(),
            limits=limits_of(self.cloud.config),
            clock=self.cloud.clock,
        )
        return (duty or self.duty).run(work)

    def provider(self, uuid: str) -> dict[str, Any]:
        found: dict[str, Any] = self.service.ask("GET", f"/resource_providers/{uuid}")
        return found

    def inventories(self, uuid: str | None = None) -> dict[str, tuple[int, int]]:
        body = self.service.ask("GET", f"/resource_providers/{uuid or self.child}/inventories")
        return {name: (one["total"], one["reserved"]) for name, one in body["inventories"].items()}

    def report(self, capacity_cores: float) -> None:
        capacity = {"cpu_cores": capacity_cores, "one_cpu_cores": 0.9, "cpus": [0, 1]}
        self.agent.report(host={**self.agent.body()["host"], "capacity": capacity})

    def mode(self, mode: str) -> None:
        answer = self.cloud.admin.ask("PATCH", f"/v1/hosts/{self.name}", json={"mode": mode})
        assert answer.status_code == 200, answer.text

    def decided(self) -> list[dict[str, Any]]:
        query = {"kind": "placement_short", "host": self.name}
        found: list[dict[str, Any]] = self.cloud.admin.get("/v1/decisions", params=query).json["decisions"]
        return found


@pytest.fixture
def world(cloud: Cloud, service: Placement) -> World:
    return World(cloud, service, service.adapter())


def test_a_host_gets_a_child_with_what_it_has_to_guarantee(world: World) -> None:
    root = world.provider(world.root), world.inventories(world.root)
    assert world.run() == Outcome(changed=1, backlog=0)
    child = world.provider(world.child)
    assert (child["name"], child["parent_provider_uuid"]) == (f"{world.name}:stella", world.root)
    written = world.inventories()
    assert set(written) == set(NAMES)
    assert written[CPU] == (1728, 0), "two CPUs of 0.9 core, less the 4 % that weights keep"
    assert written[KPPS] == (75, 0), "1.728 cores at 23 us a packet"
    assert written[IOPS] == (8000, 0), "as configured: the CPU could carry more"
    assert (world.provider(world.root), world.inventories(world.root)) == root, "the root is as it was"
    generation = world.provider(world.child)["generation"]
    for _ in range(2):
        assert world.run() == Outcome(changed=0, backlog=0)
    assert world.provider(world.child)["generation"] == generation, "nothing is written twice"


def test_a_flavor_is_served_from_the_child_up_to_its_total(world: World) -> None:
    world.run()
    query = f"/allocation_candidates?resources=VCPU:1,{CPU}:1700,{KPPS}:20"
    found = world.service.ask("GET", query)["allocation_requests"]
    mine = [one for one in found if world.child in one["allocations"]]
    assert [set(one["allocations"]) for one in mine] == [{world.root, world.child}]
    world.service.allocate(world.child, {CPU: 1000, KPPS: 20})
    world.service.allocate(world.child, {CPU: 729}, status=409)
    world.service.allocate(world.child, {CPU: 728})


def test_noise_is_not_written_and_change_is(world: World) -> None:
    world.run()
    for capacity_cores in (1.79, 1.81, 1.78, 1.8):
        world.report(capacity_cores)
        assert world.run().changed == 0
    world.report(1.5)
    assert world.run().changed == 1
    assert world.inventories()[CPU] == (1440, 0)


def test_a_total_is_never_below_what_is_allocated_and_a_decision_says_so_once(world: World) -> None:
    world.run()
    world.service.allocate(world.child, {CPU: 1600})
    world.report(1.0)
    assert world.run().changed == 1
    assert world.inventories()[CPU] == (1600, 0)
    world.run()
    (decision,) = world.decided()
    assert CPU in decision["reason"] and decision["detail"]["short"] == {CPU: 640}
    world.report(1.8)
    world.run()
    assert world.inventories()[CPU] == (1728, 0)
    assert len(world.decided()) == 1
    world.report(1.0)
    world.run()
    assert len(world.decided()) == 2, "it is short again"


def test_what_is_short_is_cured_when_nova_deletes_the_server(world: World) -> None:
    """It deletes a server's allocation without the consumer's generation, and Placement leaves that of the provider as it was."""
    world.run()
    server = world.service.allocate(world.child, {CPU: 1600})
    world.report(1.0)
    world.run()
    generation = world.provider(world.child)["generation"]
    world.service.ask("DELETE", f"/allocations/{server}", status=204)
    assert world.provider(world.child)["generation"] == generation
    world.run()
    assert world.inventories()[CPU] == (960, 0)


@pytest.mark.parametrize("mode", ["observe", "maintenance"])
def test_a_host_that_does_not_enforce_takes_nothing_more(world: World, mode: str) -> None:
    world.run()
    held = world.service.allocate(world.child, {CPU: 100})
    world.mode(mode)
    assert world.run().changed == 1
    assert world.inventories()[CPU] == (1728, 1728)
    world.service.allocate(world.child, {CPU: 1}, status=409)
    assert world.service.ask("GET", f"/allocations/{held}")["allocations"], "what is held stays"
    world.mode("enforce")
    world.run()
    assert world.inventories()[CPU] == (1728, 0)
    world.service.allocate(world.child, {CPU: 1})


def test_a_server_may_be_moved_away_from_a_host_that_takes_nothing_more(world: World) -> None:
    """Nova gives a migrating server's allocation to the migration, in one request, which may not raise what is used."""
    world.run()
    server = world.service.allocate(world.child, {CPU: 1500})
    world.mode("maintenance")
    world.report(1.0)
    world.run()
    assert world.inventories()[CPU] == (1500, 1500), "neither head-room nor what the host has"
    generation = world.service.ask("GET", f"/allocations/{server}")["consumer_generation"]
    taken = {"project_id": "p1", "user_id": "ann"}
    migration = {**taken, "consumer_generation": None, "allocations": {world.child: {"resources": {CPU: 1500}}}}
    body = {server: {**taken, "consumer_generation": generation, "allocations": {}}, str(uuid4()): migration}
    world.service.ask("POST", "/allocations", body, status=204)


def test_a_host_whose_credential_is_revoked_takes_nothing_more(world: World) -> None:
    world.run()
    world.cloud.database.write(lambda session: hosts.revoke(session, world.name))
    world.run()
    assert world.inventories()[CPU] == (1728, 1728)


def test_a_host_that_placement_does_not_know_stops_no_other(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.cloud.host("another").report()
    assert world.run() == Outcome(changed=1, backlog=1)
    world.run()
    assert caplog.text.count("no resource provider of the compute node another") == 1, "said once, not at every run"
    world.service.compute_node("another")
    assert world.run() == Outcome(changed=1, backlog=0)
    assert "another is in step with Placement again" in caplog.text


def test_a_compute_node_of_another_name_is_found_by_what_nova_says(world: World) -> None:
    for number in (1, 2):
        world.cloud.host(f"{world.name}-{number}").report()
    uuid = world.service.compute_node(f"{world.name}-1.example.com")
    asked = []

    def compute_nodes() -> dict[str, str]:
        asked.append(1)
        return {f"{world.name}-1": uuid}

    duty = Inventories(world.service.adapter(), limits={}, compute_nodes=compute_nodes)
    assert world.run(duty) == Outcome(changed=2, backlog=1), "Nova does not know the second either"
    assert set(world.inventories(str(uuid5(UUID(uuid), "stella")))) == set(NAMES)
    assert len(asked) == 1


class Counting(Adapter):
    """An adapter that counts what is asked."""

    requests = 0

    def request(self, url: str, method: str, **more: Any) -> Any:  # type: ignore[override]
        self.requests += 1
        return super().request(url, method, **more)


def test_more_hosts_than_one_run_takes_are_all_kept_with_few_requests(cloud: Cloud, service: Placement) -> None:
    made = service.adapter()
    adapter = Counting(made.session, service_type="placement", default_microversion=made.default_microversion)
    world = World(cloud, service, adapter)
    for number in range(21):
        name = f"{world.name}-{number:02}"
        world.service.compute_node(name)
        world.cloud.host(name).report()
    assert world.run() == Outcome(changed=20, more=True, backlog=0)
    assert world.run() == Outcome(changed=2, more=False, backlog=0)
    assert world.run() == Outcome(changed=0, more=True, backlog=0), "a new round; what was written is read once"
    assert world.run() == Outcome(changed=0, more=False, backlog=0)
    before = adapter.requests
    world.service.allocate(world.child, {CPU: 1})
    assert world.run().more and not world.run().more
    assert adapter.requests - before == len(NAMES) + 1 + 2, "the classes, one list, and the one provider that changed"


def test_a_provider_of_somebody_else_is_not_touched(world: World) -> None:
    other = str(uuid4())
    world.service.ask("POST", "/resource_providers", {"uuid": other, "name": f"{world.name}:stella"})
    assert world.run() == Outcome(changed=0, backlog=1)
    assert world.inventories(other) == {}
    world.service.ask("DELETE", f"/resource_providers/{other}", status=204)
    assert world.run() == Outcome(changed=1, backlog=0)


def test_what_was_deleted_by_hand_is_made_again(world: World) -> None:
    world.run()
    world.service.ask("DELETE", f"/resource_providers/{world.child}", status=204)
    assert world.run().changed == 1
    assert world.inventories()[CPU] == (1728, 0)


def test_a_write_that_rests_on_an_old_generation_is_refused(world: World) -> None:
    world.run()
    root = Root(uuid=world.root, name=world.name)
    adapter = world.service.adapter()
    stock = placement.read(adapter, root)
    assert stock is not None
    world.service.allocate(world.child, {CPU: 1})
    with pytest.raises(Changed):
        placement.write(adapter, root, {CPU: Inventory(total=1)}, generation=stock.generation)
    assert world.inventories()[CPU] == (1728, 0)


class Interrupting(Adapter):
    """An adapter before whose first writes of inventories somebody else allocates."""

    def __init__(self, service: Placement, times: int) -> None:
        made = service.adapter()
        super().__init__(made.session, service_type="placement", default_microversion=made.default_microversion)
        self.service, self.times, self.child = service, times, ""

    def request(self, url: str, method: str, **more: Any) -> Any:  # type: ignore[override]
        if method == "PUT" and url.endswith("/inventories") and self.child in url and self.child and self.times > 0:
            self.times -= 1
            self.service.allocate(self.child, {CPU: 1})
        return super().request(url, method, **more)


@pytest.mark.parametrize(("times", "kept"), [(1, True), (2, True), (3, False)])
def test_somebody_who_writes_between_makes_the_duty_read_again(
    cloud: Cloud, service: Placement, times: int, kept: bool
) -> None:
    adapter = Interrupting(service, times)
    world = World(cloud, service, adapter)
    world.run()
    adapter.child = world.child
    world.report(1.5)
    assert world.run() == Outcome(changed=int(kept), backlog=int(not kept))
    assert world.inventories()[CPU] == ((1440 if kept else 1728), 0)
    world.run()
    assert world.inventories()[CPU] == (1440, 0)
    assert adapter.times == 0


def test_an_engine_that_does_not_lead_writes_nothing(world: World) -> None:
    class Lost:
        reader = world.cloud.database.reader

        def write(self, change: object) -> Any:
            raise LeaseLost("engine")

    work = Work(
        store=Lost(),
        cloud=Standalone(),
        ledger=NoLedger(),
        limits=limits_of(world.cloud.config),
        clock=world.cloud.clock,
    )
    with pytest.raises(LeaseLost):
        world.duty.run(work)
    world.service.ask("GET", f"/resource_providers/{world.child}", status=404)


def test_a_placement_that_is_away_fails_the_run_and_is_caught_up_with(world: World) -> None:
    world.service.stop()
    try:
        with pytest.raises(Unanswered):
            world.run()
    finally:
        world.service.start()
    assert world.run() == Outcome(changed=1, backlog=0)


def test_the_engine_keeps_inventories_as_its_configuration_says(
    world: World, tmp_path: Path, emulated: EmulatedNova
) -> None:
    path = tmp_path / "engine.conf"
    path.write_text(
        f"{world.cloud.config_path.read_text()}[engine]\nlease_seconds = 1\n"
        f"[cloud]\nkind = openstack\nlargest_network_packets_per_second = 5000\nnova_endpoint = {emulated.url}\n"
        f"[openstack]\nauth_type = admin_token\nendpoint = {world.service.url}\ntoken = {TOKEN}\n"
    )
    command = [sys.executable, "-m", "stella.cmd.stella_engine", "--config-file", str(path), "--once"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert world.inventories()[KPPS] == (5, 0)
    assert world.inventories()[IOPS][0] > 8000
