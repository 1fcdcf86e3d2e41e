"""Usage as a list, and second by second; also with a server of the release before."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from client_shell import Shell, connect
from osc_lib.exceptions import CommandError
from stellaclient.osc import usage, watch
from stellaclient.osc.watch import QUIET_SECONDS, Feed

from tests.functional.conftest import NOW, Agent, Cloud, uuid

A, FOREIGN = uuid(1), uuid(2)
SECOND = int(NOW)


def point(at: int, used: float, status: str = "MET") -> dict[str, Any]:
    one = {"metric": "network_packets", "usage": used, "demand": 20000.0, "status": status, "cause": None}
    return {"uuid": A, "at": at, "objectives": [one]}


@pytest.fixture
def agent(cloud: Cloud) -> Agent:
    made = cloud.host("compute-1")
    made.add(A, name="web-1", objectives=point(0, 500.0)["objectives"])
    made.add(FOREIGN, name="theirs", project="p2")
    assert made.report().status_code == 200
    return made


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_watch_shows_each_second_once(shell: Shell, cloud: Cloud, agent: Agent) -> None:
    clock = Clock()
    feed = Feed(shell.stella, A, clock=clock)
    ((_, first),) = feed.next()
    assert first[0]["usage"] == 500.0, "at first what was last reported"
    assert agent.intent().json["watched"].keys() == {A}
    assert feed.next() == []
    cloud.clock.now += 3
    agent.report(points=[point(SECOND + 1, 600.0), point(SECOND + 2, 700.0)])
    assert [(at, one[0]["usage"]) for at, one in feed.next()] == [
        ("2026-11-25T09:46:41Z", 600.0),
        ("2026-11-25T09:46:42Z", 700.0),
    ]
    assert feed.next() == []
    clock.now += QUIET_SECONDS
    assert [one[0]["usage"] for _, one in feed.next()] == [500.0], "its host sends none: the last report"
    assert feed.notice == ""


def test_watch_prints_lines_for_people_and_for_programs(shell: Shell, agent: Agent) -> None:
    text = shell.run(watch.Watch, "--server", "web-1", "--count", "1")
    assert "network_packets" in text and "usage 500pps" in text and "demand 20kpps" in text
    (line,) = shell.run(watch.Watch, "--server", "web-1", "--count", "1", "--lines", "json").splitlines()
    assert (json.loads(line)["usage"], json.loads(line)["uuid"]) == (500.0, A)
    for interval in ("0", "nan", "-1", "1e9"):
        with pytest.raises(CommandError, match="--interval"):
            shell.run(watch.Watch, "--server", "web-1", "--interval", interval)


def test_a_server_of_the_release_before_shows_reports(
    cloud: Cloud, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    stella = connect(cloud.member)
    get = stella.session.request

    def without_usage(url: str, method: str, **more: Any) -> Any:
        return get(url.replace("/usage", "/usage-of-a-later-release"), method, **more)

    monkeypatch.setattr(stella.session, "request", without_usage)
    feed = Feed(stella, A)
    for _ in range(3):
        assert [one[0]["usage"] for _, one in feed.next()] == [500.0]
    assert "release without live points" in feed.notice


def test_no_more_may_be_watched(shell: Shell, cloud: Cloud, agent: Agent) -> None:
    cloud.config.set_override("largest_watched_per_host", 0, group="link")
    feed = Feed(shell.stella, A)
    assert len(feed.next()) == 1 and len(feed.next()) == 1
    assert feed.notice.startswith("no live points: As many instances")
    assert shell.run(usage.Usage, "--server", "web-1", "--step", "1", "--format", "csv").strip().count("\n") == 0
    assert "no live points" in shell.stderr.getvalue()


def test_usage_in_seconds_and_minutes(shell: Shell, agent: Agent) -> None:
    assert shell.json(usage.Usage, "--server", "web-1", "--step", "1") == []
    assert "begins to send them now" in shell.stderr.getvalue()
    agent.report(points=[point(SECOND - 2, 600.0), point(SECOND - 1, 700.0, "VIOLATED")])
    rows = shell.json(usage.Usage, "--server", A, "--step", "1")
    assert [(row["usage"], row["status"]) for row in rows] == [(600.0, "MET"), (700.0, "VIOLATED")]
    assert "700pps" in shell.run(usage.Usage, "--server", "web-1", "--step", "1")
    minute = {
        "uuid": A,
        "metric": "cpu",
        "start": SECOND // 60 * 60 - 60,
        "counts": {"met": 48, "violated": 7, "degraded": 3, "unknown": 2},
        "causes": {"cpu": 8, "block": 2},
        "usage": {"mean": 0.12, "min": 0.0, "max": 0.3},
        "demand_mean": 0.2,
    }
    agent.report(minutes=[minute])
    (row,) = shell.json(usage.Usage, "--server", "web-1", "--from", "2026-11-25")
    assert (row["usage"], row["met_seconds"], row["missed_seconds"], row["cause"]) == (0.12, 48, 10, "cpu")
    window = ("--from", "2026-11-25", "--to", "2026-11-25T12:00:00Z")
    assert "12%" in shell.run(usage.Usage, "--server", "web-1", *window)
    assert shell.json(usage.Usage, "--server", "web-1", *window, "--metric", "block_bytes") == []


@pytest.mark.parametrize("output", ["table", "json", "yaml", "csv", "value"])
def test_every_format(shell: Shell, agent: Agent, output: str) -> None:
    shell.run(usage.Usage, "--server", "web-1", "--step", "1")
    agent.report(points=[point(SECOND - 1, 20000.5)])
    printed = shell.run(usage.Usage, "--server", "web-1", "--step", "1", "--format", output)
    assert ("20kpps" in printed) is (output == "table")
    assert ("20000.5" in printed) is (output != "table")


def test_another_projects_instance_is_not_found(shell: Shell, agent: Agent) -> None:
    for command in (usage.Usage, watch.Watch):
        with pytest.raises(CommandError, match="was not found"):
            shell.run(command, "--server", FOREIGN)
    assert agent.intent().json["watched"] == {}


def test_times() -> None:
    now = datetime(2026, 11, 28, 12, 0, 0, tzinfo=UTC)
    for text, expected in (
        ("90s", "2026-11-28T11:58:30Z"),
        ("3h", "2026-11-28T09:00:00Z"),
        ("2d", "2026-11-26T12:00:00Z"),
        ("2026-11-01", "2026-11-01T00:00:00Z"),
        ("2026-11-01 10:00", "2026-11-01T10:00:00Z"),
        ("2026-11-01T10:00:00+09:00", "2026-11-01T01:00:00Z"),
    ):
        assert usage.moment(text, "--from", now) == expected
    for text in ("yesterday", "", "1w", "-1h", "999999d", "2026-13-01", "nan", "2026-11-01T25:00", "1e3s"):
        with pytest.raises(CommandError, match="--from: "):
            usage.moment(text, "--from", now)
