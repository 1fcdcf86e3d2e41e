"""Why something is refused or not in force: for a person, in codes for a page, and without hosts for those who may not see them."""

import json

import pytest

from stella.api.identity import HOST_USER
from stella.db import instances, slos
from stella.db.database import Session
from stella.db.models import SloChange
from tests.functional.conftest import Cloud, error, uuid

VM = uuid(1)
HOST = "compute-7.example"


@pytest.fixture
def host(cloud: Cloud) -> str:
    agent = cloud.host(HOST)
    agent.add(VM, vcpus=2)
    assert agent.report().status_code == 200
    return HOST


def set_reason(cloud: Cloud, text: str) -> None:
    """As stella-engine suspends it."""
    assert cloud.member.put_slo(VM, {"cpu": {"floor": 0.1}}).status_code == 201

    def write(session: Session) -> None:
        found = instances.find(session, VM)
        assert found is not None and found[2] is not None
        found[2].state, found[2].reason = slos.SUSPENDED, text
        session.add(
            SloChange(
                instance_id=found[0].id, generation=99, changed_at=cloud.clock.now, user_id=f"{HOST_USER}{HOST}",
                request_id="req-1", remote_address="", before=None, after=json.dumps({}),
            )
        )  # fmt: skip

    cloud.database.write(write)


def test_a_refusal_says_why_in_codes(cloud: Cloud, host: str) -> None:
    refused = error(cloud.member.put_slo(VM, {"cpu": {"floor": 0.1}, "network_packets": {"floor": "900Mpps"}}), 422)
    assert refused["field"] == "objectives.network_packets.floor"
    (why,) = refused["why"]
    assert (
        why["code"] == "guest_cpu" and why["values"]["field"] == "network_packets.floor" and why["values"]["vcpus"] == 2
    )
    largest = refused["counter_offer"]["largest"]
    assert set(largest) == {"network_packets"} and 1e3 < largest["network_packets"] < 1e5
    accepted = {"cpu": {"floor": 0.1}, "network_packets": {"floor": largest["network_packets"]}}
    assert cloud.member.put_slo(VM, accepted).status_code == 201
    unsupported = error(cloud.member.put_slo(uuid(1), {"block_latency": {"target": "5ms"}}, generation=1), 422)
    assert unsupported["why"] == [] if "why" in unsupported else True  # a reason of a test's host: it has no code


def test_a_tenant_is_told_why_without_the_host(cloud: Cloud, host: str) -> None:
    set_reason(
        cloud,
        f"does not fit on {HOST}: cpu.floor: the floors need 0.53 cores of CPU and this host has 0.12 cores left to guarantee",
    )
    for path in (
        f"/v1/instances/{VM}",
        f"/v1/instances/{VM}/slo",
        f"/v1/instances/{VM}/slo/history",
        "/v1/instances",
        "/v1/decisions",
    ):
        told = cloud.member.get(path)
        assert told.status_code == 200 and HOST not in told.text, path
    slo = cloud.member.get(f"/v1/instances/{VM}/slo").json
    assert slo["reason"].startswith("does not fit on its host: cpu.floor: the floors need")
    assert [one["code"] for one in slo["why"]] == ["does_not_fit_on", "capacity"]
    assert slo["why"][1]["values"] == {"field": "cpu.floor", "cores": 0.53, "free": 0.12}
    (change, _) = cloud.member.get(f"/v1/instances/{VM}/slo/history").json["changes"]
    assert change["user_id"] == "host"
    known = cloud.admin.get(f"/v1/instances/{VM}/slo").json
    assert HOST in known["reason"] and known["why"][0]["values"] == {"host": HOST}
    assert cloud.admin.get(f"/v1/instances/{VM}/slo/history").json["changes"][0]["user_id"] == f"host:{HOST}"


def test_of_a_reason_without_a_code_the_host_is_left_out_too(cloud: Cloud, host: str) -> None:
    set_reason(cloud, f"of a later release, on {HOST}")
    slo = cloud.member.get(f"/v1/instances/{VM}/slo").json
    assert (slo["reason"], slo["why"]) == ("of a later release, on its host", [])


def test_a_host_tells_in_codes_what_it_lacks(cloud: Cloud) -> None:
    agent = cloud.host(HOST)
    body = agent.body()
    body["host"]["capabilities"]["block_latency_target"] = (
        "this release measures disk latency but does not enforce a target"
    )
    assert agent.report(body).status_code == 200
    told = cloud.admin.get(f"/v1/hosts/{HOST}").json
    assert told["lacking_why"] == {"block_latency_target": [{"code": "no_latency_target", "values": {}}]}


def test_an_instance_tells_what_its_io_costs(cloud: Cloud, host: str) -> None:
    assert cloud.member.get(f"/v1/instances/{VM}").json["costs"] == {}
    assert cloud.member.put_slo(VM, {"cpu": {"floor": 0.1}, "network_packets": {"floor": 1000}}).status_code == 201
    costs = cloud.member.get(f"/v1/instances/{VM}").json["costs"]
    assert set(costs) == {"network_packets"} and costs["network_packets"]["estimated"] is True
    assert 0 < costs["network_packets"]["io"] < 1e-3
