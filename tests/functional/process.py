"""stella-api as operators run it: its command, in a process group of its own, on loopback."""

import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def wait(found: Callable[[], object], seconds: float = 40.0) -> bool:
    """Whether it came true in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found():
            return True
        time.sleep(0.1)
    return False


class Server:
    """`start`, `stop` and `ask` as often as wanted. ``options`` are of the section ``[api]``, with which the file must end."""

    def __init__(self, config: Path, **options: object) -> None:
        self.port = free_port()
        self.config = config
        self.log = config.with_name("log")
        lines = {"bind_port": self.port, "threads": 4, **options}
        kept = [line for line in config.read_text().splitlines() if line.partition(" =")[0] not in lines]
        config.write_text("\n".join([*kept, *(f"{name} = {value}" for name, value in lines.items()), ""]))
        self.tls: ssl.SSLContext | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it is healthy."""
        command = [sys.executable, "-m", "stella.cmd.stella_api", "--config-file", str(self.config)]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        end = time.monotonic() + 60
        while time.monotonic() < end and self._process.poll() is None:
            with suppress(OSError, http.client.HTTPException):
                if self.ask("GET", "/healthcheck")[0] == 200:
                    return
            time.sleep(0.05)
        pytest.fail(self.log.read_text()[-2000:])

    def stop(self, number: signal.Signals) -> None:
        """Send the signal to all its processes and wait for the end."""
        assert self._process is not None
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)
        self._process.wait(60)

    def connect(self, timeout: float = 20.0) -> http.client.HTTPConnection:
        """A connection, which is not open yet."""
        if self.tls is not None:
            return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=timeout, context=self.tls)
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def ask(
        self,
        method: str,
        path: str,
        token: str = "",
        body: object = None,
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float = 20.0,
    ) -> tuple[int, Any]:
        """One request; its status and what its JSON says. Raises OSError, HTTPException."""
        status, _, found = self.exchange(method, path, token, body, headers=headers, timeout=timeout)
        return status, found

    def exchange(
        self,
        method: str,
        path: str,
        token: str = "",
        body: object = None,
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float = 20.0,
    ) -> tuple[int, Mapping[str, str], Any]:
        """The same, with the headers of the answer, their names in lower case."""
        connection = self.connect(timeout)
        try:
            sent = {"X-Auth-Token": token, "Content-Type": "application/json", **(headers or {})}
            connection.request(method, path, json.dumps(body) if body is not None else None, sent)
            answer = connection.getresponse()
            text = answer.read()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return answer.status, found, json.loads(text) if text else None
        finally:
            connection.close()


@contextmanager
def serving(config: Path, **options: object) -> Iterator[Server]:
    """A server that runs until the block ends."""
    made = Server(config, **options)
    made.start()
    try:
        yield made
    finally:
        made.stop(signal.SIGTERM)
