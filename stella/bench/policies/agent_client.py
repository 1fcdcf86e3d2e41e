"""Talking to the node agent over its Unix socket: one line of JSON asked, one answered, for each connection."""

import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stella.bench.verdict import AgentWindow
from stella.model.attainment import Cause, Status

_CHUNK_BYTES = 1 << 16


class AgentUnreachable(Exception):
    """The agent does not answer: it is not there, stopped, or too slow."""


class AgentRefused(Exception):
    """The agent answered no; the message is its own, one line."""


def ask(path: Path, request: Mapping[str, Any], *, timeout_seconds: float = 5.0) -> dict[str, Any]:
    """One request. Raises `AgentUnreachable`, or `AgentRefused` with the agent's message."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout_seconds)
            connection.connect(str(path))
            connection.sendall(json.dumps(request).encode() + b"\n")
            answer = bytearray()
            while not answer.endswith(b"\n"):
                chunk = connection.recv(_CHUNK_BYTES)
                if not chunk:
                    break
                answer += chunk
        document = json.loads(answer)
    except (OSError, ValueError) as error:
        raise AgentUnreachable(str(error)) from None
    if not isinstance(document, dict):
        raise AgentUnreachable("the answer is not an object")
    if document.get("ok"):
        return document
    why = document.get("error") or {}
    raise AgentRefused(": ".join(str(why[key]) for key in ("field", "message") if why.get(key)) or "refused")


def read_windows(document: Mapping[str, Any], names: Mapping[str, str]) -> list[AgentWindow]:
    """The windows of an answer. ``names``: from uuid to the scenario's name; instances not in it are left out."""
    found = []
    for window in document.get("windows", []):
        for uuid, metrics in window.get("instances", {}).items():
            name = names.get(uuid)
            for metric, said in metrics.items() if name else ():
                found.append(
                    AgentWindow(
                        start=round(window["start"]),
                        instance=name or "",
                        metric=str(metric),
                        usage=said.get("usage"),
                        demand=said.get("demand"),
                        value=said.get("value"),
                        status=Status(said["status"]),
                        cause=Cause(said["cause"]) if said.get("cause") else None,
                    )
                )
    return found


class WindowLog:
    """The windows of some instances, collected now and then: the agent keeps them for 15 minutes. ``names``: as `read_windows`."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names
        self._found: dict[tuple[int, str, str], AgentWindow] = {}

    def collect(self, path: Path) -> None:
        """Fetch those since the last time. Raises `AgentUnreachable` and `AgentRefused`."""
        after = (
            max((start for start, _, _ in self._found), default=2) - 2
        )  # again: the last may have been in the making
        answer = ask(path, {"op": "windows", "after": after}, timeout_seconds=10.0)
        for window in read_windows(answer, self._names):
            self._found[window.start, window.instance, window.metric] = window

    def windows(self) -> tuple[AgentWindow, ...]:
        """All of them, in order."""
        return tuple(self._found[key] for key in sorted(self._found))
