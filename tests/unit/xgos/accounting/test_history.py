"""The account of windows: nothing is lost, nothing counted twice."""

import json
import random
from pathlib import Path

import pytest

from stella.control.windows import due
from stella.model.allocation import ObjectiveReport
from stella.model.attainment import Cause, Status, Tally
from stella.model.slo import Metric
from stella.xgos.accounting import history_levels
from stella.xgos.accounting.accounts import Age
from stella.xgos.accounting.history import History
from stella.xgos.line_log import LineWriter, read_lines
from tests.unit.xgos.conftest import NOW, VM1, VM2, report

HOUR_START = NOW // 3600 * 3600


def make(directory: Path, writer: LineWriter, now: float = NOW) -> History:
    return History(directory, writer, now_seconds=now, background=False)


def fill(history: History, start: int, seconds: int, status: Status = Status.MET) -> None:
    for second in range(start, start + seconds):
        assert history.record(second, [(VM1, [report(status)])])


def test_windows_come_back_as_they_were(tmp_path: Path, writer: LineWriter) -> None:
    history = make(tmp_path, writer)
    reports = (report(Status.VIOLATED, usage=None), report(metric=Metric.BLOCK_BYTES))
    history.record(NOW + 0.2, [(VM1, reports), (VM2, ())])
    history.record(NOW + 1, [])
    (first, second), more = history.windows(NOW - 1)
    assert first.start_seconds == NOW and first.instances == ((VM1, reports),)
    assert second.instances == ()
    assert [w.start_seconds for w in history.windows(NOW)[0]] == [NOW + 1] and not more


def test_a_window_is_counted_once(tmp_path: Path, writer: LineWriter) -> None:
    history = make(tmp_path, writer)
    assert history.record(NOW, [(VM1, [report()])])
    assert not history.record(NOW + 0.9, [(VM1, [report(Status.VIOLATED)])])
    assert history.tally(VM1, Metric.CPU, NOW) == Tally(met=1)
    assert history.counts() == {(VM1, Metric.CPU): {Status.MET: 1}}


@pytest.mark.parametrize("crash_after", [1, 59, 60, 61, 119, 300, 3700])
def test_a_restart_neither_loses_nor_doubles(tmp_path: Path, crash_after: int) -> None:
    first = LineWriter(capacity=10_000)
    history = make(tmp_path, first, HOUR_START)
    fill(history, HOUR_START, crash_after)
    first.flush()  # then SIGKILL: no close
    again = LineWriter(capacity=10_000)
    for _ in range(3):  # and again, before anything new was recorded
        history = make(tmp_path, again, HOUR_START + crash_after)
        again.flush()
        assert history.tally(VM1, Metric.CPU, 0).met == crash_after
    fill(history, HOUR_START + crash_after, 130, Status.VIOLATED)
    assert history.tally(VM1, Metric.CPU, 0) == Tally(met=crash_after, missed=130)
    again.flush()
    history = make(tmp_path, again, HOUR_START + crash_after + 5000)
    assert history.tally(VM1, Metric.CPU, 0) == Tally(met=crash_after, missed=130)
    first.close()
    again.close()


def test_random_ranges_agree_with_counting_by_hand(tmp_path: Path) -> None:
    writer = LineWriter(capacity=20_000)
    history = make(tmp_path, writer, HOUR_START)
    chance = random.Random(7)
    total = 2 * 3600 + 777
    statuses = [chance.choice(list(Status)) for _ in range(total)]
    for second, status in enumerate(statuses):
        history.record(HOUR_START + second, [(VM1, [report(status)])])

    def by_hand(since: int, until: int) -> Tally:
        tally = Tally()
        for status in statuses[max(0, since) : until]:
            tally = tally.counted(status)
        return tally

    for _ in range(200):
        since = chance.randrange(total - 800, total)
        until = chance.randrange(since, total + 10)
        assert history.tally(VM1, Metric.CPU, HOUR_START + since, HOUR_START + until) == by_hand(since, until)
    for since in (0, 60, 3540, 3600, 3660, 7140):  # further back: whole minutes and hours
        assert history.tally(VM1, Metric.CPU, HOUR_START + since) == by_hand(since, total)
    assert history.tally(VM1, Metric.CPU, HOUR_START + 61) == by_hand(60, total)
    writer.close()


def test_old_windows_go_and_their_files_too(tmp_path: Path) -> None:
    writer = LineWriter(capacity=100_000)
    history = make(tmp_path, writer, HOUR_START)
    fill(history, HOUR_START, 1200)
    assert len(history.windows(0)[0]) == 900
    writer.flush()
    assert 3 <= len(list(tmp_path.glob("seconds-*"))) <= 5
    for day in range(1, 120):
        fill(history, HOUR_START + day * 86400, 3)
        writer.flush()
    assert len(list(tmp_path.glob("seconds-*"))) <= 5
    assert len(list(tmp_path.glob("minutes-*"))) <= 12
    assert len(list(tmp_path.glob("hours-*"))) <= 14
    assert 90 * 3 <= history.tally(VM1, Metric.CPU, 0).met <= 91 * 3  # forgotten by the day
    writer.close()


def test_an_instance_that_is_gone_for_long_is_forgotten(tmp_path: Path, writer: LineWriter) -> None:
    history = make(tmp_path, writer, HOUR_START)
    fill(history, HOUR_START, 3)
    for day in range(1, 94):
        history.record(HOUR_START + day * 86400, [(VM2, [report()])])
    assert history.tally(VM1, Metric.CPU, 0) == Tally()
    assert history.attainment(VM1, Metric.CPU, 0) is None


@pytest.mark.parametrize("jump", [3600, 90 * 86400])
def test_a_clock_that_jumps_deletes_nothing(tmp_path: Path, jump: int) -> None:
    writer = LineWriter(capacity=10_000)
    history = make(tmp_path, writer, HOUR_START)
    fill(history, HOUR_START, 300)
    fill(history, HOUR_START + jump, 300, Status.VIOLATED)
    fill(history, HOUR_START + 300, 300)  # the right time again
    for _ in range(2):
        assert history.tally(VM1, Metric.CPU, 0) == Tally(met=600, missed=300)
        writer.flush()
        history = make(tmp_path, writer, HOUR_START + jump + 300)  # and a restart with the wrong one
    fill(history, HOUR_START + jump + 300, 70)
    writer.flush()
    assert make(tmp_path, writer, HOUR_START + 700).tally(VM1, Metric.CPU, 0) == Tally(met=670, missed=300)
    writer.close()


def test_the_last_minute_is_that_of_the_labels(tmp_path: Path, writer: LineWriter) -> None:
    history = make(tmp_path, writer, HOUR_START)
    assert history.account_seconds(HOUR_START + 0.5) == HOUR_START + 0.5
    fill(history, HOUR_START, 300)
    assert history.account_seconds(HOUR_START - 3300.0) == HOUR_START + 300  # the clock went back by an hour
    assert history.account_seconds(HOUR_START + 300.7) == HOUR_START + 300.7


def test_a_clock_that_is_held_far_ahead_is_believed_in_the_end() -> None:
    age = Age(HOUR_START)
    for held in range(86400 - 1):
        age.pass_to(HOUR_START + 90 * 86400 + held)
    assert age.now == HOUR_START
    age.pass_to(HOUR_START + 91 * 86400)
    assert age.now == HOUR_START + 91 * 86400


def unseen() -> list[tuple[str, list[ObjectiveReport]]]:
    return [(VM1, [report(Status.UNKNOWN, usage=None, cause=Cause.SENSOR)])]


@pytest.mark.parametrize("gap", [90, 3600, 3 * 86400, 80 * 86400])
@pytest.mark.parametrize("crash", [False, True])
def test_a_gap_is_unknown_for_as_long_as_it_was(tmp_path: Path, gap: int, crash: bool) -> None:
    writer = LineWriter(capacity=10_000)
    history = make(tmp_path, writer, HOUR_START)
    fill(history, HOUR_START, 100)
    assert history.record(HOUR_START + 100, unseen(), seconds=gap)
    fill(history, HOUR_START + 100 + gap, 100)
    if crash:
        writer.flush()
        history = make(tmp_path, writer, HOUR_START + 200 + gap)
    found = history.tally(VM1, Metric.CPU, 0)
    assert found.met == 200
    assert found.unknown == gap
    writer.flush()
    assert sum(path.stat().st_size for path in tmp_path.glob("*.jsonl")) < 100_000
    writer.close()


def test_the_clock_goes_on_after_a_restart(tmp_path: Path, writer: LineWriter) -> None:
    history = make(tmp_path, writer, NOW)
    history.record(NOW, [(VM1, [report()])], end_monotonic_seconds=501.0)
    writer.flush()
    again = make(tmp_path, writer, NOW + 30)
    clock = again.clock(NOW + 30.0, 530.0)  # the same boot: 29 s were not seen
    assert (clock.start, clock.begin_monotonic_seconds) == (NOW + 1, 501.0)
    spans, _ = due(clock, NOW + 30.0, 530.0)
    assert [s.start for s in spans] == list(range(NOW + 1, NOW + 29))
    stepped = again.clock(NOW - 3600.0, 530.0)  # it went back while the agent was away
    assert (stepped.start, stepped.begin_monotonic_seconds) == (NOW + 1, 501.0)
    after_boot = again.clock(NOW + 60.0, 5.0)
    assert after_boot.start == NOW + 1 and after_boot.begin_monotonic_seconds == pytest.approx(5.0 - 59.0)
    wrong = again.clock(NOW + 90 * 86400.0, 5.0)
    assert (wrong.start, wrong.begin_monotonic_seconds) == (NOW + 90 * 86400, 5.0)
    assert make(tmp_path / "new", writer, NOW).clock(NOW + 0.5, 5.0).start == NOW + 1


def test_rows_of_earlier_versions_are_read(tmp_path: Path, writer: LineWriter) -> None:
    line = json.dumps({"t": HOUR_START, "r": {VM1: {"cpu": [10, 20, 5, 4, 1, 40, 12.5]}}})
    (tmp_path / f"minutes-{HOUR_START // 21600 * 21600:012d}.jsonl").write_text(line + "\n")
    history = make(tmp_path, writer, HOUR_START + 120)
    expected = Tally(met=10, missed=20, no_demand=5, self_limited=4, unknown=1)
    assert history.tally(VM1, Metric.CPU, 0) == expected


def test_violated_and_degraded_and_causes_are_kept_apart(tmp_path: Path, writer: LineWriter) -> None:
    history = make(tmp_path, writer, HOUR_START)
    for second, status in enumerate([Status.VIOLATED, Status.DEGRADED, Status.DEGRADED, Status.PENDING]):
        history.record(HOUR_START + second, [(VM1, [report(status, cause=Cause.CAPACITY)])])
    history.record(HOUR_START + 60, [])
    writer.flush()
    (path,) = tmp_path.glob("minutes-*")
    (line,) = read_lines(path)
    counts = line["r"][VM1]["cpu"]
    assert counts[:6] == [0, 1, 2, 0, 0, 0] and sum(counts[6:12]) == 3
    assert history.tally(VM1, Metric.CPU, 0) == Tally(missed=3)


def test_files_are_for_owner_and_group(tmp_path: Path, writer: LineWriter) -> None:
    history = make(tmp_path / "history", writer, NOW)
    fill(history, NOW, 1)
    writer.flush()
    (path,) = (tmp_path / "history").iterdir()
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o640, 0o750)


def test_a_line_that_is_no_text_does_not_end_the_writer(tmp_path: Path) -> None:
    writer = LineWriter()
    writer.append(tmp_path / "a", "\ud800")
    writer.append(tmp_path / "a", "{}")
    assert writer.flush() and writer.dropped_lines == 1
    assert (tmp_path / "a").read_text() == "{}\n"
    writer.close()


def test_memory_is_flat_over_many_instances(
    tmp_path: Path, writer: LineWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stella.xgos.accounting.accounts._KEPT_GONE_INSTANCES", 100)
    history = make(tmp_path, writer, NOW)
    for number in range(3000):
        history.record(NOW + number, [(f"vm-{number}", [report()])])
        history.forget(f"vm-{number}")
    writer.flush()
    assert history.counts() == {}
    assert len(history._accounts.accounts) <= 100


def test_a_cut_line_is_dropped_and_cut_off(tmp_path: Path) -> None:
    writer = LineWriter()
    history = make(tmp_path, writer, NOW)
    fill(history, NOW, 5)
    writer.close()
    (path,) = tmp_path.glob("seconds-*")
    path.write_bytes(path.read_bytes()[:-7] + b"")
    writer = LineWriter()
    history = make(tmp_path, writer, NOW + 5)
    assert history.tally(VM1, Metric.CPU, 0) == Tally(met=4)
    fill(history, NOW + 5, 1)
    writer.close()
    assert [line["t"] for line in read_lines(path)] == [NOW, NOW + 1, NOW + 2, NOW + 3, NOW + 5]


@pytest.mark.parametrize(
    "garbage", [b"\x00\xff\n", b"[]\n", b'{"t": "x", "w": {}}\n', b'{"t": 1e400, "w": {"a": [1]}}\n', b"{" * 9999]
)
def test_garbage_on_disk_is_no_obstacle(tmp_path: Path, writer: LineWriter, garbage: bytes) -> None:
    for name in ("seconds", "minutes", "hours"):
        (tmp_path / f"{name}-{NOW:012d}.jsonl").write_bytes(garbage)
    (tmp_path / "seconds-oops.jsonl").write_bytes(garbage)
    history = make(tmp_path, writer, NOW)
    fill(history, NOW, 2)
    assert history.tally(VM1, Metric.CPU, 0).met == 2


def test_a_disk_that_fails_costs_lines_not_ticks(tmp_path: Path, writer: LineWriter) -> None:
    (tmp_path / "history").write_text("a file where the directory should be")
    history = make(tmp_path / "history", writer, NOW)
    fill(history, NOW, 5)
    writer.flush()
    assert history.dropped_lines >= 5 and history.tally(VM1, Metric.CPU, 0).met == 5


def test_a_full_queue_drops_and_counts(tmp_path: Path) -> None:
    writer = LineWriter(capacity=1)
    history = make(tmp_path, writer, NOW)
    writer.close()  # nobody takes from the queue any more
    fill(history, NOW, 10)
    assert history.dropped_lines >= 8
    assert history.tally(VM1, Metric.CPU, 0).met == 10


def test_series_and_floor_before_ceiling(tmp_path: Path, writer: LineWriter) -> None:
    history = make(tmp_path, writer, HOUR_START)
    both = [report(kind="ceiling"), report(Status.VIOLATED, usage=0.25)]
    for second in range(90):
        history.record(HOUR_START + second, [(VM1, both)])
    points = history.series(VM1, Metric.CPU, since=HOUR_START, until=HOUR_START + 3600, step_seconds=60)
    assert [(p.start_seconds - HOUR_START, p.mean_usage, p.tally.missed) for p in points] == [
        (0, 0.25, 60),
        (60, 0.25, 30),
    ]
    (hour,) = history.series(VM1, Metric.CPU, since=HOUR_START, until=HOUR_START + 3600, step_seconds=3600)
    assert hour.tally == Tally(missed=90)
    assert len(history.series(VM1, Metric.CPU, since=HOUR_START, until=HOUR_START + 90, step_seconds=1)) == 90


def test_what_is_recorded_while_loading_counts_once(tmp_path: Path) -> None:
    writer = LineWriter()
    fill(make(tmp_path, writer, NOW), NOW, 30)
    writer.flush()
    history = History(tmp_path, writer, now_seconds=NOW + 30)
    history.record(NOW + 29, [(VM1, [report()])])  # counted by the process before
    fill(history, NOW + 30, 10)
    for _ in range(1000):
        if history._while_loading is None:
            break
        writer.flush()
    assert history.tally(VM1, Metric.CPU, 0).met == 40
    writer.close()


def test_memory_of_recent_windows_is_bounded(
    tmp_path: Path, writer: LineWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stella.xgos.accounting.accounts.LARGEST_RECENT_BYTES", 2000)
    history = make(tmp_path, writer, NOW)
    fill(history, NOW, 100)
    assert 5 < len(history.windows(0)[0]) < 40
    assert history.tally(VM1, Metric.CPU, 0).met == 100


def test_every_status_has_a_place() -> None:
    account = history_levels.Account()
    for status in Status:
        account.count(NOW, report(status))
    expected = Tally()
    for status in Status:
        expected = expected.counted(status)
    assert history_levels.tally(row for _, row in account.levels[1].rows(NOW, NOW + 1)) == expected
