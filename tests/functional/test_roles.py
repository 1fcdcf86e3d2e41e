"""Every route as every role about own, foreign and unknown things, and every host's route with every kind of credential.

The routes are those of `stella.api.routes`: one that is new must be given its audience in `AUDIENCE`, or this fails.
"""

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from falcon import testing
from sqlalchemy import update

from stella.api.operation import Access, Operation
from stella.api.routes import ROUTES
from stella.db import decisions, hosts
from stella.db.database import Session
from stella.db.models import DecisionRow, ViolationRow
from stella.db.sla_models import Correction, Exclusion, Sla, SlaAttachment
from tests.functional.conftest import Agent, Cloud, User, error, holds_nothing, uuid
from tests.functional.dump import dump


class Audience(enum.Enum):
    """Who may ask, and what about."""

    LIST = "a list, of the own project"
    READ = "a thing of a project, to see"
    WRITE = "a thing of a project, to change"
    PROJECT_WRITE = "a project's, for administrators"
    ANYBODY = "of no project, for every role"
    OPERATORS = "for operators, to see"
    ADMIN = "for administrators, to change"


AUDIENCE = {
    ("GET", "/v1/instances"): Audience.LIST,
    ("GET", "/v1/instances/{uuid}"): Audience.READ,
    ("GET", "/v1/instances/{uuid}/slo"): Audience.READ,
    ("PUT", "/v1/instances/{uuid}/slo"): Audience.WRITE,
    ("DELETE", "/v1/instances/{uuid}/slo"): Audience.WRITE,
    ("GET", "/v1/instances/{uuid}/slo/history"): Audience.READ,
    ("GET", "/v1/instances/{uuid}/attainment"): Audience.READ,
    ("GET", "/v1/instances/{uuid}/usage"): Audience.READ,
    ("GET", "/v1/hosts"): Audience.OPERATORS,
    ("GET", "/v1/hosts/{name}"): Audience.OPERATORS,
    ("PATCH", "/v1/hosts/{name}"): Audience.ADMIN,
    ("POST", "/v1/estimates"): Audience.ANYBODY,
    ("POST", "/v1/candidates"): Audience.OPERATORS,
    ("GET", "/v1/violations"): Audience.LIST,
    ("GET", "/v1/decisions"): Audience.LIST,
    ("GET", "/v1/decisions/{decision_id}"): Audience.READ,
    ("PATCH", "/v1/instances/{uuid}"): Audience.WRITE,
    ("GET", "/v1/summary"): Audience.LIST,
    ("GET", "/v1/quotas"): Audience.OPERATORS,
    ("GET", "/v1/quotas/{project_id}"): Audience.READ,
    ("PUT", "/v1/quotas/{project_id}"): Audience.PROJECT_WRITE,
    ("DELETE", "/v1/quotas/{project_id}"): Audience.PROJECT_WRITE,
    ("GET", "/v1/violations/{violation_id}"): Audience.READ,
    ("GET", "/v1/instances/{uuid}/budget"): Audience.READ,
    ("GET", "/v1/budgets"): Audience.LIST,
    ("GET", "/v1/slas"): Audience.ANYBODY,
    ("POST", "/v1/slas"): Audience.ADMIN,
    ("GET", "/v1/slas/{sla_id}"): Audience.ANYBODY,
    ("PATCH", "/v1/slas/{sla_id}"): Audience.ADMIN,
    ("DELETE", "/v1/slas/{sla_id}"): Audience.ADMIN,
    ("GET", "/v1/slas/{sla_id}/attachments"): Audience.OPERATORS,
    ("POST", "/v1/slas/{sla_id}/attachments"): Audience.ADMIN,
    ("DELETE", "/v1/slas/{sla_id}/attachments/{attachment_id}"): Audience.ADMIN,
    ("GET", "/v1/slas/{sla_id}/report"): Audience.LIST,
    ("GET", "/v1/exclusions"): Audience.LIST,
    ("POST", "/v1/exclusions"): Audience.ADMIN,
    ("DELETE", "/v1/exclusions/{exclusion_id}"): Audience.ADMIN,
    ("GET", "/v1/corrections"): Audience.LIST,
    ("POST", "/v1/corrections"): Audience.ADMIN,
    ("DELETE", "/v1/corrections/{correction_id}"): Audience.ADMIN,
}
_SLA_ID = uuid(5001)
_NUMBER = "7000001"
"""The id of what has a number, such that no other text has it."""
_TERMS = {"attainment_target_ratio": "0.999"}
_CORRECTION = {"sla": _SLA_ID, "period": "2026-11", "uuid": uuid(1), "metric": "cpu", "seconds": 5}
_EXCLUSION = {"kind": "maintenance", "start": "2026-11-26T00:00:00Z", "until": "2026-11-26T01:00:00Z"}
_QUERIES = {
    ("DELETE", "/v1/slas/{sla_id}"): "detach=true",
    ("DELETE", "/v1/exclusions/{exclusion_id}"): "reason=a mistake",
    ("DELETE", "/v1/corrections/{correction_id}"): "reason=a mistake",
}
"""Without which nothing is done."""
BODIES: Mapping[tuple[str, str], Any] = {
    ("PUT", "/v1/instances/{uuid}/slo"): {"objectives": {"cpu": {"floor": 0.1}}},
    ("PATCH", "/v1/instances/{uuid}"): {"relief_opt_out": True},
    ("PATCH", "/v1/hosts/{name}"): {"mode": "enforce"},
    ("PUT", "/v1/quotas/{project_id}"): {"limits": {"cpu": 4}},
    ("POST", "/v1/estimates"): {"objectives": {"cpu": {"floor": 0.1}}, "vcpus": 1},
    ("POST", "/v1/slas"): {"name": "silver", "terms": _TERMS},
    ("PATCH", "/v1/slas/{sla_id}"): {"terms": {"attainment_target_ratio": "0.99"}},
    ("POST", "/v1/slas/{sla_id}/attachments"): {"scope": "flavor", "target": "large"},
    ("POST", "/v1/exclusions"): {**_EXCLUSION, "scope": "all", "reason": "work"},
    ("POST", "/v1/corrections"): {**_CORRECTION, "source": "met", "target": "violated", "reason": "work"},
    ("POST", "/v1/candidates"): {"objectives": {"cpu": {"floor": 0.1}}, "vcpus": 1},
}
_GRANTED = "granted"
_OWN = {
    Audience.LIST: {"reader": _GRANTED, "member": _GRANTED, "service": _GRANTED, "admin": _GRANTED, "nothing": 403},
    Audience.READ: {"reader": _GRANTED, "member": _GRANTED, "service": _GRANTED, "admin": _GRANTED, "nothing": 404},
    Audience.WRITE: {"reader": 403, "member": _GRANTED, "service": 403, "admin": _GRANTED, "nothing": 404},
    Audience.PROJECT_WRITE: {"reader": 403, "member": 403, "service": 403, "admin": _GRANTED, "nothing": 403},
    Audience.ANYBODY: {"reader": _GRANTED, "member": _GRANTED, "service": _GRANTED, "admin": _GRANTED, "nothing": 403},
    Audience.OPERATORS: {"reader": 403, "member": 403, "service": _GRANTED, "admin": _GRANTED, "nothing": 403},
    Audience.ADMIN: {"reader": 403, "member": 403, "service": 403, "admin": _GRANTED, "nothing": 403},
}
_FOREIGN = {
    Audience.LIST: _GRANTED,
    Audience.READ: 404,
    Audience.WRITE: 404,
    Audience.PROJECT_WRITE: 403,
    Audience.ANYBODY: _GRANTED,
    Audience.OPERATORS: 403,
    Audience.ADMIN: 403,
}
"""For readers and members of another project; service and admin are the same everywhere."""

VM, HOST, PROJECT = uuid(1), "host1", "p1"
_PATH = {
    "uuid": VM,
    "name": HOST,
    "project_id": PROJECT,
    "sla_id": _SLA_ID,
    **dict.fromkeys(("violation_id", "attachment_id", "exclusion_id", "correction_id", "decision_id"), _NUMBER),
}
_UNKNOWN = {
    "uuid": uuid(77),
    "name": "host77",
    "project_id": "p77",
    "sla_id": uuid(78),
    **dict.fromkeys(("violation_id", "attachment_id", "exclusion_id", "correction_id", "decision_id"), "7000079"),
}
_SECRETS = ("vm-secret", '"ann"', HOST, PROJECT, "why-it-was-refused", "violation-secret", uuid(2), "0.123")
"""What the answers to others must not have: names, users, host, project, reasons, neighbours, figures."""


def operations(access: Access) -> list[tuple[str, str]]:
    """Method and path of the operations of this access."""
    return [
        (method, path)
        for path, by_method in ROUTES.items()
        for method, operation in by_method.items()
        if operation.access is access
    ]


USER_ROUTES, HOST_ROUTES = operations(Access.USER), operations(Access.HOST)


@dataclass
class World:
    """A cloud with something of everything, all of project p1."""

    cloud: Cloud
    host: Agent
    users: Mapping[str, User]

    def ask(
        self,
        headers: Mapping[str, str],
        method: str,
        path: str,
        *,
        names: Mapping[str, str] | None = None,
        query: str = "",
    ) -> testing.Result:
        """One request, without a condition: any generation is taken."""
        condition = {"If-Match": "*"} if method in ("PUT", "PATCH", "DELETE") else {}
        return self.cloud.client.simulate_request(
            method,
            path.format(**(names or _PATH)),
            headers={**condition, **headers},
            json=self.host.body() if path.endswith("/reports") else BODIES.get((method, path)),
            query_string=query or _QUERIES.get((method, path), ""),
        )

    def restore(self) -> None:
        """Have an SLO again, where one was withdrawn."""
        self.cloud.admin.ask("PUT", f"/v1/instances/{VM}/slo", json=_SLO, headers={"If-None-Match": "*"})


_SLO = {"objectives": {"cpu": {"floor": 0.123}}}


@pytest.fixture
def world(cloud: Cloud) -> Iterator[World]:
    host = cloud.host(HOST)
    host.add(VM)
    host.add(uuid(2))
    host.instances[VM]["name"] = "vm-secret"
    host.report()
    assert cloud.member.put_slo(VM, _SLO["objectives"]).status_code == 201
    host.acknowledge("refused", reason="why-it-was-refused", largest={"cpu": 0.05})
    violation = {"id": "violation-secret", "uuid": VM, "metric": "cpu", "opened_at": cloud.clock.now}
    assert host.report(violations=[{**violation, "offender": uuid(2), "cause": "cpu"}]).status_code == 200
    _make_sla(cloud)
    named = ("reader", "member", "service", "admin")
    users = {name: getattr(cloud, name) for name in named} | {"nothing": cloud.user("nick", PROJECT)}
    users |= {f"foreign {role}": cloud.user(f"eve-{role}", "p2", role) for role in ("reader", "member")}
    yield World(cloud, host, users)


def _make_sla(cloud: Cloud) -> None:
    """A class that is attached to the project, with an exclusion and a correction; the first of each."""
    assert cloud.admin.ask("POST", "/v1/slas", json={"name": "gold", "terms": _TERMS}).status_code == 201

    cloud.database.write(lambda session: session.execute(update(Sla).values(uuid=_SLA_ID)))
    attached = {"scope": "project", "target": PROJECT}
    excluded = {**_EXCLUSION, "scope": "host", "target": HOST, "reason": "why-it-was-refused"}
    corrected = {**_CORRECTION, "source": "met", "target": "violated", "reason": "why-it-was-refused"}
    for path, body in (
        (f"/v1/slas/{_SLA_ID}/attachments", attached),
        ("/v1/exclusions", excluded),
        ("/v1/corrections", corrected),
    ):
        answer = cloud.admin.ask("POST", path, json=body)
        assert answer.status_code == 201, answer.text

    def renumber(session: Session) -> None:
        for table in (ViolationRow, SlaAttachment, Exclusion, Correction):
            session.execute(update(table).values(id=int(_NUMBER)))
        refused = DecisionRow.kind == decisions.SLO_REFUSED_BY_HOST
        session.execute(update(DecisionRow).where(refused).values(id=int(_NUMBER)))

    cloud.database.write(renumber)


def operation_of(method: str, path: str) -> Operation:
    return ROUTES[path][method]


def success(method: str, path: str) -> int:
    """What is answered when it is done: an SLO that is there is replaced."""
    return min(status for status in operation_of(method, path).responses if status < 300)


def audience(method: str, path: str) -> Audience:
    found = AUDIENCE.get((method, path))
    if found is None:
        pytest.fail(f"{method} {path} is new: say in AUDIENCE who may ask it, and in BODIES what")
    return found


def leaks(answer: testing.Result, asked: Mapping[str, str]) -> list[str]:
    """What of the secrets is in an answer, beside what the caller itself said."""
    told = f"{answer.text} {answer.headers}"
    for value in asked.values():
        told = told.replace(value, "")
    return [secret for secret in _SECRETS if secret not in asked.values() and secret in told]


def test_every_route_has_its_audience() -> None:
    assert set(AUDIENCE) <= set(USER_ROUTES), "a route that is gone"
    for method, path in USER_ROUTES:
        assert audience(method, path)
        needs_body = operation_of(method, path).body is not None
        assert needs_body == ((method, path) in BODIES), f"{method} {path}"


@pytest.mark.parametrize(("method", "path"), USER_ROUTES)
def test_each_role_in_the_own_project(world: World, method: str, path: str) -> None:
    expected = _OWN[audience(method, path)]
    for role in sorted(expected, key=lambda role: expected[role] == _GRANTED):
        world.restore()
        before = dump(world.cloud.database)
        answer = world.ask({"X-Auth-Token": world.users[role].token}, method, path)
        if expected[role] == _GRANTED:
            assert answer.status_code == success(method, path), (role, answer.text)
            continue
        found = error(answer, int(expected[role]))
        assert found["code"] == {403: "stella.request.forbidden", 404: "stella.request.not_found"}[found["status"]]
        assert not leaks(answer, _PATH), (role, answer.text)
        assert dump(world.cloud.database) == before, role


@pytest.mark.parametrize(("method", "path"), USER_ROUTES)
@pytest.mark.parametrize("role", ["foreign reader", "foreign member"])
def test_each_role_in_a_foreign_project(world: World, method: str, path: str, role: str) -> None:
    expected, headers = _FOREIGN[audience(method, path)], {"X-Auth-Token": world.users[role].token}
    before = dump(world.cloud.database)
    answer = world.ask(headers, method, path)
    assert not leaks(answer, _PATH), answer.text
    if audience(method, path) is Audience.ANYBODY:
        assert answer.status_code == 200
    elif expected == _GRANTED:
        for query in ("", f"project={PROJECT}", f"host={HOST}"):
            known = {"project", "host"} & set(operation_of(method, path).query["properties"]) | {""}
            if query.partition("=")[0] in known:
                listed = world.ask(headers, method, path, query=query)
                assert holds_nothing(listed), listed.text
    else:
        error(answer, int(expected))
        unknown = world.ask(headers, method, path, names=_UNKNOWN)
        assert _without_names(answer, _PATH) == _without_names(unknown, _UNKNOWN), "as if it did not exist"
    assert dump(world.cloud.database) == before


def _without_names(answer: testing.Result, names: Mapping[str, str]) -> tuple[int, str, list[tuple[str, str]]]:
    """Status, text and headers, less what the caller said and the request's id."""
    text, request_id = answer.text, answer.headers["x-openstack-request-id"]
    for value in (*names.values(), request_id):
        text = text.replace(value, "")
    length = {"content-length", "x-openstack-request-id"}
    return answer.status_code, text, sorted((k, v) for k, v in answer.headers.items() if k.lower() not in length)


@pytest.mark.parametrize(("method", "path"), USER_ROUTES)
def test_who_has_no_valid_token(world: World, method: str, path: str) -> None:
    credential = world.host.credential
    before = dump(world.cloud.database)
    for headers in (
        {},
        {"X-Auth-Token": ""},
        {"X-Auth-Token": "no-such-token"},
        {"X-Auth-Token": world.users["admin"].token[:-1]},
        {"X-Auth-Token": f" {world.users['admin'].token} x"},
        {"X-Auth-Token": credential},
        {"Authorization": f"Bearer {credential}"},
        {"Authorization": f"Bearer {world.users['admin'].token}"},
        {"X-Service-Token": world.users["service"].token},
        {"X-Identity-Status": "Confirmed", "X-User-Id": "admin", "X-Roles": "admin", "X-Project-Id": PROJECT},
    ):
        answer = world.ask(headers, method, path)
        assert error(answer, 401)["code"] == "stella.request.unauthenticated", headers
        assert answer.headers["www-authenticate"].startswith("Token")
        assert not leaks(answer, _PATH), answer.text
    assert dump(world.cloud.database) == before


@pytest.mark.parametrize(("method", "path"), HOST_ROUTES)
def test_each_credential_on_a_hosts_route(world: World, method: str, path: str) -> None:
    other, cloud = world.cloud.host("host2"), world.cloud
    gone = world.cloud.host("host3")
    cloud.database.write(lambda session: hosts.revoke(session, "host3"))
    admin = world.users["admin"].token
    before = dump(cloud.database)
    for headers, name, status in (
        (other.headers, HOST, 404),
        (other.headers, "host77", 404),
        (world.host.headers, HOST.upper(), 404),
        (world.host.headers, "host2", 404),
        (gone.headers, "host3", 401),
        (gone.headers, HOST, 401),
        ({"Authorization": "Bearer unknown"}, HOST, 401),
        ({"Authorization": "Bearer unknown"}, "host77", 401),
        ({"Authorization": f"Bearer {world.host.credential[:-1]}"}, HOST, 401),
        ({"Authorization": f"Basic {world.host.credential}"}, HOST, 401),
        ({"Authorization": world.host.credential}, HOST, 401),
        ({"Authorization": "Bearer "}, HOST, 401),
        ({"Authorization": "Bearer \u00e9"}, HOST, 401),
        ({"X-Auth-Token": world.host.credential}, HOST, 401),
        ({"X-Auth-Token": admin}, HOST, 401),
        ({"Authorization": f"Bearer {admin}"}, HOST, 401),
        ({}, HOST, 401),
    ):
        answer = world.ask(headers, method, path, names={"name": name})
        assert error(answer, status)["status"] == status, (headers, name)
        assert not leaks(answer, {"name": HOST, "asked": name}), answer.text
        if status == 401:
            assert answer.headers["www-authenticate"].startswith("Bearer")
    assert dump(cloud.database) == before
    foreign, unknown = ({"name": HOST}, {"name": "host77"})
    assert _without_names(world.ask(other.headers, method, path, names=foreign), foreign) == _without_names(
        world.ask(other.headers, method, path, names=unknown), unknown
    )
    assert world.ask(world.host.headers, method, path).status_code == 200
    assert world.ask({**world.host.headers, "X-Auth-Token": "no-such-token"}, method, path).status_code == 200


def test_public_routes_need_nothing(world: World) -> None:
    for method, path in operations(Access.PUBLIC):
        answer = world.ask({}, method, path)
        assert answer.status_code == 200 and not leaks(answer, {}), path


def test_tenants_do_not_see_hosts_or_offenders(world: World) -> None:
    for path in (path for method, path in USER_ROUTES if method == "GET"):
        answer = world.ask({"X-Auth-Token": world.users["reader"].token}, "GET", path)
        if answer.status_code == 200:
            assert HOST not in answer.text, path
    (seen,) = world.cloud.reader.get("/v1/violations").json["violations"]
    (known,) = world.cloud.admin.get("/v1/violations").json["violations"]
    assert (seen["host"], seen["offender"]) == (None, None)
    assert (known["host"], known["offender"]) == (HOST, uuid(2))
