"""Every route for every role, in the own and in a foreign project: what is not yours is not there."""

import json
from collections.abc import Iterator

import pytest
from falcon import testing

from stella.api.operation import Access
from stella.api.routes import ROUTES
from tests.functional.conftest import Cloud, User, error, uuid

VM = uuid(1)
USER_ROUTES = [
    (method, path)
    for path, operations in ROUTES.items()
    for method, operation in operations.items()
    if operation.access is Access.USER
]
_BODIES = {
    ("PUT", "/v1/instances/{uuid}/slo"): {"objectives": {"cpu": {"floor": 0.1}}, "generation": 1},
    ("PATCH", "/v1/hosts/{name}"): {"mode": "observe"},
    ("PUT", "/v1/quotas/{project_id}"): {"limits": {"cpu": 4}},
}
_QUERIES = {("DELETE", "/v1/instances/{uuid}/slo"): "generation=1"}
_FOR_OPERATORS = {"/v1/hosts", "/v1/hosts/{name}", "/v1/quotas"}


@pytest.fixture
def used(cloud: Cloud) -> Iterator[Cloud]:
    host = cloud.host("host1")
    host.add(VM)
    host.report()
    assert cloud.member.put_slo(VM, {"cpu": {"floor": 0.1}}).status_code == 201
    host.report(violations=[{"id": "v", "uuid": VM, "metric": "cpu", "opened_at": cloud.clock.now}])
    yield cloud


def ask(user: User, method: str, path: str) -> testing.Result:
    return user.ask(
        method,
        path.format(uuid=VM, name="host1", project_id="p1"),
        json=_BODIES.get((method, path)),
        query_string=_QUERIES.get((method, path), ""),
    )


@pytest.mark.parametrize(("method", "path"), USER_ROUTES)
@pytest.mark.parametrize("role", ["reader", "member", "admin", "service", "stranger"])
def test_who_may_do_what(used: Cloud, method: str, path: str, role: str) -> None:
    answer = ask(getattr(used, role), method, path)
    reads = method == "GET"
    of_instance = "{uuid}" in path
    if path in _FOR_OPERATORS:
        allowed = role == "admin" or (role == "service" and reads)
        expected = {200} if allowed else {403}
    elif "{project_id}" in path and not reads:
        expected = {200, 204} if role == "admin" else {403}
    elif ("{project_id}" in path or of_instance) and role == "stranger":
        expected = {404}
    elif of_instance and not reads:
        expected = {200, 204} if role in ("member", "admin") else {403}
    else:
        expected = {200}
    assert answer.status_code in expected, answer.text
    if role == "stranger":
        text = answer.text.replace(VM, "")
        assert "host1" not in text.replace("Host host1", "") and "vm-" not in text


@pytest.mark.parametrize(("method", "path"), USER_ROUTES)
def test_foreign_and_unknown_cannot_be_told_apart(used: Cloud, method: str, path: str) -> None:
    if "{uuid}" not in path:
        return
    foreign = error(ask(used.stranger, method, path), 404)
    unknown = used.stranger.ask(
        method,
        path.format(uuid=uuid(77)),
        json=_BODIES.get((method, path)),
        query_string=_QUERIES.get((method, path), ""),
    )
    assert foreign["detail"].replace(VM, uuid(77)) == error(unknown, 404)["detail"]


@pytest.mark.parametrize(("method", "path"), USER_ROUTES)
def test_without_a_valid_token(used: Cloud, method: str, path: str) -> None:
    for headers in ({}, {"X-Auth-Token": "no-such-token"}, {"X-User-Id": "admin", "X-Roles": "admin"}):
        answer = used.client.simulate_request(
            method, path.format(uuid=VM, name="host1", project_id="p1"), headers=headers
        )
        assert error(answer, 401)["code"] == "stella.request.unauthenticated"
        assert "www-authenticate" in answer.headers


def test_lists_hold_the_own_project_only(used: Cloud) -> None:
    for name in ("instances", "violations", "decisions"):
        assert len(used.reader.get(f"/v1/{name}").json[name]) == 1
        assert used.stranger.get(f"/v1/{name}").json[name] == []
        assert used.stranger.get(f"/v1/{name}", query_string="project=p1").json[name] == []
        assert len(used.admin.get(f"/v1/{name}", query_string="project=p1").json[name]) == 1
    assert "host1" not in json.dumps(used.reader.get("/v1/instances").json)


def test_public_routes_need_nothing(cloud: Cloud) -> None:
    versions = cloud.client.simulate_get("/").json["versions"]
    assert (versions[0]["min_version"], versions[0]["max_version"]) == ("1.0", "1.0")
    assert cloud.client.simulate_get("/healthcheck").json == {"healthy": True}
    assert cloud.client.simulate_get("/openapi.json").json["openapi"] == "3.1.0"
