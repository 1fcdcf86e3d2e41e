"""The cloud that `make openstack` left: its credentials, and commands run as a person runs them."""

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]
RUN = REPOSITORY / ".run"


class Failed(Exception):
    """A command ended with another code than 0; the text is what it said."""


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
        done = subprocess.run(
            words,
            capture_output=True,
            text=True,
            check=False,
            timeout=180,
            env=self.environment,
            stdin=subprocess.DEVNULL,
        )
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
def member() -> Person:
    """A plain member of the project `demo`."""
    return Person("member.env")


@pytest.fixture(scope="session")
def other() -> Person:
    """A plain member of another project."""
    return Person("other.env")


def eventually(ask: Callable[[], Any], is_right: Callable[[Any], bool], *, seconds: float = 60.0) -> Any:
    """The first answer that is right, or a failed test with the last one."""
    limit = time.monotonic() + seconds
    while True:
        answer = ask()
        if is_right(answer):
            return answer
        assert time.monotonic() < limit, f"still after {seconds:.0f} s: {answer}"
        time.sleep(0.5)
