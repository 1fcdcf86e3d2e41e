"""The scheduling policy of a thread as a knob: on a real thread of a process of the test's own."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stella.linux import scheduling
from stella.linux.cgroup import InvalidText
from stella.linux.process import parse_scheduling
from stella.model.allocation import Write
from stella.xgos.actuation.journal import Journal, release
from stella.xgos.host_files import HostFiles, InstanceGone, Unavailable, WriteFailed


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("number", [0, 3, 5, 3 | os.SCHED_RESET_ON_FORK])
def test_text_and_number_are_the_same_thing(number: int) -> None:
    assert scheduling.parse_policy(scheduling.show_policy(number)) == number


def test_the_numbers_are_the_kernels() -> None:
    found = [scheduling.parse_policy(name) for name in ("other", "batch", "idle", "other+reset-on-fork")]
    assert found == [os.SCHED_OTHER, os.SCHED_BATCH, os.SCHED_IDLE, os.SCHED_RESET_ON_FORK]


def test_other_schedulers_are_not_known() -> None:
    with pytest.raises(InvalidText):
        scheduling.show_policy(os.SCHED_FIFO)
    with pytest.raises(InvalidText):
        scheduling.parse_policy("fifo")


@pytest.mark.parametrize(
    "path", ["/proc/1/task/1/stat", "/proc/1/policy", "/x/1/task/1/policy", "/proc/1/task/x/policy"]
)
def test_only_its_own_paths_are_its_knobs(path: str) -> None:
    assert not scheduling.is_knob(path)
    assert scheduling.is_knob("/proc/1/task/1/policy")


def test_it_is_set_journalled_and_restored(sleeper: subprocess.Popen[bytes], tmp_path: Path) -> None:
    files, path = HostFiles(), scheduling.knob_path(sleeper.pid, sleeper.pid)
    journal = Journal.load(f"{tmp_path}/journal")
    journal.record(files, [Write(path=path, value=scheduling.BATCHING, previous="other", reason="test")])
    files.write_knob(path, scheduling.BATCHING)
    assert files.read(path) == "batch+reset-on-fork"
    assert parse_scheduling(files.read(f"/proc/{sleeper.pid}/stat")) == os.SCHED_BATCH
    (restored,) = release(files, Journal.load(journal.path))
    assert restored.error == "" and not restored.gone
    assert os.sched_getscheduler(sleeper.pid) == os.SCHED_OTHER


def test_another_thread_of_the_same_number_is_not_restored(
    sleeper: subprocess.Popen[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, path = HostFiles(), scheduling.knob_path(sleeper.pid, sleeper.pid)
    journal = Journal.load(f"{tmp_path}/journal")
    journal.record(files, [Write(path=path, value=scheduling.BATCHING, previous="other", reason="test")])
    assert str(files.identity(path)) in Path(journal.path).read_text(encoding="utf-8")
    os.sched_setscheduler(sleeper.pid, os.SCHED_BATCH, os.sched_param(0))
    monkeypatch.setattr(files, "identity", lambda _: 1)  # it began at another moment
    (restored,) = release(files, journal)
    assert restored.gone
    assert os.sched_getscheduler(sleeper.pid) == os.SCHED_BATCH


def test_a_thread_that_is_gone(sleeper: subprocess.Popen[bytes]) -> None:
    files = HostFiles()
    path = scheduling.knob_path(sleeper.pid, sleeper.pid)
    with pytest.raises(WriteFailed):
        files.write_knob(path, "fifo")
    sleeper.kill()
    sleeper.wait()
    assert not files.exists(path)
    with pytest.raises(InstanceGone):
        files.write_knob(path, "other")
    with pytest.raises(Unavailable):
        files.read(path)
