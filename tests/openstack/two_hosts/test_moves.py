"""An SLO follows its server from one real host to the other: each row of docs/openstack/moves.md is a test.

All tests move one server, one after the other. After each move the SLO is in force on the new host within 5 s, and nothing of the
server is left on the old one.
"""

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from tests.openstack.conftest import Failed, Person, create_server, delete_server, eventually
from tests.openstack.outages.guests import Guest
from tests.openstack.test_survival import Cloud
from tests.openstack.two_hosts.conftest import FIGURES, ComputeHost, create_server_on, moment

NAME, FILLER, SILVER, GOLD, PLAIN = "moves", "moves-filler", "moves-silver", "moves-gold", "moves-plain"
SOLD: Mapping[str, tuple[str, ...]] = {
    SILVER: ("--cpu", "10%", "--net-pps", "500"),
    GOLD: ("--cpu", "15%", "--net-pps", "800"),
    PLAIN: (),
}
OBJECTIVES = {
    SILVER: {"cpu": {"floor": 0.1}, "network_packets": {"floor": 500.0}},
    GOLD: {"cpu": {"floor": 0.15}, "network_packets": {"floor": 800.0}},
}
IN_FORCE_SECONDS = 5.0
MOVED_SECONDS = 180.0
CLEAN_SECONDS = 30.0
SILENT_SECONDS = 150.0


@dataclass(slots=True, kw_only=True)
class Moves:
    """The server that is moved, as its member, the administrator and its hosts see it."""

    cloud: Cloud
    admin: Cloud
    operator: Person
    hosts: Mapping[str, ComputeHost]
    uuid: str
    domain: str
    ports: list[str]
    knobs: dict[str, dict[str, str]]
    objectives: Mapping[str, Any]
    """What its flavor sells at present."""

    def host(self) -> str:
        """Where Nova has it."""
        return str(self.admin.compute.get_server(self.uuid).compute_host)

    def other(self) -> str:
        """The host where it is not."""
        return next(name for name in self.hosts if name != self.host())

    def arrives(self, done: str, there: str, status: str = "ACTIVE") -> float:
        """Wait until Nova has it on ``there``; the moment (monotonic)."""
        began = time.monotonic()

        def is_there(server: Any) -> bool:
            assert server.status != "ERROR", server.fault
            return (server.status, server.task_state, server.compute_host) == (status, None, there)

        eventually(lambda: self.admin.compute.get_server(self.uuid), is_there, seconds=MOVED_SECONDS)
        FIGURES.append((done, f"{status} on {there}", time.monotonic() - began))
        return time.monotonic()

    def is_in_force(self, done: str, there: str, since: float) -> None:
        """Its SLO is in force on ``there``, by Stella's word and by its agent's, within `IN_FORCE_SECONDS` after ``since``."""

        def ask() -> Mapping[str, Any]:
            _, shown = self.admin.stella("GET", f"/v1/instances/{self.uuid}")
            kept = self.cloud.slo()
            own = self.hosts[there].instance(self.uuid)
            return {
                "host": shown["host"],
                "state": kept.get("state"),
                "objectives": kept.get("objectives"),
                "on the host": set(own.get("slo") or ()),
                "frozen": own.get("frozen"),
            }

        wanted = {
            "host": there,
            "state": "enforced",
            "objectives": self.objectives,
            "on the host": set(self.objectives),
            "frozen": False,
        }
        eventually(ask, lambda found: found == wanted, seconds=60)
        seconds = time.monotonic() - since
        FIGURES.append((done, "in force", seconds))
        assert seconds <= IN_FORCE_SECONDS, f"in force {seconds:.1f} s after {done}"

    def has_left(self, here: str) -> None:
        """Nothing of it is on ``here``, and every other knob there holds what it held before."""
        host = self.hosts[here]
        eventually(
            lambda: host.traces(self.uuid, self.domain, self.ports), lambda left: not left, seconds=CLEAN_SECONDS
        )
        before = self.knobs[here]
        eventually(
            lambda: {path: (before[path], now) for path, now in host.knobs().items() if before.get(path, now) != now},
            lambda changed: not changed,
            seconds=CLEAN_SECONDS,
        )

    def accounted(self) -> int:
        """The seconds of its CPU floor on its account so far, whatever their status."""
        _, found = self.cloud.stella("GET", f"/v1/instances/{self.uuid}/attainment")
        return sum(sum(each["seconds"].values()) for each in found["objectives"] if each["metric"] == "cpu")

    def set_service(self, host: str, *words: str) -> None:
        """``openstack compute service set``."""
        self.operator.run("openstack", "compute", "service", "set", *words, host, "nova-compute")


@pytest.fixture(scope="module")
def flavors(admin: Person) -> Iterator[None]:
    """Those of `SOLD`."""

    def delete() -> None:
        for name in SOLD:
            with contextlib.suppress(Failed):
                admin.run("openstack", "flavor", "delete", name)

    delete()
    for name, objectives in SOLD.items():
        admin.run("openstack", "flavor", "create", "--vcpus", "1", "--ram", "512", "--disk", "1", name)
        if objectives:
            admin.run("openstack", "slo", "flavor", "set", name, *objectives)
    yield
    delete()


@pytest.fixture(scope="module")
def moves(member: Person, admin: Person, hosts: dict[str, ComputeHost], flavors: None) -> Iterator[Moves]:
    """With a running server of the flavor `moves-silver`, and what all knobs held before."""
    for name in (NAME, FILLER):
        delete_server(member, name)
    knobs = {name: host.knobs() for name, host in hosts.items()}
    mine, theirs = Cloud(member.environment), Cloud(admin.environment)
    mine.uuid = theirs.uuid = create_server(member, NAME, flavor=SILVER)
    shown = theirs.compute.get_server(mine.uuid)
    ports = [port.id for port in mine.connection.network.ports(device_id=mine.uuid)]
    mine.has(OBJECTIVES[SILVER], seconds=60)
    yield Moves(
        cloud=mine,
        admin=theirs,
        operator=admin,
        hosts=hosts,
        uuid=mine.uuid,
        domain=shown.instance_name,
        ports=ports,
        knobs=knobs,
        objectives=OBJECTIVES[SILVER],
    )
    for name in (NAME, FILLER):
        delete_server(member, name)


@pytest.fixture
def busy(member: Person, hosts: dict[str, ComputeHost], moves: Moves) -> Iterator[None]:
    """Its vCPU is busy all the time."""
    guest = Guest(member, next(iter(hosts.values())).controller, NAME)
    guest.uuid = moves.uuid
    guest.address = member.openstack("server", "show", moves.uuid)["addresses"]["demo-net"][0]
    guest.burn(1)
    yield
    guest.close()


def test_each_host_is_one_core_with_an_agent_that_sees_it_whole(admin: Person, hosts: dict[str, ComputeHost]) -> None:
    listed = {each["name"]: each["mode"] for each in admin.openstack("slo", "host", "list")}
    assert listed == dict.fromkeys(hosts, "enforce")
    services = {
        each["Host"]: each["State"]
        for each in admin.openstack("compute", "service", "list", "--service", "nova-compute")
    }
    assert services == dict.fromkeys(hosts, "up")
    uuids = {
        host.place.run(["/usr/bin/virsh", "capabilities"]).split("<uuid>")[1].split("<")[0] for host in hosts.values()
    }
    assert len(uuids) == 2
    for host in hosts.values():
        status = host.xgos("status")
        assert 0 < status["capacity_cpu_cores"] < 1.0, status
        assert all(sensor["ok"] for sensor in status["sensors"]), status["sensors"]


@pytest.mark.parametrize("way", ["there", "back"])
def test_live_migration(moves: Moves, busy: None, way: str) -> None:
    here, there, accounted = moves.host(), moves.other(), moves.accounted()
    moves.operator.run("openstack", "server", "migrate", "--live-migration", moves.uuid)
    arrived = moves.arrives(f"live migration {way}", there)
    moves.is_in_force(f"live migration {way}", there, arrived)
    moves.has_left(here)
    own = eventually(
        lambda: moves.hosts[there].instance(moves.uuid),
        lambda own: any(each["metric"] == "cpu" and each["status"] == "MET" for each in own.get("objectives", ())),
        seconds=20,
    )
    assert own["slo"]
    if way == "back":  # minutes of both hosts are on one account
        eventually(moves.accounted, lambda seconds: seconds > accounted, seconds=150)


def test_cold_migration(moves: Moves) -> None:
    here, there = moves.host(), moves.other()
    moves.admin.compute.migrate_server(moves.uuid)
    arrived = moves.arrives("cold migration", there, "VERIFY_RESIZE")
    moves.is_in_force("cold migration", there, arrived)
    moves.admin.compute.confirm_server_resize(moves.uuid)
    moves.cloud.wait("ACTIVE")
    moves.has_left(here)
    moves.cloud.keeps(moves.objectives)


def test_resize(moves: Moves) -> None:
    here, there = moves.host(), moves.other()
    moves.cloud.compute.resize_server(moves.uuid, moves.cloud.compute.find_flavor(GOLD).id)
    moves.objectives = OBJECTIVES[GOLD]
    arrived = moves.arrives("resize", there, "VERIFY_RESIZE")
    moves.is_in_force("resize", there, arrived)
    moves.cloud.compute.confirm_server_resize(moves.uuid)
    moves.cloud.wait("ACTIVE")
    moves.has_left(here)
    moves.cloud.keeps(moves.objectives)


def test_resize_that_is_reverted(moves: Moves) -> None:
    here, there = moves.host(), moves.other()
    other = SILVER if moves.objectives == OBJECTIVES[GOLD] else GOLD
    moves.cloud.compute.resize_server(moves.uuid, moves.cloud.compute.find_flavor(other).id)
    moves.arrives("resize", there, "VERIFY_RESIZE")
    moves.cloud.compute.revert_server_resize(moves.uuid)
    arrived = moves.arrives("resize reverted", here)
    moves.is_in_force("resize reverted", here, arrived)
    moves.has_left(there)


def test_shelve_and_unshelve_on_the_other_host(moves: Moves) -> None:
    here, there = moves.host(), moves.other()
    moves.cloud.compute.shelve_server(moves.uuid)
    moves.cloud.wait("SHELVED_OFFLOADED")
    moves.cloud.has(moves.objectives, "suspended")
    moves.has_left(here)
    moves.operator.run("openstack", "server", "unshelve", "--host", there, moves.uuid)
    arrived = moves.arrives("unshelve", there)
    moves.is_in_force("unshelve", there, arrived)


def test_a_host_that_cannot_hold_it_is_refused(moves: Moves, member: Person) -> None:
    here, there = moves.host(), moves.other()
    filler = create_server_on(there, member, moves.operator, moves.hosts, FILLER, flavor=PLAIN)

    def fill() -> bool:
        """Guarantee to the filler all that can be."""
        free = moves.admin.stella("GET", f"/v1/hosts/{there}")[1]["free_cpu_cores"]
        body: dict[str, Any] = {"objectives": {"cpu": {"floor": round(0.85 * free, 3)}}}
        return moves.cloud.stella("PUT", f"/v1/instances/{filler}/slo", body)[0] == 201

    eventually(fill, bool, seconds=60)
    since = time.time()
    with contextlib.suppress(Failed):  # the API answers that there is no valid host, or takes it and the action fails
        moves.operator.run("openstack", "server", "migrate", "--live-migration", moves.uuid)
    moves.cloud.wait("ACTIVE")
    action = next(each for each in moves.admin.compute.server_actions(moves.uuid) if each.action == "live-migration")
    details = moves.admin.compute.get_server_action(action.request_id, moves.uuid)
    assert any(event["result"] == "Error" for event in details.events), details.events
    assert moves.host() == here
    moves.cloud.keeps(moves.objectives)

    def told() -> list[str]:
        """Why the other host was refused, as an operator reads it."""
        _, body = moves.admin.stella("GET", "/v1/decisions?kind=no_candidate&limit=20")
        recent = [one for one in body["decisions"] if moment(one["decided_at"]) >= since - 1]
        return [one["detail"]["hosts"].get(there, "") for one in recent if one["detail"]["instance"] == moves.uuid]

    assert "cores left to guarantee" in eventually(told, bool, seconds=30)[0]
    delete_server(member, FILLER)


def test_evacuation(moves: Moves) -> None:
    here, there = moves.host(), moves.other()
    accounted = moves.accounted()
    moves.hosts[here].off()
    began = time.monotonic()
    eventually(
        lambda: moves.admin.stella("GET", f"/v1/hosts/{here}")[1], lambda host: host["silent"], seconds=SILENT_SECONDS
    )
    FIGURES.append(("host cut off", "silent", time.monotonic() - began))
    moves.set_service(here, "--down")
    moves.operator.run("openstack", "server", "evacuate", moves.uuid)
    moves.arrives("evacuation", there, "SHUTOFF")
    moves.cloud.compute.start_server(moves.uuid)
    arrived = moves.arrives("evacuated, start", there)
    moves.is_in_force("evacuation", there, arrived)
    began = time.monotonic()
    moves.hosts[here].on()
    FIGURES.append(("host on again", "services answer", time.monotonic() - began))

    def is_up() -> bool:
        try:
            moves.set_service(here, "--up")
        except Failed:
            return False  # Nova refuses it until nova-compute has cleaned up after the evacuation
        return True

    eventually(is_up, bool, seconds=120)
    moves.has_left(here)
    moves.cloud.keeps(moves.objectives)
    assert moves.accounted() >= accounted
