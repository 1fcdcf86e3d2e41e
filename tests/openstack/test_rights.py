"""Who is refused what, on the real cloud: Keystone's tokens through keystonemiddleware, and hosts' own credentials.

Each refusal must tell no more than the request did: what belongs to another project answers as what does not exist.
"""

import contextlib
import json
import re
import secrets
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection, HTTPException
from typing import Any, cast
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from keystoneauth1.identity.v3 import ApplicationCredential
from keystoneauth1.session import Session

from .conftest import RUN, Failed, Person, eventually

NAME, HOST, READER = "rights-server", "compute1", "rights-reader"
CPU = "1%"
CREDENTIAL = RUN / "openstack" / "etc" / "stella" / "xgos.credential"
PUT = {"objectives": {"cpu": {"floor": "1%"}}}
REPORT = {"agent": "forged", "epoch": "e", "sequence": 1, "sent_at": 0.0, "instances": []}
OF_AN_INSTANCE = [
    ("GET", "/v1/instances/{uuid}"),
    ("GET", "/v1/instances/{uuid}/slo"),
    ("PUT", "/v1/instances/{uuid}/slo"),
    ("PUT", "/v1/instances/{uuid}/slo?dry_run=true"),
    ("DELETE", "/v1/instances/{uuid}/slo"),
    ("GET", "/v1/instances/{uuid}/slo/history"),
    ("GET", "/v1/instances/{uuid}/attainment"),
    ("GET", "/v1/instances/{uuid}/usage"),
]
OF_OPERATORS = [
    ("GET", "/v1/hosts"),
    ("GET", f"/v1/hosts/{HOST}"),
    ("PATCH", f"/v1/hosts/{HOST}"),
    ("GET", "/v1/quotas"),
    ("PUT", "/v1/quotas/{project}"),
    ("DELETE", "/v1/quotas/{project}"),
    ("POST", "/v1/candidates"),
]
OF_HOSTS = [("GET", f"/v1/hosts/{HOST}/intent"), ("POST", f"/v1/hosts/{HOST}/reports")]
LISTS = [("GET", path) for path in ("/v1/instances", "/v1/violations", "/v1/decisions", "/v1/summary")]
BODIES: Mapping[str, Any] = {
    "/slo": PUT,
    "/reports": REPORT,
    f"/hosts/{HOST}": {"mode": "observe"},
    "/quotas/{project}": {"limits": {"slos": 5}},
    "/candidates": {"hosts": [HOST], "objectives": {"cpu": {"floor": "1%"}}, "vcpus": 1},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """Status and body of an answer."""

    status: int
    text: str

    @property
    def shape(self) -> tuple[int, str]:
        """Without what differs from one request to the next: uuids and the request's id."""
        return self.status, re.sub(r"(req-)?[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "ID", self.text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """stella-api as the catalogue names it."""

    url: str

    def ask(self, method: str, path: str, headers: Mapping[str, str], **names: str) -> Answered:
        """One request; again while Keystone is too slow (503), as on a busy machine, or stella-api is started again."""
        return cast(
            Answered,
            eventually(
                lambda: self._ask(method, path, headers, **names), lambda answer: answer.status != 503, seconds=90
            ),
        )

    def _ask(self, method: str, path: str, headers: Mapping[str, str], **names: str) -> Answered:
        parts = urlsplit(self.url)
        connection = HTTPConnection(parts.hostname or "", parts.port or 80, timeout=60)
        plain = path.partition("?")[0]
        body = next((value for end, value in BODIES.items() if plain.endswith(end)), None)
        has_body = body is not None and method in ("PUT", "POST", "PATCH")
        sent = {**headers, **({"Content-Type": "application/json"} if has_body else {})}
        try:
            connection.request(method, path.format(**names), json.dumps(body) if has_body else None, sent)
            answer = connection.getresponse()
            return Answered(status=answer.status, text=answer.read().decode())
        except (OSError, HTTPException) as error:
            return Answered(status=503, text=str(error))
        finally:
            connection.close()


def user(person: Person) -> dict[str, str]:
    return {"X-Auth-Token": str(person.openstack("token", "issue")["id"])}


@pytest.fixture(scope="module")
def api(admin: Person) -> Api:
    catalog = next(each for each in admin.openstack("catalog", "list") if each["Type"] == "stella")
    return Api(url=next(each["url"] for each in catalog["Endpoints"] if each["interface"] == "public"))


@pytest.fixture(scope="module")
def server(member: Person) -> Iterator[str]:
    """A server of the member with an SLO; its uuid."""
    with contextlib.suppress(Failed):  # left by a run that was killed
        member.run("openstack", "server", "delete", "--wait", NAME)
    flags = ("--flavor", "small", "--image", "stella-bench", "--network", "demo-net")
    uuid = str(member.openstack("server", "create", *flags, "--wait", NAME)["id"])

    def ask() -> str:
        try:
            return member.run("openstack", "slo", "set", "--server", uuid, "--cpu", CPU)
        except Failed as refused:
            return f"refused: {refused}"

    try:
        eventually(ask, lambda answer: not answer.startswith("refused"), seconds=120)
        yield uuid
    finally:
        member.run("openstack", "server", "delete", "--wait", NAME)


@pytest.fixture(scope="module")
def project(member: Person) -> str:
    return str(member.openstack("token", "issue")["project_id"])


@pytest.fixture(scope="module")
def secret(server: str, project: str, member: Person) -> tuple[str, ...]:
    """What no refusal may tell, unless the request had it."""
    return (server, NAME, project, member.environment["OS_PROJECT_NAME"] + '"', HOST, "10.77.0.")


@pytest.fixture(scope="module")
def other_token(other: Person) -> dict[str, str]:
    return user(other)


@pytest.fixture(scope="module")
def member_token(member: Person) -> dict[str, str]:
    return user(member)


@pytest.fixture(scope="module")
def reader(admin: Person, member: Person) -> Iterator[Person]:
    """A user with the role reader alone in the member's project."""
    password = secrets.token_urlsafe(18)
    with contextlib.suppress(Failed):
        admin.run("openstack", "user", "delete", READER)
    admin.run("openstack", "user", "create", "--password", password, READER)
    admin.run(
        "openstack", "role", "add", "--user", READER, "--project", member.environment["OS_PROJECT_NAME"], "reader"
    )
    made = Person("member.env")
    made.environment |= {"OS_USERNAME": READER, "OS_PASSWORD": password}
    yield made
    admin.run("openstack", "user", "delete", READER)


def refuses(answer: Answered, secret: tuple[str, ...], *allowed: int, asked: str = "") -> None:
    """It is one of these codes, an error of Stella's own, and tells nothing that was not asked with."""
    assert answer.status in allowed, answer
    told = [word for word in secret if word in answer.text and word not in asked]
    assert not told, (told, answer.text)
    error = json.loads(answer.text)["errors"][0]
    assert error["status"] == answer.status and error["code"].startswith("stella.")


# --- a member of another project


@pytest.mark.parametrize(("method", "path"), OF_AN_INSTANCE)
def test_another_projects_instance_is_one_that_does_not_exist(
    method: str, path: str, api: Api, server: str, secret: tuple[str, ...], other_token: dict[str, str]
) -> None:
    answer = api.ask(method, path, other_token, uuid=server)
    refuses(answer, secret, 404, asked=path.format(uuid=server))
    assert answer.shape == api.ask(method, path, other_token, uuid=str(uuid4())).shape


@pytest.mark.parametrize(("method", "path"), LISTS)
def test_lists_hold_nothing_of_another_project(
    method: str, path: str, api: Api, project: str, secret: tuple[str, ...], other_token: dict[str, str]
) -> None:
    for wanted in (path, f"{path}?project={project}"):
        answer = api.ask(method, wanted, other_token)
        assert answer.status in (200, 400, 403), answer
        assert not [word for word in secret if word in answer.text and word not in wanted], answer.text


def test_what_another_project_tried_changed_nothing(member: Person, server: str) -> None:
    assert member.openstack("slo", "show", "--server", server)["state"] in ("enforced", "pending")


# --- roles


@pytest.mark.parametrize(("method", "path"), OF_OPERATORS)
def test_a_member_is_no_operator(
    method: str, path: str, api: Api, project: str, secret: tuple[str, ...], member_token: dict[str, str]
) -> None:
    answer = api.ask(method, path, member_token, project=project)
    refuses(answer, secret, 403, 404, asked=path.format(project=project))


def test_a_reader_reads_and_changes_nothing(reader: Person, api: Api, server: str) -> None:
    token = user(reader)
    assert api.ask("GET", "/v1/instances/{uuid}/slo", token, uuid=server).status == 200
    for method, path in (("PUT", "/v1/instances/{uuid}/slo"), ("DELETE", "/v1/instances/{uuid}/slo")):
        refuses(api.ask(method, path, token, uuid=server), (), 403)
    with pytest.raises(Failed, match=r"403|does not allow|not allowed|[Ff]orbidden"):
        reader.run("openstack", "slo", "set", "--server", server, "--cpu", CPU)
    assert api.ask("GET", "/v1/instances/{uuid}/slo", token, uuid=server).status == 200


# --- tokens


@pytest.mark.parametrize(("method", "path"), [*OF_AN_INSTANCE, *OF_OPERATORS, *LISTS])
@pytest.mark.parametrize("token", [None, "forged", "gAAAAA" + "B" * 180], ids=["none", "a word", "like Fernet"])
def test_without_a_valid_token_nothing_is_told(
    method: str, path: str, token: str | None, api: Api, server: str, project: str, secret: tuple[str, ...]
) -> None:
    headers = {"X-Auth-Token": token} if token else {}
    answer = api.ask(method, path, headers, uuid=server, project=project)
    refuses(answer, secret, 401, asked=path.format(uuid=server, project=project))


def test_headers_of_keystonemiddleware_do_not_come_from_outside(
    api: Api, server: str, project: str, secret: tuple[str, ...]
) -> None:
    headers = {
        "X-Identity-Status": "Confirmed",
        "X-User-Id": "admin",
        "X-Project-Id": project,
        "X-Roles": "admin,member,reader",
    }
    answer = api.ask("GET", "/v1/instances/{uuid}/slo", headers, uuid=server)
    refuses(answer, secret, 401, asked=server)


def test_an_expired_token_is_refused_even_if_it_was_good_a_moment_ago(api: Api, member: Person, server: str) -> None:
    """A token of an application credential ends with it: the quick way to a token that Keystone let expire."""
    name = f"rights-{secrets.token_hex(4)}"
    lifetime = timedelta(seconds=45)  # a command takes ten seconds where others run beside it
    expires = (datetime.now(UTC) + lifetime).strftime("%Y-%m-%dT%H:%M:%S")
    created = member.openstack("application", "credential", "create", "--expiration", expires, name)
    made = {key.lower(): value for key, value in created.items()}
    try:
        short = ApplicationCredential(
            auth_url=member.environment["OS_AUTH_URL"],
            application_credential_id=made["id"],
            application_credential_secret=made["secret"],
        )
        issued = short.get_access(Session())
        token = {"X-Auth-Token": str(issued.auth_token)}
        ends = issued.expires.timestamp()
        assert ends <= time.time() + lifetime.total_seconds() + 1, "it must end with its application credential"
        first = api.ask("GET", "/v1/instances/{uuid}/slo", token, uuid=server)
        assert first.status == 200 or time.time() >= ends, first
        time.sleep(max(0.0, ends - time.time()) + 1)
        refuses(api.ask("GET", "/v1/instances/{uuid}/slo", token, uuid=server), (), 401)
    finally:
        with contextlib.suppress(Failed):
            member.run("openstack", "application", "credential", "delete", name)


def test_a_revoked_token_that_was_not_seen_before_is_refused(api: Api, member: Person, server: str) -> None:
    """One that was seen is remembered for `token_cache_time` (300 s), as in every OpenStack service: docs/api/security.md."""
    token = user(member)
    member.run("openstack", "token", "revoke", token["X-Auth-Token"])
    eventually(
        lambda: api.ask("GET", "/v1/instances/{uuid}/slo", token, uuid=server).status,
        lambda status: status == 401,
        seconds=5,
    )


# --- hosts


@pytest.mark.parametrize(("method", "path"), OF_HOSTS)
@pytest.mark.parametrize("credential", ["", "forged", "B" * 43], ids=["empty", "a word", "as long as a real one"])
def test_a_forged_credential_is_refused(
    method: str, path: str, credential: str, api: Api, secret: tuple[str, ...], admin: Person
) -> None:
    before = admin.xgos("status")["link"]["connected"]
    answer = api.ask(method, path, {"Authorization": f"Bearer {credential}"})
    refuses(answer, secret, 401, 404, asked=path)
    assert admin.xgos("status")["link"]["connected"] == before


@pytest.mark.parametrize(("method", "path"), OF_HOSTS)
def test_a_users_token_is_no_hosts_credential(
    method: str, path: str, api: Api, secret: tuple[str, ...], member_token: dict[str, str], admin: Person
) -> None:
    for token in (member_token, user(admin)):
        refuses(api.ask(method, path, token), secret, 401, 404, asked=path)
        refuses(
            api.ask(method, path, {"Authorization": f"Bearer {token['X-Auth-Token']}"}), secret, 401, 404, asked=path
        )


def test_a_hosts_credential_opens_its_own_routes_alone(
    api: Api, admin: Person, server: str, project: str, secret: tuple[str, ...]
) -> None:
    headers = {"Authorization": f"Bearer {CREDENTIAL.read_text().strip()}"}
    own = api.ask("GET", f"/v1/hosts/{HOST}/intent", headers)
    assert own.status == 200 and server in own.text
    hosts = json.loads(api.ask("GET", "/v1/hosts", user(admin)).text)["hosts"]
    others = {each["name"] for each in hosts} - {HOST}
    for name in (*sorted(others)[:3], "rights-unknown"):
        for method, end in (("GET", "intent"), ("POST", "reports")):
            path = f"/v1/hosts/{name}/{end}"
            answer = api.ask(method, path, headers)
            refuses(answer, secret, 404, asked=path)
    for method, path in (*OF_AN_INSTANCE, *OF_OPERATORS, *LISTS):
        answer = api.ask(method, path, headers, uuid=server, project=project)
        refuses(answer, secret, 401, asked=path.format(uuid=server, project=project))
