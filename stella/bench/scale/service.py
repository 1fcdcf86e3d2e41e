"""A real stella-api process with a token file, as an operator runs it, and the tokens to ask it with."""

import http.client
import json
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from stella.api.identity import new_token
from stella.bench.lab.process import free_port
from stella.bench.scale.processes import Process

OPERATORS = "operators"


class Service:
    """stella-api on a free port. `tokens` holds one of the operator and, made on demand, one of a member of each project."""

    def __init__(
        self,
        directory: Path,
        database_url: str,
        *,
        cores: frozenset[int],
        options: Mapping[str, Mapping[str, object]] | None = None,
    ) -> None:
        """Migrate the database, start and wait until it answers. Raises `NotStarted`."""
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.port = free_port()
        self._tokens = directory / "tokens.toml"
        self.operator = new_token(self._tokens, user_id="operator", project_id=OPERATORS, roles=("admin",))
        self.config_file = directory / "stella.conf"
        groups: dict[str, dict[str, object]] = {
            "database": {"connection": database_url},
            "auth": {"token_file": self._tokens},
            "api": {"bind_host": "127.0.0.1", "bind_port": self.port},
        }
        for group, given in (options or {}).items():
            groups.setdefault(group, {}).update(given)
        lines = [f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in given.items()) for group, given in groups.items()]
        self.config_file.touch(mode=0o600)
        self.config_file.write_text("".join(lines))
        self.log = directory / "log"
        self._cores = cores
        self.process = self._start()

    def _start(self) -> Process:
        command = [sys.executable, "-m", "stella.cmd.stella_api", "--sync", "--config-file", str(self.config_file)]
        paths = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        process = Process(command, log=self.log, cores=self._cores, environment=paths)
        try:
            process.wait_until(self._answers)
        except BaseException:
            process.stop()
            raise
        return process

    def restart(self) -> None:
        """Stop it at once, with all that it still had to answer, and start it again. Raises `NotStarted`."""
        self.process.stop(signal.SIGKILL)
        self.process = self._start()

    def stop(self) -> None:
        """End it."""
        self.process.stop()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    def member(self, project: str) -> str:
        """A token of a member of this project."""
        return new_token(self._tokens, user_id=f"member-of-{project}", project_id=project, roles=("member",))

    def paths(self) -> frozenset[str]:
        """The paths that this release serves."""
        return frozenset(json.loads(self.ask("/openapi.json"))["paths"])

    def ask(self, path: str) -> bytes:
        """The body of a path that needs no token. Raises OSError."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
            if answer.status != 200:
                raise OSError(f"{path}: HTTP {answer.status}")
            return body
        finally:
            connection.close()

    def _answers(self) -> bool:
        with suppress(OSError, http.client.HTTPException):
            self.ask("/healthcheck")
            return True
        return False
