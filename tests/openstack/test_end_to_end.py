"""A plain member's SLO on a Nova server: through Keystone to stella-api, to the agent on the compute host, and back."""

import re
from collections.abc import Iterator
from http.cookiejar import CookieJar
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, Request, build_opener

import pytest

from .conftest import Failed, Person, create_server, delete_server, eventually

NAME = "end-to-end"
# What a shared machine can nearly always guarantee beside the control plane.
CPU, PACKETS = "5%", "500"


@pytest.fixture(scope="module")
def server(member: Person) -> Iterator[str]:
    """A running server of the member; its uuid."""
    yield create_server(member, NAME, flavor="small")
    delete_server(member, NAME)


def test_the_catalogue_names_stella(admin: Person) -> None:
    entry = next(each for each in admin.openstack("catalog", "list") if each["Type"] == "stella")
    assert {each["interface"] for each in entry["Endpoints"]} == {"public", "internal", "admin"}


def test_the_host_is_connected_and_enforces(admin: Person) -> None:
    host = next(each for each in admin.openstack("slo", "host", "list"))
    assert (host["name"], host["mode"]) == ("compute1", "enforce")
    assert admin.xgos("status")["mode"] == "enforce"


def test_a_members_slo_is_enforced_on_the_host(server: str, member: Person, admin: Person) -> None:
    eventually(lambda: member.openstack("slo", "list", "--all"), lambda rows: any(row["name"] == NAME for row in rows))

    def ask() -> str:
        try:
            return member.run("openstack", "slo", "set", "--server", NAME, "--cpu", CPU, "--net-pps", PACKETS, "--wait")
        except Failed as refused:
            return f"refused: {refused}"

    # A busy machine has nothing left to guarantee, and says so; the capacity follows the load within seconds.
    eventually(ask, lambda answer: not answer.startswith("refused"), seconds=120)
    shown = member.openstack("slo", "show", "--server", NAME)
    assert shown["state"] == "enforced", shown
    instance = next(each for each in admin.xgos("instances") if each["uuid"] == server)
    assert set(instance["slo"]) == {"cpu", "network_packets"}
    assert instance["project"] == member.openstack("token", "issue")["project_id"]


def test_others_do_not_see_it(server: str, other: Person) -> None:
    assert not [row for row in other.openstack("slo", "list", "--all") if row["uuid"] == server]
    with pytest.raises(Failed, match=r"404|not found|No instance"):
        other.run("openstack", "slo", "show", "--server", server)
    with pytest.raises(Failed, match=r"404|not found|No instance"):
        other.run("openstack", "slo", "set", "--server", server, "--cpu", "1%")


def test_without_a_token_nothing_is_told(member: Person) -> None:
    stella = next(
        endpoint["url"]
        for entry in member.openstack("catalog", "list")
        if entry["Type"] == "stella"
        for endpoint in entry["Endpoints"]
        if endpoint["interface"] == "public"
    )
    forged = Person("member.env")
    kept = {key: value for key, value in forged.environment.items() if not key.startswith("OS_")}
    forged.environment = {**kept, "OS_AUTH_TYPE": "admin_token", "OS_TOKEN": "forged", "OS_ENDPOINT": stella}
    with pytest.raises(Failed, match=r"401|token"):
        forged.run("openstack", "slo", "list", "--all")


def test_the_member_sees_the_server_in_horizon(server: str, admin: Person) -> None:
    url, name, password = (admin.environment[f"HORIZON_{key}"] for key in ("URL", "USER", "PASSWORD"))
    browser = build_opener(HTTPCookieProcessor(CookieJar()))

    def read(path: str, form: dict[str, str] | None = None) -> str:
        data = urlencode(form).encode() if form else None
        request = Request(url + path, data=data, headers={"Referer": url + path})
        with browser.open(request, timeout=60) as answer:
            return str(answer.read().decode())

    page = read("/auth/login/")
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
    assert token is not None, page[:500]
    form = {"csrfmiddlewaretoken": token[1], "username": name, "password": password, "region": "default"}
    read("/auth/login/", form)
    assert NAME in read("/project/instances/")
