"""What users add, in a real Placement: the port `Ledger`, the duty `ledger`, the API between, and Nova's own allocations beside."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4, uuid5

import pytest
from falcon import testing
from keystoneauth1.adapter import Adapter

from stella.api.app import build
from stella.clouds.openstack.allocations import CONSUMER_TYPE, PlacementLedger
from stella.clouds.port import Claim, NoRoom, Unanswered
from stella.clouds.standalone import NoLedger, Standalone
from stella.db.models import Host, Instance, SloRow
from stella.engine.duties.ledger import Allocations
from stella.engine.duties.placement import Inventories
from stella.engine.duty import Outcome, Work, limits_of
from stella.model.resources import CPU_MILLICORES, NAMES
from tests.functional.conftest import Cloud, User
from tests.functional.placement import Placement

pytestmark = pytest.mark.timeout(300)

CPU, KPPS = NAMES[0], NAMES[1]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Placement]:
    made = Placement(tmp_path_factory.mktemp("placement"))
    made.start()
    yield made
    made.stop()


class Recording(Adapter):
    """An adapter that remembers what was asked, and dies where it is told to."""

    def __init__(self, service: Placement) -> None:
        made = service.adapter()
        super().__init__(made.session, service_type="placement", default_microversion=made.default_microversion)
        self.asked: list[str] = []
        self.dies_at: tuple[str, int] | None = None

    def request(self, url: str, method: str, **more: Any) -> Any:  # type: ignore[override]
        if self.dies_at is not None and method == self.dies_at[0]:
            left = self.dies_at[1]
            self.dies_at = None if left == 0 else (method, left - 1)
            if left == 0:
                raise Died
        self.asked.append(f"{method} {url}")
        return super().request(url, method, **more)


class Died(BaseException):
    """The process ended here."""


class World:
    """A cloud of one host with two servers of Nova's, an API that writes to Placement, and an engine."""

    def __init__(self, cloud: Cloud, service: Placement) -> None:
        self.cloud, self.service = cloud, service
        self.name = f"host-{uuid4().hex[:8]}"
        self.root = service.compute_node(self.name)
        self.child = str(uuid5(UUID(self.root), "stella"))
        self.children = [self.child]
        self.adapter = Recording(service)
        self.migrations: dict[str, tuple[str, ...]] = {}
        self.ledger = PlacementLedger(self.adapter, migrations=self._moving)
        self.member = User(
            cloud.member.token,
            testing.TestClient(build(cloud.config, cloud.database, clock=cloud.clock, ledger=self.ledger)),
        )
        self.agent = cloud.host(self.name, cpus=4)
        self.one, self.other = str(uuid4()), str(uuid4())
        for uuid in (self.one, self.other):
            self.agent.add(uuid, vcpus=2)
        self.agent.report()
        self.inventories = Inventories(service.adapter(), limits={})
        self.duty = Allocations(self.adapter, migrations=self._moving)
        self.work = Work(
            store=cloud.database,
            cloud=Standalone(),
            ledger=NoLedger(),
            limits=limits_of(cloud.config),
            clock=cloud.clock,
        )
        self.inventories.run(self.work)
        self.adapter.asked.clear()

    def _moving(self, instance: str) -> tuple[str, ...]:
        return self.migrations.get(instance, ())

    def run(self, duty: Allocations | None = None) -> Outcome:
        return (duty or self.duty).run(self.work)

    def own(self, instance: str, root: str | None = None) -> str:
        return str(uuid5(UUID(instance), root or self.root))

    def held(self, consumer: str, provider: str | None = None) -> Mapping[str, int]:
        found: dict[str, Any] = self.service.allocations(consumer)["allocations"]
        resources: dict[str, int] = found.get(provider or self.child, {}).get("resources", {})
        return resources

    def claim(self, resources: Mapping[str, int], instance: str | None = None) -> Claim:
        return Claim(instance=instance or self.one, project="p1", provider=self.root, resources=resources)

    def put(self, cores: float, instance: str | None = None) -> None:
        uuid = instance or self.one
        answer = self.member.put_slo(uuid, {"cpu": {"floor": cores}}, **self.generation(uuid))
        assert answer.status_code in (200, 201), answer.text

    def generation(self, instance: str) -> dict[str, int]:
        found = self.member.get(f"/v1/instances/{instance}/slo")
        return {"generation": found.json["generation"]} if found.status_code == 200 else {}

    def delete(self, instance: str | None = None) -> None:
        uuid = instance or self.one
        (generation,) = self.generation(uuid).values()
        answer = self.member.ask("DELETE", f"/v1/instances/{uuid}/slo", headers={"If-Match": f'"{generation}"'})
        assert answer.status_code == 204, answer.text

    def reserved_millicores(self) -> int:
        with self.cloud.database.reader() as session:
            host = session.query(Host).filter_by(name=self.name).one()
            return CPU_MILLICORES.amount(host.reserved_cpu_cores)

    def decided(self) -> list[dict[str, Any]]:
        query = {"kind": "placement_short", "host": self.name}
        found: list[dict[str, Any]] = self.cloud.admin.get("/v1/decisions", params=query).json["decisions"]
        return found


@pytest.fixture
def world(cloud: Cloud, service: Placement) -> Iterator[World]:
    made = World(cloud, service)
    yield made
    for child in made.children:  # the next test's engine does not know these hosts
        for consumer in service.ask("GET", f"/resource_providers/{child}/allocations")["allocations"]:
            service.ask("DELETE", f"/allocations/{consumer}", status=204)
        service.ask("DELETE", f"/resource_providers/{child}", status=204)


def test_the_provider_of_a_host_is_kept_in_the_database(world: World) -> None:
    with world.cloud.database.reader() as session:
        assert session.query(Host).filter_by(name=world.name).one().resource_provider == world.root


def test_an_slo_set_changed_and_withdrawn_is_in_placement_at_once(world: World) -> None:
    world.put(0.5)
    held = world.held(world.own(world.one))
    assert held == {CPU: world.reserved_millicores()} and held[CPU] >= 500
    told = world.service.allocations(world.own(world.one))
    assert (told["consumer_type"], told["project_id"]) == (CONSUMER_TYPE, "p1")
    world.put(0.25)
    assert world.held(world.own(world.one)) == {CPU: world.reserved_millicores()}
    world.delete()
    assert world.service.allocations(world.own(world.one)) == {"allocations": {}}
    assert world.run() == Outcome(changed=0, backlog=0)


def test_what_the_flavor_holds_is_not_held_twice(world: World) -> None:
    world.service.give(world.one, {world.root: {"VCPU": 2}, world.child: {CPU: 300}})
    world.put(0.5)
    assert world.held(world.own(world.one)) == {CPU: world.reserved_millicores() - 300}
    assert world.held(world.one) == {CPU: 300}
    world.put(0.125)
    assert world.held(world.own(world.one)) == {}


def test_what_placement_has_no_room_for_is_refused_and_leaves_all_as_it_was(world: World) -> None:
    world.put(0.25)
    before = world.held(world.own(world.one))
    free = 3456 - before[CPU]
    taken = world.service.allocate(world.child, {CPU: free - 100})
    with pytest.raises(NoRoom) as refused:
        world.ledger.hold(world.claim({CPU: before[CPU] + 101}))
    assert (refused.value.resource_class, refused.value.free) == (CPU, before[CPU] + 100)
    answer = world.member.put_slo(world.one, {"cpu": {"floor": 1.0}}, **world.generation(world.one))
    assert answer.status_code == 422, answer.text
    assert world.held(world.own(world.one)) == before
    world.service.give(taken, {})
    world.put(1.0)


def test_a_class_that_is_in_no_inventory_has_no_room(world: World) -> None:
    world.service.ask("DELETE", f"/resource_providers/{world.child}/inventories", status=204)
    with pytest.raises(NoRoom) as refused:
        world.ledger.hold(world.claim({KPPS: 1}))
    assert (refused.value.resource_class, refused.value.free) == (KPPS, 0)


def test_less_may_be_held_on_a_host_that_takes_nothing_more(world: World) -> None:
    world.put(0.5)
    world.cloud.admin.ask("PATCH", f"/v1/hosts/{world.name}", json={"mode": "maintenance"})
    world.inventories.run(world.work)
    held = world.held(world.own(world.one))[CPU]
    with pytest.raises(NoRoom) as refused:
        world.ledger.hold(world.claim({CPU: held + 1}))
    assert refused.value.free == held
    world.ledger.hold(world.claim({CPU: held - 1}))
    assert world.held(world.own(world.one)) == {CPU: held - 1}


def test_clients_at_once_end_with_what_the_last_of_them_says(world: World) -> None:
    """Each of them is refused by the generation of the consumer, or by that of the provider, and tries again."""

    def hold(amount: int) -> None:
        for _ in range(20):
            try:
                return PlacementLedger(world.service.adapter()).hold(world.claim({CPU: amount}))
            except Unanswered:
                continue

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(hold, range(100, 112)))
    held = world.held(world.own(world.one))[CPU]
    assert 100 <= held < 112
    world.ledger.hold(world.claim({}))
    assert world.held(world.own(world.one)) == {}


def test_a_host_at_rest_costs_one_list_and_is_read_again_now_and_then(world: World) -> None:
    world.put(0.5)
    world.run()
    world.adapter.asked.clear()
    for _ in range(8):
        assert world.run() == Outcome(changed=0, backlog=0)
    assert world.adapter.asked == ["GET /resource_providers"] * 8
    world.run()
    world.run()
    assert f"GET /resource_providers/{world.child}/allocations" in world.adapter.asked


@pytest.mark.parametrize("puts", [0, 1])
def test_a_process_that_ends_between_its_two_writes_is_mended(world: World, puts: int) -> None:
    """0: before anything is written. 1: after the database, before Placement is lowered."""
    world.put(1.0)
    before = world.held(world.own(world.one))
    generation = world.generation(world.one)
    world.adapter.dies_at = ("PUT", 0)
    with pytest.raises(Died):
        world.member.put_slo(world.one, {"cpu": {"floor": 1.5 if puts == 0 else 0.5}}, **generation)
    assert world.held(world.own(world.one)) == before, "the write that did not come"
    assert world.run() == Outcome(changed=0, backlog=0)
    assert world.run() == Outcome(changed=puts, backlog=0)
    assert world.held(world.own(world.one)) == {CPU: world.reserved_millicores()}


def test_what_was_raised_for_a_change_that_never_came_is_lowered_when_seen_twice(world: World) -> None:
    world.put(0.5)
    held = world.held(world.own(world.one))[CPU]
    world.ledger.hold(world.claim({CPU: held + 500}))
    assert world.run() == Outcome(changed=0, backlog=0)
    world.ledger.hold(world.claim({CPU: held + 400}))
    assert world.run() == Outcome(changed=0, backlog=0), "it was changed since it was seen"
    assert world.run() == Outcome(changed=1, backlog=0)
    assert world.held(world.own(world.one)) == {CPU: held}


def test_what_is_missing_is_added_at_once(world: World) -> None:
    world.put(0.5)
    held = world.held(world.own(world.one))
    world.service.ask("DELETE", f"/allocations/{world.own(world.one)}", status=204)
    assert world.run() == Outcome(changed=1, backlog=0)
    assert world.held(world.own(world.one)) == held
    told = world.service.allocations(world.own(world.one))
    assert (told["consumer_type"], told["project_id"]) == (CONSUMER_TYPE, "p1")


def test_a_resize_moves_the_border_between_novas_part_and_ours(world: World) -> None:
    world.service.give(world.one, {world.root: {"VCPU": 2}, world.child: {CPU: 300}})
    world.put(0.5)
    whole = world.reserved_millicores()
    world.service.give(world.one, {world.root: {"VCPU": 2}, world.child: {CPU: 100}})
    assert world.run() == Outcome(changed=1, backlog=0)
    assert world.held(world.own(world.one)) == {CPU: whole - 100}
    world.service.give(world.one, {world.root: {"VCPU": 2}, world.child: {CPU: 400}})
    assert (world.run().changed, world.run().changed) == (0, 1)
    assert world.held(world.own(world.one)) == {CPU: whole - 400}


def test_a_server_that_nova_moves_keeps_its_place_and_nothing_more(world: World) -> None:
    """Nova gives the server's allocation to its migration on the host that it leaves, and makes one at the destination."""
    world.service.give(world.one, {world.root: {"VCPU": 2}, world.child: {CPU: 300}})
    world.put(0.5)
    own = world.held(world.own(world.one))
    migration, destination = str(uuid4()), world.service.compute_node(f"{world.name}-destination")
    world.service.move(world.one, migration)
    world.service.give(world.one, {destination: {"VCPU": 2}})
    world.migrations[world.one] = (str(uuid4()), migration)
    for _ in range(3):
        assert world.run() == Outcome(changed=0, backlog=0)
    world.put(0.625)
    assert world.held(world.own(world.one)) == {CPU: world.reserved_millicores() - 300}
    world.put(0.5)
    world.service.give(world.one, {})
    world.service.move(migration, world.one)
    assert world.run() == Outcome(changed=0, backlog=0), "the move was given up"
    assert world.held(world.own(world.one)) == own


def test_what_no_slo_explains_goes_and_what_is_of_others_stays(world: World) -> None:
    gone, foreign, server = self_made(world), str(uuid5(UUID(world.root), "other")), str(uuid4())
    world.service.give(foreign, {world.child: {CPU: 7}})
    world.service.give(server, {world.root: {"VCPU": 1}, world.child: {CPU: 9}})
    for _ in range(4):
        world.run()
    assert world.service.allocations(gone) == {"allocations": {}}
    assert world.held(foreign) == {CPU: 7}
    assert world.held(server) == {CPU: 9}


def self_made(world: World) -> str:
    """A consumer of ours of an instance that the database does not know."""
    instance = str(uuid4())
    world.ledger.hold(world.claim({CPU: 100}, instance))
    return world.own(instance)


def test_an_slo_that_is_suspended_holds_nothing(world: World) -> None:
    world.put(0.5)

    def suspend(session: Any) -> None:
        instance = session.query(Instance).filter_by(uuid=world.one).one()
        session.query(SloRow).filter_by(instance_id=instance.id).one().state = "suspended"

    world.cloud.database.write(suspend)
    assert (world.run().changed, world.run().changed) == (0, 1)
    assert world.held(world.own(world.one)) == {}


def test_where_there_is_no_room_what_fits_is_held_and_a_decision_says_so_once(world: World) -> None:
    world.put(1.0)
    whole = world.held(world.own(world.one))[CPU]
    world.service.ask("DELETE", f"/allocations/{world.own(world.one)}", status=204)
    server = world.service.allocate(world.child, {CPU: 3456 - 400})
    assert world.run() == Outcome(changed=1, backlog=1)
    assert world.held(world.own(world.one)) == {CPU: 400}
    for _ in range(3):
        assert world.run() == Outcome(changed=0, backlog=1)
    (decision,) = world.decided()
    assert decision["uuid"] == world.one
    assert decision["detail"] == {"short": {CPU: whole - 400}}
    world.service.give(server, {})
    assert world.run() == Outcome(changed=1, backlog=0)
    assert world.held(world.own(world.one)) == {CPU: whole}


def test_a_child_without_a_host_is_emptied_so_that_it_can_be_deleted(world: World) -> None:
    """`openstack compute service delete` leaves a provider that is in use, ours and with it the node's own."""
    left = world.service.compute_node(f"{world.name}-left")
    child = str(uuid5(UUID(left), "stella"))
    world.service.ask(
        "POST",
        "/resource_providers",
        {"uuid": child, "name": f"{world.name}-left:stella", "parent_provider_uuid": left},
    )
    body = {"resource_provider_generation": 0, "inventories": {CPU: {"total": 1000}}}
    world.service.ask("PUT", f"/resource_providers/{child}/inventories", body)
    world.ledger.hold(Claim(instance=world.one, project="p1", provider=left, resources={CPU: 100}))
    world.service.ask("DELETE", f"/resource_providers/{child}", status=409)
    world.cloud.host("unplaced").report()
    for _ in range(3):
        world.run()
    assert world.held(world.own(world.one, left), child) == {CPU: 100}, (
        "the provider of a host is not known: it may be this"
    )
    with world.cloud.database.reader() as session:
        unplaced = session.query(Host).filter_by(name="unplaced").one().id
    provider = world.service.compute_node(f"{world.name}-unplaced")

    def place(session: Any) -> None:
        session.get(Host, unplaced).resource_provider = provider

    world.cloud.database.write(place)
    for _ in range(2):
        world.run()
    world.service.ask("DELETE", f"/resource_providers/{child}", status=204)
    world.service.ask("DELETE", f"/resource_providers/{left}", status=204)


def test_an_empty_database_deletes_nothing(world: World, tmp_path: Path) -> None:
    """A database that was emptied by mistake looks like a cloud without hosts."""
    world.put(0.5)
    held = world.held(world.own(world.one))

    (tmp_path / "empty").mkdir()
    empty = Cloud(tmp_path / "empty", f"sqlite:///{tmp_path}/empty/stella.sqlite")
    work = replace(world.work, store=empty.database)
    for _ in range(3):
        assert world.duty.run(work) == Outcome(changed=0, backlog=0)
    empty.database.close()
    assert world.held(world.own(world.one)) == held


def test_a_placement_that_is_away_fails_the_run_and_is_caught_up_with(world: World) -> None:
    world.put(0.5)
    world.service.ask("DELETE", f"/allocations/{world.own(world.one)}", status=204)
    world.service.stop()
    try:
        with pytest.raises(Unanswered):
            world.run()
        answer = world.member.put_slo(world.other, {"cpu": {"floor": 0.5}})
        assert answer.status_code == 503, answer.text
    finally:
        world.service.start()
    assert world.run() == Outcome(changed=1, backlog=0)
    assert world.held(world.own(world.one)) == {CPU: world.reserved_millicores()}
