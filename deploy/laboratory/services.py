"""Services of the laboratory: each supervised, in its namespaces, started again when its configuration changed."""

import contextlib
import hashlib
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from laboratory.enclosure import HERE, SYSTEM, Enclosure
from laboratory.settings import LaboratoryError, write_private

START_SECONDS = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """``files`` are what it reads at its start: when one changed, `ensure` starts it again.

    ``outside``: in the machine's own namespaces. ``group``: of control groups, `enclosure.SYSTEM` or `enclosure.DATA_PATH`.
    """

    name: str
    argv: Sequence[str]
    files: Sequence[Path] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    ready: Callable[[], bool] = lambda: True
    outside: bool = False
    group: str = SYSTEM
    stop_seconds: int = 8


Maker = Callable[[], Service | tuple[Service, ...]]
"""What a service is, as configured now."""


class Services:
    """Starts and stops services of one host by name."""

    def __init__(self, enclosure: Enclosure) -> None:
        self._enclosure = enclosure
        self.directory = enclosure.host.services
        self._logs = enclosure.host.logs

    def pid(self, name: str) -> int | None:
        """The supervisor of a service that runs."""
        with contextlib.suppress(OSError, ValueError):
            pid = int((self.directory / f"{name}.pid").read_text())
            if name.encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                return pid
        return None

    def _fingerprint(self, service: Service) -> str:
        digest = hashlib.sha256(repr((list(service.argv), sorted(service.environment.items()))).encode())
        for path in service.files:
            digest.update(path.read_bytes())
        return digest.hexdigest()

    def is_current(self, service: Service) -> bool:
        """Whether it runs as it is configured now."""
        started = self._started(service.name)
        return started.get("fingerprint") == self._fingerprint(service) and service.ready()

    def _started(self, name: str) -> dict[str, Any]:
        """How a service that runs was started; empty when it does not run."""
        try:
            found: dict[str, Any] = json.loads((self.directory / f"{name}.start").read_text())
        except (OSError, ValueError):
            return {}
        return found if self.pid(name) is not None else {}

    def ensure(self, service: Service) -> None:
        """Start it, or start it again if its configuration changed, and wait until it answers. Raises `LaboratoryError`."""
        if self.is_current(service):
            return
        if self._started(service.name).get("fingerprint") != self._fingerprint(service):
            self.stop(service.name)
            start = {
                "fingerprint": self._fingerprint(service),
                "argv": [str(HERE / "supervise.sh"), str(self.directory), service.name, *service.argv],
                "outside": service.outside,
                "group": service.group,
                "environment": {"STOP_SECONDS": str(service.stop_seconds), **service.environment},
            }
            write_private(self.directory / f"{service.name}.start", json.dumps(start))
            self.start(service.name)
        limit = time.monotonic() + START_SECONDS
        while not service.ready():
            if time.monotonic() > limit:
                raise LaboratoryError(
                    f"{service.name} does not answer after {START_SECONDS:.0f} s: {self.last_words(service.name)}"
                )
            time.sleep(0.2)

    def ensured(self, *makers: Maker) -> Callable[[], None]:
        """A step that starts these services."""

        def start() -> None:
            for service in _made(makers):
                self.ensure(service)

        return start

    def current(self, *makers: Maker) -> Callable[[], bool]:
        """Whether these services run as they are configured."""
        return lambda: all(map(self.is_current, _made(makers)))

    def start(self, name: str) -> None:
        """Start a service as it was started last. Raises `LaboratoryError`."""
        path = self.directory / f"{name}.start"
        if self.pid(name) is not None:
            return
        if not path.exists():
            known = sorted(each.stem for each in self.directory.glob("*.start"))
            raise LaboratoryError(f"no service {name!r}; there are {', '.join(known)}")
        start = json.loads(path.read_text())
        place = self._enclosure.outside if start["outside"] else self._enclosure.supervised
        with (self._logs / f"{name}.log").open("ab") as log:
            subprocess.Popen(
                place(start["argv"], start["group"]),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **start["environment"]},
                start_new_session=True,
            )
        limit = time.monotonic() + 20
        while self.pid(name) is None:
            if time.monotonic() > limit:
                raise LaboratoryError(f"{name} does not start: {self.last_words(name)}")
            time.sleep(0.05)

    def remember(self, name: str) -> None:
        """Keep how a service was started that others started (Stella's, by Ansible), so that it can be started again."""
        path, pid = self.directory / f"{name}.start", self.pid(name)
        if path.exists() or pid is None:
            return
        argv, environment = (
            [word.decode() for word in Path(f"/proc/{pid}/{file}").read_bytes().split(b"\0") if word]
            for file in ("cmdline", "environ")
        )
        start = {
            "argv": argv,
            "outside": False,
            "group": SYSTEM,
            "environment": dict(line.split("=", maxsplit=1) for line in environment if "=" in line),
        }
        write_private(path, json.dumps(start))

    def last_words(self, name: str) -> str:
        """The end of a service's log, and where it lies."""
        path = self._logs / f"{name}.log"
        with contextlib.suppress(OSError):
            lines = path.read_text(errors="replace").strip().splitlines()
            return f"{lines[-1][-300:] if lines else 'it said nothing'} ({path})"
        return f"no {path}"

    def stop(self, name: str, number: signal.Signals = signal.SIGTERM) -> None:
        """Stop it and wait until it is gone."""
        pid = self.pid(name)
        if pid is None:
            return
        self.remember(name)
        os.kill(pid, number)
        limit = time.monotonic() + 60
        while self.pid(name) is not None and time.monotonic() < limit:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
            time.sleep(0.05)
        if self.pid(name) is not None:
            raise LaboratoryError(f"{name} does not stop")

    def running(self) -> list[str]:
        """The names of all that run."""
        names = sorted(path.stem for path in self.directory.glob("*.pid"))
        return [name for name in names if self.pid(name) is not None]


def _made(makers: Sequence[Maker]) -> list[Service]:
    made: list[Service] = []
    for maker in makers:
        found = maker()
        made += found if isinstance(found, tuple) else [found]
    return made


def answers(port: int) -> bool:
    """Whether something accepts connections on this machine's 127.0.0.1:port."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
