"""Every row reaches the API once, whatever happens to reports and their answers."""

import random
import threading
import time
from typing import Any

import pytest

from stella.control.windows import InstanceWindow, Window
from stella.model.attainment import Status
from stella.model.intent import IntentState, Mode, Standing
from stella.model.report import StateRow
from stella.model.slo import Metric
from stella.xgos.accounting.live_points import LARGEST_KEPT
from stella.xgos.link.reporter import REPORT_SECONDS, Reporter
from stella.xgos.link.sections import API_OBSERVES, OBSERVES, instances_section, observes_reason, state_section
from stella.xgos.link.transport import Answer, Unreachable
from tests.unit.xgos.conftest import NOW, VM1, VM2, make_published, replace, report
from tests.unit.xgos.link.conftest import Rig, error, ok

MINUTE = NOW // 60 * 60


def add_minutes(rig: Rig, count: int, first: int = 0) -> None:
    """Whole minutes; the second after the last one closes it."""
    for number in range(first * 60 + (first > 0), (first + count) * 60 + 1):
        rig.outbox.record_window(
            Window(
                start_unix_seconds=MINUTE + number,
                end_monotonic_seconds=number + 1.0,
                seconds=1,
                instances=(InstanceWindow(uuid=VM1, objectives=(report(Status.MET),)),),
            )
        )
    rig.outbox.flush()


def drain(rig: Rig, most: int = 100) -> None:
    for _ in range(most):
        if rig.reporter.step() > 0 and not rig.board.status.report_error and rig.outbox.depth == 0:
            return
    pytest.fail(rig.board.status.report_error)


def test_a_report_tells_rows_host_and_instances(rig: Rig) -> None:
    add_minutes(rig, 2)
    rig.outbox.record_state(VM1, 7, IntentState.REFUSED, "cpu.floor: too large", {Metric.CPU: 0.5})
    rig.outbox.flush()
    assert rig.reporter.step() == REPORT_SECONDS
    (body,) = rig.api.bodies
    assert len(body["minutes"]) == 2 and body["minutes"][0]["counts"]["met"] == 60
    assert body["states"][VM1] == {
        "revision": 7,
        "state": "refused",
        "reason": "cpu.floor: too large",
        "largest": {"cpu": 0.5},
    }
    assert body["host"]["capacity"]["cpu_cores"] == 1.8 and body["host"]["capacity"]["cpus"] == [0, 1]
    assert {i["uuid"] for i in body["instances"]} > {VM1}
    first = body["instances"][0]
    assert first["shape"]["vcpus"] == 2 and first["objectives"][1]["status"] == "VIOLATED"
    assert rig.outbox.depth == 0 and rig.outbox.acknowledged == body["sequence"] == 3


def test_without_rows_the_same_sequence_is_sent_with_a_later_time(rig: Rig) -> None:
    add_minutes(rig, 1)
    for _ in range(3):
        rig.reporter.step()
    rig.clock.now -= 5.0  # the clock is set back a little
    rig.reporter.step()
    assert [body["sequence"] for body in rig.api.bodies] == [1, 1, 1, 1]
    times = [body["sent_at"] for body in rig.api.bodies]
    assert times == sorted(set(times))


def test_a_lost_answer_makes_a_repeat_and_each_minute_counts_once(rig: Rig) -> None:
    add_minutes(rig, 3)
    rig.api.reports = [Unreachable("the answer got lost"), Unreachable("away")]
    assert [rig.reporter.step(), rig.reporter.step()] == [1.0, 2.0]
    assert rig.outbox.depth == 3
    add_minutes(rig, 2, first=3)
    drain(rig)
    assert sorted(start for _, _, start in rig.api.minutes) == [MINUTE + 60 * n for n in range(5)]


def test_five_minutes_away_and_nothing_is_lost(rig: Rig) -> None:
    rig.api.refuse = lambda body: error(503)
    waited = 0.0
    for minute in range(5):
        add_minutes(rig, 1, first=minute)
        while waited < 60.0 * (minute + 1):
            waited += rig.reporter.step()
    assert rig.api.minutes == {} and "503" in rig.board.status.report_error
    rig.api.refuse = lambda body: None
    drain(rig)
    assert len(rig.api.minutes) == 5


def test_any_faults_in_any_order_lose_and_double_nothing(rig: Rig) -> None:
    chance = random.Random(15)
    faults: list[Any] = [Unreachable("the answer got lost"), Unreachable("away"), error(500), error(404), error(401)]
    faults += [Answer(status=200, body=b"cut"), ok({"accepted_sequence": 0})]
    for minute in range(20):
        add_minutes(rig, 1, first=minute)
        rig.api.reports = [chance.choice(faults) for _ in range(chance.randrange(3))]
        rig.reporter.step()
    rig.api.reports = []
    drain(rig)
    assert len(rig.api.minutes) == 20 and all(counts["met"] == 60 for counts in rig.api.minutes.values())


def test_too_large_a_report_is_halved(rig: Rig) -> None:
    add_minutes(rig, 10)
    rig.api.refuse = lambda body: error(413) if len(body["minutes"]) > 3 else None
    drain(rig)
    assert len(rig.api.minutes) == 10


def test_a_row_that_is_never_taken_is_told_and_holds_up_nothing(rig: Rig) -> None:
    add_minutes(rig, 8)
    bad = MINUTE + 60 * 5

    def refuse(body: dict[str, Any]) -> Answer | None:
        found = [n for n, minute in enumerate(body["minutes"]) if minute["start"] == bad]
        return error(400, "stella.request.invalid", f"minutes[{found[0]}].start", "Wrong.") if found else None

    rig.api.refuse = refuse
    drain(rig)
    assert len(rig.api.minutes) == 7 and rig.board.status.rejected_rows == 1


def test_rows_go_alone_when_the_host_section_is_refused(rig: Rig) -> None:
    add_minutes(rig, 2)
    rig.api.refuse = lambda body: error(400, "", "instances[0].shape", "Wrong.") if "instances" in body else None
    assert [rig.reporter.step(), rig.reporter.step()] == [1.0, REPORT_SECONDS]
    assert len(rig.api.minutes) == 2 and rig.outbox.depth == 0
    rig.reporter.step()
    assert "instances" in rig.api.bodies[-1] and "Wrong" in rig.board.status.report_error


@pytest.mark.parametrize("field", ["sent_at", "minutes[0].start"])
def test_a_clock_that_is_off_waits_and_loses_nothing(rig: Rig, field: str) -> None:
    add_minutes(rig, 2)
    rig.clock.now = MINUTE + 300.0
    rig.api.refuse = lambda body: error(400, "stella.report.clock_offset", field, "The clock is off.")
    for _ in range(5):
        rig.reporter.step()
    assert rig.outbox.depth == 2 and "clock is off" in rig.board.status.report_error
    rig.api.refuse = lambda body: None
    drain(rig)
    assert len(rig.api.minutes) == 2


def test_minutes_that_a_clock_which_went_back_has_dated_in_the_future_hold_up_nothing(rig: Rig) -> None:
    rig.clock.now = MINUTE + 120.0
    add_minutes(rig, 2)
    add_minutes(rig, 2, first=20)

    def refuse(body: dict[str, Any]) -> Answer | None:
        found = [n for n, minute in enumerate(body["minutes"]) if minute["start"] > rig.clock.now]
        return error(400, "stella.report.clock_offset", f"minutes[{found[0]}].start", "Future.") if found else None

    rig.api.refuse = refuse
    drain(rig)
    kept = sorted(start for _, _, start in rig.api.minutes)
    assert kept == [MINUTE, MINUTE + 60, MINUTE + 120] and rig.board.status.rejected_rows > 0


def test_nothing_is_reported_before_the_first_tick(rig: Rig) -> None:
    rig.port.ready = False
    assert 0 < rig.reporter.step() < 1 and rig.api.bodies == []


def test_instances_are_left_out_while_the_hypervisor_does_not_answer() -> None:
    published = make_published({})
    blind = replace(published.snapshot.sensors[0], name="hypervisor", ok=False, error="no answer")
    assert instances_section(replace(published, snapshot=replace(published.snapshot, sensors=(blind,)))) is None


def test_an_instance_that_is_shut_off_is_not_gone() -> None:
    published = make_published({})
    off = "00000000-0000-4000-8000-0000000000aa"
    found = instances_section(replace(published, snapshot=replace(published.snapshot, shut_off=(off,))))
    assert found is not None and found[-1] == {"uuid": off, "state": "shut_off"}


def test_an_instance_has_the_name_that_its_owner_gave_it() -> None:
    published = make_published({})
    first, *others = published.snapshot.instances
    titled = replace(published.snapshot, instances=(replace(first, title="web-1"), *others))
    found = instances_section(replace(published, snapshot=titled))
    assert found is not None
    assert [row["name"] for row in found if isinstance(row, dict)] == ["web-1", *(other.name for other in others)]


def test_a_host_that_observes_does_not_claim_to_enforce() -> None:
    row = StateRow(revision=4, state=IntentState.ENFORCED)
    assert state_section(row, Mode.ENFORCE) == {"revision": 4, "state": "enforced", "reason": "", "largest": {}}
    assert state_section(row, Mode.OBSERVE) == {"revision": 4, "state": "pending", "reason": OBSERVES, "largest": {}}
    assert state_section(row, Mode.OBSERVE, API_OBSERVES)["reason"] == API_OBSERVES  # type: ignore[index, call-overload]


@pytest.mark.parametrize(
    ("configured", "reason"), [(Mode.ENFORCE, API_OBSERVES), (Mode.OBSERVE, OBSERVES), (None, OBSERVES)]
)
def test_who_has_a_host_observe_is_told(configured: Mode | None, reason: str) -> None:
    assert observes_reason(replace(make_published({}), mode=Mode.OBSERVE, configured_mode=configured)) == reason


def test_another_mode_makes_all_states_news(rig: Rig) -> None:
    standing = Standing(uuid=VM1, source="cloud", revision=4, state=IntentState.ENFORCED)
    enforces = replace(make_published({}), mode=Mode.ENFORCE, standings={VM1: standing})
    observes = replace(enforces, mode=Mode.OBSERVE, configured_mode=Mode.ENFORCE)
    published = [enforces, enforces, observes, observes, enforces]
    reporter = Reporter(rig.api, rig.outbox, rig.board, lambda: published.pop(0), wall=rig.clock)
    for _ in range(5):
        reporter.step()
    told = [body["states"].get(VM1) for body in rig.api.bodies]
    assert told[1] is None and told[3] is None
    assert [(one["state"], one["reason"]) for one in told if one] == [
        ("enforced", ""),
        ("pending", API_OBSERVES),
        ("enforced", ""),
    ]


def window(second: int, *uuids: str, seconds: int = 1) -> Window:
    objectives = (report(Status.MET),)
    instances = tuple(InstanceWindow(uuid=uuid, objectives=objectives) for uuid in uuids or (VM1, VM2))
    return Window(start_unix_seconds=NOW + second, seconds=seconds, instances=instances)


def test_points_of_watched_instances_go_each_second_and_the_whole_at_its_interval(rig: Rig) -> None:
    woken: list[int] = []
    rig.outbox.live.recorded = lambda: woken.append(1)
    rig.outbox.live.record(window(0))
    assert woken == [] and rig.reporter.step() == REPORT_SECONDS, "nobody watches"
    rig.board.watch(frozenset({VM1}))
    for second in range(1, 7):
        rig.clock.now += 1
        rig.outbox.live.record(window(second))
        assert rig.reporter.step() == 1.0
    assert len(woken) == 6
    bodies = rig.api.bodies[1:]
    assert [point["at"] for body in bodies for point in body["points"]] == [NOW + n for n in range(1, 7)]
    assert {point["uuid"] for body in bodies for point in body["points"]} == {VM1}
    assert ["instances" in body for body in bodies] == [False, False, True, False, False, True]
    point = bodies[0]["points"][0]["objectives"][0]
    assert point.keys() == {"metric", "usage", "demand", "status", "cause"} and point["status"] == "MET"
    count = len(rig.api.bodies)
    assert rig.reporter.step() == 1.0 and len(rig.api.bodies) == count, "nothing new"
    rig.board.watch(frozenset())
    rig.outbox.live.record(window(9))
    rig.clock.now += 3
    assert rig.reporter.step() == REPORT_SECONDS and "points" not in rig.api.bodies[-1]


def test_points_are_bounded_and_let_go_of_while_the_api_is_away(rig: Rig) -> None:
    rig.board.watch(frozenset({VM1}))
    rig.api.reports = [Unreachable("away")]
    rig.outbox.live.record(window(0))
    rig.reporter.step()
    assert rig.outbox.live.take(10) == []
    for second in range(3 * LARGEST_KEPT):
        rig.outbox.live.record(window(second, VM1))
    kept = rig.outbox.live.take(10 * LARGEST_KEPT)
    assert len(kept) == LARGEST_KEPT and kept[-1].at == NOW + 3 * LARGEST_KEPT - 1
    rig.outbox.live.record(window(0, seconds=5))
    assert rig.outbox.live.take(1) == [], "of a gap nothing is known"


@pytest.mark.parametrize("answer", [error(400, "", "points[0].at", "Wrong."), error(413)])
def test_points_that_are_refused_hold_up_no_row(rig: Rig, answer: Answer) -> None:
    add_minutes(rig, 2)
    rig.board.watch(frozenset({VM1}))
    rig.outbox.live.record(window(0))
    rig.api.refuse = lambda body: answer if "points" in body else None
    assert rig.reporter.step() == 1.0
    drain(rig)
    assert len(rig.api.minutes) == 2 and rig.board.status.report_error == ""


def test_the_interval_is_the_servers(rig: Rig) -> None:
    rig.board.report_seconds = 12.0
    assert rig.reporter.step() == 12.0


def test_an_instance_that_runs_elsewhere_is_told_of_again_soon(rig: Rig) -> None:
    rig.board.report_seconds = 12.0
    ignored = [{"uuid": VM1, "reason": "instances: it runs on another host"}]
    rig.api.reports = [ok({"accepted_sequence": 0, "ignored": ignored}), ok({"accepted_sequence": 0, "ignored": []})]
    assert [rig.reporter.step(), rig.reporter.step()] == [1.0, 12.0]


def has_posted(rig: Rig, reports: int) -> bool:
    limit = time.monotonic() + 10
    while len(rig.api.bodies) < reports and time.monotonic() < limit:
        time.sleep(0.01)
    return len(rig.api.bodies) == reports


def test_instances_that_came_or_went_are_reported_at_once(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.board.report_seconds = 60.0
    stop = threading.Event()
    reporter = threading.Thread(target=rig.reporter.run, args=(stop,))
    reporter.start()
    try:
        assert has_posted(rig, 1)
        fewer = make_published(rig.port.store.intents)
        fewer = replace(fewer, snapshot=replace(fewer.snapshot, instances=fewer.snapshot.instances[1:]))
        monkeypatch.setattr(rig.reporter, "_published", lambda: fewer)
        assert has_posted(rig, 2)
    finally:
        stop.set()
        rig.reporter.wake()
        reporter.join(5)
    assert len(rig.api.bodies[0]["instances"]) == len(rig.api.bodies[1]["instances"]) + 1
