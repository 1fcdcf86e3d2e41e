"""A client of the agent's control socket, for the command line, stella-top and the bench."""

import contextlib
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stella.model import wire

DEFAULT_SOCKET = Path("/run/xgos/xgos.sock")


class Unreachable(Exception):
    """The agent cannot be asked; one line for a person."""


class RequestRefused(Exception):
    """The agent said no and changed nothing; ``field`` names what was wrong, ``largest`` what would fit (metric: value)."""

    def __init__(self, field: str, message: str, largest: Mapping[str, float] | None = None) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message
        self.largest = dict(largest or {})


class Client:
    """Asks the agent; one connection for each request. Every method raises `Unreachable` and `RequestRefused`."""

    def __init__(self, path: Path = DEFAULT_SOCKET, *, timeout_seconds: float = 15.0) -> None:
        self._path = path
        self._timeout = timeout_seconds

    def ask(self, op: str, **keys: object) -> dict[str, Any]:
        """The answer to one request, as the agent gave it."""
        line = wire.dumps({"op": op, **keys}).encode() + b"\n"
        try:
            answer = wire.parse(self._exchange(line))
        except TimeoutError:
            raise Unreachable(f"{self._path}: the agent does not answer") from None
        except OSError as error:
            raise Unreachable(f"{self._path}: {error.strerror or error} (does xgos run?)") from None
        except wire.InvalidWire as error:
            raise Unreachable(f"{self._path}: the agent's answer {error}") from None
        if not isinstance(answer, dict):
            raise Unreachable(f"{self._path}: the agent's answer is no mapping")
        if answer.get("ok") is not True:
            given = answer.get("error")
            error_keys: dict[str, Any] = given if isinstance(given, dict) else {}
            raise RequestRefused(
                str(error_keys.get("field", "request")),
                str(error_keys.get("message", "was refused")),
                error_keys.get("largest"),
            )
        return answer

    def _exchange(self, line: bytes) -> bytes:
        deadline = time.monotonic() + self._timeout
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(self._timeout)
            connection.connect(str(self._path))
            with contextlib.suppress(
                BrokenPipeError
            ):  # turned away before it had read the request: its answer says why
                connection.sendall(line)
            parts = []
            while True:
                connection.settimeout(max(0.001, deadline - time.monotonic()))
                part = connection.recv(1 << 20)
                if not part:
                    break
                parts.append(part)
        return b"".join(parts)

    def set_slo(
        self, instance: str, slo: Mapping[str, object], *, replace: bool = False, dry_run: bool = False
    ) -> dict[str, Any]:
        """Lay ``slo`` (as a scenario or SLO file writes it) over the instance's objectives, or ``replace`` them all."""
        return self.ask("slo.set", instance=instance, slo=slo, replace=replace, dry_run=dry_run)

    def unset_slo(self, instance: str, metrics: list[str] | None = None, *, dry_run: bool = False) -> dict[str, Any]:
        """Withdraw the whole SLO, or these metrics of it."""
        return self.ask("slo.unset", instance=instance, metrics=metrics or [], dry_run=dry_run)

    def windows(self, after: float = 0.0) -> list[dict[str, Any]]:
        """The 1 s windows that began later than ``after`` (Unix seconds), as `requests` tells them."""
        found: list[dict[str, Any]] = []
        more = True
        while more:
            answer = self.ask("windows", after=found[-1]["start"] if found else after)
            found += answer["windows"]
            more = bool(answer.get("more")) and bool(answer["windows"])
        return found

    def status(self) -> dict[str, Any]:
        """The agent's own state."""
        return self.ask("status")

    def instances(self, *, month: bool = False) -> list[dict[str, Any]]:
        """All instances of the host; ``month``: with attainment and error budget of the month."""
        found: list[dict[str, Any]] = self.ask("instances", **({"month": True} if month else {}))["instances"]
        return found

    def show(self, instance: str) -> dict[str, Any]:
        """One instance."""
        found: dict[str, Any] = self.ask("slo.show", instance=instance)["instance"]
        return found

    def violations(self, **keys: object) -> list[dict[str, Any]]:
        """Episodes: ``instance``, ``open`` and ``since`` narrow them."""
        found: list[dict[str, Any]] = self.ask("violations", **keys)["violations"]
        return found
