"""The cloud that `make openstack` left: its credentials, and commands run as a person runs them."""

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import openstack
import pytest

REPOSITORY = Path(__file__).parents[2]
RUN = REPOSITORY / ".run"


class Failed(Exception):
    """A command ended with another code than 0; the text is what it said."""


class Placement:
    """Placement as the administrator sees it."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        names = ("auth_url", "username", "password", "project_name", "user_domain_name", "project_domain_name")
        self._connection = openstack.connect(
            load_envvars=False,
            load_yaml_config=False,
            region_name=environment["OS_REGION_NAME"],
            auth={name: environment[f"OS_{name.upper()}"] for name in names},
        )

    def _read(self, path: str) -> Any:
        answer = self._connection.placement.get(path, microversion="1.39")
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text}"
        return answer.json()

    def providers(self) -> dict[str, dict[str, Any]]:
        """Every resource provider by its name."""
        return {each["name"]: each for each in self._read("/resource_providers")["resource_providers"]}

    def totals(self, provider: str) -> dict[str, int]:
        """What a provider has, by resource class; ``provider`` is its uuid."""
        found = self._read(f"/resource_providers/{provider}/inventories")["inventories"]
        return {name: each["total"] for name, each in found.items()}

    def allocated(self, consumer: str) -> dict[str, dict[str, int]]:
        """What a consumer holds: resources by the provider's uuid."""
        return {uuid: each["resources"] for uuid, each in self._read(f"/allocations/{consumer}")["allocations"].items()}

    def put(self, consumer: str, provider: str, resources: Mapping[str, int], *, consumer_type: str) -> None:
        """Make a consumer that holds so much of a provider."""
        body = {
            "allocations": {provider: {"resources": dict(resources)}},
            "project_id": "none",
            "user_id": "none",
            "consumer_generation": None,
            "consumer_type": consumer_type,
        }
        answer = self._connection.placement.put(f"/allocations/{consumer}", json=body, microversion="1.39")
        assert answer.status_code == 204, answer.text

    def delete(self, consumer: str) -> None:
        """Take away all that a consumer holds."""
        answer = self._connection.placement.delete(f"/allocations/{consumer}", microversion="1.39")
        assert answer.status_code == 204, answer.text

    def consumers(self, provider: str) -> dict[str, dict[str, int]]:
        """Who holds what of a provider."""
        found = self._read(f"/resource_providers/{provider}/allocations")["allocations"]
        return {uuid: each["resources"] for uuid, each in found.items()}


class Person:
    """Runs commands with the credentials of one file, and nothing of this process's own."""

    def __init__(self, name: str) -> None:
        path = RUN / name
        if not path.exists():
            pytest.fail(f"{path} is not there: make openstack", pytrace=False)
        assert path.stat().st_mode & 0o077 == 0, f"{path} must be private"
        kept = {key: value for key, value in os.environ.items() if not key.startswith("OS_")}
        self.environment = dict(kept)
        for line in path.read_text().splitlines():
            key, _, value = line.removeprefix("export ").partition("=")
            if line.startswith("export ") and key != "PATH":
                self.environment[key] = shlex.split(value)[0]
        self.environment["PATH"] = f"{Path(sys.executable).parent}:{kept['PATH']}"

    def run(self, *words: str) -> str:
        """The command's output. Raises `Failed`."""
        try:
            done = subprocess.run(
                words,
                capture_output=True,
                text=True,
                check=False,
                timeout=180,
                env=self.environment,
                stdin=subprocess.DEVNULL,
            )
        except subprocess.TimeoutExpired:
            raise Failed(f"{' '.join(words)} did not end in 180 s") from None
        if done.returncode:
            raise Failed(done.stderr.strip() or done.stdout.strip())
        return done.stdout

    def openstack(self, *words: str) -> Any:
        """``openstack WORDS... -f json``."""
        return json.loads(self.run("openstack", *words, "-f", "json") or "null")

    def xgos(self, *words: str) -> Any:
        """``xgos WORDS... --format json`` on the compute host's control socket."""
        return json.loads(self.run("xgos", *words, "--socket", self.environment["XGOS_SOCKET"], "--format", "json"))


@pytest.fixture(scope="session")
def admin() -> Person:
    """The administrator, who may also ask the agent on the compute host."""
    return Person("openstack.env")


@pytest.fixture(scope="session")
def placement(admin: Person) -> Placement:
    """Placement, as the administrator sees it."""
    return Placement(admin.environment)


@pytest.fixture(scope="session")
def member() -> Person:
    """A plain member of the project `demo`."""
    return Person("member.env")


@pytest.fixture(scope="session")
def other() -> Person:
    """A plain member of another project."""
    return Person("other.env")


def laboratory(*words: str) -> tuple[int, str]:
    """``python -m laboratory WORDS...``: how it ended, and what it said."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "deploy")}
    done = subprocess.run(
        [sys.executable, "-m", "laboratory", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
        env=environment,
        stdin=subprocess.DEVNULL,
    )
    return done.returncode, done.stdout + done.stderr


def nova_manage(*words: str) -> tuple[int, str]:
    """``nova-manage WORDS...`` where Nova runs: how it ended, and what it said."""
    program = REPOSITORY / ".venv-openstack" / "services" / "bin" / "nova-manage"
    configuration = RUN / "openstack" / "etc" / "nova" / "nova.conf"
    return laboratory("enter", str(program), "--config-file", str(configuration), *words)


def delete_server(person: Person, name: str) -> None:
    """Delete every server of that name, if there is any."""
    for row in person.openstack("server", "list", "--name", f"^{name}$"):
        person.run("openstack", "server", "delete", "--wait", row["ID"])


def asked_server(person: Person, name: str, *, flavor: str, seconds: float = 180.0) -> Any:
    """A new server as Nova shows it once it is no longer being built, whatever became of it."""
    delete_server(person, name)
    options = ("--flavor", flavor, "--image", "stella-bench", "--network", "demo-net")
    made = person.openstack("server", "create", *options, name)
    return eventually(
        lambda: person.openstack("server", "show", made["id"]), lambda it: it["status"] != "BUILD", seconds=seconds
    )


def create_server(person: Person, name: str, *, flavor: str, seconds: float = 180.0) -> str:
    """The uuid of a running server. While the machine is too busy for what the flavor sells, it is tried again."""
    limit = time.monotonic() + seconds
    while True:
        shown = asked_server(person, name, flavor=flavor)
        if shown["status"] == "ACTIVE":
            return str(shown["id"])
        assert time.monotonic() < limit, (
            f"no server of {flavor} in {seconds:.0f} s: {shown['status']}, {shown.get('fault')}"
        )
        time.sleep(5)


def eventually(ask: Callable[[], Any], is_right: Callable[[Any], bool], *, seconds: float = 60.0) -> Any:
    """The first answer that is right, or a failed test with the last one."""
    limit = time.monotonic() + seconds
    while True:
        answer = ask()
        if is_right(answer):
            return answer
        assert time.monotonic() < limit, f"still after {seconds:.0f} s: {answer}"
        time.sleep(0.5)
