"""The outbox: nothing goes missing silently, nothing is numbered twice."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from stella.control.windows import InstanceWindow, Window
from stella.model.attainment import Cause, Status
from stella.model.intent import IntentState
from stella.model.report import Batch, MinuteRow, Spread, StateRow, StatusCounts, decode, encode
from stella.model.slo import Metric
from stella.xgos.accounting import outbox as outbox_module
from stella.xgos.accounting import outbox_segments
from stella.xgos.accounting.history import History
from stella.xgos.accounting.outbox import Outbox, Recent, unknown_rows
from stella.xgos.accounting.violations import ViolationLog
from stella.xgos.line_log import LineWriter
from tests.unit.xgos.conftest import NOW, VM1, VM2, report

MINUTE = NOW // 60 * 60


def make(directory: Path, recent: Recent = ()) -> Outbox:
    return Outbox(directory, recent=recent, background=False)


def window(start: int, status: Status = Status.MET, *, usage: float | None = 0.5, seconds: int = 1) -> Window:
    cause = Cause.CPU if status.missed else Cause.SENSOR if status is Status.UNKNOWN else None
    one = report(status, usage=usage, cause=cause)
    return Window(start_unix_seconds=start, instances=(InstanceWindow(uuid=VM1, objectives=(one,)),), seconds=seconds)


def fill(outbox: Outbox, start: int, seconds: int, status: Status = Status.MET) -> None:
    for second in range(start, start + seconds):
        outbox.record_window(window(second, status))


def taken(outbox: Outbox, most: int = 500) -> Batch:
    assert outbox.flush()
    batch = outbox.batch(most)
    assert batch is not None
    return batch


def test_a_minute_is_one_row(tmp_path: Path) -> None:
    outbox = make(tmp_path)
    for second, status in enumerate(
        [Status.VIOLATED, Status.DEGRADED, Status.NO_DEMAND, Status.SELF_LIMITED, Status.UNKNOWN, Status.PENDING]
    ):
        outbox.record_window(window(MINUTE + second, status, usage=None if status is Status.UNKNOWN else second))
    fill(outbox, MINUTE + 6, 54)
    assert outbox.flush() and outbox.batch() is None
    outbox.record_window(window(MINUTE + 60))
    batch = taken(outbox)
    (row,) = batch.minutes
    assert (row.uuid, row.metric, row.start, row.span_seconds) == (VM1, Metric.CPU, MINUTE, 60)
    assert row.counts == StatusCounts(met=54, violated=1, degraded=1, no_demand=1, self_limited=1, unknown=1, pending=1)
    assert row.counts.seconds == 59
    assert row.causes == {Cause.CPU: 2, Cause.SENSOR: 1}
    assert row.usage == Spread(mean=(0 + 1 + 2 + 3 + 5 + 27) / 59, min=0.0, max=5.0)
    assert decode(encode(batch)) == batch


def test_rows_stay_until_they_are_acknowledged(tmp_path: Path) -> None:
    outbox = make(tmp_path)
    fill(outbox, MINUTE, 301)
    first = taken(outbox, 2)
    assert len(first.minutes) == 2 and first.sequence == 2 and outbox.depth == 5
    assert outbox.batch(2) == first
    outbox.acknowledge("another epoch", 2)
    assert outbox.batch(2) == first
    outbox.acknowledge(first.epoch, first.sequence)
    outbox.acknowledge(first.epoch, 1)
    second = taken(outbox)
    assert [row.start for row in second.minutes] == [MINUTE + 120, MINUTE + 180, MINUTE + 240]
    outbox.acknowledge(second.epoch, 99)
    assert outbox.batch() is None and outbox.depth == 0
    assert list(tmp_path.glob("*.rows")) == []
    outbox.record_state(VM1, 7, IntentState.REFUSED, "cpu.floor: too much", {Metric.CPU: 0.5})
    last = taken(outbox)
    assert last.sequence == 6
    assert last.states == {
        VM1: StateRow(revision=7, state=IntentState.REFUSED, reason="cpu.floor: too much", largest={Metric.CPU: 0.5})
    }


def test_kill_9_keeps_rows_epoch_and_numbers(tmp_path: Path) -> None:
    outbox = make(tmp_path)
    fill(outbox, MINUTE, 181)
    before = taken(outbox)
    again = make(tmp_path)  # nothing was closed
    assert again.batch() == before and (again.agent, again.epoch) == (outbox.agent, outbox.epoch)
    again.acknowledge(before.epoch, 3)
    third = make(tmp_path)
    third.record_state(VM1, 1, IntentState.ENFORCED)
    assert taken(third).sequence == 4


def test_a_cut_tail_is_dropped(tmp_path: Path) -> None:
    outbox = make(tmp_path)
    fill(outbox, MINUTE, 181)
    outbox.flush()
    (path,) = tmp_path.glob("*.rows")
    path.write_bytes(path.read_bytes()[:-9])
    again = make(tmp_path)
    assert [row.start for row in taken(again).minutes] == [MINUTE, MINUTE + 60]
    again.record_state(VM1, 1, IntentState.ENFORCED)
    assert taken(again).sequence == 3


def test_a_segment_with_nothing_but_a_cut_line_is_no_obstacle(tmp_path: Path) -> None:
    outbox = make(tmp_path)
    outbox.record_state(VM1, 1, IntentState.PENDING)
    outbox.flush()
    (path,) = tmp_path.glob("*.rows")
    path.write_bytes(path.read_bytes()[:-9])
    again = make(tmp_path)
    assert again.depth == 0
    again.record_state(VM2, 1, IntentState.ENFORCED)
    batch = taken(again)
    assert (batch.sequence, set(batch.states)) == (1, {VM2})
    assert make(tmp_path).batch() == batch


@pytest.mark.parametrize("stopped_after", [30, 59, 60, 61, 185])
def test_minutes_under_way_come_back_from_the_history(tmp_path: Path, stopped_after: int) -> None:
    writer = LineWriter(capacity=2000)
    history = History(tmp_path / "history", writer, now_seconds=MINUTE, background=False)
    outbox = make(tmp_path / "outbox")
    for second in range(stopped_after):
        outbox.record_window(window(MINUTE + second))
        history.record(MINUTE + second, [(VM1, [report()])])
        if second % 7 == 0:
            outbox.flush()
    writer.flush()  # then SIGKILL
    history = History(tmp_path / "history", writer, now_seconds=MINUTE + stopped_after, background=False)
    again = make(tmp_path / "outbox", history.recent_windows())
    fill(again, MINUTE + stopped_after, 240 - stopped_after + 1)
    rows: dict[int, MinuteRow] = {}
    for row in taken(again).minutes:
        if row.start not in rows or row.counts.seconds > rows[row.start].counts.seconds:
            rows[row.start] = row
    assert [(start - MINUTE, row.counts) for start, row in sorted(rows.items())] == [
        (start, StatusCounts(met=60)) for start in (0, 60, 120, 180)
    ]
    writer.close()


@pytest.mark.parametrize("content", [None, b"", b"{", b'{"agent": 1}'])
def test_an_agent_that_lost_its_state_begins_a_new_epoch(tmp_path: Path, content: bytes | None) -> None:
    outbox = make(tmp_path)
    fill(outbox, MINUTE, 121)
    before = taken(outbox)
    state = tmp_path / "outbox.json"
    state.unlink() if content is None else state.write_bytes(content)
    again = make(tmp_path)
    batch = taken(again)
    assert batch.epoch != before.epoch and batch.minutes == before.minutes and batch.sequence == 2


def test_a_gap_is_unknown_minutes(tmp_path: Path) -> None:
    outbox = make(tmp_path)
    fill(outbox, MINUTE, 30)
    outbox.record_window(window(MINUTE + 30, Status.UNKNOWN, usage=None, seconds=600))
    fill(outbox, MINUTE + 630, 31)
    found = {row.start - MINUTE: (row.span_seconds, row.counts) for row in taken(outbox).minutes}
    assert found == {
        0: (60, StatusCounts(met=30, unknown=30)),
        60: (540, StatusCounts(unknown=540)),
        600: (60, StatusCounts(met=30, unknown=30)),
    }


def seconds_of(rows: Iterable[MinuteRow]) -> int:
    return sum(row.counts.seconds for row in rows)


def test_what_is_dropped_is_reported_as_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_segments, "SEGMENT_BYTES", 2000)
    monkeypatch.setattr(outbox_module, "LARGEST_BYTES", 10_000)
    outbox = make(tmp_path)
    outbox.record_state(VM2, 3, IntentState.ENFORCED)
    for minute in range(600):
        fill(outbox, MINUTE + minute * 60, 60)
        outbox.flush()
    fill(outbox, MINUTE + 36_000, 1)
    batch = taken(outbox, 10_000)
    assert outbox.dropped > 0
    assert seconds_of(batch.minutes) == 36_000 and batch.states[VM2].revision == 3
    lost = [row for row in batch.minutes if row.span_seconds > 60]
    assert lost and all(row.counts.seconds == row.counts.unknown for row in lost)
    assert sum(path.stat().st_size for path in tmp_path.glob("*.rows")) < 16_000


def test_rows_that_are_too_old_go_as_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_segments, "SEGMENT_BYTES", 1000)
    monkeypatch.setattr(outbox_module, "KEPT_SECONDS", 3600)
    outbox = make(tmp_path)
    for minute in range(200):
        fill(outbox, MINUTE + minute * 60, 60)
        outbox.flush()
    fill(outbox, MINUTE + 12_000, 1)
    rows = taken(outbox, 10_000).minutes
    assert seconds_of(rows) == 12_000 and 50 < len(rows) < 90


def test_a_disk_that_fails_holds_rows_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outbox = make(tmp_path)
    fill(outbox, MINUTE, 121)
    outbox.flush()

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr("os.fsync", full)
        broken.setattr(outbox_module, "_LARGEST_QUEUE_ROWS", 5)
        fill(outbox, MINUTE + 121, 600)
        assert not outbox.flush()
        fill(outbox, MINUTE + 721, 600)
        assert not outbox.flush() and outbox.dropped > 0
        batch = outbox.batch()
        assert batch is not None and batch.sequence == 2  # only what is on the disk
    fill(outbox, MINUTE + 1321, 60)
    batch = taken(outbox)
    assert seconds_of(batch.minutes) == 1380
    assert batch.sequence == len(batch.minutes)
    assert taken(make(tmp_path)) == batch


def test_violations_are_told_with_their_offender(tmp_path: Path) -> None:
    outbox = make(tmp_path / "outbox")
    writer = LineWriter()
    log = ViolationLog(tmp_path / "v", writer, epoch=outbox.epoch)
    for second in range(9):
        status = Status.VIOLATED if second < 3 else Status.MET
        one = replace(report(status, cause=Cause.CPU), offender="hog" if status.missed else None)
        for episode in log.record(NOW + second, [(VM1, "vm1", [one])]):
            outbox.record_violation(episode)
    opened, *_, closed = taken(outbox).violations
    assert opened.id == closed.id and opened.closed_at is None and closed.closed_at == NOW + 3
    assert (closed.opened_at, closed.cause, closed.offender) == (NOW, Cause.CPU, "hog")
    assert closed.evidence["missed_seconds"] == 3
    writer.close()


def test_files_are_for_owner_and_group_and_the_thread_writes(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox")
    outbox.record_state(VM1, 1, IntentState.ENFORCED)
    outbox.close()
    (path,) = (tmp_path / "outbox").glob("*.rows")
    assert path.stat().st_mode & 0o777 == 0o640 and path.parent.stat().st_mode & 0o777 == 0o750
    assert taken(make(tmp_path / "outbox")).states.keys() == {VM1}


def test_lost_rows_become_one_for_each_objective() -> None:
    one = MinuteRow(uuid=VM1, metric=Metric.CPU, start=MINUTE, counts=StatusCounts(met=50, pending=10))
    later = replace(one, start=MINUTE + 300, counts=StatusCounts(violated=60))
    (row,) = unknown_rows([later, one])
    assert (row.start, row.span_seconds, row.counts) == (MINUTE, 360, StatusCounts(unknown=110))
    assert unknown_rows([row]) == [row]
