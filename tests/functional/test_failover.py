"""Failover through the API and the engine's duty: a class promises to survive the loss of a host, and another host keeps the place."""

from typing import Any

import pytest

from stella.engine.duties import failover
from tests.functional.conftest import BOTH_DATABASES, Agent, Cloud, error, uuid
from tests.functional.engines import run_duties

pytestmark = BOTH_DATABASES
VM, OTHER = uuid(1), uuid(2)
FLOOR = {"cpu": {"floor": 0.5}}


@pytest.fixture
def hosts(cloud: Cloud) -> list[Agent]:
    """host1 (1.8 cores) runs two instances; host2 as large, host3 smaller."""
    made = [cloud.host("host1"), cloud.host("host2"), cloud.host("host3", cpus=1)]
    made[0].add(VM)
    made[0].add(OTHER)
    assert all(one.report().status_code == 200 for one in made)
    return made


def protected(cloud: Cloud, *targets: str, **body: Any) -> str:
    terms = {"attainment_target_ratio": "0.999"}
    answer = cloud.admin.ask("POST", "/v1/slas", json={"name": "gold", "terms": terms, "failover": True, **body})
    assert answer.status_code == 201 and answer.json["failover"] is True
    for target in targets:
        given = {"scope": "instance", "target": target}
        assert cloud.admin.ask("POST", f"/v1/slas/{answer.json['uuid']}/attachments", json=given).status_code == 201
    found: str = answer.json["uuid"]
    return found


def kept(cloud: Cloud, vm: str = VM) -> Any:
    return cloud.admin.get(f"/v1/instances/{vm}/slo").json["failover"]


def host(cloud: Cloud, name: str) -> Any:
    return cloud.admin.get(f"/v1/hosts/{name}").json


def run(cloud: Cloud) -> None:
    run_duties(cloud, [failover.duty(cloud.config)])


def test_a_place_is_kept_with_the_slo_and_counts_there(cloud: Cloud, hosts: list[Agent]) -> None:
    protected(cloud, VM)
    before = cloud.admin.get("/v1/summary").json["hosts"]
    assert cloud.member.put_slo(VM, FLOOR).status_code == 201
    assert kept(cloud) == {"kept": True, "host": "host2"}
    assert cloud.member.get(f"/v1/instances/{VM}/slo").json["failover"] == {"kept": True, "host": None}
    keeper = host(cloud, "host2")
    assert keeper["failover_cpu_cores"] == keeper["reserved_cpu_cores"] >= 0.5
    hosts[1].add(uuid(3), project="p2", vcpus=2)
    assert hosts[1].report().status_code == 200
    wanted = {"cpu": {"floor": 1.2}}
    assert error(cloud.stranger.put_slo(uuid(3), wanted), 422)["code"] == "stella.slo.does_not_fit"
    now = cloud.admin.get("/v1/summary").json["hosts"]
    assert now["free_without_one_cpu_cores"] < before["free_without_one_cpu_cores"]
    run(cloud)
    assert kept(cloud) == {"kept": True, "host": "host2"}, "nothing was to be mended"
    assert cloud.member.ask("DELETE", f"/v1/instances/{VM}/slo", params={"generation": 1}).status_code == 204
    assert cloud.stranger.put_slo(uuid(3), wanted).status_code == 201, "what was kept is free again"


def test_places_for_two_hosts_share_their_room(cloud: Cloud, hosts: list[Agent]) -> None:
    hosts[2].add(uuid(4))
    assert hosts[2].report().status_code == 200
    protected(cloud, VM, uuid(4))
    for vm in (VM, uuid(4)):
        assert cloud.member.put_slo(vm, FLOOR).status_code == 201
    assert kept(cloud)["host"] == kept(cloud, uuid(4))["host"] == "host2"
    assert host(cloud, "host2")["failover_cpu_cores"] == pytest.approx(host(cloud, "host1")["reserved_cpu_cores"])


def test_one_that_no_other_host_could_take_is_refused(cloud: Cloud, hosts: list[Agent]) -> None:
    protected(cloud, VM)
    for name in ("host2", "host3"):
        assert cloud.admin.ask("PATCH", f"/v1/hosts/{name}", json={"mode": "maintenance"}).status_code == 200
    for query in ("dry_run=true", ""):
        refused = error(cloud.member.put_slo(VM, FLOOR, query=query), 422)
        assert refused["code"] == "stella.slo.no_failover" and refused["field"] == "objectives"
    assert cloud.member.get(f"/v1/instances/{VM}/slo").status_code == 404


def test_what_changes_later_is_mended_and_told(cloud: Cloud, hosts: list[Agent]) -> None:
    sla = protected(cloud)
    assert cloud.member.put_slo(VM, FLOOR).status_code == 201
    assert kept(cloud) is None and host(cloud, "host2")["failover_cpu_cores"] == 0
    given = {"scope": "instance", "target": VM}
    attached = cloud.admin.ask("POST", f"/v1/slas/{sla}/attachments", json=given).json["id"]
    assert kept(cloud) == {"kept": False, "host": None}
    run(cloud)
    assert kept(cloud) == {"kept": True, "host": "host2"}
    assert cloud.admin.ask("PATCH", "/v1/hosts/host2", json={"mode": "maintenance"}).status_code == 200
    run(cloud)
    assert kept(cloud) == {"kept": True, "host": "host3"} and host(cloud, "host2")["failover_cpu_cores"] == 0
    assert cloud.admin.ask("PATCH", "/v1/hosts/host3", json={"mode": "maintenance"}).status_code == 200
    run(cloud)
    run(cloud)
    assert kept(cloud) == {"kept": False, "host": None}
    told = cloud.admin.get("/v1/decisions", params={"kind": "failover", "uuid": VM}).json["decisions"]
    assert [one["reason"] for one in told] == [failover.NO_PLACE], "once, however often it is looked for"
    cloud.clock.now += 60
    assert cloud.admin.ask("DELETE", f"/v1/slas/{sla}/attachments/{attached}").status_code == 204
    cloud.clock.now += 60
    run(cloud)
    assert kept(cloud) is None and host(cloud, "host3")["failover_cpu_cores"] == 0


def test_two_attachments_of_one_target_never_last_at_once(cloud: Cloud, hosts: list[Agent]) -> None:
    first = protected(cloud, VM)
    second = protected(cloud, name="silver")
    given = {"scope": "instance", "target": VM}
    assert (
        error(cloud.admin.ask("POST", f"/v1/slas/{second}/attachments", json=given), 409)["code"]
        == "stella.sla.attached"
    )
    answer = cloud.admin.ask("POST", f"/v1/slas/{second}/attachments", json={**given, "replace": True})
    assert answer.status_code == 201
    assert cloud.admin.get(f"/v1/slas/{first}/attachments").json["attachments"] == []
