"""stella-api and stella-engine on SQLite in one directory: their configuration, tables, tokens and the hosts' credentials."""

import contextlib
import http.client
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stella.api.identity import new_token
from stella.bench.lab.process import free_port
from stella.bench.standalone.errors import StandaloneError
from stella.db import hosts as host_table
from stella.db import migrations
from stella.db.database import Database, Unreachable
from stella.model.wire import Json

_ANSWER_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlPlane:
    """What was prepared. ``credentials``: the file of each host, by name."""

    config: Path
    port: int
    tokens: Path
    admin_token: str
    credentials: Mapping[str, Path]

    @property
    def endpoint(self) -> str:
        """The API's address."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def programs(self) -> Mapping[str, list[str]]:
        """The command of each process, in the order in which they are to be started."""
        return {
            name: [sys.executable, "-m", f"stella.cmd.{name.replace('-', '_')}", "--config-file", str(self.config)]
            for name in ("stella-api", "stella-engine")
        }


def config_text(*, directory: Path, port: int) -> str:
    """`stella.conf`: everything in ``directory`` (absolute)."""
    return (
        "# Made by stella-bench. Every option with its default: etc/stella.conf.\n"
        f"[database]\nconnection = sqlite:///{directory}/stella.sqlite\n\n"
        f"[auth]\nstrategy = token_file\ntoken_file = {directory}/tokens.toml\n\n"
        f"[api]\nbind_host = 127.0.0.1\nbind_port = {port}\n"
    )


@contextlib.contextmanager
def private_files() -> Iterator[None]:
    """What is made meanwhile can be read by its owner alone."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def prepare(directory: Path, hosts: Sequence[str]) -> ControlPlane:
    """Make the configuration, the database with these hosts (mode enforce) and an administrator's token.

    ``directory`` must exist and be empty of an earlier one. Raises `StandaloneError`.
    """
    for character in "\n%$":
        if character in str(directory):  # oslo.config would take it for its own
            raise StandaloneError(f"--directory: {str(directory)!r} must not contain {character!r}")
    port = free_port()
    config, tokens = directory / "stella.conf", directory / "tokens.toml"
    with private_files():
        config.write_text(config_text(directory=directory, port=port), encoding="utf-8")
        admin = new_token(tokens, user_id="admin", project_id="operators", roles=("admin",))
        try:
            credentials = _enroll(directory, hosts)
        except Unreachable as error:
            raise StandaloneError(f"the database cannot be made: {error}") from None
    return ControlPlane(config=config, port=port, tokens=tokens, admin_token=admin, credentials=credentials)


def add_member(plane: ControlPlane, project: str) -> str:
    """A token of a member of this project. Raises `StandaloneError`."""
    try:
        return new_token(plane.tokens, user_id="member", project_id=project, roles=("member",))
    except ValueError as error:
        raise StandaloneError(f"no token for project {project}: {error}") from None


def _enroll(directory: Path, hosts: Sequence[str]) -> dict[str, Path]:
    """As `stella-manage db sync` and `stella-manage host enroll` do, in this process: five commands would take five seconds."""
    database = Database(f"sqlite:///{directory}/stella.sqlite", connect_retries=0)
    try:
        migrations.sync(database)
        (directory / "credentials").mkdir()
        files = {}
        made = database.write(
            lambda session: {n: host_table.enroll(session, n, mode="enforce", now=time.time()) for n in hosts}
        )
        for name, credential in made.items():
            files[name] = directory / "credentials" / name
            files[name].write_text(f"{credential}\n", encoding="ascii")
        return files
    finally:
        database.close()


def get(plane: ControlPlane, path: str) -> Json:
    """What the API answers its administrator. Raises `StandaloneError` for anything but 200."""
    connection = http.client.HTTPConnection("127.0.0.1", plane.port, timeout=_ANSWER_SECONDS)
    try:
        connection.request("GET", path, headers={"X-Auth-Token": plane.admin_token})
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise StandaloneError(f"GET {path}: HTTP {answer.status}: {body[:200].decode(errors='replace')}")
        found: Json = json.loads(body)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise StandaloneError(f"GET {path}: {error or type(error).__name__}") from None
    finally:
        connection.close()
    return found


def is_healthy(plane: ControlPlane) -> bool:
    """Whether the API answers and reaches its database."""
    try:
        get(plane, "/healthcheck")
    except StandaloneError:
        return False
    return True


def listed(plane: ControlPlane, what: str) -> list[dict[str, Any]]:
    """All ``hosts`` or ``instances``. Raises `StandaloneError`."""
    answer = get(plane, f"/v1/{what}?limit=1000")
    assert isinstance(answer, dict)
    found = answer[what]
    assert isinstance(found, list)
    return [dict(one) for one in found if isinstance(one, dict)]


@dataclass(frozen=True, slots=True)
class Reported:
    """An instance that a host has reported."""

    name: str
    project: str


def reported(plane: ControlPlane) -> list[Reported]:
    """The instances, once every host has reported and all that they have are known; empty before. Raises `StandaloneError`."""
    hosts = listed(plane, "hosts")
    instances = listed(plane, "instances")
    if any(host["reported_at"] is None for host in hosts):
        return []
    if len(instances) < sum(int(host["instances"]) for host in hosts):
        return []
    return [Reported(str(one["name"]), str(one["project_id"])) for one in instances]


def most_used_project(instances: Sequence[Reported]) -> tuple[str, str]:
    """The project with the most instances, and the first of its instances whose name no other has (else its first)."""
    projects = Counter(instance.project for instance in instances)
    project = min(projects, key=lambda name: (-projects[name], name))
    names = Counter(instance.name for instance in instances)
    return project, min((i.name for i in instances if i.project == project), key=lambda name: (names[name] > 1, name))
