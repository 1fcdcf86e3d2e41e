"""Makes Stella's user, service and endpoints in Keystone; prints one line for each thing that it made or changed.

Run by the stella-api role with the interpreter that Stella is installed in (keystoneauth1 comes with keystonemiddleware). The
environment has OS_AUTH_URL, OS_USERNAME, OS_PASSWORD, OS_PROJECT_NAME of an administrator, and STELLA_REGISTRATION, a JSON object.
"""

import json
import os
from typing import Any

from keystoneauth1.exceptions import Unauthorized
from keystoneauth1.identity import v3
from keystoneauth1.session import Session


def _session(user: str, password: str, project: str) -> Session:
    return Session(
        auth=v3.Password(
            auth_url=os.environ["OS_AUTH_URL"],
            username=user,
            password=password,
            project_name=project,
            user_domain_name="Default",
            project_domain_name="Default",
        )
    )


class Registration:
    """Keystone's API as the administrator."""

    def __init__(self, wanted: dict[str, Any]) -> None:
        self._wanted = wanted
        self._admin = _session(os.environ["OS_USERNAME"], os.environ["OS_PASSWORD"], os.environ["OS_PROJECT_NAME"])

    def _ask(self, method: str, path: str, body: object = None) -> Any:
        url = os.environ["OS_AUTH_URL"].rstrip("/") + path
        answer = self._admin.request(url, method, json=body)
        return answer.json() if answer.content else {}

    def _ensure(self, kind: str, query: str, body: dict[str, object]) -> str:
        found = self._ask("GET", f"/{kind}s?{query}")[f"{kind}s"]
        if found:
            return str(found[0]["id"])
        print(f"made {kind} {body.get('name') or body.get('url')}")
        return str(self._ask("POST", f"/{kind}s", {kind: body})[kind]["id"])

    def _let_ask(self, project: str) -> None:
        """Give the role `service` to the services that ask Stella, as far as they have a user already."""
        for name in self._wanted["askers"]:
            for user in self._ask("GET", f"/users?name={name}&domain_id=default")["users"]:
                role = self._ensure("role", "name=service", {"name": "service"})
                path = f"/projects/{project}/users/{user['id']}/roles"
                if role not in [each["id"] for each in self._ask("GET", path)["roles"]]:
                    self._ask("PUT", f"{path}/{role}")
                    print(f"gave {name} the role service")

    def run(self) -> None:
        """Make what is missing; a password or an address that differs is changed."""
        wanted = self._wanted
        project = self._ensure("project", f"name={wanted['project']}&domain_id=default", {"name": wanted["project"]})
        user = self._ensure(
            "user",
            f"name={wanted['user']}&domain_id=default",
            {"name": wanted["user"], "password": wanted["password"], "default_project_id": project},
        )
        for name in wanted["roles"]:
            role = self._ensure("role", f"name={name}", {"name": name})
            self._ask("PUT", f"/projects/{project}/users/{user}/roles/{role}")
        self._let_ask(project)
        try:
            _session(wanted["user"], wanted["password"], wanted["project"]).get_token()
        except Unauthorized:
            self._ask("PATCH", f"/users/{user}", {"user": {"password": wanted["password"]}})
            print(f"changed the password of {wanted['user']}")
        service = self._ensure(
            "service", "type=stella", {"name": "stella", "type": "stella", "description": "Guaranteed performance"}
        )
        for interface in ("public", "internal", "admin"):
            query = f"service_id={service}&interface={interface}&region_id={wanted['region']}"
            body = {"service_id": service, "interface": interface, "region_id": wanted["region"], "url": wanted["url"]}
            found = self._ask("GET", f"/endpoints?{query}")["endpoints"]
            if not found:
                self._ensure("endpoint", query, body)
            elif found[0]["url"] != wanted["url"]:
                self._ask("PATCH", f"/endpoints/{found[0]['id']}", {"endpoint": {"url": wanted["url"]}})
                print(f"changed the {interface} endpoint to {wanted['url']}")


if __name__ == "__main__":
    Registration(json.loads(os.environ["STELLA_REGISTRATION"])).run()
