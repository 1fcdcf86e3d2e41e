"""The live view: a reader watches, the host is told, its points come back once each; whatever is wrong of them stops nothing."""

from typing import Any

import pytest

from stella.api import times
from tests.functional.conftest import BOTH_DATABASES, NOW, Agent, Cloud, error, uuid

pytestmark = BOTH_DATABASES

VM, OTHER, FOREIGN = uuid(1), uuid(2), uuid(3)
NOW_SECOND = int(NOW)


def point(at: int, vm: str = VM, usage: object = 0.1, status: str = "MET") -> dict[str, Any]:
    one = {"metric": "cpu", "usage": usage, "demand": 0.2, "status": status, "cause": None}
    return {"uuid": vm, "at": at, "objectives": [one]}


@pytest.fixture
def host(cloud: Cloud) -> Agent:
    made = cloud.host("host1")
    made.add(VM)
    made.add(OTHER)
    made.report()
    return made


def watch(cloud: Cloud, vm: str = VM, **query: object) -> dict[str, Any]:
    answer = cloud.reader.get(f"/v1/instances/{vm}/usage", params={"step": 1, **query})
    assert answer.status_code == 200, answer.text
    found = answer.json
    assert isinstance(found, dict)
    return found


def test_who_asks_for_seconds_makes_the_host_send_them(cloud: Cloud, host: Agent) -> None:
    before = host.intent()
    assert (before.json["watched"], before.json["watch_until"]) == ({}, None)
    assert watch(cloud)["points"] == []
    told = host.intent(before.headers["ETag"])
    until = told.json["watched"][VM]
    assert told.status_code == 200 and told.json["watched"].keys() == {VM} and told.json["watch_until"] == until
    assert until >= NOW + 30
    assert host.intent(told.headers["ETag"]).status_code == 304
    body = host.body(points=[point(NOW_SECOND - 2), point(NOW_SECOND - 1, status="VIOLATED")])
    for _ in range(2):
        assert host.report(body).json["ignored"] == []
    shown = watch(cloud)
    assert [p["at"] for p in shown["points"]] == [times.show(NOW_SECOND - 2), times.show(NOW_SECOND - 1)]
    assert shown["points"][1]["objectives"] == [
        {"metric": "cpu", "usage": 0.1, "demand": 0.2, "status": "VIOLATED", "cause": None}
    ]
    only = watch(cloud, **{"from": times.show(NOW_SECOND - 1), "to": times.show(NOW_SECOND)})
    assert len(only["points"]) == 1


def test_a_viewer_who_stays_does_not_change_the_intent_each_second(cloud: Cloud, host: Agent) -> None:
    watch(cloud)
    tags = set()
    for _ in range(40):
        cloud.clock.now += 1
        assert times.parse(watch(cloud)["watched_until"]) >= cloud.clock.now + 30
        tags.add(host.intent().headers["ETag"])
    assert len(tags) <= 4
    tag = host.intent().headers["ETag"]
    cloud.clock.now += 60
    after = host.intent(tag)
    assert after.status_code == 200 and after.json["watched"] == {}, "nobody looks any more"


def test_points_are_kept_for_fifteen_minutes(cloud: Cloud, host: Agent) -> None:
    watch(cloud)
    host.report(points=[point(NOW_SECOND - 800), point(NOW_SECOND)])
    assert len(watch(cloud)["points"]) == 1, "the second that is now has not passed"
    cloud.clock.now += 850
    assert [p["at"] for p in watch(cloud)["points"]] == [times.show(NOW_SECOND)]
    host.report(points=[point(NOW_SECOND + 849)])
    assert len(watch(cloud)["points"]) == 2


def test_bad_points_are_told_and_the_rest_of_the_report_is_taken(cloud: Cloud, host: Agent) -> None:
    there = cloud.host("host2")
    there.add(FOREIGN)
    there.report()
    watch(cloud)
    watch(cloud, FOREIGN)
    minute = {"uuid": VM, "metric": "cpu", "start": NOW_SECOND // 60 * 60 - 60, "counts": {"met": 60}}
    bad = [
        point(NOW_SECOND - 1, FOREIGN),
        point(NOW_SECOND - 1, uuid(9)),
        point(NOW_SECOND + 86_400),
        point(NOW_SECOND - 86_400),
        point(NOW_SECOND - 1, OTHER),
    ]
    answer = host.report(points=[*bad, *bad, point(NOW_SECOND - 1)], minutes=[minute]).json
    assert answer["stored_minutes"] == 1
    assert sorted((entry["uuid"], entry["reason"]) for entry in answer["ignored"]) == [
        (VM, "points: not within the last 15 minutes"),
        (OTHER, "points: it is not watched"),
        (FOREIGN, "points: not an instance of this host"),
        (uuid(9), "points: not an instance of this host"),
    ]
    assert len(watch(cloud)["points"]) == 1 and watch(cloud, FOREIGN)["points"] == []


@pytest.mark.parametrize(
    ("points", "field"),
    [
        ([point(NOW_SECOND - 1, usage="NaN")], "points[0].objectives[0].usage"),
        ([point(NOW_SECOND - 1, usage=-1)], "points[0].objectives[0].usage"),
        ([{**point(0), "at": 1.5}], "points[0].at"),
        ([{**point(0), "uuid": "x"}], "points[0].uuid"),
        ([{"uuid": VM, "at": NOW_SECOND - i % 900, "objectives": []} for i in range(10_000)], "points"),
        ({}, "points"),
    ],
)
def test_malformed_points_are_refused_with_their_field(cloud: Cloud, host: Agent, points: object, field: str) -> None:
    watch(cloud)
    answer = host.report(points=points)
    assert error(answer, 400)["field"] == field
    assert watch(cloud)["points"] == []


def test_not_a_number_is_no_json(cloud: Cloud, host: Agent) -> None:
    watch(cloud)
    text = f'{{"points": [{{"uuid": "{VM}", "at": 1, "objectives": [{{"usage": NaN}}]}}]}}'
    headers = {**host.headers, "Content-Type": "application/json"}
    answer = cloud.client.simulate_post("/v1/hosts/host1/reports", body=text, headers=headers)
    assert error(answer, 400)["code"] == "stella.request.not_json"


def test_only_readers_of_the_project_watch(cloud: Cloud, host: Agent) -> None:
    tag = host.intent().headers["ETag"]
    for path in (f"/v1/instances/{VM}/usage?step=1", f"/v1/instances/{uuid(9)}/usage?step=1"):
        assert error(cloud.stranger.get(path), 404)["code"] == "stella.request.not_found"
    assert host.intent(tag).status_code == 304, "nothing was marked"
    assert cloud.admin.get(f"/v1/instances/{VM}/usage?step=1").status_code == 200
    unknown = cloud.client.simulate_get(f"/v1/instances/{VM}/usage?step=1")
    assert unknown.status_code == 401


def test_the_number_of_watched_instances_is_bounded(cloud: Cloud, host: Agent) -> None:
    cloud.config.set_override("largest_watched_per_host", 2, group="link")
    cloud.config.set_override("largest_watched_per_project", 1, group="link")
    host.add(FOREIGN, project="p2")
    host.add(uuid(4), project="p3")
    host.report()
    assert watch(cloud)["not_watched_reason"] is None
    second = watch(cloud, OTHER)
    assert second["watched_until"] is None and second["not_watched_reason"].startswith(
        "1 other instances of the project"
    )
    assert watch(cloud)["not_watched_reason"] is None, "who watches already may go on"
    assert cloud.stranger.get(f"/v1/instances/{FOREIGN}/usage?step=1").json["not_watched_reason"] is None
    third = cloud.admin.get(f"/v1/instances/{uuid(4)}/usage?step=1").json
    assert third["not_watched_reason"].startswith("As many instances of its host")
    assert host.intent().json["watched"].keys() == {VM, FOREIGN}
    cloud.clock.now += 50
    assert watch(cloud, OTHER)["not_watched_reason"] is None


def test_minutes_and_their_bounds(cloud: Cloud, host: Agent) -> None:
    start = NOW_SECOND // 60 * 60
    rows = [
        {
            "uuid": VM,
            "metric": metric,
            "start": start - 60 * back,
            "counts": {"met": 50, "violated": 10},
            "causes": {"cpu": 10},
            "usage": {"mean": 0.1, "min": 0.0, "max": 0.3},
            "demand_mean": 0.2,
        }
        for back in (1, 2)
        for metric in ("cpu", "block_bytes")
    ]
    host.report(minutes=rows)
    shown = cloud.reader.get(f"/v1/instances/{VM}/usage").json
    assert [p["at"] for p in shown["points"]] == [times.show(start - 120), times.show(start - 60)]
    (block, cpu) = shown["points"][0]["objectives"]
    assert (block["metric"], cpu["usage"], cpu["usage_max"], cpu["demand"]) == ("block_bytes", 0.1, 0.3, 0.2)
    assert (cpu["seconds"]["met"], cpu["seconds"]["violated"], cpu["causes"]) == (50, 10, {"cpu": 10})
    assert host.intent().json["watched"] == {}, "minutes are there without anybody watching"
    for step in (3600, 86400):
        assert cloud.reader.get(f"/v1/instances/{VM}/usage?step={step}").json["points"] == []
    for query, field in (
        ("step=5", "step"),
        ("step=x", "step"),
        ("from=2026-01-01T00:00:00Z&step=60", "from"),
        ("from=yesterday", "from"),
        ("from=2026-11-25T00:00:00Z&to=2026-11-24T00:00:00Z", "from"),
    ):
        assert error(cloud.reader.get(f"/v1/instances/{VM}/usage?{query}"), 400)["field"] == field


@pytest.mark.parametrize("step", [1, 60, 86400])
@pytest.mark.parametrize(
    "query",
    [
        "to=1970-01-01T00:00:00Z",
        "from=1970-01-01T00:00:00%2B23:59&to=1970-01-01T00:00:00Z",
        "from=2999-12-31T23:59:59-23:59&to=2999-12-31T23:59:59-23:59",
        "to=2999-12-31T23:59:59Z",
    ],
)
def test_times_at_the_ends_of_the_calendar(cloud: Cloud, host: Agent, query: str, step: int) -> None:
    answer = cloud.reader.get(f"/v1/instances/{VM}/usage?step={step}&{query}")
    assert answer.status_code == 200 and answer.json["points"] == [], answer.text


def test_an_instance_that_is_gone_is_not_watched(cloud: Cloud, host: Agent) -> None:
    del host.instances[VM]
    host.report()
    assert watch(cloud)["not_watched_reason"] == "The instance is gone."
    assert host.intent().json["watched"] == {}
