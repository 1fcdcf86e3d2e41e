"""Episodes open with a missed window and close after five good ones."""

from dataclasses import replace
from pathlib import Path

import pytest

from stella.control.offender import Offender
from stella.model.allocation import ObjectiveReport
from stella.model.attainment import Cause, Status
from stella.model.slo import Metric
from stella.xgos.accounting import violations
from stella.xgos.accounting.violations import CLOSING_WINDOWS, Violation, ViolationLog, describe, fold
from stella.xgos.line_log import LineWriter
from tests.unit.xgos.conftest import NOW, VM1, report

KEY = (VM1, Metric.CPU)


def run(statuses: str, usage: float = 0.3) -> tuple[dict[tuple[str, Metric], Violation], list[Violation]]:
    words = {"m": Status.MET, "v": Status.VIOLATED, "d": Status.DEGRADED, "?": Status.UNKNOWN, "-": Status.NO_DEMAND}
    episodes: dict[tuple[str, Metric], Violation] = {}
    closed: list[Violation] = []
    for second, letter in enumerate(statuses):
        cause = {"v": Cause.CPU, "d": Cause.CAPACITY}.get(letter)
        one = report(words[letter], usage=usage, cause=cause)
        episodes, ended = fold(episodes, NOW + second, [(VM1, "vm1", [one])])
        closed += ended
    return episodes, closed


def test_good_windows_open_nothing() -> None:
    assert run("mm-??mm") == ({}, [])


def test_an_episode_closes_after_enough_good_windows() -> None:
    good = "m" * (CLOSING_WINDOWS - 1)
    still, closed = run(f"mvv{good}")
    assert not closed and still[KEY].missed_windows == 2
    still, closed = run(f"mvv{good}-")
    assert not still
    assert (closed[0].start_seconds, closed[0].end_seconds) == (NOW + 1, NOW + 3)


def test_a_miss_in_between_keeps_it_open() -> None:
    still, closed = run("v" + "m" * 4 + "v" + "m" * 4)
    assert not closed and still[KEY].missed_windows == 2 and still[KEY].start_seconds == NOW
    still, closed = run("v" + "?" * 5 + "v")
    assert not closed and still[KEY].missed_windows == 2


def test_a_gap_that_nobody_saw_splits_it() -> None:
    still, closed = run("vv" + "?" * 6 + "vv")
    assert [(e.start_seconds, e.end_seconds) for e in closed] == [(NOW, NOW + 2)]
    assert still[KEY].start_seconds == NOW + 8 and still[KEY].id != closed[0].id
    episodes, _ = run("vv")
    unseen = [(VM1, "vm1", [report(Status.UNKNOWN)])]
    episodes, closed = fold(episodes, NOW + 2, unseen, seconds=3600)
    assert not episodes and closed[0].end_seconds == NOW + 2


def test_one_missed_second_is_no_violation(tmp_path: Path) -> None:
    writer = LineWriter()
    log = ViolationLog(tmp_path / "v", writer)
    _feed(log, NOW, 1, Status.VIOLATED)
    assert log.open_count() == 0 and log.list() == []
    _feed(log, NOW + 1, 5, Status.MET)
    assert log.list() == [] and log.opened_counts() == {}
    _feed(log, NOW + 6, 2, Status.VIOLATED)
    assert log.open_count() == 1 and log.list()[0].start_seconds == NOW + 6
    writer.close()
    assert (tmp_path / "v").stat().st_mode & 0o777 == 0o640


def test_an_outage_closes_what_was_left_open(tmp_path: Path) -> None:
    writer = LineWriter()
    _feed(ViolationLog(tmp_path / "v", writer), NOW, 3, Status.VIOLATED)
    writer.flush()
    log = ViolationLog(tmp_path / "v", writer)
    _feed(log, NOW + 30, 3, Status.VIOLATED)
    first, second = log.list()
    assert (first.end_seconds, second.start_seconds, second.end_seconds) == (NOW + 3, NOW + 30, None)
    writer.flush()
    same = ViolationLog(tmp_path / "v", writer)
    _feed(same, NOW + 34, 1, Status.VIOLATED)  # a restart of two seconds
    assert same.list()[-1].id == second.id and same.list()[-1].missed_windows == 4
    writer.close()


def test_the_offender_is_who_most_of_its_windows_named(tmp_path: Path) -> None:
    writer = LineWriter()
    log = ViolationLog(tmp_path / "v", writer, epoch="e")
    proof = {VM1: Offender(uuid="hog", used_cores=1.9, entitled_cores=0.4, cpus=(0,))}
    for second, named in enumerate(["hog", "other", "hog", "hog"]):
        one = replace(report(Status.VIOLATED, cause=Cause.CPU), offender=named)
        log.record(NOW + second, [(VM1, "vm1", [one])], evidence=proof if named == "hog" else {})
    (episode,) = log.list()
    assert episode.offender == "hog" and episode.evidence == proof[VM1]
    assert log.offender_seconds() == {"hog": 3, "other": 1}
    log.forget("other")
    assert log.offender_seconds() == {"hog": 3}
    assert '"offender": "hog"' in describe(episode)
    nobody = replace(episode, offenders={"hog": 1})
    assert nobody.offender is None
    writer.close()


def test_cause_is_what_most_windows_named() -> None:
    still, _ = run("dvvv")
    assert still[KEY].cause is Cause.CPU and still[KEY].causes == {Cause.CAPACITY: 1, Cause.CPU: 3}
    assert still[KEY].status is Status.VIOLATED
    assert run("d")[0][KEY].status is Status.DEGRADED


def test_worst_is_the_furthest_from_what_was_promised() -> None:
    def worst(kind: str) -> float | None:
        episodes: dict[tuple[str, Metric], Violation] = {}
        for second, usage in enumerate((0.3, None, 0.1, 0.2)):
            one = ObjectiveReport(
                metric=Metric.CPU, kind=kind, value=0.5, usage=usage, demand=None, status=Status.VIOLATED
            )
            episodes, _ = fold(episodes, NOW + second, [(VM1, "vm1", [one])])
        return episodes[KEY].worst

    assert worst("floor") == 0.1 and worst("target") == 0.3


def test_an_instance_that_is_gone_closes_its_episodes() -> None:
    episodes, _ = run("v")
    for second in range(CLOSING_WINDOWS):
        episodes, closed = fold(episodes, NOW + 1 + second, [])
    assert not episodes and closed[0].end_seconds == NOW + 1


def _feed(log: ViolationLog, start: int, count: int, status: Status) -> None:
    cause = Cause.CPU if status.missed else None
    for second in range(start, start + count):
        log.record(second, [(VM1, "vm1", [report(status, cause=cause)])])


def test_the_log_survives_a_restart(tmp_path: Path) -> None:
    writer = LineWriter()
    log = ViolationLog(tmp_path / "v", writer)
    _feed(log, NOW, 3, Status.VIOLATED)
    _feed(log, NOW + 3, 5, Status.MET)
    _feed(log, NOW + 100, 2, Status.VIOLATED)
    writer.close()
    with (tmp_path / "v").open("ab") as file:
        file.write(b'garbage\n{"uuid": 3}\n{"cut')
    writer = LineWriter()
    log = ViolationLog(tmp_path / "v", writer)
    first, second = log.list()
    assert (first.end_seconds, first.missed_windows, first.cause) == (NOW + 3, 3, Cause.CPU)
    assert second.end_seconds is None and log.open_count() == 1
    assert log.list(only_open=True) == [second] and log.list(uuid="x") == [] and log.list(since=NOW + 50) == [second]
    _feed(log, NOW + 102, 5, Status.MET)
    assert log.open_count() == 0
    writer.flush()
    assert [v.end_seconds for v in ViolationLog(tmp_path / "v", writer).list()] == [NOW + 3, NOW + 102]
    writer.close()


def test_the_file_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = LineWriter(capacity=10_000)
    log = ViolationLog(tmp_path / "v", writer)
    monkeypatch.setattr(violations, "LARGEST_FILE_BYTES", 3000)
    for episode in range(50):
        _feed(log, NOW + episode * 10, 2, Status.VIOLATED)
        _feed(log, NOW + episode * 10 + 2, 5, Status.MET)
    writer.close()
    assert (tmp_path / "v").stat().st_size < 4500 and (tmp_path / "v.1").stat().st_size < 4500
    assert log.opened_counts() == {KEY: 50}
    log.forget(VM1)
    assert log.opened_counts() == {}
