"""What a host cannot hold, on two real ones: a forced move is degraded and said so; relief cures it, suggests, and heeds its owner.

Two servers keep their vCPU busy and are guaranteed most of a host each, so that both on one host is more than it has. An administrator
forces them together (Nova below 2.68), past the scheduler and Placement.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from stella.control.ledger import consumer_of
from stella.control.relief_view import Limits
from tests.openstack.conftest import Failed, Person, Placement, delete_server, eventually
from tests.openstack.outages.guests import Guest
from tests.openstack.test_survival import Cloud
from tests.openstack.two_hosts.conftest import FIGURES, ComputeHost, create_server_on, moment

MOVED, STAYS, PLAIN = "relief-moved", "relief-stays", "relief-plain"
FLOOR_RATIO = 0.62
"""Of what a host can guarantee: one has room on it, two have not, nor has the CPU itself."""

MOVED_SECONDS = 120.0
STARTS_SECONDS = 30.0
DECIDED_SECONDS = 90.0
QUIET_SECONDS = 15.0
MEASURED_SECONDS = 600.0


@dataclass(slots=True, kw_only=True)
class World:
    """``moved`` and ``stays``: the uuids of the two servers, which are at home on ``home`` and ``there``."""

    admin: Cloud
    operator: Person
    member: Cloud
    hosts: Mapping[str, ComputeHost]
    moved: str
    stays: str
    home: str
    there: str
    relieved: Mapping[str, Any] | None = None
    """The decision by which relief moved one."""

    def host(self, uuid: str) -> str:
        """Where Nova has it, once nothing is being done to it."""

        def is_settled(server: Any) -> bool:
            assert server.status != "ERROR", server.fault
            return (server.status, server.task_state) == ("ACTIVE", None)

        found = eventually(lambda: self.admin.compute.get_server(uuid), is_settled, seconds=MOVED_SECONDS)
        return str(found.compute_host)

    def force(self, uuid: str, host: str) -> None:
        """Live migration past the scheduler, and wait for it."""
        body = {"os-migrateLive": {"host": host, "block_migration": "auto", "force": True}}
        answer = self.admin.compute.post(f"/servers/{uuid}/action", json=body, microversion="2.67")
        assert answer.status_code == 202, answer.text
        eventually(lambda: self.host(uuid), lambda found: found == host, seconds=MOVED_SECONDS)

    def bring_home(self) -> None:
        """Both where they began, with their SLOs in force; nothing is moved by relief meanwhile."""
        for name in self.hosts:
            self.relief(name, "off")
        for uuid, home in ((self.moved, self.home), (self.stays, self.there)):
            self.opt_out(uuid, is_out=False)
            if self.host(uuid) != home:
                self.force(uuid, home)
        for uuid in (self.moved, self.stays):
            self.until(uuid, "enforced")
            self.until_met(uuid)

    def until(self, uuid: str, state: str, *, seconds: float = 60.0) -> Mapping[str, Any]:
        """Its SLO, once it is in this state."""
        found: Mapping[str, Any] = eventually(
            lambda: self.admin.slo(uuid), lambda slo: slo.get("state") == state, seconds=seconds
        )
        return found

    def status(self, uuid: str) -> tuple[str, str | None]:
        """Status and cause of its CPU floor, by its host."""
        _, found = self.admin.stella("GET", f"/v1/instances/{uuid}")
        told = next((one for one in found["objectives"] if one["metric"] == "cpu"), {})
        return str(told.get("status")), told.get("cause")

    def until_met(self, uuid: str, *, seconds: float = 60.0) -> None:
        """Wait until its floor is met."""
        eventually(lambda: self.status(uuid), lambda found: found[0] == "MET", seconds=seconds)

    def relief(self, host: str, mode: str) -> None:
        """``openstack slo host set --relief-mode``."""
        self.operator.run("openstack", "slo", "host", "set", host, "--relief-mode", mode)

    def opt_out(self, uuid: str, *, is_out: bool) -> None:
        """As its owner does."""
        status, body = self.member.stella("PATCH", f"/v1/instances/{uuid}", {"relief_opt_out": is_out})
        assert status == 200, body

    def decisions(self, since: float) -> list[Mapping[str, Any]]:
        """Those of relief from ``since`` (Unix seconds) on, the oldest first."""
        _, body = self.admin.stella("GET", "/v1/decisions?kind=relief&limit=100")
        found = [one for one in body["decisions"] if moment(one["decided_at"]) >= since]
        return sorted(found, key=lambda one: int(one["id"]))

    def decided(self, since: float, is_it: Callable[[Mapping[str, Any]], bool]) -> Mapping[str, Any]:
        """The first decision since then that is it."""
        found: list[Mapping[str, Any]] = eventually(
            lambda: [one for one in self.decisions(since) if is_it(one["move"])], bool, seconds=DECIDED_SECONDS
        )
        return found[0]

    def migrations(self) -> list[Any]:
        """The live migrations of both that Nova was ever asked for."""
        return [one for uuid in (self.moved, self.stays) for one in self.admin.compute.migrations(instance_uuid=uuid)]

    def nothing_moves(self, seconds: float = QUIET_SECONDS) -> None:
        """Nova is asked for no migration in this time."""
        before = len(self.migrations())
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            assert len(self.migrations()) == before
            time.sleep(1)


@pytest.fixture(scope="module")
def world(member: Person, admin: Person, hosts: dict[str, ComputeHost]) -> Iterator[World]:
    """One busy server on each host, guaranteed most of it."""
    names, guests = list(hosts), []
    for name in (MOVED, STAYS):
        delete_server(member, name)
    with contextlib.suppress(Failed):
        admin.run("openstack", "flavor", "delete", PLAIN)
    admin.run("openstack", "flavor", "create", "--vcpus", "1", "--ram", "512", "--disk", "1", PLAIN)
    home, there = names
    try:
        uuids = [
            create_server_on(host, member, admin, hosts, name, flavor=PLAIN)
            for name, host in ((MOVED, home), (STAYS, there))
        ]
        mine, theirs = Cloud(member.environment), Cloud(admin.environment)
        made = World(
            admin=theirs,
            operator=admin,
            member=mine,
            hosts=hosts,
            moved=uuids[0],
            stays=uuids[1],
            home=home,
            there=there,
        )
        for uuid, host, name in ((made.moved, home, MOVED), (made.stays, there, STAYS)):
            guest = Guest(member, next(iter(hosts.values())).controller, name)
            guests.append(guest)
            guest.uuid, guest.address = uuid, member.openstack("server", "show", uuid)["addresses"]["demo-net"][0]
            guest.burn(1)
            made.relief(host, "off")

            def guarantee(uuid: str = uuid, host: str = host) -> bool:
                capacity = theirs.stella("GET", f"/v1/hosts/{host}")[1]["free_cpu_cores"]
                body = {"objectives": {"cpu": {"floor": round(FLOOR_RATIO * capacity, 3)}}}
                return mine.stella("PUT", f"/v1/instances/{uuid}/slo", body)[0] == 201

            eventually(guarantee, bool, seconds=60)
        yield made
    finally:
        for guest in guests:
            guest.close()
        for name in hosts:
            admin.run("openstack", "slo", "host", "set", name, "--relief-mode", "inherit")
        for name in (MOVED, STAYS):
            delete_server(member, name)
        admin.run("openstack", "flavor", "delete", PLAIN)


def test_a_forced_move_to_a_host_that_cannot_hold_it_is_degraded_and_said_so(world: World) -> None:
    world.bring_home()
    since = time.time()
    world.force(world.moved, world.there)
    arrived = time.monotonic()
    slo = world.until(world.moved, "degraded", seconds=30)
    FIGURES.append(("forced move", "degraded, and said so", time.monotonic() - arrived))
    assert "cores left to guarantee" in slo["reason"] and world.there not in slo["reason"]
    assert world.member.slo(world.moved)["state"] == "degraded"
    assert world.until(world.stays, "enforced"), "nothing is taken from those that were there"
    own = world.hosts[world.there].instance(world.moved)
    assert own["slo"], "the host keeps it, as far as it can"
    assert eventually(lambda: world.status(world.moved), lambda told: told[0] == "DEGRADED")[1] == "capacity"
    _, told = world.admin.stella("GET", f"/v1/decisions?kind=slo_degraded_by_host&uuid={world.moved}")
    assert [one for one in told["decisions"] if moment(one["decided_at"]) >= since - 1]
    shown = world.operator.run("openstack", "slo", "show", "--server", world.moved)
    assert "degraded" in shown and "cores left to guarantee" in shown
    world.force(world.moved, world.home)
    back = time.monotonic()
    world.until(world.moved, "enforced")
    FIGURES.append(("moved back", "in force", time.monotonic() - back))
    world.until_met(world.moved)


def test_suggest_only_moves_nothing(world: World) -> None:
    world.bring_home()
    for name in world.hosts:
        world.relief(name, "suggest")
    since = time.time()
    world.force(world.moved, world.there)
    made = world.decided(since, lambda move: move["state"] == "suggested")
    assert made["uuid"] in (world.moved, world.stays) and made["move"]["from"] == world.there
    assert made["move"]["predicted_effect_seconds_per_hour"] >= Limits().least_effect
    world.nothing_moves()
    assert world.host(world.moved) == world.host(world.stays) == world.there


def test_who_opted_out_is_not_moved(world: World) -> None:
    world.bring_home()
    for uuid in (world.moved, world.stays):
        world.opt_out(uuid, is_out=True)
    since = time.time()
    for name in world.hosts:
        world.relief(name, "act")
    world.force(world.moved, world.there)
    made = world.decided(since, lambda move: move["state"] == "refused")
    assert "opted out of relief" in made["reason"], made
    world.nothing_moves()


def test_relief_moves_one_and_both_floors_are_kept_again(world: World, placement: Placement) -> None:
    world.bring_home()
    since, before = time.time(), len(world.migrations())
    world.force(world.moved, world.there)
    forced = len(world.migrations())
    assert forced == before + 1
    for name in world.hosts:
        world.relief(name, "act")
    made = world.decided(since, lambda move: move["state"] in ("reserved", "moving", "done"))
    uuid, move = made["uuid"], made["move"]
    assert (move["from"], move["to"]) == (world.there, world.home) and uuid in (world.moved, world.stays)
    providers = placement.providers()
    root, child = (str(providers[name]["uuid"]) for name in (world.home, f"{world.home}:stella"))
    held = placement.consumers(child).get(consumer_of(uuid, root), {})
    assert held.get("CUSTOM_STELLA_CPU_MILLICORES", 0) > 0, "its place is held under its own consumer"
    assert move["predicted_effect_seconds_per_hour"] >= Limits().least_effect
    asked = eventually(world.migrations, lambda found: len(found) == forced + 1, seconds=30)
    assert sum((one.source_compute, one.dest_compute) == (world.there, world.home) for one in asked)
    _, body = world.admin.stella("GET", f"/v1/violations?host={world.there}&limit=100")
    opened = min(moment(one["opened_at"]) for one in body["violations"] if moment(one["opened_at"]) >= since)
    decided = moment(made["decided_at"])
    judged = opened + Limits().incurable_seconds
    FIGURES.append(("violation opened", "relief starts", decided - opened))
    FIGURES.append(("judged incurable", "relief starts", decided - judged))
    assert decided - judged <= STARTS_SECONDS
    done = world.decided(since, lambda move: move["state"] == "done")
    FIGURES.append(("relief starts", "moved", moment(done["move"]["changed_at"]) - decided))
    assert world.host(uuid) == world.home
    for one in (world.moved, world.stays):
        world.until(one, "enforced")
        world.until_met(one)
    FIGURES.append(("violation opened", "floors are met again", time.time() - opened))
    world.relieved = made


def test_the_effect_of_the_move_is_measured(world: World) -> None:
    assert world.relieved is not None, "nothing was moved"
    made, predicted = world.relieved, world.relieved["move"]["predicted_effect_seconds_per_hour"]
    measured = eventually(
        lambda: next(one["move"] for one in world.decisions(0) if one["id"] == made["id"]),
        lambda move: move["measured_effect_seconds_per_hour"] is not None,
        seconds=MEASURED_SECONDS,
    )
    FIGURES.append(("predicted effect", "violated seconds an hour", predicted))
    FIGURES.append(("measured effect", "violated seconds an hour", measured["measured_effect_seconds_per_hour"]))
    assert measured["state"] == "done" and measured["helped"] is not None
