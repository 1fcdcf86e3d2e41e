"""What an SLO takes, and which hosts could take it, on both databases."""

import itertools
import json
import statistics
import time
from typing import Any

import pytest
from falcon import testing

from stella.api.app import build
from stella.api.candidates import LARGEST_HOSTS
from stella.api.host_attainment import LARGEST_READ
from stella.db import hosts
from stella.db.models import Host, Instance, SloRow
from stella.model.flavor import slo_of
from tests.functional.conftest import BOTH_DATABASES, Agent, Cloud, User, error, uuid

pytestmark = BOTH_DATABASES
_OBJECTIVES: dict[str, Any] = {"cpu": {"floor": "20%"}, "network_packets": {"floor": "20kpps"}}
_SPECS = {"stella:slo_cpu_floor": "0.2", "stella:slo_network_packets_floor": "20000", "hw:cpu_policy": "shared"}


def post(user: User, path: str, **body: Any) -> Any:
    answer = user.ask("POST", path, json={"vcpus": 1, **body})
    assert answer.status_code == 200, answer.text
    return answer.json


def candidates(cloud: Cloud, **body: Any) -> dict[str, dict[str, Any]]:
    found = post(cloud.service, "/v1/candidates", **body)["candidates"]
    return {one["host"]: one for one in found}


def host(cloud: Cloud, name: str, **more: Any) -> Agent:
    made = cloud.host(name, **more)
    assert made.report().status_code == 200
    return made


def test_an_estimate_is_what_admission_reserves(cloud: Cloud) -> None:
    """The flavor's allocation is never less than what the host then sets aside."""
    found = post(cloud.reader, "/v1/estimates", objectives=_OBJECTIVES)
    one = host(cloud, "host1", cpus=8)
    one.add(uuid(1))
    one.report()
    reserved = cloud.member.put_slo(uuid(1), _OBJECTIVES).json["reserved_cpu_cores"]
    assert found["reserved_cpu_cores"] == pytest.approx(reserved) and found["estimated"] is True
    millicores = found["resources"]["CUSTOM_STELLA_CPU_MILLICORES"]
    assert reserved * 1000 <= millicores < reserved * 1000 + 1 and millicores > 400, "the cost of packets is in it"
    assert found["resources"]["CUSTOM_STELLA_NET_KPPS"] == 20
    assert found["extra_specs"] | _SPECS == found["extra_specs"] | {"hw:cpu_policy": "shared"}
    sold = slo_of(found["extra_specs"])
    assert sold is not None and sold.floor(sold.objectives[0].metric) == 0.2
    one.report(
        host={
            "capacity": {"cpu_cores": 7.2, "one_cpu_cores": 0.9, "cpus": list(range(8)), "margin_ratio": 1.5},
            "capabilities": {},
        }
    )
    with cloud.database.reader() as session:
        margin = session.query(Host.reservation_margin_ratio).scalar()
    again = post(cloud.reader, "/v1/estimates", objectives=_OBJECTIVES)["reserved_cpu_cores"]
    expected = found["reserved_cpu_cores"] / cloud.config.link.reservation_margin_ratio
    assert again == pytest.approx(expected * max(margin or 0.0, cloud.config.link.reservation_margin_ratio))


def test_what_no_host_could_hold(cloud: Cloud) -> None:
    for objectives, vcpus, message in (
        ({"cpu": {"floor": 2}}, 1, "the instance has 1 vCPU"),
        ({"network_packets": {"floor": "1Mpps"}}, 16, "QEMU's main loop"),
        ({"cpu": {"floor": 1}, "network_packets": {"floor": "10kpps"}}, 1, "no CPU of an empty host"),
    ):
        body = {"objectives": objectives, "vcpus": vcpus}
        found = error(cloud.reader.ask("POST", "/v1/estimates", json=body), 422)
        assert message in found["detail"] and found["field"].startswith("objectives."), found
        largest = found["counter_offer"]["largest"]
        smaller = {metric: {"floor": value} for metric, value in largest.items()}
        if len(objectives) == 1:
            assert post(cloud.reader, "/v1/estimates", objectives=smaller, vcpus=vcpus)
    found = error(
        cloud.reader.ask("POST", "/v1/estimates", json={"objectives": {"cpu": {"floor": "20kpps"}}, "vcpus": 1}), 400
    )
    assert found["field"] == "objectives.cpu.floor"


def test_each_host_tells_why(cloud: Cloud) -> None:
    host(cloud, "good", cpus=8)
    host(cloud, "watching", mode="observe", cpus=8)
    cloud.host("new")
    old = cloud.host("old", cpus=8)
    assert old.report(host={**old.body()["host"], "capabilities": {"cpu_floor": True}}).status_code == 200
    busy = host(cloud, "busy", cpus=1)
    busy.add(uuid(1))
    busy.report()
    assert cloud.member.put_slo(uuid(1), {"cpu": {"floor": 0.5}}).status_code == 201
    found = candidates(cloud, objectives={"cpu": {"floor": 0.4}, "network_packets": {"floor": "20kpps"}})
    assert {name for name, one in found.items() if one["fits"]} == {"good"}
    good = found["good"]
    assert good["reason"] is None and good["largest"] == {} and good["attainment_ratio"] is None
    assert 0.5 < good["head_room_ratio"] < 1 and good["reserved_cpu_cores"] > 0.6
    reasons = {name: one["reason"] for name, one in found.items() if not one["fits"]}
    assert reasons["watching"] == "the host is in mode observe"
    assert reasons["new"] == "the host has not reported its capacity yet"
    assert reasons["old"] == "network_packets.floor: this host does not report it"
    assert "cores of CPU" in reasons["busy"]
    assert all(one["largest"] == {} and one["head_room_ratio"] is None for one in found.values() if not one["fits"])


def test_what_would_fit_is_told_and_true(cloud: Cloud) -> None:
    host(cloud, "small", cpus=1)
    big = {"cpu": {"floor": 0.5}, "network_packets": {"floor": "40kpps"}}
    one = candidates(cloud, objectives=big, with_largest=True)["small"]
    assert not one["fits"] and set(one["largest"]) <= {"cpu", "network_packets"} and one["largest"]
    for metric, value in one["largest"].items():
        assert candidates(cloud, objectives={**big, metric: {"floor": value}})["small"]["fits"], metric


def test_silent_and_revoked_hosts_do_not_fit(cloud: Cloud) -> None:
    host(cloud, "quiet", cpus=8)
    cloud.clock.now += cloud.config.link.silent_seconds + 1
    host(cloud, "loud", cpus=8)
    found = candidates(cloud, extra_specs=_SPECS)
    assert (found["quiet"]["reason"], found["loud"]["fits"]) == ("the host is silent", True)
    cloud.database.write(lambda session: hosts.revoke(session, "loud"))
    assert candidates(cloud, extra_specs=_SPECS)["loud"]["reason"] == "the host is no longer enrolled"


def test_named_hosts_come_in_order_known_or_not(cloud: Cloud) -> None:
    host(cloud, "b", cpus=8)
    host(cloud, "a", cpus=8)
    found = post(cloud.admin, "/v1/candidates", extra_specs=_SPECS, hosts=["b", "nobody", "a", "b"])["candidates"]
    assert [(one["host"], one["fits"]) for one in found] == [("b", True), ("nobody", False), ("a", True)]
    assert found[1]["reason"] == "Stella does not know this host"


def test_an_instance_that_is_known_is_counted_once_with_what_it_has(cloud: Cloud) -> None:
    """On its own host it does not stand in its own way; elsewhere what its user added later must fit too."""
    home, other = host(cloud, "home", cpus=1), host(cloud, "other", cpus=1)
    home.add(uuid(1))
    home.report()
    other.report()
    assert cloud.member.put_slo(uuid(1), {"cpu": {"floor": 0.6}}).status_code == 201
    new = candidates(cloud, objectives={"cpu": {"floor": 0.5}})
    assert (new["home"]["fits"], new["other"]["fits"]) == (False, True)
    known = candidates(cloud, objectives={"cpu": {"floor": 0.5}}, instance=uuid(1))
    assert known["home"]["fits"] and known["home"]["reserved_cpu_cores"] > 0.6
    packets = candidates(cloud, objectives={"network_packets": {"floor": "20kpps"}}, instance=uuid(1))
    alone = candidates(cloud, objectives={"network_packets": {"floor": "20kpps"}})
    assert alone["other"]["fits"] and not packets["other"]["fits"], "the increment has no room there"
    assert candidates(cloud, objectives={"cpu": {"floor": 0.5}}, instance=uuid(99))["other"]["fits"], "not known yet"


def test_what_is_kept_of_hosts_is_what_a_fresh_api_says(cloud: Cloud) -> None:
    """After each change of what a host holds or can do, the API that has answered before answers as one that was just started."""
    one, two = host(cloud, "one", cpus=2), host(cloud, "two", cpus=2)
    for agent, number in ((one, 1), (one, 2), (two, 3)):
        agent.add(uuid(number), vcpus=2)
        agent.report()
    body = {"vcpus": 1, "objectives": {"cpu": {"floor": 0.6}}, "with_largest": True}

    def smaller() -> None:
        two.cpus = 1
        two.report()

    def pinned() -> None:
        one.instances[uuid(1)]["shape"] = {"vcpus": 2, "allowed_cpus": [0]}
        one.report()

    def moved() -> None:
        two.instances[uuid(2)] = one.instances.pop(uuid(2))
        one.report()
        two.report()

    seen = []
    for change in (
        lambda: None,
        lambda: cloud.member.put_slo(uuid(1), {"cpu": {"floor": 0.5}}),
        lambda: cloud.member.put_slo(uuid(2), {"cpu": {"floor": 0.3}}),
        pinned,
        lambda: cloud.member.put_slo(uuid(1), {"cpu": {"floor": 0.2}}, generation=1),
        moved,
        smaller,
        lambda: cloud.member.ask("DELETE", f"/v1/instances/{uuid(2)}/slo", headers={"If-Match": "*"}),
    ):
        change()
        asked = [{**body, **more} for more in ({}, {"instance": uuid(2)}, {"vcpus": 2})]
        kept = [[candidates(cloud, **each) for each in asked] for _ in range(2)]
        fresh = User(cloud.service.token, testing.TestClient(build(cloud.config, cloud.database, clock=cloud.clock)))
        said = [post(fresh, "/v1/candidates", **each)["candidates"] for each in asked]
        assert kept == [[{found["host"]: found for found in answer} for answer in said]] * 2
        seen.append(kept[0])
    assert [before != after for before, after in itertools.pairwise(seen)] == [True] * 7, "each change shows"


def test_that_no_host_fits_is_kept_with_every_reason(cloud: Cloud) -> None:
    host(cloud, "watching", mode="observe")
    host(cloud, "small", cpus=1)
    body = {"objectives": {"cpu": {"floor": 3}}, "vcpus": 4, "instance": uuid(9)}
    candidates(cloud, **body)
    candidates(cloud, **{**body, "objectives": {"cpu": {"floor": 0.1}}, "record": True})
    assert cloud.admin.get("/v1/decisions").json["decisions"] == [], "not asked for, or one fits"
    candidates(cloud, **body, record=True)
    (found,) = cloud.admin.get("/v1/decisions", query_string="kind=no_candidate").json["decisions"]
    assert found["reason"].startswith("none of 2 hosts can take the instance, such as small: cpu.floor: ")
    assert found["detail"]["instance"] == uuid(9) and found["detail"]["objectives"] == {"cpu": {"floor": 3.0}}
    assert found["detail"]["hosts"]["watching"] == "the host is in mode observe"
    assert cloud.member.get("/v1/decisions").json["decisions"] == [], "hosts are for operators"


def test_recent_attainment(cloud: Cloud) -> None:
    one, two = host(cloud, "one", cpus=8), host(cloud, "two", cpus=8)
    start = int(cloud.clock.now) // 60 * 60 - 120
    for agent, number, met in ((one, 1, 45), (two, 2, 0)):
        agent.add(uuid(number))
        counts = {"met": met, "violated": 60 - met} if met else {"no_demand": 60}
        minutes = [
            {"uuid": uuid(number), "metric": "cpu", "start": start, "counts": counts},
            {"uuid": uuid(number), "metric": "cpu", "start": start - 7200, "counts": {"violated": 60}},
        ]
        answer = agent.report(minutes=minutes)
        assert answer.status_code == 200 and answer.json.get("ignored", []) == [], answer.text
    found = candidates(cloud, extra_specs=_SPECS)
    assert (found["one"]["attainment_ratio"], found["two"]["attainment_ratio"]) == (0.75, None)
    minute = {"uuid": uuid(1), "metric": "cpu", "start": start + 60, "counts": {"violated": 60}}
    assert one.report(minutes=[minute]).status_code == 200
    assert candidates(cloud, extra_specs=_SPECS)["one"]["attainment_ratio"] == 0.75, "kept for a minute"
    cloud.clock.now += 61
    one.report(), two.report()
    assert candidates(cloud, extra_specs=_SPECS)["one"]["attainment_ratio"] == 0.375


def test_of_many_hosts_attainment_comes_with_the_next_requests(cloud: Cloud) -> None:
    start = int(cloud.clock.now) // 60 * 60 - 120
    many = LARGEST_READ + 5
    for number in range(many):
        agent = host(cloud, f"h{number}")
        agent.add(uuid(number))
        minute = {"uuid": uuid(number), "metric": "cpu", "start": start, "counts": {"met": 30, "violated": 30}}
        assert agent.report(minutes=[minute]).status_code == 200

    def known() -> int:
        ratios = [one["attainment_ratio"] for one in candidates(cloud, extra_specs=_SPECS).values()]
        assert set(ratios) <= {0.5, None}
        return sum(ratio is not None for ratio in ratios)

    assert [known(), known(), known()] == [LARGEST_READ, many, many]
    cloud.clock.now += 61
    assert known() == many, "what was read before goes on counting"
    cloud.clock.now += 3600
    assert known() <= many - LARGEST_READ, "and no longer than an hour"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"vcpus": 1}, "body"),
        ({"vcpus": 1, "objectives": _OBJECTIVES, "extra_specs": _SPECS}, "body"),
        ({"objectives": _OBJECTIVES}, "body"),
        ({"objectives": _OBJECTIVES, "vcpus": 0}, "vcpus"),
        ({"objectives": _OBJECTIVES, "vcpus": "1"}, "vcpus"),
        ({"objectives": _OBJECTIVES, "vcpus": 10**9}, "vcpus"),
        ({"objectives": {"cpu": {"floor": "20kpps"}}, "vcpus": 1}, "objectives.cpu.floor"),
        ({"extra_specs": {"stella:slo_cpu_floor": "20%"}, "vcpus": 1}, "extra_specs.stella:slo_cpu_floor"),
        ({"extra_specs": {"stella:slo_cpu_flor": "1"}, "vcpus": 1}, "extra_specs.stella:slo_cpu_flor"),
        ({"extra_specs": {"hw:cpu_policy": "shared"}, "vcpus": 1}, "extra_specs"),
        ({"extra_specs": {"stella:slo_cpu_floor": 1}, "vcpus": 1}, "extra_specs.stella:slo_cpu_floor"),
        ({"extra_specs": {}, "vcpus": 1}, "extra_specs"),
        ({"extra_specs": _SPECS, "vcpus": 1, "hosts": []}, "hosts"),
        ({"extra_specs": _SPECS, "vcpus": 1, "hosts": ["../etc"]}, "hosts[0]"),
        ({"extra_specs": _SPECS, "vcpus": 1, "hosts": [f"h{n}" for n in range(LARGEST_HOSTS + 1)]}, "hosts"),
        ({"extra_specs": _SPECS, "vcpus": 1, "instance": "x"}, "instance"),
        ({"extra_specs": _SPECS, "vcpus": 1, "color": "red"}, "body"),
    ],
)
def test_requests_that_cannot_be(cloud: Cloud, body: dict[str, Any], field: str) -> None:
    found = error(cloud.service.ask("POST", "/v1/candidates", json=body), 400)
    assert found["field"] == field, found
    assert "\n" not in found["detail"] and len(found["detail"]) < 400


def test_many_hosts_in_a_few_queries(cloud: Cloud) -> None:
    """1 000 hosts with 20 SLOs each: a number of queries that does not grow, and an answer in bounded time."""
    many, each = LARGEST_HOSTS, 20
    capabilities = json.dumps({"capabilities": {"cpu_floor": True, "network_packets_floor": True}})

    def fill(session: Any) -> None:
        made = [
            Host(
                name=f"h{number:04d}",
                mode="enforce",
                credential_sha256=f"{number:064d}",
                enrolled_at=0.0,
                capacity_cpu_cores=16.0,
                one_cpu_capacity_cores=0.95,
                free_cpu_cores=16.0 - 0.02 * each * (number % 2),
                cpus=json.dumps(list(range(16))),
                reported=capabilities,
                reported_at=cloud.clock.now,
            )
            for number in range(many + 5)
        ]
        session.add_all(made)
        session.flush()
        guests = [
            Instance(
                uuid=uuid(100 * number + one),
                host_id=of.id,
                project_id="p1",
                name="vm",
                state="running",
                shape='{"vcpus": 2}',
                reported_at=0.0,
            )
            for number, of in enumerate(made)
            for one in range(each)
        ]
        session.add_all(guests)
        session.flush()
        terms = {"generation": 1, "revision": 1, "objectives": "{}", "reserved_cpu_cores": 0.5, "state": "enforced"}
        session.add_all(SloRow(instance_id=guest.id, changed_at=0.0, **terms) for guest in guests)

    cloud.database.write(fill)
    assert len(candidates(cloud, extra_specs=_SPECS)) == many
    names = [f"h{number:04d}" for number in range(many)]
    took = []
    for _ in range(3):
        begun = time.perf_counter()
        found = candidates(cloud, extra_specs=_SPECS, hosts=names, with_largest=False)
        took.append(time.perf_counter() - begun)
    assert list(found) == names and all(one["fits"] for one in found.values())
    print(f"{many} hosts, {many * each} SLOs: {statistics.median(took) * 1e3:.0f} ms")
    few = []
    for _ in range(20):
        begun = time.perf_counter()
        candidates(cloud, extra_specs=_SPECS, hosts=names[:20])
        few.append(time.perf_counter() - begun)
    print(f"20 hosts, {20 * each} SLOs: median {statistics.median(few) * 1e3:.1f} ms, largest {max(few) * 1e3:.1f} ms")
    assert statistics.median(took) < 15.0, "seconds, on any machine"
