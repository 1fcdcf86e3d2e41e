"""The loop: a duty that fails stops no other, one that has more to do does not starve the others."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from stella.clouds.standalone import NoLedger, Standalone
from stella.conf.retention import Retention
from stella.db.database import Conflict, Unreachable
from stella.db.leases import LeaseLost
from stella.engine import metrics, runner, schedule
from stella.engine.duty import Duty, Limits, Outcome, Work
from stella.engine.metrics import InvalidAddress, Metrics

LIMITS = Limits(
    host_silent_seconds=1,
    violation_silent_seconds=1,
    instance_gone_seconds=1,
    retention=Retention(minute_seconds=1, hour_seconds=1, day_seconds=1, history_seconds=1),
)


def duty(name: str, run: Callable[[Work], Outcome], seconds: float = 10.0) -> Duty:
    return Duty(name=name, interval_seconds=seconds, run=run)


def work() -> Work:
    store: Any = None
    return Work(store=store, cloud=Standalone(), ledger=NoLedger(), limits=LIMITS, clock=lambda: 5.0)


def value(measured: Metrics, name: str, duty: str | None = None) -> float | None:
    return measured.registry.get_sample_value(name, {"duty": duty} if duty else {})


@dataclass
class Lead:
    """A leader as far as the loop sees it, which is stopped after some runs."""

    stop: threading.Event
    tokens: list[int | None]
    led: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.led.set()

    @property
    def token(self) -> int | None:
        if len(self.tokens) == 1:
            self.stop.set()
        return self.tokens.pop(0)


def run_loop(duties: list[Duty], tokens: list[int | None]) -> Metrics:
    stop, measured, times = threading.Event(), Metrics(), iter(range(10_000))
    leader: Any = Lead(stop, tokens)
    runner.run_while_leading(duties, work(), leader, measured, stop, monotonic=lambda: next(times) / 1000)
    return measured


def test_a_duty_that_fails_is_counted_and_the_others_go_on(caplog: pytest.LogCaptureFixture) -> None:
    ran = []

    def broken(_: Work) -> Outcome:
        raise ZeroDivisionError

    def busy(_: Work) -> Outcome:
        raise Conflict("was changed by others")

    def fine(_: Work) -> Outcome:
        ran.append(1)
        return Outcome(changed=3, backlog=7)

    with caplog.at_level(logging.ERROR):
        measured = run_loop([duty("broken", broken), duty("busy", busy), duty("fine", fine)], [1] * 3)
    assert ran == [1] and "duty broken failed" in caplog.text and "ZeroDivisionError" in caplog.text
    assert value(measured, "stella_engine_duty_failures_total", "broken") == 1
    assert value(measured, "stella_engine_duty_failures_total", "busy") == 1
    assert value(measured, "stella_engine_duty_changes_total", "fine") == 3
    assert value(measured, "stella_engine_duty_backlog", "fine") == 7
    assert value(measured, "stella_engine_duty_last_success_timestamp_seconds", "fine") == 5.0
    assert value(measured, "stella_engine_duty_last_success_timestamp_seconds", "broken") is None
    assert value(measured, "stella_engine_leader") == 1


def test_one_with_more_to_do_takes_turns() -> None:
    ran: list[str] = []

    def endless(_: Work) -> Outcome:
        ran.append("endless")
        return Outcome(more=True)

    def short(_: Work) -> Outcome:
        ran.append("short")
        return Outcome()

    run_loop([duty("endless", endless), duty("short", short, 0.001)], [1] * 8)
    assert ran.count("short") >= 3 and ran.count("endless") >= 3


def test_who_stands_by_runs_nothing_and_a_new_leader_begins_with_all() -> None:
    ran: list[int] = []

    def count(_: Work) -> Outcome:
        ran.append(1)
        return Outcome()

    measured = run_loop([duty("count", count, 1e6)], [None, 1, None, 2])
    assert len(ran) == 2
    assert value(measured, "stella_engine_takeovers_total") == 2


@pytest.mark.parametrize("error", [LeaseLost("engine"), Unreachable("away")])
def test_a_lost_lease_or_database_is_not_the_fault_of_a_duty(error: Exception) -> None:
    def lost(_: Work) -> Outcome:
        raise error

    with pytest.raises(type(error)):
        runner.run_once(duty("lost", lost), work(), Metrics())


def test_all_of_them_run_until_they_have_no_more_to_do() -> None:
    left = {"a": 3, "b": 1}

    def run(name: str) -> Callable[[Work], Outcome]:
        def once(_: Work) -> Outcome:
            left[name] -= 1
            return Outcome(more=left[name] > 0)

        return once

    def broken(_: Work) -> Outcome:
        raise ZeroDivisionError

    good, bad = [duty("a", run("a")), duty("b", run("b"))], duty("c", broken)
    assert runner.run_all(good, work(), Metrics()) and left == {"a": 0, "b": 0}
    assert not runner.run_all([bad], work(), Metrics())


def test_the_schedule() -> None:
    one, other = duty("one", lambda _: Outcome(), 5.0), duty("other", lambda _: Outcome(), 50.0)
    due = schedule.first([one, other], 100.0)
    assert schedule.next_duty([one, other], due, 99.9) is None
    assert schedule.next_duty([one, other], due, 100.0) is one
    due = schedule.after(due, one, 101.0, more=True)
    assert schedule.next_duty([one, other], due, 101.0) is other
    due = schedule.after(schedule.after(due, other, 102.0, more=False), one, 103.0, more=False)
    assert due == {"one": 108.0, "other": 152.0}
    assert schedule.pause_seconds(due, 107.5) == 0.5 and schedule.pause_seconds(due, 103.0) == 1.0


@pytest.mark.parametrize("text", ["9792", "127.0.0.1", "127.0.0.1:x", ":0", "a:70000", ""])
def test_addresses_that_cannot_be(text: str) -> None:
    with pytest.raises(InvalidAddress, match="metrics_bind"):
        metrics.parse_address(text)


def test_addresses() -> None:
    assert metrics.parse_address("127.0.0.1:9792") == ("127.0.0.1", 9792)
    assert metrics.parse_address("[::1]:80") == ("::1", 80)


@dataclass
class Beside:
    """A companion that notes what it is told."""

    told: list[str] = field(default_factory=list)

    def start(self) -> None:
        self.told.append("start")

    def stop(self) -> None:
        self.told.append("stop")


def test_companions_go_on_while_this_process_leads() -> None:
    stop, beside = threading.Event(), Beside()
    leader: Any = Lead(stop, [None, 1, 1, None, 2])
    leader.led.set()
    runner.run_while_leading(
        [duty("fine", lambda _: Outcome())], work(), leader, Metrics(), stop, companions=[beside], monotonic=lambda: 0.0
    )
    assert beside.told == ["stop", "start", "start", "stop", "start", "stop"], "and none goes on when it ends"


def test_a_hint_comes_before_the_interval_is_over_and_after_what_is_due() -> None:
    hinted = [False]
    quick = replace(duty("quick", lambda _: Outcome()), is_hinted=lambda: hinted[0])
    slow = duty("slow", lambda _: Outcome())
    due = {"quick": 10.0, "slow": 5.0}
    assert schedule.next_duty([quick, slow], due, 1.0) is None
    hinted[0] = True
    assert schedule.next_duty([quick, slow], due, 1.0) is quick
    assert schedule.next_duty([quick, slow], due, 6.0) is slow
    assert schedule.pause_seconds(due, 1.0, longest=0.2) == 0.2
