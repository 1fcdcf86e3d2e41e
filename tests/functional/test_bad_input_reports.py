"""Reports that cannot be, come twice or late, or speak of others: nothing changes that should not, on both databases."""

import copy
import json
from typing import Any

import pytest

from tests.functional.conftest import BOTH_DATABASES, NOW, Agent, Cloud, error, uuid
from tests.functional.dump import dump

pytestmark = BOTH_DATABASES

DAY = 86400
MINUTE = int(NOW) // 60 * 60 - 600
OWN, OTHERS = uuid(1), uuid(2)
JSON = {"Content-Type": "application/json"}


def minute(name: str = OWN, start: int = MINUTE, **counts: int) -> dict[str, Any]:
    return {"uuid": name, "metric": "cpu", "start": start, "counts": counts or {"met": 60}}


def violation(name: str = OWN, **more: Any) -> dict[str, Any]:
    return {"id": "v1", "uuid": name, "metric": "cpu", "opened_at": NOW - 60, **more}


@pytest.fixture
def host(cloud: Cloud) -> Agent:
    made = cloud.host("host1")
    made.add(OWN)
    assert made.report().status_code == 200
    return made


@pytest.fixture
def other(cloud: Cloud) -> Agent:
    made = cloud.host("host2")
    made.add(OTHERS, project="p2")
    assert made.report().status_code == 200
    assert cloud.stranger.put_slo(OTHERS, {"cpu": {"floor": 0.2}}).status_code == 201
    return made


def test_what_is_not_taken_changes_nothing(cloud: Cloud, host: Agent) -> None:
    before = dump(cloud.database)
    instance = host.instances[OWN]
    for change, field in (
        ({"sent_at": NOW + DAY}, "sent_at"),
        ({"sent_at": NOW - DAY}, "sent_at"),
        ({"sent_at": -1}, "sent_at"),
        ({"sent_at": 1e300}, "sent_at"),
        ({"minutes": [minute(start=MINUTE + DAY)]}, "minutes[0].start"),
        ({"minutes": [minute(), minute(start=MINUTE + 1)]}, "minutes[1].start"),
        ({"minutes": [minute(met=61)]}, "minutes[0].counts"),
        ({"minutes": [minute(met=-1)]}, "minutes[0].counts.met"),
        ({"minutes": [minute(met=10**20)]}, "minutes[0].counts.met"),
        ({"minutes": [minute(f"{OWN}\n")]}, "minutes[0].uuid"),
        ({"violations": [violation(opened_at=NOW + DAY)]}, "violations[0].opened_at"),
        ({"violations": [violation(opened_at=NOW - 60, closed_at=NOW + DAY)]}, "violations[0].closed_at"),
        ({"violations": [violation(opened_at=NOW - 60, closed_at=NOW - 120)]}, "violations[0].closed_at"),
        ({"violations": [violation(cause="ghosts")]}, "violations[0].cause"),
        ({"violations": [violation(offender="x" * 37)]}, "violations[0].offender"),
        ({"states": {f"{OWN}\n": {"revision": 1, "state": "enforced"}}}, "states"),
        ({"states": {OWN: {"revision": 1, "state": "enforced", "reason": "x" * 1001}}}, f"states.{OWN}.reason"),
        ({"instances": [{**instance, "uuid": f"{OWN}\n"}]}, "instances[0].uuid"),
        ({"instances": [{**instance, "uuid": OWN.replace("-", "")}]}, "instances[0].uuid"),
        ({"instances": [{**instance, "name": "n" * 256}]}, "instances[0].name"),
        ({"instances": [{**instance, "project": "n" * 256}]}, "instances[0].project"),
        ({"instances": [{**instance, "state": "s" * 17}]}, "instances[0].state"),
        ({"instances": [{**instance, "shape": {"vcpus": 0}}]}, "instances[0].shape.vcpus"),
        ({"instances": [{**instance, "shape": {"vcpus": 1.5}}]}, "instances[0].shape.vcpus"),
        ({"agent": ""}, "agent"),
        ({"sequence": 2**60}, "sequence"),
        ({"sequence": 0.5}, "sequence"),
    ):
        found = error(host.report(host.body(**change)), 400)
        assert found["field"] == field, (change, found)
        assert len(found["detail"]) < 500
        assert dump(cloud.database) == before, change


def test_bodies_that_are_not_strict_json(cloud: Cloud, host: Agent) -> None:
    before = dump(cloud.database)
    good = json.dumps(host.body())
    for body in (
        good.replace('"xgos"', '"\\ud800"', 1).encode(),
        good.replace('"xgos"', '"\ud800"', 1).encode("utf-8", "surrogatepass"),
        good.encode("utf-16"),
        b"\xef\xbb\xbf" + good.encode(),
        good.encode() + b"{}",
        good.replace('"sequence"', '"agent"', 1).encode(),
        good.replace('"sequence": ', '"sequence": 00', 1).encode(),
        good.encode().replace(b'"xgos"', b'"\x00"', 1),
        good[:-1].encode() + b', "host": ' + b'{"a":' * 100 + b"1" + b"}" * 100 + b"}",
        good[:-1].encode() + b', "x": ' + b"[" * 40 + b"]" * 40 + b"}",
    ):
        answer = cloud.client.simulate_post("/v1/hosts/host1/reports", body=body, headers={**host.headers, **JSON})
        assert error(answer, 400)["field"] == "body", body[:60]
    large = cloud.client.simulate_post(
        "/v1/hosts/host1/reports", body=b" " * 10_000_000, headers={**host.headers, **JSON}
    )
    error(large, 413)
    assert dump(cloud.database) == before


def test_strange_texts_are_kept_as_they_are(cloud: Cloud, host: Agent) -> None:
    names = ("$(reboot)", "'; DROP TABLE slos; --", "\U0001f4a9" * 255, "a\x00b", "<script>", " ", "%s%n{0}", "\u202e")
    for number, name in enumerate(names, start=10):
        host.add(uuid(number), name=name, state="running")
    assert host.report().status_code == 200
    shown = {one["uuid"]: one["name"] for one in cloud.admin.get("/v1/instances").json["instances"]}
    assert [shown[uuid(number)] for number in range(10, 10 + len(names))] == list(names)


def test_a_whole_number_may_be_written_with_a_point(cloud: Cloud, host: Agent) -> None:
    body = (
        json.dumps(host.body(minutes=[minute()])).replace('"vcpus": 1', '"vcpus": 1.0').replace("[0, 1]", "[0.0, 1e0]")
    )
    body = body.replace('"met": 60', '"met": 6.0e1')
    answer = cloud.client.simulate_post("/v1/hosts/host1/reports", body=body, headers={**host.headers, **JSON})
    assert answer.status_code == 200, answer.text
    assert cloud.member.put_slo(OWN, {"cpu": {"floor": 0.1}}, generation=0).status_code == 201


def test_reports_that_come_again_or_late_change_nothing(cloud: Cloud, host: Agent) -> None:
    first = host.body(minutes=[minute()], violations=[violation(closed_at=NOW - 30)])
    assert host.report(first).status_code == 200
    cloud.clock.now += 5
    host.instances[OWN]["name"] = "newer"
    second = host.body(minutes=[minute(start=MINUTE + 60)])
    assert host.report(second).status_code == 200
    host.epoch, host.sequence = "epoch-2", 0
    third = host.body()
    assert host.report(third).status_code == 200
    before = dump(cloud.database)
    altered = copy.deepcopy(first)
    altered["instances"][0]["name"], altered["host"]["capacity"]["cpu_cores"] = "stale", 0.1
    for body in (third, second, first, altered, first):
        cloud.clock.now += 1
        assert host.report(body).status_code == 200
        assert dump(cloud.database) == before, body["sequence"]


def test_a_host_speaks_of_its_own_instances_alone(cloud: Cloud, host: Agent, other: Agent) -> None:
    revision = other.intent().json["slos"][OTHERS]["revision"]
    tables = ("instances", "slos", "slo_changes", "minutes", "violations", "decisions")
    before = {name: rows for name, rows in dump(cloud.database).items() if name in tables}
    host.add(OTHERS, project="p1", name="mine")
    answer = host.report(
        minutes=[minute(OTHERS), minute(OTHERS.upper())],
        violations=[violation(OTHERS)],
        states={OTHERS: {"revision": revision, "state": "refused", "reason": "because"}},
    )
    assert answer.status_code == 200
    assert {one["uuid"].lower() for one in answer.json["ignored"]} == {OTHERS}
    after = {name: rows for name, rows in dump(cloud.database).items() if name in tables}
    known = {name: [row for row in rows if OTHERS in row] for name, rows in after.items()}
    assert known["instances"] == [row for row in before["instances"] if OTHERS in row]
    assert {name: rows for name, rows in after.items() if name != "instances"} == {
        name: rows for name, rows in before.items() if name != "instances"
    }
    assert cloud.stranger.get(f"/v1/instances/{OTHERS}/slo").json["state"] == "pending"
    error(cloud.member.get(f"/v1/instances/{OTHERS}"), 404)


def test_a_host_cannot_give_an_instance_to_another_project(cloud: Cloud, host: Agent) -> None:
    host.instances[OWN]["project"] = "p2"
    assert host.report().status_code == 200
    assert cloud.member.get(f"/v1/instances/{OWN}").json["project_id"] == "p1"
    error(cloud.stranger.get(f"/v1/instances/{OWN}"), 404)


def test_names_are_exact(cloud: Cloud, host: Agent) -> None:
    assert cloud.member.get(f"/v1/instances/{OWN.upper()}").json["uuid"] == OWN, "a uuid has no case"
    for name in (f"{OWN}%20", f"{OWN}%0A", f"%7B{OWN}%7D", f"urn:uuid:{OWN}", OWN.replace("-", "")):
        error(cloud.member.get(f"/v1/instances/{name}"), 404)
    for name in ("HOST1", "host1%20", "host1%0A", "host1.", "%20host1"):
        error(cloud.admin.get(f"/v1/hosts/{name}"), 404)
        error(cloud.client.simulate_get(f"/v1/hosts/{name}/intent", headers=host.headers), 404)
    assert cloud.admin.get("/v1/instances", query_string="project=P1").json["instances"] == []
