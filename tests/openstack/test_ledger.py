"""What a member adds to a server is in Placement beside what its flavor sells, whatever Nova does with the server."""

import contextlib
from collections.abc import Iterator
from uuid import UUID, uuid4, uuid5

import pytest

from .conftest import Failed, Person, Placement, create_server, delete_server, eventually, nova_manage

pytestmark = pytest.mark.timeout(900)

FLAVOR, LARGER, SERVER = "ledger-flavor", "ledger-larger", "ledger-server"
CPU = "CUSTOM_STELLA_CPU_MILLICORES"
RUNS_SECONDS = 150
"""Two runs of the duty, and some."""


@pytest.fixture(scope="module")
def flavors(admin: Person) -> Iterator[None]:
    """Two that differ in what they sell; a busy machine holds either."""

    def delete() -> None:
        with contextlib.suppress(Failed):
            admin.run("openstack", "flavor", "delete", FLAVOR, LARGER)

    delete()
    for name, share in ((FLAVOR, "1%"), (LARGER, "2%")):
        admin.run("openstack", "flavor", "create", "--vcpus", "1", "--ram", "512", "--disk", "1", name)
        admin.run("openstack", "slo", "flavor", "set", name, "--cpu", share)
    yield
    delete()


class Added:
    """A server with an SLO that its member raised above its flavor's."""

    def __init__(self, server: str, member: Person, admin: Person, placement: Placement) -> None:
        self.server, self.member, self.admin, self.placement = server, member, admin, placement
        providers = placement.providers()
        self.root, self.child = providers["compute1"]["uuid"], providers["compute1:stella"]["uuid"]
        self.own = str(uuid5(UUID(server), self.root))

    def set(self, share: str) -> None:
        """Set the member's part; a busy machine may have to be asked again."""

        def ask() -> str:
            try:
                return self.member.run("openstack", "slo", "set", "--server", self.server, "--cpu", share, "--wait")
            except Failed as refused:
                return f"refused: {refused}"

        eventually(ask, lambda answer: not answer.startswith("refused"), seconds=180)

    def held(self, consumer: str) -> int:
        return self.placement.allocated(consumer).get(self.child, {}).get(CPU, 0)

    def reserved(self) -> float:
        """What the SLO takes in all, in millicores."""
        shown = self.member.openstack("slo", "show", "--server", self.server)
        return float(shown["reserved_cpu_cores"]) * 1000

    def is_in_step(self) -> bool:
        return abs(self.held(self.server) + self.held(self.own) - self.reserved()) <= 1

    def wait(self) -> None:
        eventually(self.is_in_step, bool, seconds=RUNS_SECONDS)


@pytest.fixture(scope="module")
def added(member: Person, admin: Person, placement: Placement, flavors: None) -> Iterator[Added]:
    """The server and its SLO."""
    made = Added(create_server(member, SERVER, flavor=FLAVOR), member, admin, placement)
    made.set("4%")
    yield made
    delete_server(member, SERVER)


@pytest.fixture(scope="module")
def leaked(added: Added) -> str:
    """A consumer as a process leaves it that ends before it sets the SLO of a server that is gone then."""
    consumer = str(uuid5(uuid4(), added.root))
    added.placement.put(consumer, added.child, {CPU: 1}, consumer_type="STELLA_SLO")
    return consumer


def test_nova_and_stella_hold_the_whole_together(added: Added, leaked: str) -> None:
    assert added.held(added.server) > 0 < added.held(added.own)
    added.wait()
    added.set("3%")
    assert added.is_in_step(), "what is less is given back with the answer"


def test_what_was_lost_comes_back(added: Added) -> None:
    added.placement.delete(added.own)
    eventually(lambda: added.held(added.own), lambda held: held > 0, seconds=RUNS_SECONDS)
    added.wait()


def test_a_resize_moves_the_border_between_novas_part_and_stellas(added: Added, member: Person) -> None:
    nova = added.held(added.server)
    member.run("openstack", "server", "resize", "--flavor", LARGER, "--wait", added.server)
    member.run("openstack", "server", "resize", "confirm", added.server)
    eventually(lambda: added.held(added.server), lambda held: held > nova)
    added.wait()
    assert nova_manage("placement", "audit", "--verbose")[0] == 0


def test_what_belongs_to_no_server_goes(added: Added, leaked: str, member: Person) -> None:
    delete_server(member, SERVER)
    eventually(lambda: added.held(added.own), lambda held: held == 0, seconds=RUNS_SECONDS)
    eventually(lambda: added.held(leaked), lambda held: held == 0, seconds=RUNS_SECONDS)
    assert nova_manage("placement", "audit", "--verbose")[0] == 0
