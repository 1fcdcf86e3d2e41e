"""An OpenStack that a figure is measured against, asked with the administrator's credentials of a file that a person would source."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keystoneauth1 import exceptions
from keystoneauth1.adapter import Adapter
from keystoneauth1.identity import v3
from keystoneauth1.session import Session

from stella.bench.scale.processes import NotStarted

_MICROVERSIONS = {"compute": "2.90", "placement": "1.36"}
_MAJOR = {"image": "2", "identity": "3"}
"""Where the catalogue's endpoint may have it or not; paths are below it."""

_SERVICES = ("compute", "placement", "stella", "image", "identity")
_ANSWER_SECONDS = 60


class Failed(Exception):
    """A request was not answered with success; the message is one line."""


def read(path: Path) -> Mapping[str, str]:
    """The variables ``OS_*`` of an openrc file. Raises `NotStarted`."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise NotStarted(f"{path}: {error.strerror}; make openstack writes it") from None
    found = {}
    for line in lines:
        key, _, value = line.removeprefix("export ").partition("=")
        if line.startswith("export OS_"):
            found[key] = shlex.split(value)[0]
    return found


class OpenStack:
    """Services by their type, as one user in one project. May be used by any thread."""

    def __init__(self, variables: Mapping[str, str], *, project: str | None = None) -> None:
        """``project``: another one than the file names."""
        auth = v3.Password(
            auth_url=variables["OS_AUTH_URL"],
            username=variables["OS_USERNAME"],
            password=variables["OS_PASSWORD"],
            project_name=project or variables["OS_PROJECT_NAME"],
            user_domain_name=variables.get("OS_USER_DOMAIN_NAME", "Default"),
            project_domain_name=variables.get("OS_PROJECT_DOMAIN_NAME", "Default"),
        )
        session = Session(auth=auth, timeout=_ANSWER_SECONDS)
        region = variables.get("OS_REGION_NAME")
        self._adapters = {
            kind: Adapter(
                session,
                service_type=kind,
                region_name=region,
                version=_MAJOR.get(kind),
                default_microversion=_MICROVERSIONS.get(kind),
            )
            for kind in _SERVICES
        }

    def ask(self, service: str, method: str, path: str, body: Any = None, *, expected: tuple[int, ...] = ()) -> Any:
        """The decoded body of an answer. Raises `Failed` for another status than 2xx and ``expected``, whose body is None."""
        more = {} if body is None else {"json": body}
        try:
            answer = self._adapters[service].request(path, method, raise_exc=False, **more)
        except exceptions.ClientException as error:
            raise Failed(f"{service}: {method} {path}: {' '.join(str(error).split())[:300]}") from None
        if answer.status_code in expected:
            return None
        if answer.status_code >= 300:
            said = " ".join(answer.text.split())[:300]
            raise Failed(f"{service}: {method} {path}: HTTP {answer.status_code}: {said}")
        return answer.json() if answer.content else None
