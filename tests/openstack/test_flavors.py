"""What a flavor sells is allocated beside Nova's own resources, on a provider that Nova and its tools leave alone."""

import contextlib
import time
from collections.abc import Iterator

import pytest

from .conftest import (
    Failed,
    Person,
    Placement,
    asked_server,
    create_server,
    delete_server,
    eventually,
    laboratory,
    nova_manage,
)

SOLD, TOO_LARGE, SERVER = "flavors-sold", "flavors-too-large", "flavors-server"
CLASSES = {f"CUSTOM_STELLA_{name}" for name in ("CPU_MILLICORES", "NET_KPPS", "NET_MBPS", "BLOCK_MBPS", "BLOCK_IOPS")}


@pytest.fixture(scope="module")
def flavors(admin: Person) -> Iterator[None]:
    """One flavor that a busy machine can hold as well, and one that no machine of this size can."""

    def delete() -> None:
        with contextlib.suppress(Failed):
            admin.run("openstack", "flavor", "delete", SOLD, TOO_LARGE)

    delete()
    for name, vcpus, objectives in (
        (SOLD, "1", ("--cpu", "2%", "--net-pps", "500")),
        (TOO_LARGE, "16", ("--cpu", "1500%")),
    ):
        admin.run("openstack", "flavor", "create", "--vcpus", vcpus, "--ram", "512", "--disk", "1", name)
        admin.run("openstack", "slo", "flavor", "set", name, *objectives)
    yield
    delete()


@pytest.fixture(scope="module")
def server(member: Person, flavors: None) -> Iterator[str]:
    """A running server of the flavor that fits; its uuid."""
    yield create_server(member, SERVER, flavor=SOLD)
    delete_server(member, SERVER)


def child(placement: Placement) -> str:
    """The uuid of the compute host's provider that Stella keeps."""
    return str(placement.providers()["compute1:stella"]["uuid"])


def compute_services(admin: Person) -> list[dict[str, str]]:
    """Nova's services on compute hosts; there may be hosts that are not there (`laboratory fake-hosts`)."""
    return list(admin.openstack("compute", "service", "list", "--service", "nova-compute"))


def resources(admin: Person, flavor: str) -> dict[str, int]:
    """What Nova allocates of Stella's classes for a server of this flavor."""
    properties = admin.openstack("flavor", "show", flavor)["properties"]
    marks = {name.removeprefix("resources:"): int(value) for name, value in properties.items() if ":CUSTOM_" in name}
    assert marks, properties
    return marks


def test_agent_nova_and_stella_call_the_host_by_one_name(admin: Person) -> None:
    known = {host["name"] for host in admin.openstack("slo", "host", "list")}
    assert {row["Host"] for row in compute_services(admin)} <= known and "compute1" in known


def test_the_engine_keeps_a_provider_below_the_compute_hosts_own(placement: Placement) -> None:
    providers = eventually(placement.providers, lambda found: "compute1:stella" in found, seconds=90)
    root, child = providers["compute1"], providers["compute1:stella"]
    assert child["parent_provider_uuid"] == child["root_provider_uuid"] == root["uuid"]
    assert set(placement.totals(child["uuid"])) == CLASSES
    assert not CLASSES & set(placement.totals(root["uuid"]))


def test_a_server_of_the_flavor_holds_what_is_sold(server: str, admin: Person, placement: Placement) -> None:
    allocated = placement.allocated(server)
    assert allocated[child(placement)] == resources(admin, SOLD)
    assert allocated[placement.providers()["compute1"]["uuid"]].keys() == {"VCPU", "MEMORY_MB", "DISK_GB"}


def test_what_does_not_fit_finds_no_host_and_is_told_why(flavors: None, admin: Person, member: Person) -> None:
    name = "flavors-none"
    try:
        shown = asked_server(member, name, flavor=TOO_LARGE)
        assert shown["status"] == "ERROR" and "No valid host was found" in str(shown["fault"]), shown
        # Placement said no, so that the scheduler asked nobody else: the engine was told by Nova, and looked into it.
        decided = eventually(
            lambda: admin.openstack("slo", "decision", "list", "--kind", "no_candidate"),
            lambda rows: any(shown["id"] in row["reason"] for row in rows),
        )
        (reason,) = [row["reason"] for row in decided if shown["id"] in row["reason"]]
        assert ": cpu.floor" in reason, reason
    finally:
        delete_server(member, name)
    (host,) = [row for row in admin.openstack("slo", "explain", "--flavor", TOO_LARGE) if row["host"] == "compute1"]
    assert not host["fits"], host
    assert "cpu.floor" in host["why_not"] and "cores" in host["why_not"], host
    with pytest.raises(Failed):  # what other tenants have is the operator's to know
        member.run("openstack", "slo", "explain", "--flavor", TOO_LARGE)


def test_novas_tools_find_nothing_to_mend(server: str, member: Person) -> None:
    def add() -> str:
        try:
            return member.run("openstack", "slo", "set", "--server", server, "--cpu", "4%", "--wait")
        except Failed as refused:
            return f"refused: {refused}"

    eventually(add, lambda answer: not answer.startswith("refused"), seconds=180)
    assert_nova_finds_nothing_to_mend(server)


def assert_nova_finds_nothing_to_mend(server: str) -> None:
    code, said = nova_manage("placement", "audit", "--verbose")
    assert code == 0, said  # 3: an allocation is nobody's
    code, said = nova_manage("placement", "heal_allocations", "--verbose", "--dry-run", "--instance", server)
    assert code == 4 and "up-to-date. Nothing to be healed" in said, (code, said)


@pytest.mark.alone
def test_nova_compute_starts_again_with_everything_in_use(server: str, admin: Person, placement: Placement) -> None:
    provider, before = child(placement), placement.allocated(server)
    consumers = placement.consumers(provider)
    assert server in consumers
    (service,) = [row for row in compute_services(admin) if row["Host"] == "compute1"]
    assert laboratory("service", "restart", "nova-compute")[0] == 0

    def is_up_again() -> bool:
        (found,) = [row for row in compute_services(admin) if row["Host"] == "compute1"]
        return bool(found["State"] == "up" and found["Updated At"] > service["Updated At"])

    time.sleep(1)  # the clock of `Updated At` is in seconds
    eventually(is_up_again, bool, seconds=120)
    # Its first periodic task writes its own provider, where it would take away what it does not know.
    root = placement.providers()["compute1"]
    eventually(lambda: set(placement.totals(root["uuid"])), lambda found: found == {"VCPU", "MEMORY_MB", "DISK_GB"})
    assert set(placement.totals(provider)) == CLASSES
    assert placement.allocated(server) == before
    assert placement.consumers(provider)[server] == consumers[server]
    assert admin.openstack("server", "show", server)["status"] == "ACTIVE"
    assert_nova_finds_nothing_to_mend(server)
