"""An SLO through the API: admitted when it fits, handed to its host, acknowledged, kept."""

from tests.functional.conftest import BOTH_DATABASES, Cloud, error, uuid

pytestmark = BOTH_DATABASES

VM = uuid(1)


def test_the_whole_way(cloud: Cloud) -> None:
    host = cloud.host("host1")
    host.add(VM)
    assert host.report().json == {"accepted_sequence": 1, "stored_minutes": 0, "ignored": []}
    before = host.intent()
    assert before.json["slos"] == {} and host.intent(before.headers["etag"]).status_code == 304

    made = cloud.member.put_slo(VM, {"cpu": {"floor": "20%"}}, priority=7)
    assert made.status_code == 201 and made.headers["etag"] == '"1"'
    assert made.json["state"] == "pending" and made.json["objectives"] == {"cpu": {"floor": 0.2, "priority": 7}}

    told = host.intent(before.headers["etag"])
    assert told.status_code == 200
    wanted = told.json["slos"][VM]
    assert wanted["objectives"]["cpu"]["floor"] == 0.2
    assert told.json["poll_seconds"] < before.json["poll_seconds"], "a host with something to acknowledge asks sooner"

    assert host.acknowledge().status_code == 200
    shown = cloud.reader.get(f"/v1/instances/{VM}/slo").json
    assert (shown["state"], shown["generation"]) == ("enforced", 1)
    assert cloud.member.get(f"/v1/instances/{VM}").json["slo_state"] == "enforced"
    assert cloud.admin.get("/v1/hosts/host1").json["reserved_cpu_cores"] == shown["reserved_cpu_cores"]

    kinds = [d["kind"] for d in cloud.member.get("/v1/decisions").json["decisions"]]
    assert kinds == ["slo_accepted"]


def test_what_does_not_fit_is_refused_with_a_counter_offer_that_is_accepted(cloud: Cloud) -> None:
    host, other = cloud.host("host1"), cloud.host("host2", cpus=8)
    host.add(VM, vcpus=1)
    host.add(uuid(2), vcpus=1)
    host.report()
    other.report()
    cloud.member.put_slo(uuid(2), {"cpu": {"floor": 0.5}})
    cloud.member.put_slo(VM, {"cpu": {"floor": 0.5}})
    host.add(uuid(3))
    host.report()
    refused = error(cloud.member.put_slo(uuid(3), {"cpu": {"floor": 0.7}}), 422)
    assert refused["code"] == "stella.slo.does_not_fit" and refused["field"] == "objectives.cpu.floor"
    offer = refused["counter_offer"]
    assert offer["elsewhere"] and "hosts" not in offer, "a tenant is not told the names of hosts"
    assert error(cloud.admin.put_slo(uuid(3), {"cpu": {"floor": 0.7}}), 422)["counter_offer"]["hosts"] == ["host2"]
    assert cloud.member.put_slo(uuid(3), {"cpu": {"floor": offer["largest"]["cpu"]}}).status_code == 201
    kinds = [
        d["kind"] for d in cloud.admin.get("/v1/decisions", query_string="kind=slo_does_not_fit").json["decisions"]
    ]
    assert len(kinds) == 2


def test_dry_run_answers_and_changes_nothing(cloud: Cloud) -> None:
    host = cloud.host("host1")
    host.add(VM)
    host.report()
    before = host.intent().headers["etag"]
    tried = cloud.member.put_slo(VM, {"cpu": {"floor": "20%"}}, query="dry_run=true")
    assert tried.status_code == 200 and tried.json["accepted"] and tried.json["reserved_cpu_cores"] > 0.2
    error(cloud.member.put_slo(VM, {"cpu": {"floor": "5cores"}}, query="dry_run"), 422)
    error(cloud.member.get(f"/v1/instances/{VM}/slo"), 404)
    assert host.intent(before).status_code == 304
    assert cloud.admin.get("/v1/decisions").json["decisions"] == []


def test_generations(cloud: Cloud) -> None:
    host = cloud.host("host1")
    host.add(VM)
    host.report()
    path, small, more = f"/v1/instances/{VM}/slo", {"cpu": {"floor": 0.1}}, {"cpu": {"floor": 0.2}}
    assert error(cloud.member.put_slo(VM, small, generation=3), 409)["generation"] == 0
    assert cloud.member.put_slo(VM, small, generation=0).status_code == 201
    for body, headers in (({}, {}), ({"generation": 2}, {}), ({}, {"If-Match": '"7"'}), ({}, {"If-None-Match": "*"})):
        asked = cloud.member.ask("PUT", path, json={"objectives": more, **body}, headers=headers)
        assert error(asked, 409)["generation"] == 1
    replaced = cloud.member.ask("PUT", path, json={"objectives": more}, headers={"If-Match": '"1"'})
    assert (replaced.status_code, replaced.json["generation"]) == (200, 2)
    error(cloud.member.ask("DELETE", path, query_string="generation=1"), 409)
    assert cloud.member.ask("DELETE", path, query_string="generation=2").status_code == 204
    error(cloud.member.get(path), 404)
    error(cloud.member.ask("DELETE", path, query_string="generation=2"), 404)
    assert host.intent().json["slos"] == {}
    assert cloud.admin.get("/v1/hosts/host1").json["reserved_cpu_cores"] == 0
    again = cloud.member.put_slo(VM, small)
    assert (again.status_code, again.json["generation"]) == (201, 4), "a generation never comes twice"


def test_an_acknowledgement_of_an_older_revision_does_not_count(cloud: Cloud) -> None:
    host = cloud.host("host1")
    host.add(VM)
    host.report()
    cloud.member.put_slo(VM, {"cpu": {"floor": 0.1}})
    old = host.intent().json["slos"][VM]["revision"]
    cloud.member.put_slo(VM, {"cpu": {"floor": 0.2}}, generation=1)
    host.report(states={VM: {"revision": old, "state": "enforced"}})
    assert cloud.member.get(f"/v1/instances/{VM}/slo").json["state"] == "pending"


def test_a_refusal_by_the_host_comes_back_as_it_was_said(cloud: Cloud) -> None:
    host = cloud.host("host1")
    host.add(VM)
    host.report()
    cloud.member.put_slo(VM, {"cpu": {"floor": 0.5}})
    host.acknowledge("refused", reason="only 0.3 cores are left", largest={"cpu": 0.3})
    shown = cloud.member.get(f"/v1/instances/{VM}/slo").json
    assert (shown["state"], shown["reason"], shown["largest"]) == ("refused", "only 0.3 cores are left", {"cpu": 0.3})
    latest = cloud.member.get("/v1/decisions").json["decisions"][0]
    assert (latest["kind"], latest["reason"]) == ("slo_refused_by_host", "only 0.3 cores are left")


def test_what_a_host_cannot_keep_is_not_promised_on_it(cloud: Cloud) -> None:
    observing = cloud.host("host1", mode="observe")
    observing.add(VM)
    observing.report()
    assert error(cloud.member.put_slo(VM, {"cpu": {"floor": 0.1}}), 409)["code"] == "stella.slo.host_not_enforcing"
    cloud.admin.ask("PATCH", "/v1/hosts/host1", json={"mode": "enforce"})
    unsupported = error(cloud.member.put_slo(VM, {"block_latency": {"target": "5ms"}}), 422)
    assert unsupported["code"] == "stella.slo.not_supported" and "not in this release" in unsupported["detail"]
    del observing.instances[VM]
    observing.report()
    assert error(cloud.member.put_slo(VM, {"cpu": {"floor": 0.1}}), 409)["code"] == "stella.slo.instance_not_running"


def test_the_mode_of_a_host_is_part_of_its_intent(cloud: Cloud) -> None:
    host = cloud.host("host1", mode="observe")
    host.report()
    etag = host.intent().headers["etag"]
    shown = cloud.admin.get("/v1/hosts/host1")
    stale = cloud.admin.ask("PATCH", "/v1/hosts/host1", json={"mode": "enforce"}, headers={"If-Match": '"99"'})
    assert error(stale, 409)["code"] == "stella.host.generation_conflict"
    changed = cloud.admin.ask(
        "PATCH", "/v1/hosts/host1", json={"mode": "enforce"}, headers={"If-Match": shown.headers["etag"]}
    )
    assert changed.json["mode"] == "enforce"
    assert host.intent(etag).json["mode"] == "enforce"
    assert cloud.admin.get("/v1/decisions").json["decisions"][0]["reason"] == "mode observe -> enforce"


def test_history_says_who_when_and_from_where(cloud: Cloud) -> None:
    host = cloud.host("historic")
    host.add(uuid(71))
    host.report()
    path = f"/v1/instances/{uuid(71)}/slo/history"
    assert cloud.reader.get(path).json == {"changes": [], "links": []}
    cloud.member.put_slo(uuid(71), {"cpu": {"floor": "20%"}})
    cloud.clock.now += 60
    cloud.admin.put_slo(uuid(71), {"cpu": {"floor": "30%"}}, generation=1)
    newest, oldest = cloud.reader.get(path).json["changes"]
    assert (newest["generation"], newest["user_id"], newest["before"]) == (2, "admin", {"cpu": {"floor": 0.2}})
    assert (oldest["user_id"], oldest["before"], oldest["after"]) == ("ann", None, {"cpu": {"floor": 0.2}})
    assert oldest["changed_at"] < newest["changed_at"]
    assert oldest["remote_address"] and oldest["request_id"]
    first = cloud.reader.get(path, params={"limit": 1}).json
    assert [c["generation"] for c in first["changes"]] == [2]
    assert f"marker={first['changes'][0]['generation']}" in first["links"][0]["href"]
    (last,) = cloud.reader.get(path, params={"limit": 1, "marker": 2}).json["changes"]
    assert last["generation"] == 1
    assert cloud.stranger.get(path).status_code == 404
    assert cloud.client.simulate_get(path).status_code == 401
