"""A fake API behind the transport, a fake clock, and an outbox without a thread."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from stella.xgos.accounting.outbox import Outbox
from stella.xgos.intents.cloud import CloudSource
from stella.xgos.link.backoff import BackOff
from stella.xgos.link.board import Board
from stella.xgos.link.fetcher import Fetcher
from stella.xgos.link.reporter import Reporter
from stella.xgos.link.transport import Answer, Unreachable
from tests.unit.xgos.conftest import NOW, VM1, FakePort

Reply = Answer | Exception


def intent_body(revision: int, **keys: Any) -> dict[str, Any]:
    slo = {"revision": revision, "objectives": {"cpu": {"floor": 0.2}}, "priority": 0, "sla": None}
    base = {"host": "host1", "revision": revision, "poll_seconds": 2.0, "watch_until": None, "mode": "enforce"}
    return {**base, "slos": {VM1: slo}, **keys}


def ok(body: object, etag: str = "") -> Answer:
    return Answer(status=200, body=json.dumps(body).encode(), etag=etag)


def error(status: int, code: str = "", field_: str = "", detail: str = "No.") -> Answer:
    return Answer(
        status=status, body=json.dumps({"errors": [{"code": code, "field": field_, "detail": detail}]}).encode()
    )


@dataclass
class FakeApi:
    """Answers as told; a report is taken into ``rows`` before its answer is lost. Rows are kept by their own keys."""

    intents: list[Reply] = field(default_factory=list)
    reports: list[Reply] = field(default_factory=list)
    etags: list[str] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    minutes: dict[tuple[str, str, int], dict[str, int]] = field(default_factory=dict)
    states: dict[str, Any] = field(default_factory=dict)
    refuse: Callable[[dict[str, Any]], Answer | None] = lambda body: None

    def get_intent(self, etag: str) -> Answer:
        self.etags.append(etag)
        return self._give(self.intents.pop(0) if self.intents else Unreachable("away"))

    def post_report(self, body: bytes) -> Answer:
        found = json.loads(body)
        self.bodies.append(found)
        if (refused := self.refuse(found)) is not None:
            return refused
        reply = self.reports.pop(0) if self.reports else ok({"accepted_sequence": found["sequence"], "ignored": []})
        taken = reply.status == 200 if isinstance(reply, Answer) else str(reply) == "the answer got lost"
        if taken:
            self.minutes.update({(m["uuid"], m["metric"], m["start"]): m["counts"] for m in found["minutes"]})
            self.states.update(found["states"])
        return self._give(reply)

    @staticmethod
    def _give(reply: Reply) -> Answer:
        if isinstance(reply, Exception):
            raise reply
        return reply


@dataclass
class Clock:
    now: float = float(NOW)

    def __call__(self) -> float:
        return self.now


def upper(_low: float, high: float) -> float:
    """A draw without chance."""
    return high


@dataclass
class Rig:
    api: FakeApi
    clock: Clock
    cloud: CloudSource
    outbox: Outbox
    board: Board
    fetcher: Fetcher
    reporter: Reporter
    port: FakePort


@pytest.fixture
def rig(tmp_path: Path, port: FakePort) -> Rig:
    api, clock, board = FakeApi(), Clock(), Board("https://api", "host1")
    cloud = CloudSource(tmp_path / "cloud.json")
    fetcher = Fetcher(api, cloud, board, host_name="host1", wall=clock, back_off=BackOff(upper))
    reporter = Reporter(api, port.outbox, board, port.published, wall=clock, back_off=BackOff(upper))
    return Rig(api, clock, cloud, port.outbox, board, fetcher, reporter, port)
