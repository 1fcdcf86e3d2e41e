"""Quotas: what the SLOs of a project may hold together, whatever comes at the same time."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from falcon import testing
from sqlalchemy import select

from stella.db.models import SloFloor
from tests.functional.conftest import BOTH_DATABASES, Cloud, User, error, uuid

pytestmark = BOTH_DATABASES

VM = uuid(1)


def limit(cloud: Cloud, project: str = "p1", **limits: Any) -> testing.Result:
    answer = cloud.admin.ask("PUT", f"/v1/quotas/{project}", json={"limits": limits})
    assert answer.status_code == 200, answer.text
    return answer


def used(user: User, project: str = "p1") -> dict[str, float]:
    found = user.get(f"/v1/quotas/{project}").json["resources"]
    return {name: resource["used"] for name, resource in found.items() if resource["used"]}


@pytest.fixture
def cpus(cloud: Cloud) -> int:
    for name in ("host1", "host2"):
        host = cloud.host(name, cpus=8)
        for number in range(6):
            host.add(uuid(int(name[-1]) * 10 + number), vcpus=2)
        host.add(uuid(int(name[-1])), vcpus=2)
        host.report()
    return 8


def test_what_is_held_is_counted_and_no_longer_when_withdrawn(cloud: Cloud, cpus: int) -> None:
    assert used(cloud.reader) == {}
    made = cloud.member.put_slo(VM, {"cpu": {"floor": 0.5}, "network_packets": {"floor": "20kpps"}})
    cloud.member.put_slo(uuid(2), {"cpu": {"floor": 0.25, "ceiling": 1}})
    shown = used(cloud.reader)
    assert (shown["cpu"], shown["network_packets"], shown["slos"]) == (0.75, 20000, 2)
    assert shown["reserved_cpu_cores"] > made.json["reserved_cpu_cores"] > 0.5
    cloud.member.put_slo(VM, {"block_bytes": {"floor": "10MB/s"}}, generation=1)
    assert {"cpu": 0.25, "block_bytes": 1e7, "slos": 2}.items() <= used(cloud.reader).items()
    assert "network_packets" not in used(cloud.reader)
    for vm, generation in ((VM, 2), (uuid(2), 1)):
        cloud.member.ask("DELETE", f"/v1/instances/{vm}/slo", query_string=f"generation={generation}")
    assert used(cloud.reader) == {}
    with cloud.database.reader() as session:
        assert session.scalars(select(SloFloor)).all() == []


def test_what_is_above_the_quota_is_refused_with_what_it_leaves(cloud: Cloud, cpus: int) -> None:
    limit(cloud, cpu=1)
    cloud.member.put_slo(VM, {"cpu": {"floor": 0.6}})
    for query in ("", "dry_run=true"):
        refused = error(cloud.member.put_slo(uuid(2), {"cpu": {"floor": 0.5}}, query=query), 403)
        assert (refused["code"], refused["field"]) == ("stella.quota.exceeded", "objectives.cpu.floor")
        assert refused["quota"] == {"resource": "cpu", "limit": 1, "used": 0.6, "asked": 0.5, "largest": 0.4}
    error(cloud.member.get(f"/v1/instances/{uuid(2)}/slo"), 404)
    kinds = [d["kind"] for d in cloud.member.get("/v1/decisions").json["decisions"]]
    assert kinds == ["slo_over_quota", "slo_accepted"], "a dry run is not kept"
    assert cloud.member.put_slo(uuid(2), {"cpu": {"floor": refused["quota"]["largest"]}}).status_code == 201
    assert cloud.stranger.put_slo(uuid(2), {"cpu": {"floor": 0.1}}).status_code == 404


@pytest.mark.parametrize(
    ("limits", "objectives", "field"),
    [
        ({"network_packets": "10k"}, {"network_packets": {"floor": "20kpps"}}, "objectives.network_packets.floor"),
        ({"network_bytes": "8Mbit/s"}, {"network_bytes": {"floor": "2MB/s"}}, "objectives.network_bytes.floor"),
        ({"block_bytes": "1MB/s"}, {"block_bytes": {"floor": "2MB/s"}}, "objectives.block_bytes.floor"),
        ({"block_operations": 100}, {"block_operations": {"floor": 200}}, "objectives.block_operations.floor"),
        ({"cpu": 0}, {"cpu": {"floor": 0.001}}, "objectives.cpu.floor"),
        ({"slos": 0}, {"cpu": {"ceiling": 1}}, "objectives"),
        ({"reserved_cpu_cores": "10%"}, {"network_packets": {"floor": "20kpps"}}, "objectives"),
    ],
)
def test_every_resource_has_its_quota(cloud: Cloud, cpus: int, limits: Any, objectives: Any, field: str) -> None:
    limit(cloud, **limits)
    assert error(cloud.member.put_slo(VM, objectives), 403)["field"] == field
    limit(cloud, **dict.fromkeys(limits))
    assert cloud.member.put_slo(VM, objectives).status_code == 201


def test_a_limit_below_what_is_held_stops_growth_only(cloud: Cloud, cpus: int) -> None:
    cloud.member.put_slo(VM, {"cpu": {"floor": 0.5}, "network_packets": {"floor": 1000}})
    limit(cloud, cpu=0.2, slos=0, reserved_cpu_cores=0)
    assert used(cloud.member)["cpu"] == 0.5
    refused = error(cloud.member.put_slo(VM, {"cpu": {"floor": 0.6}}, generation=1), 403)
    assert refused["quota"]["largest"] == 0.5
    assert cloud.member.put_slo(VM, {"cpu": {"floor": 0.5}}, generation=1).status_code == 200
    assert cloud.member.put_slo(VM, {"cpu": {"floor": 0.4}}, generation=2).status_code == 200
    assert error(cloud.member.put_slo(uuid(2), {"cpu": {"ceiling": 1}}), 403)["quota"]["resource"] == "slos"


def test_limits_are_set_one_by_one_and_go_back_to_the_default(cloud: Cloud, cpus: int) -> None:
    cloud.config.set_override("cpu_cores", 3.0, group="quota")
    first = limit(cloud, cpu="150%", slos=4).json["resources"]
    assert first["cpu"] == {"limit": 1.5, "used": 0, "is_default": False}
    second = limit(cloud, cpu=None, network_packets=-1).json["resources"]
    assert second["cpu"] == {"limit": 3, "used": 0, "is_default": True}
    assert second["slos"]["limit"] == 4 and second["network_packets"] == {"limit": -1, "used": 0, "is_default": False}
    listed = cloud.admin.get("/v1/quotas").json["quotas"]
    assert [(q["project_id"], q["resources"]["slos"]["limit"]) for q in listed] == [("p1", 4)]
    assert cloud.admin.ask("DELETE", "/v1/quotas/p1").status_code == 204
    assert all(r["is_default"] for r in cloud.reader.get("/v1/quotas/p1").json["resources"].values())
    assert error(cloud.member.put_slo(VM, {"cpu": {"floor": "3.5cores"}}), 403)["quota"]["limit"] == 3
    reasons = [d["reason"] for d in cloud.admin.get("/v1/decisions", query_string="kind=quota").json["decisions"]]
    assert reasons[-1] == "quota of project p1: cpu default -> 1.5 cores, slos default -> 4"
    assert len(reasons) == 3 and cloud.member.get("/v1/decisions", query_string="kind=quota").json["decisions"] == []


def test_lists_of_quotas_go_on_where_the_page_before_ended(cloud: Cloud, cpus: int) -> None:
    for project in ("p3", "p1", "p2"):
        limit(cloud, project, slos=1)
    first = cloud.admin.get("/v1/quotas", query_string="limit=2").json
    assert [q["project_id"] for q in first["quotas"]] == ["p1", "p2"] and "marker=p2" in first["links"][0]["href"]
    second = cloud.admin.get("/v1/quotas", query_string="limit=2&marker=p2").json
    assert [q["project_id"] for q in second["quotas"]] == ["p3"] and second["links"] == []


@pytest.mark.parametrize("resource", ["cpu", "slos"])
def test_no_interleaving_over_two_hosts_exceeds_the_quota(cloud: Cloud, cpus: int, resource: str) -> None:
    limit(cloud, **{resource: 1 if resource == "cpu" else 5})
    vms = [uuid(host * 10 + number) for number in range(6) for host in (1, 2)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda vm: cloud.member.put_slo(vm, {"cpu": {"floor": 0.2}}), vms))
    assert Counter(answer.status_code for answer in answers) == {201: 5, 403: 7}
    held = used(cloud.member)
    assert held["cpu"] == pytest.approx(1) and held["slos"] == 5


def test_a_limit_set_while_slos_come_holds_from_then_on(cloud: Cloud, cpus: int) -> None:
    """Each change of an SLO is either before the limit or under it."""
    vms = [uuid(host * 10 + number) for number in range(6) for host in (1, 2)]
    with ThreadPoolExecutor(8) as pool:
        set_one = pool.submit(limit, cloud, slos=3)
        statuses = Counter(
            a.status_code for a in pool.map(lambda vm: cloud.member.put_slo(vm, {"cpu": {"floor": 0.1}}), vms)
        )
    before = int(set_one.result().json["resources"]["slos"]["used"])
    assert statuses[201] == used(cloud.member)["slos"] == max(3, statuses[201])
    assert statuses[201] <= max(3, before), "what came after the limit was refused"
    assert sum(statuses.values()) == 12 and set(statuses) <= {201, 403}
