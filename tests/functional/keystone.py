"""A Keystone of the test's own, the real one: SQLite, loopback, its own virtual environment (scripts/keystone-venv.sh)."""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.functional.process import free_port

REPOSITORY = Path(__file__).parents[2]
ADMIN_PASSWORD = "admin-secret"
_CONFIG = """
[database]
connection = sqlite:///{directory}/keystone.sqlite
[token]
provider = fernet
expiration = {expiration_seconds}
allow_expired_window = 0
[fernet_tokens]
key_repository = {directory}/fernet
[credential]
key_repository = {directory}/credential
[cache]
enabled = false
[identity]
password_hash_rounds = 4
"""
_GUNICORN = """
wsgi_app = "keystone.wsgi.api:application"
bind = "127.0.0.1:{port}"
worker_class = "gthread"
threads = 4
control_socket_disable = True
"""


class Keystone:
    """`start` and `stop` as often as wanted; ``port`` stays. Who is created here has the password ``secret``."""

    def __init__(self, directory: Path) -> None:
        """Make its database and its administrator."""
        made = subprocess.run(
            [str(REPOSITORY / "scripts" / "keystone-venv.sh")], capture_output=True, text=True, check=False, timeout=600
        )
        assert made.returncode == 0, made.stderr[-3000:]
        self._programs = Path(made.stdout.strip()) / "bin"
        self._directory, self.log = directory, directory / "keystone.log"
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        (directory / "gunicorn.py").write_text(_GUNICORN.format(port=self.port))
        for name in ("fernet", "credential"):
            (directory / name).mkdir(mode=0o700)
        self._write_config(expiration_seconds=3600)
        owner = ("--keystone-user", str(os.getuid()), "--keystone-group", str(os.getgid()))
        urls = [
            word for kind in ("admin", "internal", "public") for word in (f"--bootstrap-{kind}-url", f"{self.url}/")
        ]
        self._manage("db_sync")
        self._manage("fernet_setup", *owner)
        self._manage("credential_setup", *owner)
        self._manage("bootstrap", "--bootstrap-password", ADMIN_PASSWORD, "--bootstrap-region-id", "one", *urls)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v3"

    def _write_config(self, *, expiration_seconds: int) -> None:
        text = _CONFIG.format(directory=self._directory, expiration_seconds=expiration_seconds)
        (self._directory / "keystone.conf").write_text(text)

    def _manage(self, *words: str) -> None:
        command = [str(self._programs / "keystone-manage"), "--config-file", str(self._directory / "keystone.conf")]
        done = subprocess.run([*command, *words], capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr[-3000:]

    def start(self, *, expiration_seconds: int = 3600) -> None:
        """Serve, with tokens that are valid for so long, and wait until it answers."""
        self._write_config(expiration_seconds=expiration_seconds)
        environment = {
            **{name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
            "OS_KEYSTONE_CONFIG_DIR": str(self._directory),
            "OS_KEYSTONE_CONFIG_FILES": "keystone.conf",
            "GUNICORN_CMD_ARGS": f"-c {self._directory}/gunicorn.py",  # Keystone reads the command's own arguments
        }
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [str(self._programs / "gunicorn")],
                stdout=log,
                stderr=log,
                env=environment,
                cwd=self._directory,
                start_new_session=True,
            )
        end = time.monotonic() + 90
        while time.monotonic() < end and self._process.poll() is None:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.ask("GET", "/")[0] == 200:
                    return
            time.sleep(0.1)
        pytest.fail(f"Keystone did not start: {self.log.read_text()[-2000:]}")

    def stop(self) -> None:
        """End it at once."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(20)

    def freeze(self, *, frozen: bool) -> None:
        """Have it take connections and answer nothing, or go on."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGSTOP if frozen else signal.SIGCONT)

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, Any, str]:
        """One request: status, JSON, and the token that it gave."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            sent = {"Content-Type": "application/json", **{k.replace("_", "-"): v for k, v in headers.items()}}
            connection.request(method, f"/v3{path}", json.dumps(body) if body is not None else None, sent)
            answer = connection.getresponse()
            text = answer.read()
            return answer.status, json.loads(text) if text else None, answer.getheader("X-Subject-Token") or ""
        finally:
            connection.close()

    def token(self, user: str, *, project_id: str | None = None, password: str = "secret") -> str:
        """A token of this user in this project; without one it is unscoped."""
        who = {"name": user, "domain": {"id": "default"}, "password": password}
        identity = {"methods": ["password"], "password": {"user": who}}
        scope: object = {"project": {"id": project_id}} if project_id else "unscoped"
        status, found, token = self.ask("POST", "/auth/tokens", {"auth": {"identity": identity, "scope": scope}})
        assert status == 201, found
        return token


class Administrator:
    """Makes projects and users, as Keystone's administrator."""

    def __init__(self, keystone: Keystone) -> None:
        self._keystone = keystone
        who = {"name": "admin", "domain": {"id": "default"}, "password": ADMIN_PASSWORD}
        scope = {"project": {"name": "admin", "domain": {"id": "default"}}}
        identity = {"methods": ["password"], "password": {"user": who}}
        self.token = keystone.ask("POST", "/auth/tokens", {"auth": {"identity": identity, "scope": scope}})[2]
        self._roles = {role["name"]: role["id"] for role in self._ask("GET", "/roles", 200)["roles"]}

    def _ask(self, method: str, path: str, status: int, body: object = None) -> Any:
        found, answer, _ = self._keystone.ask(method, path, body, X_Auth_Token=self.token)
        assert found == status, answer
        return answer

    def project(self, name: str) -> str:
        """Its id."""
        made = self._ask("POST", "/projects", 201, {"project": {"name": name, "domain_id": "default"}})
        return str(made["project"]["id"])

    def user(self, name: str, project_id: str, role: str) -> None:
        """With one role in one project."""
        body = {"user": {"name": name, "domain_id": "default", "password": "secret"}}
        made = self._ask("POST", "/users", 201, body)["user"]["id"]
        self._ask("PUT", f"/projects/{project_id}/users/{made}/roles/{self._roles[role]}", 204)

    def revoke(self, token: str) -> None:
        """End a token."""
        found, answer, _ = self._keystone.ask("DELETE", "/auth/tokens", X_Auth_Token=self.token, X_Subject_Token=token)
        assert found == 204, answer


@contextlib.contextmanager
def running(directory: Path) -> Iterator[Keystone]:
    """A Keystone until the block ends."""
    made = Keystone(directory)
    made.start()
    try:
        yield made
    finally:
        made.stop()
