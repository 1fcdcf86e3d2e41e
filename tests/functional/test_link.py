"""The agent's link against the real API: lost answers, five minutes away, an older database; every minute counts once."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from falcon import testing

from stella.control.windows import InstanceWindow, Window
from stella.model.attainment import Cause, Status
from stella.model.intent import IntentState
from stella.model.slo import Metric
from stella.xgos.accounting.outbox import Outbox
from stella.xgos.accounting.violations import Violation
from stella.xgos.intents.cloud import CloudSource
from stella.xgos.link.board import Board
from stella.xgos.link.fetcher import Fetcher
from stella.xgos.link.reporter import Reporter
from stella.xgos.link.transport import Answer, Unreachable
from tests.functional.conftest import NOW, Cloud
from tests.unit.xgos.conftest import VM1, make_published, replace, report

MINUTE = int(NOW) // 60 * 60


@dataclass
class Wire:
    """The transport, over the application in this process. ``lost``: how many of the next answers do not arrive."""

    client: testing.TestClient
    credential: str
    lost: int = 0
    away: bool = False
    ignored: list[Any] = field(default_factory=list)
    posted: list[dict[str, Any]] = field(default_factory=list)

    def get_intent(self, etag: str) -> Answer:
        headers = {"If-None-Match": etag} if etag else {}
        return self._ask("GET", "intent", headers)

    def post_report(self, body: bytes) -> Answer:
        self.posted.append(json.loads(body))
        return self._ask("POST", "reports", {"Content-Type": "application/json"}, body=body)

    def _ask(self, method: str, what: str, headers: dict[str, str], **more: Any) -> Answer:
        if self.away:
            raise Unreachable("away")
        sent = {"Authorization": f"Bearer {self.credential}", **headers}
        found = self.client.simulate_request(method, f"/v1/hosts/host1/{what}", headers=sent, **more)
        assert found.status_code in (200, 304), found.text
        if method == "POST":
            self.ignored += found.json["ignored"]
        if self.lost > 0:
            self.lost -= 1
            raise Unreachable("the answer got lost")
        return Answer(status=found.status_code, body=found.content, etag=found.headers.get("ETag", ""))


def record(outbox: Outbox, first: int, count: int) -> None:
    for number in range(first * 60, (first + count) * 60):
        status = Status.VIOLATED if number % 60 < 6 else Status.MET
        one = InstanceWindow(uuid=VM1, objectives=(report(status, cause=Cause.CPU if number % 60 < 6 else None),))
        outbox.record_window(Window(start_unix_seconds=MINUTE + number, instances=(one,)))
    outbox.flush()


def test_every_minute_counts_once_and_states_arrive(cloud: Cloud, tmp_path: Path) -> None:
    wire = Wire(cloud.client, cloud.host("host1").credential)
    outbox = Outbox(tmp_path / "outbox", background=False)
    board, source = Board("https://api", "host1"), CloudSource(tmp_path / "cloud.json")
    published = replace(make_published({}), capabilities={"cpu_floor": "", "block_latency_target": "not here"})
    off = "00000000-0000-4000-8000-0000000000aa"
    published = replace(published, snapshot=replace(published.snapshot, shut_off=(off,)))
    reporter = Reporter(wire, outbox, board, lambda: published, wall=cloud.clock)
    fetcher = Fetcher(wire, source, board, host_name="host1", wall=cloud.clock)
    assert reporter.step() > 0
    shown = cloud.admin.get("/v1/instances").json["instances"]
    assert {one["uuid"] for one in shown} == {*(i.uuid for i in published.snapshot.instances), off}

    slo = cloud.admin.put_slo(VM1, {"cpu": {"floor": "20%"}})
    assert slo.status_code == 201, slo.text
    fetcher.step()
    found = source.poll()
    assert found is not None and found.wanted[VM1].slo is not None and board.status.mode == "enforce"
    outbox.record_state(VM1, found.wanted[VM1].revision, IntentState.ENFORCED)
    outbox.record_violation(
        Violation(
            id="v1",
            uuid=VM1,
            name="vm1",
            metric=Metric.CPU,
            kind="floor",
            value=0.2,
            start_seconds=MINUTE,
            last_missed_seconds=MINUTE + 5,
            end_seconds=MINUTE + 6,
            missed_windows=6,
            causes={Cause.CPU: 6},
        )
    )
    outbox.flush()
    wire.lost = 2
    assert [reporter.step() > 0 for _ in range(3)] == [True] * 3
    assert cloud.admin.get(f"/v1/instances/{VM1}/slo").json["state"].lower() == "enforced"
    assert len(cloud.admin.get("/v1/violations").json["violations"]) == 1

    record(outbox, 0, 2)
    wire.lost = 1
    reporter.step()
    wire.away = True
    for minute in range(2, 7):
        cloud.clock.now += 60
        record(outbox, minute, 1)
        reporter.step()
        fetcher.step()
    assert source.revision == found.revision and outbox.depth > 0
    wire.away = False
    record(outbox, 7, 1)
    for _ in range(3):
        reporter.step()
    assert outbox.depth == 0 and wire.ignored == []
    (objective,) = cloud.admin.get(
        f"/v1/instances/{VM1}/attainment", params={"from": "2020-01-01T00:00:00Z", "to": "2030-01-01T00:00:00Z"}
    ).json["objectives"]
    seconds = objective["seconds"]
    assert (seconds["met"], seconds["violated"]) == (7 * 54, 7 * 6), "seven minutes are closed, each counted once"


class WireOfTheReleaseBefore(Wire):
    """The API as an agent of today meets it in the release before: an intent without its new keys, and no live points."""

    def get_intent(self, etag: str) -> Answer:
        answer = super().get_intent(etag)
        if answer.status != 200:
            return answer
        body = {
            key: value for key, value in json.loads(answer.body).items() if key not in ("report_seconds", "watched")
        }
        return Answer(status=200, body=json.dumps({**body, "watch_until": None}).encode(), etag=answer.etag)


@dataclass
class Linked:
    """A host's link on the real API, without threads."""

    cloud: Cloud
    wire: Wire
    outbox: Outbox
    fetcher: Fetcher
    reporter: Reporter

    def second(self) -> None:
        """One second passes: its window is closed, the host asks, and reports."""
        self.cloud.clock.now += 1
        one = InstanceWindow(uuid=VM1, objectives=(report(Status.MET), report(Status.MET, metric=Metric.BLOCK_BYTES)))
        self.outbox.record_window(Window(start_unix_seconds=int(self.cloud.clock.now) - 2, instances=(one,)))
        self.fetcher.step()
        self.reporter.step()

    def points(self) -> list[Any]:
        found: list[Any] = self.cloud.admin.get(f"/v1/instances/{VM1}/usage?step=1").json["points"]
        return found


def linked(cloud: Cloud, directory: Path, kind: type[Wire]) -> Linked:
    wire = kind(cloud.client, cloud.host("host1").credential)
    outbox, board = Outbox(directory / "outbox", background=False), Board("https://api", "host1")
    source, published = (
        CloudSource(directory / "cloud.json"),
        replace(make_published({}), capabilities={"cpu_floor": ""}),
    )
    fetcher = Fetcher(wire, source, board, host_name="host1", wall=cloud.clock)
    reporter = Reporter(wire, outbox, board, lambda: published, wall=cloud.clock)
    made = Linked(cloud, wire, outbox, fetcher, reporter)
    made.second()
    return made


def test_seconds_come_while_somebody_watches_and_stop_afterwards(cloud: Cloud, tmp_path: Path) -> None:
    host = linked(cloud, tmp_path, Wire)
    assert host.points() == []
    for _ in range(10):
        host.second()
        host.points()
    shown = host.points()
    assert len(shown) == 9, "the first second was over before the host was told"
    assert {one["metric"] for one in shown[-1]["objectives"]} == {"cpu", "block_bytes"}
    small = [body for body in host.wire.posted if "instances" not in body]
    assert len(small) >= 5, "most of what comes each second tells nothing but points"
    for _ in range(60):
        host.second()
    before = len(host.wire.posted)
    for _ in range(5):
        host.second()
    assert all("points" not in body for body in host.wire.posted[before:]) and host.wire.ignored == []


def test_an_agent_of_today_with_an_api_of_the_release_before(cloud: Cloud, tmp_path: Path) -> None:
    host = linked(cloud, tmp_path, WireOfTheReleaseBefore)
    assert cloud.admin.put_slo(VM1, {"cpu": {"floor": "20%"}}).status_code == 201
    host.points()
    for _ in range(5):
        host.second()
    assert host.reporter.step() == pytest.approx(3.0, rel=0.1)
    assert all("points" not in body for body in host.wire.posted) and host.points() == []


def test_an_agent_of_the_release_before_with_an_api_of_today(cloud: Cloud) -> None:
    agent = cloud.host("host1")
    agent.add(VM1)
    agent.report()
    cloud.admin.put_slo(VM1, {"cpu": {"floor": "20%"}})
    shown = cloud.admin.get(f"/v1/instances/{VM1}/usage?step=1").json
    assert shown["points"] == [] and shown["not_watched_reason"] is None
    intent = agent.intent().json
    old = {"host": str, "revision": int, "poll_seconds": float, "watch_until": float, "mode": str, "slos": dict}
    assert {key: type(intent[key]) for key in old} == old, "what that release reads is there and of its type"
    assert agent.acknowledge().status_code == 200
    assert cloud.admin.get(f"/v1/instances/{VM1}/slo").json["state"] == "enforced"
    minute = {"uuid": VM1, "metric": "cpu", "start": MINUTE - 60, "counts": {"met": 60}}
    assert agent.report(minutes=[minute]).json["stored_minutes"] == 1
    assert len(cloud.admin.get(f"/v1/instances/{VM1}/usage?step=60").json["points"]) == 1
