"""Reports: any of them may come twice, late, or from the wrong host; every minute is counted once."""

from typing import Any

import pytest
from sqlalchemy import select

from stella.api import times
from stella.db.models import Instance
from tests.functional.conftest import BOTH_DATABASES, NOW, Agent, Cloud, error, uuid

pytestmark = BOTH_DATABASES

VM, OTHER = uuid(1), uuid(2)
MINUTE = int(NOW) // 60 * 60


def minute(uuid: str = VM, start: int = MINUTE, metric: str = "cpu", **counts: int) -> dict[str, Any]:
    return {
        "uuid": uuid,
        "metric": metric,
        "start": start,
        "counts": counts,
        "causes": {"cpu": counts.get("violated", 0)},
        "usage": {"mean": 0.1, "min": 0.0, "max": 0.2},
        "demand_mean": 0.2,
    }


@pytest.fixture
def host(cloud: Cloud) -> Agent:
    made = cloud.host("host1")
    made.add(VM)
    made.report()
    return made


def attainment(cloud: Cloud, uuid: str = VM, **query: str) -> dict[str, Any]:
    found = cloud.reader.get(f"/v1/instances/{uuid}/attainment", params=query).json["objectives"]
    return {entry["metric"]: entry for entry in found}


def test_attainment_counts_each_minute_once(cloud: Cloud, host: Agent) -> None:
    body = host.body(minutes=[minute(met=50, violated=5, no_demand=5), minute(start=MINUTE - 60, met=40, degraded=20)])
    for _ in range(3):
        assert host.report(body).status_code == 200
    found = attainment(cloud)["cpu"]
    assert found["seconds"] == {
        "met": 90,
        "violated": 5,
        "degraded": 20,
        "no_demand": 5,
        "self_limited": 0,
        "unknown": 0,
    }
    assert found["attainment_ratio"] == pytest.approx(90 / 115)
    only = attainment(cloud, **{"from": times.show(MINUTE), "to": times.show(MINUTE + 60)})["cpu"]
    assert only["seconds"]["met"] == 50


def test_a_row_with_more_seconds_replaces_one_with_fewer_in_any_order(cloud: Cloud, host: Agent) -> None:
    whole, part = minute(met=30, violated=30), minute(met=10)
    first, second = host.body(minutes=[part]), host.body(minutes=[whole])
    assert host.report(second).json["stored_minutes"] == 1
    late = host.report(first).json
    assert (late["stored_minutes"], late["accepted_sequence"]) == (0, second["sequence"])
    assert attainment(cloud)["cpu"]["seconds"]["violated"] == 30
    assert host.report(minutes=[part, minute(met=31, violated=29), whole]).json["stored_minutes"] == 0


def test_an_older_report_does_not_undo_what_the_host_is_now(cloud: Cloud, host: Agent) -> None:
    old = host.body()
    old["instances"] = []
    new = host.body(minutes=[])
    new["host"]["capacity"]["cpu_cores"] = 1.5
    host.report(new)
    host.report(old)
    assert cloud.reader.get(f"/v1/instances/{VM}").json["state"] == "running"
    assert cloud.admin.get("/v1/hosts/host1").json["capacity_cpu_cores"] == 1.5


def test_a_report_of_an_earlier_life_brings_its_minutes_and_nothing_else(cloud: Cloud, host: Agent) -> None:
    old = host.body(minutes=[minute(met=60)])
    old["instances"] = []
    host.epoch, host.sequence = "epoch-2", 0
    host.report()
    assert host.report(old).json["stored_minutes"] == 1
    assert cloud.reader.get(f"/v1/instances/{VM}").json["state"] == "running"


def test_a_host_speaks_of_its_own_instances_only(cloud: Cloud, host: Agent) -> None:
    thief = cloud.host("host2")
    thief.add(VM, project="p2")
    opened = {"id": "v1", "uuid": VM, "metric": "cpu", "opened_at": NOW}
    answer = thief.report(minutes=[minute(violated=60)], violations=[opened]).json
    assert answer["stored_minutes"] == 0 and {entry["uuid"] for entry in answer["ignored"]} == {VM}
    assert len(answer["ignored"]) == 3
    shown = cloud.admin.get(f"/v1/instances/{VM}").json
    assert (shown["host"], shown["project_id"]) == ("host1", "p1")
    assert attainment(cloud) == {}
    assert cloud.admin.get("/v1/violations").json["violations"] == []
    cloud.member.put_slo(VM, {"cpu": {"floor": 0.1}})
    thief.report(states={VM: {"revision": 2, "state": "refused"}})
    assert cloud.member.get(f"/v1/instances/{VM}/slo").json["state"] == "pending"


def test_an_instance_that_moved_takes_its_slo_along(cloud: Cloud, host: Agent) -> None:
    there = cloud.host("host2")
    there.report()
    cloud.member.put_slo(VM, {"cpu": {"floor": 0.2}})
    host.acknowledge()
    moved = host.instances.pop(VM)
    host.report()
    assert cloud.reader.get(f"/v1/instances/{VM}").json["state"] == "gone"
    there.instances[VM] = moved
    there.report()
    assert cloud.admin.get(f"/v1/instances/{VM}").json["host"] == "host2"
    assert cloud.member.get(f"/v1/instances/{VM}/slo").json["state"] == "pending"
    assert host.intent().json["slos"] == {} and VM in there.intent().json["slos"]
    hosts = {h["name"]: h["reserved_cpu_cores"] for h in cloud.admin.get("/v1/hosts").json["hosts"]}
    assert hosts["host1"] == pytest.approx(0) and hosts["host2"] > 0.2
    late = host.report(minutes=[minute(met=30)])
    assert late.json["stored_minutes"] == 1, "the host it came from may still tell what it counted"


def test_what_a_host_kept_is_degraded_where_it_does_not_fit_and_not_refused(cloud: Cloud, host: Agent) -> None:
    """The API says which SLOs were kept by the host that their instance came from; until they are changed."""
    there = cloud.host("host2")
    there.report()
    cloud.member.put_slo(VM, {"cpu": {"floor": 0.2}})
    assert host.intent().json["slos"][VM]["accepted"] is False, "no host has kept it yet"
    host.acknowledge()
    assert host.intent().json["slos"][VM]["accepted"] is True
    there.instances[VM] = host.instances.pop(VM)
    host.report()
    there.report()
    assert there.intent().json["slos"][VM]["accepted"] is True
    there.acknowledge("degraded", reason="cpu.floor: only 0.1 cores are left on host2")
    shown = cloud.member.get(f"/v1/instances/{VM}/slo").json
    assert (shown["state"], shown["reason"]) == ("degraded", "cpu.floor: only 0.1 cores are left on its host")
    told = [one["kind"] for one in cloud.member.get("/v1/decisions").json["decisions"]]
    assert told.count("slo_degraded_by_host") == 1
    there.acknowledge()
    there.acknowledge("degraded", reason="cpu.floor: only 0.1 cores are left on host2")
    again = [one["kind"] for one in cloud.member.get("/v1/decisions").json["decisions"]]
    assert again == told, "it comes and goes with what is free"
    cloud.member.put_slo(VM, {"cpu": {"floor": 0.1}}, generation=shown["generation"])
    assert there.intent().json["slos"][VM]["accepted"] is False, "what is new may be refused"


def test_what_no_host_kept_may_be_refused_elsewhere(cloud: Cloud, host: Agent) -> None:
    there = cloud.host("host2")
    there.report()
    cloud.member.put_slo(VM, {"cpu": {"floor": 0.2}})
    host.acknowledge("refused", reason="no")
    there.instances[VM] = host.instances.pop(VM)
    host.report()
    there.report()
    assert there.intent().json["slos"][VM]["accepted"] is False


def test_an_instance_that_runs_elsewhere_is_taken_from_the_host_where_it_is_shut_off(cloud: Cloud, host: Agent) -> None:
    there = cloud.host("host2")
    cloud.member.put_slo(VM, {"cpu": {"floor": 0.2}})
    there.instances[VM] = {**host.instances[VM], "state": "shut_off"}
    host.instances[VM] = {**host.instances[VM], "state": "shut_off"}
    host.report()
    assert [entry["uuid"] for entry in there.report().json["ignored"]] == [VM], "it runs on neither"
    there.instances[VM] = {**there.instances[VM], "state": "running"}
    assert not there.report().json["ignored"]
    assert [entry["uuid"] for entry in host.report().json["ignored"]] == [VM]
    assert cloud.admin.get(f"/v1/instances/{VM}").json["host"] == "host2"
    assert host.intent().json["slos"] == {} and VM in there.intent().json["slos"]


def test_an_instance_of_a_silent_host_may_be_reported_by_another(cloud: Cloud, host: Agent) -> None:
    there = cloud.host("host2")
    there.add(VM)
    cloud.clock.now += 30
    assert there.report().json["ignored"]
    cloud.clock.now += 90
    assert not there.report().json["ignored"]


def test_violations_open_and_close(cloud: Cloud, host: Agent) -> None:
    opened = {"id": "v1", "uuid": VM, "metric": "cpu", "opened_at": NOW - 9, "cause": "cpu", "offender": OTHER}
    closed = {**opened, "closed_at": NOW - 2}
    host.report(violations=[opened])
    (shown,) = cloud.member.get("/v1/violations", query_string="open=true").json["violations"]
    assert (shown["cause"], shown["offender"], shown["host"]) == ("cpu", None, None), "tenants see the cause alone"
    assert cloud.admin.get("/v1/violations").json["violations"][0]["offender"] == OTHER
    late = host.body(violations=[opened])
    host.report(violations=[closed])
    host.report(late)
    assert cloud.member.get("/v1/violations", query_string="open=true").json["violations"] == []
    assert len(cloud.member.get("/v1/violations").json["violations"]) == 1
    assert cloud.stranger.get("/v1/violations").json["violations"] == []


def test_a_stretch_of_which_nothing_is_known_stands_for_minutes_without_a_row(cloud: Cloud, host: Agent) -> None:
    stretch = {**minute(start=MINUTE - 600, unknown=600), "span_seconds": 600, "usage": None, "demand_mean": None}
    host.report(minutes=[minute(start=MINUTE - 600, met=60), minute(start=MINUTE - 300, met=60), stretch])
    seconds = attainment(cloud)["cpu"]["seconds"]
    assert (seconds["met"], seconds["unknown"]) == (120, 480)


def test_of_two_reports_with_the_same_sequence_the_later_is_newer(cloud: Cloud, host: Agent) -> None:
    first = host.body()
    second = {**first, "sent_at": first["sent_at"] + 1, "instances": []}
    for body in (first, second, first):
        assert host.report(body).status_code == 200
    assert cloud.reader.get(f"/v1/instances/{VM}").json["state"] == "gone"


@pytest.mark.parametrize("offset", [-86_400.0, 86_400.0])
def test_a_host_whose_clock_is_off_is_told_so(cloud: Cloud, host: Agent, offset: float) -> None:
    body = host.body(minutes=[minute(met=60)], sent_at=NOW + offset)
    assert error(host.report(body), 400)["field"] == "sent_at"
    assert attainment(cloud) == {}
    late = host.report(minutes=[minute(start=MINUTE + 86_400, met=60)])
    assert error(late, 400)["field"] == "minutes[0].start"


def test_keys_of_the_next_release_are_ignored(host: Agent) -> None:
    body = host.body(minutes=[{**minute(met=1), "new": 1}], news={"a": 1})
    body["host"]["new"], body["host"]["capacity"]["memory_bytes"] = 1, 2
    body["instances"][0]["shape"]["numa"] = [1]
    assert host.report(body).json["stored_minutes"] == 1


def test_only_with_the_own_credential(cloud: Cloud, host: Agent) -> None:
    other = cloud.host("host2")
    for path in ("intent", "reports"):
        method = "GET" if path == "intent" else "POST"
        foreign = cloud.client.simulate_request(
            method, f"/v1/hosts/host1/{path}", headers=other.headers, json=other.body()
        )
        unknown = cloud.client.simulate_request(
            method, f"/v1/hosts/nowhere/{path}", headers=other.headers, json=other.body()
        )
        assert error(foreign, 404)["detail"].replace("host1", "nowhere") == error(unknown, 404)["detail"]
        assert error(cloud.client.simulate_request(method, f"/v1/hosts/host1/{path}"), 401)
        assert error(cloud.admin.ask(method, f"/v1/hosts/host1/{path}"), 401)


def test_the_server_sets_the_intervals_by_the_number_of_hosts(cloud: Cloud, host: Agent) -> None:
    cloud.config.set_override("largest_polls_per_second", 2.0, group="link")
    cloud.config.set_override("largest_reports_per_second", 1.0, group="link")
    before = host.intent()
    assert (before.json["poll_seconds"], before.json["report_seconds"]) == (0.5, 3.0)
    for number in range(2, 10):
        cloud.host(f"host{number}")
    assert host.intent(before.headers["ETag"]).status_code == 304, "hosts are not counted at each poll"
    cloud.clock.now += 11
    after = host.intent(before.headers["ETag"])
    assert after.status_code == 200
    assert (after.json["poll_seconds"], after.json["report_seconds"]) == (4.5, 9.0)


def test_an_instance_is_gone_since_its_host_left_it_out(cloud: Cloud, host: Agent) -> None:
    def gone_at() -> float | None:
        with cloud.database.reader() as session:
            return session.scalar(select(Instance.gone_at).where(Instance.uuid == VM))

    left_out = host.instances.pop(VM)
    cloud.clock.now += 5
    host.report()
    cloud.clock.now += 5
    host.report()
    assert gone_at() == NOW + 5
    host.instances[VM] = left_out
    host.report()
    assert gone_at() is None
    assert cloud.reader.get(f"/v1/instances/{VM}").json["state"] == "running"
