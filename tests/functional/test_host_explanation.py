"""Who holds what on a host, and who offends; and what a host is told of SLA classes."""

from typing import Any

import pytest

from stella.api import times
from tests.functional.conftest import BOTH_DATABASES, Agent, Cloud, error, uuid

pytestmark = BOTH_DATABASES
VM, HOG, IDLE = uuid(1), uuid(2), uuid(3)


@pytest.fixture
def agent(cloud: Cloud) -> Agent:
    made = cloud.host("host1")
    slow = {"metric": "cpu", "usage": 0.1, "demand": 0.6, "status": "VIOLATED", "cause": "cpu"}
    made.add(VM, cpu={"used_cores": 0.1, "entitled_cores": 0.5}, objectives=[slow])
    made.add(HOG, project="p2", cpu={"used_cores": 1.5, "entitled_cores": 0.75, "later": 1})
    made.add(IDLE, cpu=None)
    assert made.report().status_code == 200
    assert cloud.member.put_slo(VM, {"cpu": {"floor": 0.5}}).status_code == 201
    assert made.acknowledge().status_code == 200
    return made


def episode(name: str, opened_at: float, *, offender: str | None, missed: float, **more: Any) -> dict[str, Any]:
    found = {"id": name, "uuid": VM, "metric": "cpu", "opened_at": opened_at, "cause": "cpu", "offender": offender}
    return {**found, "evidence": {"missed_seconds": missed}, **more}


def test_who_holds_who_uses_who_offends(cloud: Cloud, agent: Agent) -> None:
    now = cloud.clock.now
    host = agent.body()["host"] | {"overhead": {"cpu_cores": 0.3}, "reserved": {"host_cpu_cores": 0.1}}
    violations = [
        episode("long ago", now - 9000, offender=IDLE, missed=99, closed_at=now - 3601),
        episode("before", now - 3700, offender=HOG, missed=4, closed_at=now - 3500),
        episode("host", now - 60, offender="host", missed=2, closed_at=now - 50),
        episode("nobody", now - 40, offender=None, missed=3, closed_at=now - 30),
        episode("lasts", now - 20, offender=HOG, missed=15.5),
    ]
    assert agent.report(host=host, violations=violations).status_code == 200
    told = cloud.admin.get("/v1/hosts/host1/explanation").json
    assert told["since"] == times.show(now - 3600) and (told["mode"], told["silent"]) == ("enforce", False)
    assert told["capacity_cpu_cores"] == 1.8
    assert told["reserved_cpu_cores"] + told["free_cpu_cores"] == pytest.approx(1.8)
    hog, *others = told["instances"]
    assert (hog["uuid"], hog["project_id"], hog["slo_state"], hog["reserved_cpu_cores"]) == (HOG, "p2", None, 0.0)
    assert (hog["used_cpu_cores"], hog["excess_cpu_cores"], hog["guaranteed"]) == (1.5, 0.75, {})
    victims = [{"uuid": VM, "name": "vm-0000"}]
    assert hog["offences"] == {"violations": 2, "lasting": 1, "missed_seconds": 19.5, "victims": victims}
    vm, idle = sorted(others, key=lambda one: str(one["uuid"]))
    assert (vm["slo_state"], vm["guaranteed"]) == ("enforced", {"cpu": {"floor": 0.5}})
    assert vm["reserved_cpu_cores"] == told["reserved_cpu_cores"] > 0
    assert (vm["excess_cpu_cores"], vm["violations"], vm["missed_seconds"]) == (0.0, 4, 24.5)
    assert vm["objectives"][0]["status"] == "VIOLATED" and vm["offences"]["violations"] == 0
    assert (idle["used_cpu_cores"], idle["entitled_cpu_cores"], idle["excess_cpu_cores"]) == (None, None, None)
    services = told["host_services"]
    assert (services["used_cpu_cores"], services["entitled_cpu_cores"]) == (0.3, 0.1)
    assert services["excess_cpu_cores"] == pytest.approx(0.2) and services["offences"]["missed_seconds"] == 2
    del agent.instances[HOG]
    assert agent.report().status_code == 200
    assert {one["uuid"] for one in cloud.admin.get("/v1/hosts/host1/explanation").json["instances"]} == {VM, IDLE}


def test_it_is_for_operators_and_of_hosts_that_are_there(cloud: Cloud, agent: Agent) -> None:
    for user in (cloud.member, cloud.reader, cloud.stranger):
        error(user.get("/v1/hosts/host1/explanation"), 403)
        error(user.get("/v1/hosts/host2/explanation"), 403)
    assert "host2" in error(cloud.admin.get("/v1/hosts/host2/explanation"), 404)["detail"]
    error(cloud.admin.get("/v1/hosts/host1/explanation", params={"limit": "1"}), 400)
    cloud.host("host2")
    new = cloud.admin.get("/v1/hosts/host2/explanation").json
    assert (new["silent"], new["capacity_cpu_cores"], new["free_cpu_cores"], new["instances"]) == (True, None, None, [])
    bad = agent.body(instances=[{**agent.instances[HOG], "cpu": {"used_cores": -1, "entitled_cores": 1}}])
    assert "used_cores" in error(agent.report(bad), 400)["detail"]


def test_a_host_is_told_of_the_class_of_each_instance_when_it_changes(cloud: Cloud, agent: Agent) -> None:
    before = agent.intent()
    assert before.json["slos"][VM]["sla"] is None
    terms = {"attainment_target_ratio": "0.999", "unknown": "ignored"}
    made = cloud.admin.ask("POST", "/v1/slas", json={"name": "gold", "time_zone": "Asia/Seoul", "terms": terms}).json
    path = f"/v1/slas/{made['uuid']}/attachments"
    other = cloud.admin.ask("POST", path, json={"scope": "project", "target": "p9"})
    assert other.status_code == 201 and agent.intent(before.headers["etag"]).status_code == 304, "it reaches no host"
    attached = cloud.admin.ask("POST", path, json={"scope": "project", "target": "p1"}).json
    after = agent.intent(before.headers["etag"])
    told = after.json["slos"][VM]["sla"]
    assert (told["name"], told["attainment_target_ratio"], told["unknown"]) == ("gold", "0.999", "ignored")
    assert told["start"] == int(cloud.clock.now) // 60 * 60 and told["start"] < cloud.clock.now < told["until"]
    assert times.show(told["until"]).endswith("T15:00:00Z"), "the month in Seoul"
    assert cloud.admin.ask("DELETE", f"{path}/{attached['id']}").status_code == 204
    gone = agent.intent(after.headers["etag"])
    assert gone.json["slos"][VM]["sla"] is None and gone.json["revision"] > after.json["revision"]
    again = cloud.admin.ask("POST", path, json={"scope": "instance", "target": VM})
    assert again.status_code == 201 and agent.intent().json["slos"][VM]["sla"]["name"] == "gold"
    assert cloud.admin.ask("DELETE", f"/v1/slas/{made['uuid']}", params={"detach": "true"}).status_code == 204
    assert agent.intent().json["slos"][VM]["sla"] is None
