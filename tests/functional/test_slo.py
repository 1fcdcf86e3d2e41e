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


def test_the_history_tells_who_changed_what_when_and_from_where(cloud: Cloud) -> None:
    host = cloud.host("host1")
    host.add(VM)
    host.report()
    cloud.member.put_slo(VM, {"cpu": {"floor": 0.1}})
    cloud.clock.now += 60
    changed = cloud.admin.put_slo(VM, {"cpu": {"floor": 0.2}}, generation=1)
    cloud.member.ask("DELETE", f"/v1/instances/{VM}/slo", query_string="generation=2")
    path = f"/v1/instances/{VM}/slo/history"
    changes = cloud.reader.get(path).json["changes"]
    assert [c["generation"] for c in changes] == [3, 2, 1]
    assert [(c["before"], c["after"]) for c in changes] == [
        ({"cpu": {"floor": 0.2}}, None),
        ({"cpu": {"floor": 0.1}}, {"cpu": {"floor": 0.2}}),
        (None, {"cpu": {"floor": 0.1}}),
    ]
    assert [c["user_id"] for c in changes] == ["ann", "admin", "ann"]
    assert changes[1]["request_id"] == changed.headers["x-openstack-request-id"]
    assert changes[1]["remote_address"] == "127.0.0.1"
    first = cloud.reader.get(path, query_string="limit=2").json
    assert "marker=2" in first["links"][0]["href"]
    assert [c["generation"] for c in cloud.reader.get(path, query_string="limit=2&marker=2").json["changes"]] == [1]


def test_lists_go_on_where_the_page_before_ended(cloud: Cloud) -> None:
    host = cloud.host("host1")
    for number in range(5):
        host.add(uuid(number))
    host.report()
    seen, path = [], "/v1/instances?limit=2"
    while path:
        page = cloud.member.get(path).json
        seen += [instance["uuid"] for instance in page["instances"]]
        path = page["links"][0]["href"].partition("//")[2].partition("/")[2] if page["links"] else ""
        path = f"/{path}" if path else ""
    assert seen == [uuid(number) for number in range(5)]


def test_a_dry_run_tells_how_much_more_would_fit_and_that_is_true(cloud: Cloud) -> None:
    host = cloud.host("host1")
    for number in (1, 2):
        host.add(uuid(number), vcpus=1)
    host.report()
    cloud.member.put_slo(uuid(2), {"cpu": {"floor": 0.5}})
    wanted = {"cpu": {"floor": 0.2}, "network_packets": {"floor": 2000.0}}
    told = cloud.member.put_slo(VM, wanted, query="dry_run=true").json
    assert set(told["largest"]) == {"cpu", "network_packets"}
    for metric, largest in told["largest"].items():
        assert largest > wanted[metric]["floor"]
        more = {**wanted, metric: {"floor": largest}}
        assert cloud.member.put_slo(VM, more, query="dry_run=true").status_code == 200
        too_much = {**wanted, metric: {"floor": largest * 1.05}}
        assert cloud.member.put_slo(VM, too_much, query="dry_run=true").status_code == 422
    assert cloud.admin.ask("PUT", "/v1/quotas/p1", json={"limits": {"network_packets": 3000.0}}).status_code == 200
    assert cloud.member.put_slo(VM, wanted, query="dry_run=true").json["largest"]["network_packets"] == 3000.0
    assert cloud.admin.ask("PUT", "/v1/quotas/p1", json={"limits": {"reserved_cpu_cores": 1.5}}).status_code == 200
    assert cloud.member.put_slo(VM, wanted, query="dry_run=true").json["largest"] == {}
