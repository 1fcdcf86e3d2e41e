"""Bad input: 4xx with the field's name, nothing changed, nothing leaked."""

from collections.abc import Iterator
from typing import Any

import pytest

from stella.api.operation import Access
from stella.api.routes import ROUTES
from tests.functional.conftest import Agent, Cloud, error, holds_nothing, uuid
from tests.functional.dump import dump

VM = uuid(1)
SLO = f"/v1/instances/{VM}/slo"
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def host(cloud: Cloud) -> Iterator[Agent]:
    """A host with one instance. Whatever a test with it asks for is refused, and changes nothing in the database."""
    made = cloud.host("host1")
    made.add(VM)
    made.report()
    before = dump(cloud.database)
    yield made
    assert dump(cloud.database) == before


@pytest.mark.parametrize(
    ("objective", "field"),
    [
        ({"floor": 0}, "objectives.cpu.floor"),
        ({"floor": -1}, "objectives.cpu.floor"),
        ({"floor": "0"}, "objectives.cpu.floor"),
        ({"floor": "-3%"}, "objectives.cpu.floor"),
        ({"floor": "nan"}, "objectives.cpu.floor"),
        ({"floor": "1e309"}, "objectives.cpu.floor"),
        ({"floor": 1e300}, "objectives.cpu.floor"),
        ({"floor": 10**30}, "objectives.cpu.floor"),
        ({"floor": "20kpps"}, "objectives.cpu.floor"),
        ({"floor": "$(reboot)"}, "objectives.cpu.floor"),
        ({"floor": "'; DROP TABLE slos; --"}, "objectives.cpu.floor"),
        ({"floor": "x" * 5000}, "objectives.cpu.floor"),
        ({"floor": True}, "objectives.cpu.floor"),
        ({"floor": [1]}, "objectives.cpu.floor"),
        ({"floor": 0.5, "ceiling": 0.2}, "objectives.cpu.floor"),
        ({"target": 1}, "objectives.cpu.target"),
        ({"weight": 0}, "objectives.cpu.weight"),
        ({"weight": 1e9}, "objectives.cpu.weight"),
        ({"floor": 0.1, "priority": 101}, "objectives.cpu.priority"),
        ({"floor": 0.1, "priority": 1.5}, "objectives.cpu.priority"),
        ({"floor": 0.1, "direction": "up"}, "objectives.cpu.direction"),
        ({"floor": 0.1, "direction": "rx"}, "objectives.cpu.direction"),
        ({"floor": 0.1, "unit": "64KiB"}, "objectives.cpu.unit"),
        ({"flor": 0.1}, "objectives.cpu"),
        ({}, "objectives.cpu"),
        ([], "objectives.cpu"),
        (None, "objectives.cpu"),
    ],
)
def test_objectives_that_cannot_be(cloud: Cloud, host: Agent, objective: Any, field: str) -> None:
    found = error(cloud.member.put_slo(VM, {"cpu": objective}), 400)
    assert found["field"] == field, found
    assert len(found["detail"]) < 400
    error(cloud.member.get(SLO), 404)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"{", "body"),
        (b"\xff\xfe", "body"),
        (b"[" * 100_000, "body"),
        (b"[]", "body"),
        (b'"x"', "body"),
        (b"{}", "body"),
        (b'{"objectives": {}}', "objectives"),
        (b'{"objectives": {"cpu": {"floor": NaN}}}', "body"),
        (b'{"objectives": {"cpu": {"floor": Infinity}}}', "body"),
        (b'{"objectives": {"cpu": {"floor": 1e309}}}', "body"),
        (b'{"objectives": {"cpu": {"floor": ' + b"9" * 5000 + b"}}}", "body"),
        (b'{"objectives": {"cpu": {"floor": 0.1}, "cpu": {"floor": 0.2}}}', "body"),
        (b'{"objectives": {"cpu": {"floor": 0.1}}, "generation": -1}', "generation"),
        (b'{"objectives": {"cpu": {"floor": 0.1}}, "generation": "1"}', "generation"),
        (b'{"objectives": {"cpu": {"floor": 0.1}}, "uuid": "x"}', "body"),
        (b'{"objectives": {"gpu": {"floor": 0.1}}}', "objectives"),
    ],
)
def test_bodies_that_cannot_be(cloud: Cloud, host: Agent, body: bytes, field: str) -> None:
    answer = cloud.member.ask("PUT", SLO, body=body, headers=JSON)
    assert error(answer, 400)["field"] == field
    error(cloud.member.get(SLO), 404)


def test_the_size_and_kind_of_a_body(cloud: Cloud, host: Agent) -> None:
    large = cloud.member.ask("PUT", SLO, body=b" " * 10_000_000, headers=JSON)
    assert error(large, 413)["code"] == "stella.request.too_large"
    text = cloud.member.ask("PUT", SLO, body=b"{}", headers={"Content-Type": "text/plain"})
    assert error(text, 415)["code"] == "stella.request.not_json_type"
    chunked = cloud.member.ask("PUT", SLO, headers=JSON | {"Transfer-Encoding": "chunked"})
    assert error(chunked, 411)["code"] == "stella.request.length_required"


@pytest.mark.parametrize(
    ("path", "query", "field"),
    [
        ("/v1/instances", "limit=0", "limit"),
        ("/v1/instances", "limit=-1", "limit"),
        ("/v1/instances", "limit=1e3", "limit"),
        ("/v1/instances", "limit=" + "9" * 400, "limit"),
        ("/v1/instances", "limit=1&limit=2", "limit"),
        ("/v1/instances", "marker=nothing", "marker"),
        ("/v1/instances", "colour=red", "query"),
        ("/v1/instances", "status=fine", "status"),
        ("/v1/instances", "host=../etc", "host"),
        ("/v1/instances", "name=", "name"),
        ("/v1/instances", "sort=colour", "sort"),
        ("/v1/instances", "sort=name:up", "sort"),
        ("/v1/instances", "sort=name,uuid", "sort"),
        ("/v1/instances", f"sort=name&marker={uuid(99)}", "marker"),
        ("/v1/decisions", "sort=reason", "sort"),
        ("/v1/decisions", "uuid=x", "uuid"),
        ("/v1/decisions", "from=NaN", "from"),
        ("/v1/decisions", "sort=kind&marker=7", "marker"),
        ("/v1/violations", "sort=cause", "sort"),
        ("/v1/violations", "uuid=$(reboot)", "uuid"),
        ("/v1/violations", "to=0", "to"),
        ("/v1/violations", "from=2026-12-01T00:00:00Z&to=2026-11-01T00:00:00Z", "from"),
        ("/v1/violations", "marker=1e309", "marker"),
        ("/v1/violations", "open=maybe", "open"),
        ("/v1/decisions", "refusals=maybe", "refusals"),
        ("/v1/hosts", "silent=maybe", "silent"),
        ("/v1/hosts", "name_contains=", "name_contains"),
        ("/v1/decisions", "kind=guess", "kind"),
        (f"/v1/instances/{VM}/attainment", "from=yesterday", "from"),
        (f"/v1/instances/{VM}/attainment", "from=2026-13-01T00:00:00Z", "from"),
        (f"/v1/instances/{VM}/attainment", "from=2026-12-01T00:00:00Z&to=2026-11-01T00:00:00Z", "from"),
        (SLO, "verbose=1", "query"),
    ],
)
def test_queries_that_cannot_be(cloud: Cloud, host: Agent, path: str, query: str, field: str) -> None:
    assert error(cloud.member.get(path, query_string=query), 400)["field"] == field


@pytest.mark.parametrize(
    ("path", "query", "field"),
    [
        ("/v1/hosts", "mode=fast", "mode"),
        ("/v1/hosts", "sort=agent", "sort"),
        ("/v1/hosts", "sort=mode&marker=host9", "marker"),
        ("/v1/quotas", "marker=..", "marker"),
        ("/v1/quotas", "limit=0", "limit"),
        ("/v1/quotas", "project=p1", "query"),
    ],
)
def test_queries_of_operators_that_cannot_be(cloud: Cloud, host: Agent, path: str, query: str, field: str) -> None:
    assert error(cloud.admin.get(path, query_string=query), 400)["field"] == field


@pytest.mark.parametrize(
    ("limits", "field"),
    [
        ({}, "limits"),
        ([], "limits"),
        ({"gpu": 1}, "limits"),
        ({"cpu": -2}, "limits.cpu"),
        ({"cpu": -0.5}, "limits.cpu"),
        ({"cpu": "0"}, "limits.cpu"),
        ({"cpu": "-1core"}, "limits.cpu"),
        ({"cpu": "nan"}, "limits.cpu"),
        ({"cpu": "1e309"}, "limits.cpu"),
        ({"cpu": 1e300}, "limits.cpu"),
        ({"cpu": "20kpps"}, "limits.cpu"),
        ({"cpu": "$(reboot)"}, "limits.cpu"),
        ({"cpu": True}, "limits.cpu"),
        ({"cpu": [1]}, "limits.cpu"),
        ({"network_packets": "x" * 5000}, "limits.network_packets"),
        ({"block_latency": 1}, "limits"),
        ({"slos": 1.5}, "limits.slos"),
        ({"slos": "4"}, "limits.slos"),
        ({"slos": -3}, "limits.slos"),
        ({"slos": 10**30}, "limits.slos"),
        ({"cpu": 1, "slos": -3}, "limits.slos"),
    ],
)
def test_quotas_that_cannot_be(cloud: Cloud, limits: Any, field: str) -> None:
    before = cloud.admin.get("/v1/quotas/p1").json
    found = error(cloud.admin.ask("PUT", "/v1/quotas/p1", json={"limits": limits}), 400)
    assert found["field"] == field and len(found["detail"]) < 400, found
    for body in (b'{"limits": {"cpu": NaN}}', b'{"limits": {"cpu": 1e309}}'):
        assert error(cloud.admin.ask("PUT", "/v1/quotas/p1", body=body, headers=JSON), 400)["field"] == "body"
    assert cloud.admin.get("/v1/quotas/p1").json == before
    assert cloud.admin.get("/v1/decisions").json["decisions"] == []


@pytest.mark.parametrize("project", ["a b", "..", "$(reboot)", "'", "x" * 300, "%00", "%F0%9F%92%A9"])
def test_projects_that_cannot_be(cloud: Cloud, project: str) -> None:
    for method, body in (("GET", None), ("PUT", {"limits": {"cpu": 1}}), ("DELETE", None)):
        assert error(cloud.admin.ask(method, f"/v1/quotas/{project}", json=body), 400)["field"] == "project_id"
        expected = 404 if method == "GET" else 403
        assert cloud.member.ask(method, f"/v1/quotas/{project}", json=body).status_code == expected
    assert cloud.admin.get("/v1/quotas").json["quotas"] == []


_FREE_TEXTS = ("project", "name")
_USER_ROUTES = [
    (method, path, tuple(operation.query["properties"]))
    for path, operations in ROUTES.items()
    for method, operation in operations.items()
    if operation.access is Access.USER
]


@pytest.mark.parametrize(("method", "path", "known"), _USER_ROUTES)
def test_parameters_that_no_route_has_or_that_come_twice(
    cloud: Cloud, host: Agent, method: str, path: str, known: tuple[str, ...]
) -> None:
    numbers = dict.fromkeys(("violation_id", "attachment_id", "exclusion_id", "correction_id", "decision_id"), "1")
    url = path.format(uuid=VM, name="host1", project_id="p1", sla_id=uuid(7), **numbers)
    unknown = cloud.admin.ask(method, url, query_string="colour=red", json={})
    assert error(unknown, 400)["field"] == "query"
    for name in known:
        twice = cloud.admin.ask(method, url, query_string=f"{name}=1&{name}=1", json={})
        assert error(twice, 400)["field"] == name
        strange = cloud.admin.ask(method, url, query_string=f"{name}=%00%FF", json={})
        if name in _FREE_TEXTS and "{sla_id}" in path:
            assert strange.status_code == 404, strange.text
        elif name in _FREE_TEXTS and path != "/v1/slas":  # a class has a name of few characters
            assert holds_nothing(strange)
        else:
            assert error(strange, 400)["field"] == name


@pytest.mark.parametrize("name", ["x", "..", "%00", "'", "a" * 3000, uuid(1)[:-1], "%F0%9F%92%A9", uuid(99)])
def test_ids_that_are_not(cloud: Cloud, host: Agent, name: str) -> None:
    for path in (f"/v1/instances/{name}", f"/v1/instances/{name}/slo"):
        assert cloud.member.get(path).status_code == 404
    assert cloud.admin.get(f"/v1/hosts/{name}").status_code == 404


def test_paths_and_methods_that_are_not(cloud: Cloud) -> None:
    assert error(cloud.member.get("/v2"), 404)["code"] == "stella.request.not_found"
    refused = cloud.member.ask("POST", "/v1/instances")
    assert error(refused, 405)["code"] == "stella.request.method_not_allowed"
    assert "GET" in refused.headers["allow"]


@pytest.mark.parametrize(
    ("header", "status"),
    [("stella 1.0", 200), ("stella latest", 200), ("compute 2.1", 200), ("stella 9.9", 406), ("stella x", 400)],
)
def test_microversions(cloud: Cloud, header: str, status: int) -> None:
    answer = cloud.member.get("/v1/instances", headers={"OpenStack-API-Version": header})
    if status == 200:
        assert answer.headers["openstack-api-version"] == "stella 1.0"
        assert "OpenStack-API-Version" in answer.headers["vary"]
    else:
        assert error(answer, status)["code"].startswith("stella.request.microversion")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"sequence": -1}, "sequence"),
        ({"sequence": "1"}, "sequence"),
        ({"epoch": ""}, "epoch"),
        ({"epoch": "e" * 65}, "epoch"),
        ({"sent_at": "now"}, "sent_at"),
        ({"instances": [{"uuid": "x", "state": "running", "shape": {"vcpus": 1}}]}, "instances[0].uuid"),
        ({"instances": {}}, "instances"),
        ({"minutes": [{"uuid": VM, "metric": "gpu", "start": 0, "counts": {}}]}, "minutes[0].metric"),
        ({"minutes": [{"uuid": VM, "metric": "cpu", "start": 7, "counts": {}}]}, "minutes[0].start"),
        (
            {"minutes": [{"uuid": VM, "metric": "cpu", "start": 0, "counts": {"met": 50, "violated": 11}}]},
            "minutes[0].counts",
        ),
        ({"states": {"x": {"revision": 1, "state": "enforced"}}}, "states"),
        ({"states": {VM: {"revision": 1, "state": "fine"}}}, f"states.{VM}.state"),
        ({"host": {"capacity": {}}}, "host.capacity"),
        (
            {"host": {"capacity": {"cpu_cores": -1, "one_cpu_cores": 0.9, "cpus": [0]}}},
            "host.capacity.cpu_cores",
        ),
    ],
)
def test_reports_that_cannot_be(cloud: Cloud, host: Agent, change: dict[str, Any], field: str) -> None:
    before = cloud.admin.get("/v1/hosts/host1").json
    assert error(host.report(host.body(**change)), 400)["field"] == field
    assert cloud.admin.get("/v1/hosts/host1").json == before


def test_a_broken_database_tells_nothing(cloud: Cloud, host: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    from stella.db import instances  # noqa: PLC0415  # what is broken here

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("the password is hunter2")

    monkeypatch.setattr(instances, "page", fail)
    found = error(cloud.member.get("/v1/instances"), 500)
    assert "hunter2" not in str(found) and found["code"] == "stella.server.failed"
