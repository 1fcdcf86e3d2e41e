"""The duty `ledger` where Placement, Nova or the lease go wrong, on an emulated Placement."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from stella.clouds.openstack.allocations import CONSUMER_TYPE
from stella.clouds.openstack.session import Refused
from stella.clouds.port import Unanswered
from stella.clouds.standalone import NoLedger, Standalone
from stella.control.ledger import consumer_of
from stella.db import hosts
from stella.db.leases import LeaseLost
from stella.engine.duties.ledger import Allocations
from stella.engine.duty import Outcome, Work, limits_of
from stella.model.resources import NAMES
from tests.functional.conftest import Agent, Cloud
from tests.unit.clouds.emulated_placement import Answer, EmulatedPlacement, unreachable

CPU = NAMES[0]


class World:
    """Hosts with one server and its SLO each, none of it in Placement yet."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud, self.placement = cloud, EmulatedPlacement()
        self.agents: dict[str, Agent] = {}
        self.servers: dict[str, str] = {}
        self.roots: dict[str, str] = {}
        self.children: dict[str, str] = {}
        self.duty = Allocations(self.placement.adapter())
        self.work = Work(
            store=cloud.database,
            cloud=Standalone(),
            ledger=NoLedger(),
            limits=limits_of(cloud.config),
            clock=cloud.clock,
        )

    def host(self, name: str) -> None:
        root, server = str(uuid4()), str(uuid4())
        self.roots[name], self.servers[name] = root, server
        self.children[name] = self.placement.host(root, name, {CPU: 3000})
        agent = self.agents[name] = self.cloud.host(name)
        agent.add(server)
        agent.report()

        def place(session: Any) -> None:
            found = hosts.find(session, name)
            assert found is not None
            hosts.keep_provider(session, found.id, root)

        self.cloud.database.write(place)
        answer = self.cloud.member.put_slo(server, {"cpu": {"floor": 0.5}})
        assert answer.status_code == 201, answer.text

    def own(self, name: str) -> str:
        return consumer_of(self.servers[name], self.roots[name])

    def held(self, name: str) -> int:
        return self.placement.held(self.own(name), self.children[name]).get(CPU, 0)

    def run(self) -> Outcome:
        return self.duty.run(self.work)


@pytest.fixture
def world(cloud: Cloud) -> Iterator[World]:
    made = World(cloud)
    made.host("a")
    made.host("b")
    yield made


def test_all_hosts_are_brought_in_step(world: World) -> None:
    assert world.run() == Outcome(changed=2, backlog=0)
    assert world.held("a") >= 500 <= world.held("b")
    assert world.run() == Outcome(changed=0, backlog=0)


def test_more_hosts_than_one_run_takes_are_all_kept(world: World) -> None:
    for number in range(20):
        world.host(f"c{number:02}")
    assert world.run() == Outcome(changed=20, more=True, backlog=0)
    assert world.run() == Outcome(changed=2, more=False, backlog=0)
    assert world.run().more and not world.run().more
    world.placement.asked.clear()
    assert world.run().more and not world.run().more
    assert world.placement.asked == ["GET /resource_providers"]


def test_a_host_that_goes_wrong_stops_no_other_and_is_said_once(world: World, caplog: pytest.LogCaptureFixture) -> None:
    wrong = f"/allocations/{world.own('a')}"
    world.placement.before = lambda method, path: Answer(500) if (method, path) == ("PUT", wrong) else None
    assert world.run() == Outcome(changed=1, backlog=1)
    assert world.run() == Outcome(changed=0, backlog=1)
    assert caplog.text.count("host a: what users added is not in step") == 1
    world.placement.before = None
    assert world.run() == Outcome(changed=1, backlog=0)
    assert "host a: what users added is in step with Placement again" in caplog.text


def test_a_placement_that_is_away_ends_the_run(world: World) -> None:
    world.placement.before = unreachable
    with pytest.raises(Unanswered):
        world.run()
    world.placement.before = None
    assert world.run() == Outcome(changed=2, backlog=0)


def test_a_client_that_is_always_quicker_is_left_to_the_next_run(world: World) -> None:
    def quicker(method: str, path: str) -> Answer | None:
        if method == "PUT" and path.endswith(world.own("a")):
            world.placement.allocate(world.own("a"), {world.children["a"]: {CPU: 1}}, type=CONSUMER_TYPE)
        return None

    world.placement.before = quicker
    assert world.run() == Outcome(changed=1, backlog=1)
    world.placement.before = None
    assert world.run() == Outcome(changed=1, backlog=0)


def test_a_nova_that_is_away_leaves_a_server_that_may_be_moving_alone(world: World) -> None:
    def away(instance: str) -> tuple[str, ...]:
        raise Refused("compute: away")

    world.duty = Allocations(world.placement.adapter(), migrations=away)
    world.placement.allocate(str(uuid4()), {world.children["a"]: {CPU: 400}})
    world.placement.allocate(world.servers["a"], {str(uuid4()): {"VCPU": 1}})
    assert world.run() == Outcome(changed=1, backlog=1)
    assert world.held("a") == 0 < world.held("b")


def test_a_host_whose_child_is_missing_is_said(world: World, caplog: pytest.LogCaptureFixture) -> None:
    del world.placement.totals[world.children["a"]]
    assert world.run() == Outcome(changed=1, backlog=1)
    assert "Placement has no resource provider a:stella" in caplog.text


def test_an_engine_that_does_not_lead_writes_nothing(world: World) -> None:
    class Lost:
        reader = world.cloud.database.reader

        def write(self, change: object) -> Any:
            raise LeaseLost("engine")

    world.work = replace(world.work, store=Lost())
    with pytest.raises(LeaseLost):
        world.run()
    assert world.placement.consumers == {}


def test_another_engine_that_takes_over_sees_twice_itself(world: World) -> None:
    world.run()
    leaked = consumer_of(str(uuid4()), world.roots["a"])
    world.placement.allocate(leaked, {world.children["a"]: {CPU: 1}}, type=CONSUMER_TYPE)
    assert world.run().changed == 0
    world.duty = Allocations(world.placement.adapter())
    assert world.run().changed == 0
    assert world.run().changed == 1
    assert leaked not in world.placement.consumers
