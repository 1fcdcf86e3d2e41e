"""SLOs follow their instances: each operation of Nova, on an emulated one, with the API's own reports and admission."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from stella import conf
from stella.clouds.openstack import servers
from stella.clouds.openstack.notifications import Hints
from stella.clouds.openstack.session import OpenStack, Refused
from stella.clouds.port import Claim, NoRoom, Unanswered
from stella.clouds.standalone import Standalone
from stella.db import followed
from stella.engine.duties import instances
from stella.engine.duties.following import AGAIN_SECONDS, ALL_SECONDS, CHANGES_SECONDS, Following
from stella.engine.duty import Outcome, Work, limits_of
from tests.functional.conftest import BOTH_DATABASES, Cloud, uuid
from tests.functional.nova import EmulatedNova, config_file
from tests.functional.test_openstack_nova import Clock

VM = uuid(1)
GOLD, SILVER, PLAIN = {"stella:slo_cpu_floor": "0.4"}, {"stella:slo_cpu_floor": "0.2"}, {"hw:cpu_policy": "shared"}
ADDED = {"network_packets": {"floor": 2000.0}}


@dataclass
class Book:
    """A ledger in memory that can be full, or away."""

    held: dict[str, Any] = field(default_factory=dict)
    error: Exception | None = None

    def hold(self, claim: Claim) -> None:
        if self.error is not None and claim.resources:
            raise self.error
        self.held[claim.instance] = claim.resources


class World:
    """A cloud with two hosts, its Nova, and the duty; time passes with `pass_seconds`, in which hosts report and the duty runs."""

    def __init__(self, cloud: Cloud, nova: EmulatedNova, directory: Path) -> None:
        self.cloud, self.nova, self.servers = cloud, nova, nova.servers
        self.adapter = OpenStack(conf.load([str(config_file(directory, nova.url))])).nova
        self.hints, self.book, self.monotonic = Hints(), Book(), Clock()
        self.following = Following(self.adapter, self.hints, margin=1.1, monotonic=self.monotonic)
        self.work = Work(
            store=cloud.database,
            cloud=Standalone(),
            ledger=self.book,
            limits=limits_of(cloud.config),
            clock=cloud.clock,
        )
        self.agents = {name: cloud.host(name) for name in ("host1", "host2")}
        self.reporting = set(self.agents)
        self.report()

    def report(self) -> None:
        """Every host reports what Nova has on it, and acknowledges its SLOs."""
        for name in sorted(self.reporting):
            agent = self.agents[name]
            agent.instances.clear()
            for server in self.servers.known.values():
                if server.host == name and server.task_state != "rebuild_spawning":
                    agent.add(server.uuid)
            assert agent.report().status_code == 200
            assert agent.acknowledge().status_code == 200

    def run(self) -> Outcome:
        for _ in range(50):
            outcome = self.following.run(self.work)
            if not outcome.more:
                return outcome
        pytest.fail("it has always more to do")

    def pass_seconds(self, seconds: float = 5.0) -> None:
        self.cloud.clock.now += seconds
        self.monotonic.now += seconds
        self.report()
        self.run()
        self.report()

    def slo(self, one: str = VM) -> dict[str, Any] | None:
        answer = self.cloud.member.get(f"/v1/instances/{one}/slo")
        return answer.json if answer.status_code == 200 else None

    def decisions(self, one: str = VM) -> list[tuple[str, str]]:
        found = self.cloud.admin.get("/v1/decisions", query_string=f"uuid={one}&limit=100").json["decisions"]
        return [(each["kind"], each["reason"]) for each in reversed(found)]

    def reserved(self, name: str) -> float:
        return float(self.cloud.admin.get(f"/v1/hosts/{name}").json["reserved_cpu_cores"])


@pytest.fixture
def nova() -> Iterator[EmulatedNova]:
    made = EmulatedNova()
    yield made
    if made.thread.is_alive():
        made.stop()


@pytest.fixture
def world(cloud: Cloud, nova: EmulatedNova, tmp_path: Path) -> World:
    """With one server of the flavor `silver`, whose SLO is in force."""
    directory = tmp_path / "engine"
    directory.mkdir()
    made = World(cloud, nova, directory)
    made.servers.create(VM, host="host1", flavor="silver", extra_specs=SILVER)
    made.pass_seconds()
    return made


def nothing(world: World) -> None:
    """Time passes."""


def add(world: World) -> None:
    generation = (world.slo() or {}).get("generation")
    assert world.cloud.member.put_slo(VM, ADDED, generation=generation).status_code in (200, 201)


def delete(world: World) -> None:
    world.servers.delete(VM)


def resize(world: World) -> None:
    world.servers.resize(VM, "gold", GOLD)


def resize_confirm(world: World) -> None:
    resize(world)
    world.pass_seconds()
    world.servers.confirm(VM)


def resize_revert(world: World) -> None:
    resize(world)
    world.pass_seconds(CHANGES_SECONDS)
    assert world.slo()["objectives"]["cpu"] == {"floor": 0.4}  # type: ignore[index]
    world.servers.revert(VM)


def resize_with_added(world: World) -> None:
    add(world)
    resize(world)


def resize_to_plain(world: World) -> None:
    world.servers.resize(VM, "plain", PLAIN)


def resize_to_plain_with_added(world: World) -> None:
    add(world)
    resize_to_plain(world)


def rebuild(world: World) -> None:
    world.servers.set(VM, status="REBUILD", task_state="rebuild_spawning")
    world.pass_seconds(AGAIN_SECONDS)
    world.pass_seconds(90)
    world.run()
    world.servers.set(VM, status="ACTIVE", task_state=None)


def shelve(world: World) -> None:
    world.servers.shelve(VM)


def shelve_with_added(world: World) -> None:
    add(world)
    shelve(world)


def unshelve_elsewhere(world: World) -> None:
    add(world)
    shelve(world)
    world.pass_seconds(CHANGES_SECONDS)
    assert world.reserved("host1") == 0
    world.servers.unshelve(VM, "host2")


def unshelve_without_room(world: World) -> None:
    shelve(world)
    world.pass_seconds(CHANGES_SECONDS)
    for number in (10, 11):
        world.servers.create(uuid(number), host="host2", flavor="huge", extra_specs={"stella:slo_cpu_floor": "0.7"})
    world.pass_seconds()
    assert world.reserved("host2") > 1.5
    world.servers.unshelve(VM, "host2")


def silent(world: World) -> None:
    resize(world)
    world.reporting.discard("host1")
    world.pass_seconds(100)


def status(name: str) -> Callable[[World], None]:
    return lambda world: world.servers.set(VM, status=name)


CPU, MORE = {"cpu": {"floor": 0.2}}, {"cpu": {"floor": 0.4}}
ROWS: dict[str, tuple[Callable[[World], None], str, Any, str]] = {
    # operation: what is done, the SLO's state then, its objectives, Nova's status that is kept
    "create": (nothing, "enforced", CPU, "ACTIVE"),
    "delete": (delete, "", None, "DELETED"),
    "resize and confirm": (resize_confirm, "enforced", MORE, "ACTIVE"),
    "resize and revert": (resize_revert, "enforced", CPU, "ACTIVE"),
    "resize with what was added": (resize_with_added, "enforced", {**MORE, **ADDED}, "VERIFY_RESIZE"),
    "resize to a flavor without an SLO": (resize_to_plain, "", None, "VERIFY_RESIZE"),
    "the same, with what was added": (resize_to_plain_with_added, "enforced", ADDED, "VERIFY_RESIZE"),
    "rebuild": (rebuild, "enforced", CPU, "ACTIVE"),
    "shelve": (shelve, "suspended", CPU, "SHELVED_OFFLOADED"),
    "shelve with what was added": (shelve_with_added, "suspended", {**CPU, **ADDED}, "SHELVED_OFFLOADED"),
    "unshelve elsewhere": (unshelve_elsewhere, "enforced", {**CPU, **ADDED}, "ACTIVE"),
    "unshelve where it does not fit": (unshelve_without_room, "suspended", CPU, "ACTIVE"),
    "pause": (status("PAUSED"), "enforced", CPU, "PAUSED"),
    "suspend": (status("SUSPENDED"), "enforced", CPU, "SUSPENDED"),
    "stop": (status("SHUTOFF"), "enforced", CPU, "SHUTOFF"),
    "host silent": (silent, "enforced", CPU, "VERIFY_RESIZE"),
}


@BOTH_DATABASES
@pytest.mark.parametrize("by", ["notification", "list"])
@pytest.mark.parametrize("name", ROWS)
def test_each_operation(world: World, name: str, by: str) -> None:
    """With a hint within one run; without any, by Nova's lists."""
    do, state, objectives, cloud_state = ROWS[name]
    do(world)
    if by == "notification":
        world.hints.add(VM)
        world.monotonic.now += 1
        assert world.following.is_hinted()
    world.pass_seconds(5.0 if by == "notification" else CHANGES_SECONDS)
    world.pass_seconds()  # a host reports where the instance is, before it is looked at again
    slo = world.slo()
    assert (slo["state"], slo["objectives"]) == (state, objectives) if slo else (state, objectives) == ("", None)
    with world.cloud.database.reader() as session:
        ((instance, host, _),) = followed.find(session, [VM])
    assert instance.cloud_state == cloud_state
    held = world.book.held[VM]
    assert bool(held) is (state not in ("", "suspended")), "the ledger holds what is in force"
    if state in ("", "suspended") and name != "unshelve where it does not fit":
        assert world.reserved(host.name) == 0
    if state == "suspended":
        assert slo is not None and slo["reason"]
        assert VM not in str(world.agents["host1"].intent().json) + str(world.agents["host2"].intent().json)


def test_the_slo_of_a_server_deleted_on_a_silent_host_is_withdrawn_when_the_host_is_back(world: World) -> None:
    """Its QEMU may live until then."""
    silent(world)
    delete(world)
    world.hints.add(VM)
    world.pass_seconds()
    assert world.slo()["state"] == "enforced" and world.reserved("host1") > 0  # type: ignore[index]
    world.reporting.add("host1")
    world.pass_seconds()
    world.pass_seconds(AGAIN_SECONDS)
    assert world.slo() is None and world.reserved("host1") == 0


def test_what_does_not_fit_is_tried_again_and_said_once(world: World) -> None:
    unshelve_without_room(world)
    for _ in range(5):
        world.pass_seconds(AGAIN_SECONDS)
    slo = world.slo()
    assert slo is not None and slo["state"] == "suspended"
    assert slo["reason"].startswith("does not fit on its host: cpu.floor: "), slo
    assert (
        world.cloud.admin.get(f"/v1/instances/{VM}")
        .json["slo"]["reason"]
        .startswith("does not fit on host2: cpu.floor: ")
    )
    kinds = [kind for kind, _ in world.decisions()]
    assert kinds == ["slo_accepted", "slo_suspended", "slo_does_not_fit"]
    for number in (10, 11):
        world.servers.delete(uuid(number))
    world.pass_seconds(CHANGES_SECONDS)
    world.pass_seconds(AGAIN_SECONDS)
    assert world.slo()["state"] == "enforced"  # type: ignore[index]
    assert world.decisions()[-1][0] == "slo_accepted"


def test_the_ledger_decides_too(world: World) -> None:
    world.book.error = NoRoom("CUSTOM_STELLA_CPU_MILLICORES", 12)
    resize(world)
    world.hints.add(VM)
    world.pass_seconds()
    slo = world.slo()
    assert slo is not None and slo["state"] == "suspended" and "Placement has room for 12" in slo["reason"]
    world.book.error = None
    world.pass_seconds(AGAIN_SECONDS)
    assert world.slo()["state"] == "enforced"  # type: ignore[index]


@pytest.mark.parametrize("error", [Refused("placement: not yet"), Unanswered("placement: away")])
def test_nothing_changes_while_the_ledger_does_not_answer(world: World, error: Exception) -> None:
    world.book.error = error
    resize(world)
    world.hints.add(VM)
    world.monotonic.now += 1
    if isinstance(error, Refused):
        assert world.run().backlog == 1
    else:
        with pytest.raises(Unanswered):
            world.run()
    assert world.slo()["objectives"] == CPU  # type: ignore[index]
    world.book.error = None
    for _ in range(3):
        world.pass_seconds()
    assert world.slo()["objectives"] == MORE  # type: ignore[index]


def test_a_host_that_cannot_keeps_it_suspended(cloud: Cloud, nova: EmulatedNova, tmp_path: Path) -> None:
    directory = tmp_path / "engine"
    directory.mkdir()
    world = World(cloud, nova, directory)
    watching = cloud.host("watching", mode="observe")
    world.agents["watching"] = watching
    world.servers.create(VM, host="watching", flavor="silver", extra_specs=SILVER)
    watching.add(VM)
    watching.report()
    world.pass_seconds()
    slo = world.slo()
    assert slo is not None and slo["state"] == "suspended", slo
    assert slo["reason"] == "the host is in mode observe"


def test_a_list_is_no_evidence_that_a_server_is_gone(world: World) -> None:
    world.servers.hidden.add(VM)
    world.pass_seconds(ALL_SECONDS)
    world.pass_seconds(ALL_SECONDS)
    assert world.slo()["state"] == "enforced"  # type: ignore[index]


@pytest.mark.parametrize("wrong", [(404, {"error": "no such route"}), (500, {}), (403, {"forbidden": {}})])
def test_only_novas_own_404_is(world: World, wrong: tuple[int, Any]) -> None:
    world.nova.answers[f"/servers/{VM}"] = wrong
    world.hints.add(VM)
    world.pass_seconds()
    assert world.slo()["state"] == "enforced"  # type: ignore[index]


def test_nor_is_a_404_to_a_user_who_may_not_see_all(world: World) -> None:
    world.nova.answers["/servers"] = (403, {"forbidden": {}})
    delete(world)
    world.hints.add(VM)
    world.pass_seconds()
    assert world.slo()["state"] == "enforced"  # type: ignore[index]
    del world.nova.answers["/servers"]
    world.nova.answers["/servers"] = (200, {"servers": []})
    world.pass_seconds()
    assert world.slo() is None


def test_a_slow_or_silent_nova_is_given_a_rest(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.nova.stop()
    world.hints.add(VM)
    world.monotonic.now += 1
    with pytest.raises(Unanswered):
        world.following.run(world.work)
    assert len(world.hints) == 0 and not world.following.is_hinted()
    with caplog.at_level(logging.WARNING):
        assert world.following.run(world.work).backlog == 1, "it is not asked"
    assert not caplog.text


def test_lists_are_read_page_by_page(world: World) -> None:
    for number in range(100, 107):
        world.servers.create(uuid(number), host="host1", flavor="plain", extra_specs=PLAIN)
    world.servers.page_size = 3
    world.report()
    world.pass_seconds(ALL_SECONDS)
    with world.cloud.database.reader() as session:
        found = followed.find(session, [uuid(number) for number in range(100, 107)])
    assert [instance.cloud_state for instance, _, _ in found] == ["ACTIVE"] * 7
    assert [(instance.flavor, instance.disk_bytes) for instance, _, _ in found] == [("plain", 20 * 2**30)] * 7
    page = servers.page(world.adapter)
    assert len(page.servers) == 3 and page.marker == page.servers[-1].uuid
    world.nova.answers["/servers/detail"] = (400, {"badRequest": {}})
    with pytest.raises(servers.NoSuchMarker):
        servers.page(world.adapter, marker=VM)


def test_a_list_asks_for_what_changed(world: World) -> None:
    asked = len(world.nova.asked)
    world.pass_seconds(CHANGES_SECONDS)
    lists = [path for path, _ in world.nova.asked[asked:] if path.startswith("/v2.1/servers/detail")]
    assert len(lists) == 1 and "changes-since=20" in lists[0] and "all_tenants=1" in lists[0]
    world.pass_seconds(ALL_SECONDS)
    assert "changes-since" not in world.nova.asked[-1][0]


def test_the_duty_of_gone_instances_withdraws_a_suspended_one_too(world: World) -> None:
    shelve(world)
    world.pass_seconds(CHANGES_SECONDS)
    delete(world)
    world.cloud.clock.now += 80
    world.report()
    assert instances.run(world.work).changed == 1
    assert world.slo() is None


def test_an_agent_that_reports_late_is_no_reason_to_wait(world: World) -> None:
    """Deleted, and its host has not noticed yet."""
    delete(world)
    world.hints.add(VM)
    world.monotonic.now += 1
    world.run()
    assert world.slo() is None and world.reserved("host1") == 0
    assert world.decisions()[-1][0] == "instance_gone"


def test_the_user_keeps_what_was_added_when_the_flavor_contradicts_it(world: World) -> None:
    generation = world.slo()["generation"]  # type: ignore[index]
    answer = world.cloud.member.put_slo(VM, {"cpu": {"ceiling": 0.3}}, generation=generation)
    assert answer.status_code == 200, answer.text
    resize(world)
    world.hints.add(VM)
    world.pass_seconds()
    slo = world.slo()
    assert slo is not None and slo["state"] == "suspended" and "contradict" in slo["reason"]
    assert slo["added_objectives"] == {"cpu": {"ceiling": 0.3}}
    world.servers.revert(VM)
    world.hints.add(VM)
    world.pass_seconds()
    slo = world.slo()
    assert slo is not None and slo["objectives"] == {"cpu": {"floor": 0.2, "ceiling": 0.3}}


def test_what_was_added_can_be_withdrawn_while_it_is_suspended(world: World) -> None:
    shelve_with_added(world)
    world.pass_seconds(CHANGES_SECONDS)
    slo = world.slo()
    assert slo is not None and slo["state"] == "suspended"
    answer = world.cloud.member.ask("DELETE", f"/v1/instances/{VM}/slo?generation={slo['generation']}")
    assert answer.status_code == 204, answer.text
    slo = world.slo()
    assert slo is not None and (slo["state"], slo["objectives"]) == ("suspended", CPU)
    assert world.reserved("host1") == 0 and slo["reason"] == "the server is shelved: it has no host"


def test_instances_of_which_nova_says_nothing_are_asked_for_again(
    cloud: Cloud, nova: EmulatedNova, tmp_path: Path
) -> None:
    directory = tmp_path / "engine"
    directory.mkdir()
    world = World(cloud, nova, directory)
    world.servers.create(VM, host="host1", flavor="silver", extra_specs=SILVER)
    nova.answers[f"/servers/{VM}"] = (503, {})
    nova.answers["/servers/detail"] = (200, {"servers": []})
    world.pass_seconds()
    assert world.slo() is None
    del nova.answers[f"/servers/{VM}"]
    world.pass_seconds()
    assert world.slo()["state"] == "enforced"  # type: ignore[index]
