"""Starting and stopping load in the guests of a stand-alone Stella: one line of JSON asked, one answered."""

import json
import socket
from collections.abc import Sequence
from dataclasses import dataclass

from stella.bench.standalone.errors import StandaloneError, WrongRequest
from stella.bench.standalone.paths import Paths
from stella.bench.standalone.state import read_state

STOP = "stop"
_ANSWER_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Request:
    """Let this load run in this instance, alone; empty: none."""

    instance: str
    load: str


def parse_request(line: bytes, instances: Sequence[str], loads: Sequence[str]) -> Request:
    """Raises ValueError that names the key."""
    try:
        found = json.loads(line)
        instance, load = str(found["instance"]), str(found["load"])
    except (ValueError, TypeError, KeyError):
        raise ValueError("a request is one line of JSON with instance and load") from None
    if instance not in instances:
        raise ValueError(f"instance: {instance[:40]!r} is none of {', '.join(instances)}")
    if load not in (*loads, STOP):
        raise ValueError(f"load: {load[:40]!r} is none of {', '.join((*loads, STOP))}")
    return Request(instance, "" if load == STOP else load)


def answer(*, error: str = "", died: str = "") -> bytes:
    """What the laboratory says."""
    return json.dumps({"error": error or died}).encode() + b"\n"


def ask_for_load(paths: Paths, instance: str, load: str) -> None:
    """Raises `StandaloneError`."""
    state = read_state(paths)
    if state is None or not state.is_ready:
        raise StandaloneError(f"nothing runs in {paths.directory}: start it with make up")
    if state.hosts.simulated:
        raise WrongRequest("simulated instances have loads of their own; guests have them with make up")
    try:
        path = json.loads(paths.laboratory_note.read_text(encoding="utf-8"))["socket"]
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_ANSWER_SECONDS)
            connection.connect(path)
            connection.sendall(json.dumps({"instance": instance, "load": load}).encode() + b"\n")
            with connection.makefile("rb") as reply:
                error = json.loads(reply.readline())["error"]
    except (OSError, ValueError, KeyError) as problem:
        raise StandaloneError(f"the laboratory does not answer: {problem}") from None
    if error:
        raise StandaloneError(str(error))
