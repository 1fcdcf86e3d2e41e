"""The real Horizon, in its own virtual environment, as one process of gunicorn on loopback."""

import fcntl
import hashlib
import http.client
import json
import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

import pytest

from tests.functional.process import free_port

REPOSITORY = Path(__file__).parents[2]
SERVED = Path(__file__).parent / "served"
_PLUGINS = [REPOSITORY / "plugins" / name for name in ("stella-dashboard", "python-stellaclient")]
_SOURCES = ("static", "templates", "enabled", "locale")
"""What files are made from, of the plugin."""


@cache
def environment_of_horizon() -> Path:
    """The virtual environment: ``STELLA_HORIZON``, or that of scripts/horizon-venv.sh."""
    if given := os.environ.get("STELLA_HORIZON"):
        return Path(given).resolve()
    made = subprocess.run(
        [str(REPOSITORY / "scripts" / "horizon-venv.sh")], capture_output=True, text=True, check=False, timeout=900
    )
    assert made.returncode == 0, made.stderr[-3000:]
    return (REPOSITORY / made.stdout.split()[-1]).resolve()


def files() -> Path:
    """Where its static files and compiled catalogues are, for this state of the plugin: they are made once and kept."""
    digest = hashlib.sha256((environment_of_horizon() / "requirements.digest").read_bytes())
    package = _PLUGINS[0] / "stella_dashboard"
    parts = [path for part in _SOURCES for path in (package / part).rglob("*")]
    for path in sorted([*parts, *SERVED.iterdir()]):
        if path.is_file() and path.suffix != ".pyc":
            digest.update(f"{path.name}\n".encode() + path.read_bytes())
    return REPOSITORY / ".run" / "browser" / digest.hexdigest()[:16]


def make_files() -> None:
    """Make them, if need be."""
    place = files()
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # processes of one test run make them once
        if not (place / "done").exists():
            shutil.rmtree(place, ignore_errors=True)
            (place / "static").mkdir(parents=True)
            _run("static_files.py")
            (place / "done").touch()


def _variables(keystone: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "OS_", "DJANGO_"))}
    return {
        **kept,
        "PYTHONPATH": os.pathsep.join(str(path) for path in (SERVED, *_PLUGINS)),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONWARNINGS": "ignore",
        "DJANGO_SETTINGS_MODULE": "horizon_settings",
        "STELLA_TEST_KEYSTONE_URL": keystone,
        "STELLA_TEST_FILES": str(files()),
    }


def _run(program: str, *words: str) -> str:
    done = subprocess.run(
        [str(environment_of_horizon() / "bin" / "python"), str(SERVED / program), *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env=_variables("http://127.0.0.1:9/v3"),
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@cache
def catalogue(language: str) -> dict[str, str]:
    """English sentences with their translations, those of Horizon and those of the plugin. A context stands before, and \\x04."""
    make_files()
    found = json.loads(_run("catalogue.py", language).splitlines()[-1])
    return {str(key): str(text) for key, text in found.items()}


class Horizon:
    """Started at once; ``url`` has no slash at its end."""

    def __init__(self, directory: Path, keystone: str) -> None:
        make_files()
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = directory / "horizon.log"
        options = ("--worker-class", "gthread", "--threads", "4", "--bind", f"127.0.0.1:{self.port}")
        options += ("--timeout", "0")  # a machine that stands still for a while costs no sessions
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    str(environment_of_horizon() / "bin" / "gunicorn"),
                    *options,
                    "--no-control-socket",
                    "horizon_wsgi:application",
                ],
                stdout=log,
                stderr=log,
                env=_variables(keystone),
                cwd=directory,
                start_new_session=True,
            )
        end = time.monotonic() + 90
        while time.monotonic() < end and self._process.poll() is None:
            with suppress(OSError, http.client.HTTPException):
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
                connection.request("GET", "/auth/login/")
                if connection.getresponse().status == 200:
                    return
            time.sleep(0.1)
        self.stop()
        pytest.fail(f"Horizon did not start: {self.log.read_text()[-3000:]}")

    def stop(self) -> None:
        """End it."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(20)
