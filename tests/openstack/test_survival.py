"""What happens to an SLO when its server is paused, rebuilt, resized, shelved, deleted: on real servers, found by notifications.

Each test leaves the server running with the flavor `survival-silver`. Unshelving where there is no room, and a silent host, are in
`tests/functional/test_following.py`: here they would disturb everybody's servers.
"""

import contextlib
import time
from collections.abc import Iterator, Mapping
from typing import Any

import openstack
import pytest
from openstack.connection import Connection

from .conftest import Failed, Person, Placement, create_server, delete_server, eventually

NAME, SILVER, GOLD, TOO_LARGE = "survival", "survival-silver", "survival-gold", "survival-too-large"
# What a busy machine can hold as well.
SOLD: Mapping[str, tuple[str, ...]] = {
    SILVER: ("--cpu", "2%", "--net-pps", "500"),
    GOLD: ("--cpu", "3%", "--net-pps", "800"),
    TOO_LARGE: ("--cpu", "1500%"),
}
OBJECTIVES = {
    SILVER: {"cpu": {"floor": 0.02}, "network_packets": {"floor": 500.0}},
    GOLD: {"cpu": {"floor": 0.03}, "network_packets": {"floor": 800.0}},
}
ADDED = {"block_bytes": {"floor": 1_000_000.0}}
NOTICED_SECONDS = 45.0
"""A notification comes within a second, a host reports every 3 s; a busy machine takes its time. Lists alone would take 60 s."""


class Cloud:
    """The member's server as Nova and Stella have it."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        names = ("auth_url", "username", "password", "project_name", "user_domain_name", "project_domain_name")
        self.connection: Connection = openstack.connect(
            load_envvars=False,
            load_yaml_config=False,
            region_name=environment["OS_REGION_NAME"],
            auth={name: environment[f"OS_{name.upper()}"] for name in names},
        )
        self.compute = self.connection.compute
        self.uuid = ""

    def stella(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Status and body of an answer of stella-api."""
        answer = self.connection.session.request(
            path,
            method,
            endpoint_filter={"service_type": "stella", "interface": "public"},
            raise_exc=False,
            json=body,
        )
        return answer.status_code, answer.json() if answer.content else None

    def slo(self, uuid: str = "") -> dict[str, Any]:
        """The server's SLO; empty where it has none."""
        status, body = self.stella("GET", f"/v1/instances/{uuid or self.uuid}/slo")
        return body if status == 200 else {}

    def wait(self, status: str) -> Any:
        """The server, once it has this status and nothing is being done to it."""

        def is_so(server: Any) -> bool:
            assert server.status != "ERROR" or status == "ERROR", server.fault
            return bool(server.status == status and server.task_state is None)

        return eventually(lambda: self.compute.get_server(self.uuid), is_so, seconds=180)

    def has(self, objectives: Mapping[str, Any], state: str = "enforced", *, seconds: float = NOTICED_SECONDS) -> float:
        """Wait for this SLO; the seconds that took."""
        began = time.monotonic()
        eventually(
            self.slo, lambda slo: (slo.get("state"), slo.get("objectives")) == (state, objectives), seconds=seconds
        )
        return time.monotonic() - began

    def keeps(self, objectives: Mapping[str, Any], *, seconds: float = 3.0) -> None:
        """This SLO is in force all the time."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            slo = self.slo()
            assert slo.get("objectives") == objectives and slo["state"] in ("enforced", "pending", "degraded"), slo
            time.sleep(0.5)


@pytest.fixture(scope="module")
def flavors(admin: Person) -> Iterator[None]:
    """Those of `SOLD`."""

    def delete() -> None:
        for name in SOLD:
            with contextlib.suppress(Failed):
                admin.run("openstack", "flavor", "delete", name)

    delete()
    for name, objectives in SOLD.items():
        vcpus = "16" if name == TOO_LARGE else "1"
        admin.run("openstack", "flavor", "create", "--vcpus", vcpus, "--ram", "512", "--disk", "1", name)
        admin.run("openstack", "slo", "flavor", "set", name, *objectives)
    yield
    delete()


@pytest.fixture(scope="module")
def cloud(member: Person, flavors: None) -> Iterator[Cloud]:
    """With a running server of the flavor `survival-silver`."""
    made = Cloud(member.environment)
    made.uuid = create_server(member, NAME, flavor=SILVER)
    yield made
    delete_server(member, NAME)


def resized(cloud: Cloud, flavor: str, *, do: str) -> None:
    """Resize the server, and confirm or revert that."""
    cloud.compute.resize_server(cloud.uuid, cloud.compute.find_flavor(flavor).id)
    cloud.wait("VERIFY_RESIZE")
    if do == "confirm":
        cloud.compute.confirm_server_resize(cloud.uuid)
    else:
        cloud.compute.revert_server_resize(cloud.uuid)
    cloud.wait("ACTIVE")


def test_create(cloud: Cloud, admin: Person) -> None:
    cloud.has(OBJECTIVES[SILVER])
    slo = cloud.slo()
    assert slo["flavor_objectives"] == OBJECTIVES[SILVER] and slo["added_objectives"] == {}
    instance = next(each for each in admin.xgos("instances") if each["uuid"] == cloud.uuid)
    assert set(instance["slo"]) == set(OBJECTIVES[SILVER])


def test_pause(cloud: Cloud) -> None:
    cloud.compute.pause_server(cloud.uuid)
    cloud.wait("PAUSED")
    cloud.keeps(OBJECTIVES[SILVER])
    cloud.compute.unpause_server(cloud.uuid)
    cloud.wait("ACTIVE")
    cloud.keeps(OBJECTIVES[SILVER])


def test_suspend(cloud: Cloud) -> None:
    cloud.compute.suspend_server(cloud.uuid)
    cloud.wait("SUSPENDED")
    cloud.keeps(OBJECTIVES[SILVER])
    cloud.compute.resume_server(cloud.uuid)
    cloud.wait("ACTIVE")
    cloud.has(OBJECTIVES[SILVER], seconds=30)


def test_stop(cloud: Cloud) -> None:
    cloud.compute.stop_server(cloud.uuid)
    cloud.wait("SHUTOFF")
    cloud.keeps(OBJECTIVES[SILVER])
    cloud.compute.start_server(cloud.uuid)
    cloud.wait("ACTIVE")
    cloud.has(OBJECTIVES[SILVER], seconds=30)


def test_rebuild(cloud: Cloud) -> None:
    generation = cloud.slo()["generation"]
    cloud.compute.rebuild_server(cloud.uuid, image=cloud.connection.image.find_image("stella-bench").id)
    cloud.wait("ACTIVE")
    cloud.has(OBJECTIVES[SILVER], seconds=30)
    assert cloud.slo()["generation"] == generation


def test_resize_and_revert(cloud: Cloud) -> None:
    cloud.compute.resize_server(cloud.uuid, cloud.compute.find_flavor(GOLD).id)
    cloud.wait("VERIFY_RESIZE")
    cloud.has(OBJECTIVES[GOLD])
    cloud.compute.revert_server_resize(cloud.uuid)
    cloud.wait("ACTIVE")
    cloud.has(OBJECTIVES[SILVER])


def test_resize_and_confirm_with_what_the_user_added(cloud: Cloud, placement: Placement) -> None:
    def add() -> int:
        body = {"objectives": ADDED, "generation": cloud.slo()["generation"]}
        return cloud.stella("PUT", f"/v1/instances/{cloud.uuid}/slo", body)[0]

    eventually(add, lambda status: status == 200, seconds=120)  # a busy machine has nothing left now and then
    provider = str(placement.providers()["compute1:stella"]["uuid"])
    resized(cloud, GOLD, do="confirm")
    cloud.has({**OBJECTIVES[GOLD], **ADDED})
    held = [each for each in placement.consumers(provider).values() if each.get("CUSTOM_STELLA_BLOCK_MBPS") == 1]
    assert held, "what was added is held in Placement"
    assert cloud.stella("DELETE", f"/v1/instances/{cloud.uuid}/slo?generation={cloud.slo()['generation']}")[0] == 204
    cloud.has(OBJECTIVES[GOLD])
    resized(cloud, SILVER, do="confirm")
    cloud.has(OBJECTIVES[SILVER])


def test_a_resize_that_does_not_fit_is_refused_and_changes_nothing(cloud: Cloud) -> None:
    cloud.compute.resize_server(cloud.uuid, cloud.compute.find_flavor(TOO_LARGE).id)
    cloud.wait("ACTIVE")
    actions = list(cloud.compute.server_actions(cloud.uuid))
    assert actions[0].action == "resize"
    details = cloud.compute.get_server_action(actions[0].request_id, cloud.uuid)
    assert any(event["result"] == "Error" for event in details.events), details.events
    cloud.keeps(OBJECTIVES[SILVER])


def test_shelve_and_unshelve(cloud: Cloud, placement: Placement) -> None:
    provider = str(placement.providers()["compute1:stella"]["uuid"])
    assert cloud.uuid in placement.consumers(provider)
    cloud.compute.shelve_server(cloud.uuid)
    cloud.wait("SHELVED_OFFLOADED")
    cloud.has(OBJECTIVES[SILVER], "suspended")
    slo = cloud.slo()
    assert slo["reason"] == "the server is shelved: it has no host" and slo["reserved_cpu_cores"] == 0
    assert cloud.uuid not in placement.consumers(provider)
    cloud.compute.unshelve_server(cloud.uuid)
    cloud.wait("ACTIVE")
    cloud.has(OBJECTIVES[SILVER])
    assert cloud.uuid in placement.consumers(provider)


def test_delete(cloud: Cloud, member: Person, placement: Placement) -> None:
    uuid, provider = cloud.uuid, str(placement.providers()["compute1:stella"]["uuid"])
    delete_server(member, NAME)
    eventually(lambda: cloud.slo(uuid), lambda slo: not slo, seconds=NOTICED_SECONDS)
    assert uuid not in placement.consumers(provider)
    cloud.uuid = create_server(member, NAME, flavor=SILVER)
    cloud.has(OBJECTIVES[SILVER])
