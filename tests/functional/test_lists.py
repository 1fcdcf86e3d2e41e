"""Lists: in any order each item comes once, page after page; filters leave out what they say."""

from typing import Any

import pytest

from stella.api import times
from stella.db import decisions as decision_rows
from stella.db import hosts, instances, violations
from stella.db.slos import system_origin
from tests.functional.conftest import BOTH_DATABASES, NOW, Cloud, User, uuid

pytestmark = BOTH_DATABASES


def walk(user: User, path: str, **query: str) -> list[dict[str, Any]]:
    """Every item of a list, two at a time."""
    name, found = path.rpartition("/")[2], []
    url = f"{path}?" + "&".join(f"{k}={v}" for k, v in {"limit": "2", **query}.items())
    while url:
        answer = user.get(url)
        assert answer.status_code == 200, answer.text
        assert len(answer.json[name]) <= 2
        found += answer.json[name]
        links = answer.json["links"]
        url = "/" + links[0]["href"].split("/", 3)[3] if links else ""
    return found


@pytest.fixture
def full(cloud: Cloud) -> Cloud:
    """Three hosts with instances of equal names, decisions at equal times, violations that overlap."""
    for number, mode in enumerate(("enforce", "observe", "enforce")):
        host = cloud.host(f"host{number}", mode=mode, cpus=4 - number % 2)
        for vm in range(3):
            host.add(uuid(number * 10 + vm), project=f"p{1 + vm % 2}", name=f"vm{vm % 2}")
        host.report(
            violations=[
                {"id": f"v{vm}", "uuid": uuid(number * 10 + vm), "metric": ("cpu", "block_bytes")[vm % 2],
                 "opened_at": NOW - 1000 + 100 * vm, "closed_at": NOW - 950 + 100 * vm if vm < 2 else None}
                for vm in range(3)
            ]
        )  # fmt: skip
    for number in range(6):
        cloud.database.write(
            lambda session, n=number: decision_rows.record(
                session,
                ("slo_accepted", "host_mode", "quota")[n % 3],
                origin=system_origin(NOW + n // 2),
                reason="a test",
                instance_id=1 + n % 4,
            )
        )
    return cloud


@pytest.mark.parametrize(
    ("path", "keys", "unique"),
    [
        ("/v1/instances", instances.SORT_KEYS, "uuid"),
        ("/v1/hosts", hosts.SORT_KEYS, "name"),
        ("/v1/violations", violations.SORT_KEYS, "id"),
        ("/v1/decisions", decision_rows.SORT_KEYS, "id"),
    ],
)
@pytest.mark.parametrize("direction", ["", ":asc", ":desc"])
def test_each_item_comes_once_in_any_order(full: Cloud, path: str, keys: Any, unique: str, direction: str) -> None:
    everything = {item[unique] for item in walk(full.admin, path)}
    assert len(everything) == {"/v1/instances": 9, "/v1/hosts": 3, "/v1/violations": 9, "/v1/decisions": 6}[path]
    for key in keys:
        found = walk(full.admin, path, sort=f"{key}{direction}")
        if key == "health":  # its order has a test of its own
            assert sorted(item[unique] for item in found) == sorted(everything)
            continue
        order = [(item[key], item[unique]) for item in found]
        assert order == sorted(order, reverse=direction == ":desc")
        assert {item[unique] for item in found} == everything


def test_filters(full: Cloud) -> None:
    admin, member = full.admin, full.member
    assert {i["name"] for i in walk(admin, "/v1/instances", name="vm1")} == {"vm1"}
    assert walk(admin, "/v1/instances", name="vm") == [], "the whole name"
    assert [h["name"] for h in walk(admin, "/v1/hosts", mode="enforce")] == ["host0", "host2"]
    assert [h["name"] for h in walk(admin, "/v1/hosts", mode="maintenance")] == []
    for path in ("/v1/violations", "/v1/decisions"):
        found = walk(admin, path, uuid=uuid(1).upper())
        assert found and {item["uuid"] for item in found} == {uuid(1)}
        assert walk(member, path, uuid=uuid(1)) == [], "that of another project"
    assert {d["kind"] for d in walk(admin, "/v1/decisions", kind="quota")} == {"quota"}


def test_hosts_by_name_silence_and_what_lasts_on_them(full: Cloud) -> None:
    assert [h["name"] for h in walk(full.admin, "/v1/hosts", name_contains="T1")] == ["host1"]
    assert [h["open_violations"] for h in walk(full.admin, "/v1/hosts")] == [1, 1, 1]
    assert walk(full.admin, "/v1/hosts", silent="true") == []
    full.clock.now += 3600
    assert (
        len(walk(full.admin, "/v1/hosts", silent="true")) == 3 and walk(full.admin, "/v1/hosts", silent="false") == []
    )


def test_violations_that_last_or_are_over_have_names(full: Cloud) -> None:
    lasting, over = (walk(full.admin, "/v1/violations", open=flag) for flag in ("true", "false"))
    assert len(lasting) == 3 and all(v["closed_at"] is None and v["name"] == "vm0" for v in lasting)
    assert len(over) == 6 and all(v["closed_at"] for v in over)
    assert {v["offender_name"] for v in lasting} == {None}


def test_refusals(full: Cloud) -> None:
    assert walk(full.admin, "/v1/decisions", refusals="true") == []
    full.admin.put_slo(uuid(1), {"cpu": {"floor": 40}})
    (refused,) = walk(full.admin, "/v1/decisions", refusals="true")
    assert (refused["kind"], refused["name"]) == ("slo_does_not_fit", "vm1")


def test_the_summary_of_all_and_of_a_project(full: Cloud) -> None:
    assert full.member.put_slo(uuid(0), {"cpu": {"floor": 0.5}}).status_code == 201
    everything = full.admin.get("/v1/summary").json
    assert everything["instances"] == {"troubled": 0, "pending": 1, "guaranteed": 0, "best_effort": 8}
    assert everything["open_violations"] == 3 and everything["attainment"] is None
    assert everything["hosts"]["modes"] == {"enforce": 2, "observe": 1} and everything["hosts"]["silent"] == 0
    assert everything["hosts"]["free_cpu_cores"] < everything["hosts"]["capacity_cpu_cores"] - 0.5
    lost = everything["hosts"]["free_cpu_cores"] - everything["hosts"]["free_without_one_cpu_cores"]
    assert lost == pytest.approx(3.6), "all that one of the two hosts can hold"
    own = full.member.get("/v1/summary").json
    assert own["project_id"] == "p1" and own["hosts"] is None and own["open_violations"] == 3
    assert own["instances"] == {"troubled": 0, "pending": 1, "guaranteed": 0, "best_effort": 5}
    assert own["attainment"] == {"today": {}, "month": {}}
    assert sum(full.stranger.get("/v1/summary?project=p1").json["instances"].values()) == 0
    assert full.admin.get("/v1/summary?project=p2").json["hosts"] is None


def test_spans(full: Cloud) -> None:
    def at(seconds: float) -> str:
        return times.show(NOW + seconds)

    def violated(**span: str) -> set[str]:
        return {v["uuid"][-1] for v in walk(full.admin, "/v1/violations", **span)}

    assert violated() == {"0", "1", "2"}
    assert violated(to=at(-900)) == {"0"} and violated(to=at(-1000)) == set()
    assert violated(**{"from": at(-900)}) == {"1", "2"}
    assert violated(**{"from": at(-870), "to": at(-800)}) == {"1"}
    assert violated(**{"from": at(-10)}) == {"2"}, "it lasts"
    decided = [d["id"] for d in walk(full.admin, "/v1/decisions", **{"from": at(1), "to": at(2)})]
    assert decided == [4, 3]


def test_the_troubled_come_first_and_each_with_its_slo_and_attainment(cloud: Cloud) -> None:
    host = cloud.host("host1", cpus=8)
    names = ("enforced", "Violated_1", "none", "refused", "pending", "gone")
    ids = {name: uuid(number) for number, name in enumerate(names)}
    for name, one in ids.items():
        host.add(one, name=name)
    host.report()
    for name, one in ids.items():
        if name != "none":
            assert cloud.member.put_slo(one, {"cpu": {"floor": 0.2}}).status_code == 201
    slos = host.intent().json["slos"]
    states = {
        one: {"revision": slos[one]["revision"], "state": "refused" if name == "refused" else "enforced"}
        for name, one in ids.items()
        if name not in ("none", "pending")
    }
    del host.instances[ids["gone"]]
    today = int(NOW) // 86400 * 86400
    counts = {"met": 30, "violated": 10, "degraded": 0, "no_demand": 20, "self_limited": 0, "unknown": 0}
    host.report(
        states=states,
        violations=[
            {"id": "v1", "uuid": ids["Violated_1"], "metric": "cpu", "opened_at": NOW - 9, "closed_at": None},
            {"id": "v2", "uuid": ids["enforced"], "metric": "cpu", "opened_at": NOW - 9, "closed_at": NOW - 5},
        ],
        minutes=[
            {"uuid": ids["enforced"], "metric": "cpu", "start": start, "counts": counts, "causes": {"cpu": 10}}
            for start in (today - 60, today)
        ],
    )

    def listed(**query: str) -> list[str]:
        return [one["name"] for one in walk(cloud.member, "/v1/instances", sort="health", gone="false", **query)]

    assert listed() == ["Violated_1", "refused", "pending", "enforced", "none"]
    assert [one["name"] for one in walk(cloud.member, "/v1/instances", sort="health:desc", gone="false")] == listed()[
        ::-1
    ]
    assert listed(health="troubled") == ["Violated_1", "refused"]
    assert (listed(health="pending"), listed(health="guaranteed")) == (["pending"], ["enforced"])
    assert listed(health="best_effort") == ["none"]
    assert listed(name_contains="violated_") == ["Violated_1"] and listed(name_contains="%") == []
    found = {one["name"]: one for one in walk(cloud.member, "/v1/instances", attainment="true")}
    assert found["enforced"]["attainment"] == {"today": {"cpu": 0.75}, "month": {"cpu": 0.75}}
    assert found["none"]["attainment"] == {"today": {}, "month": {}} and found["none"]["slo"] is None
    assert found["enforced"]["slo"]["objectives"]["cpu"]["floor"] == 0.2
    assert found["refused"]["slo"]["state"] == "refused" and "gone" in found
    assert "attainment" not in cloud.member.get(f"/v1/instances/{ids['enforced']}").json
