"""Limits that a flavor and a port have already: shown beside floors, and a floor above one is refused."""

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from .conftest import Failed, Person, create_server, delete_server, eventually

FLAVOR, SERVER, POLICY = "limits-capped", "limits-server", "limits-policy"
READ_SECONDS = 300.0
"""The engine reads limits every two minutes, and a page of servers at a time."""


@pytest.fixture(scope="module")
def flavor(admin: Person) -> Iterator[str]:
    """A flavor whose vCPU may use half a CPU."""

    def delete() -> None:
        with contextlib.suppress(Failed):
            admin.run("openstack", "flavor", "delete", FLAVOR)

    delete()
    admin.run("openstack", "flavor", "create", "--vcpus", "1", "--ram", "512", "--disk", "1", FLAVOR)
    quota = ("--property", "quota:cpu_quota=50000", "--property", "quota:cpu_period=100000")
    admin.run("openstack", "flavor", "set", *quota, FLAVOR)
    yield FLAVOR
    delete()


@pytest.fixture(scope="module")
def server(admin: Person, member: Person, flavor: str) -> Iterator[str]:
    """A server of that flavor, whose port has a policy of the administrator's: 8 Mbit/s of what it sends."""

    def delete() -> None:
        with contextlib.suppress(Failed):
            admin.run("openstack", "network", "qos", "policy", "delete", POLICY)

    delete()
    uuid = create_server(member, SERVER, flavor=flavor)
    admin.run("openstack", "network", "qos", "policy", "create", POLICY)
    rule = ("--type", "bandwidth-limit", "--max-kbps", "8000", "--max-burst-kbits", "800", "--egress")
    admin.run("openstack", "network", "qos", "rule", "create", *rule, POLICY)
    (port,) = admin.openstack("port", "list", "--server", uuid)
    admin.run("openstack", "port", "set", "--qos-policy", POLICY, port["ID"])
    yield uuid
    delete_server(member, SERVER)
    delete()


def test_a_flavor_cannot_sell_what_it_forbids(admin: Person, flavor: str) -> None:
    with pytest.raises(Failed, match=r"cpu.floor: 80% is above the limit quota:cpu_quota of its flavor, 50%"):
        admin.run("openstack", "slo", "flavor", "set", flavor, "--cpu", "80%")
    assert admin.openstack("slo", "flavor", "show", flavor)["objectives"] == {}


def limits(member: Person) -> dict[str, dict[str, Any]]:
    """What the member is shown, by name."""
    return {one["name"]: one for one in member.openstack("slo", "show", "--server", SERVER)["limits"]}


def test_both_are_shown_in_base_units(server: str, member: Person) -> None:
    eventually(lambda: member.openstack("slo", "list", "--all"), lambda rows: SERVER in {row["name"] for row in rows})

    def ask() -> bool:
        with contextlib.suppress(Failed):  # a busy machine has nothing left to guarantee for a while
            return bool(member.openstack("slo", "set", "--server", SERVER, "--cpu", "1%"))
        return False

    eventually(ask, bool, seconds=120)
    found = eventually(
        lambda: limits(member), lambda known: {"quota:cpu_quota", "bandwidth_limit"} <= set(known), seconds=READ_SECONDS
    )
    cpu, port = found["quota:cpu_quota"], found["bandwidth_limit"]
    assert (cpu["source"], cpu["metric"], cpu["value"]) == ("flavor", "cpu", 0.5)
    assert (port["source"], port["direction"], port["value"], port["devices"]) == ("neutron", "tx", 1e6, 1)


@pytest.mark.parametrize("dry_run", [("--dry-run",), ()], ids=["dry-run", "set"])
def test_floors_above_them_are_refused(server: str, member: Person, dry_run: tuple[str, ...]) -> None:
    for wanted, words in (
        (("--cpu", "80%"), "cpu.floor: 80% is above the limit quota:cpu_quota of its flavor, 50%"),
        (("--net-bandwidth", "2MB/s", "--net-direction", "tx"), "network_bytes.floor: 2 MB/s is above the limit"),
    ):
        with pytest.raises(Failed) as refused:
            member.run("openstack", "slo", "set", "--server", SERVER, *wanted, *dry_run)
        assert words in str(refused.value)
    accepted = member.openstack("slo", "set", "--server", SERVER, "--net-bandwidth", "100kB/s", "--dry-run")
    assert accepted["accepted"] is True and accepted["contradictions"] == []


def test_a_floor_that_the_other_direction_can_make_up_for_is_flagged(server: str, member: Person) -> None:
    asked = member.openstack("slo", "set", "--server", SERVER, "--net-bandwidth", "1.2MB/s", "--dry-run")
    (flagged,) = asked["contradictions"]
    assert flagged["reachable"] is True and flagged["name"] == "bandwidth_limit"


def test_a_limit_that_is_taken_away_is_forgotten(server: str, admin: Person, member: Person) -> None:
    (port,) = admin.openstack("port", "list", "--server", server)
    admin.run("openstack", "port", "unset", "--qos-policy", port["ID"])
    eventually(
        lambda: set(limits(member)),
        lambda names: names == {"quota:cpu_quota"},
        seconds=READ_SECONDS,
    )
