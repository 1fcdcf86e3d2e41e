"""The scheduling policy of a thread as a knob: on a real thread of a process of the test's own."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from stella.linux import scheduling
from stella.linux.cgroup import InvalidText
from stella.linux.process import parse_scheduling
from stella.model.allocation import Write
from stella.model.target import Target, TargetKind, thread_policy_target
from stella.xgos.actuation.actuators import actuators
from stella.xgos.actuation.journal import Journal
from stella.xgos.actuation.restore import release, restore
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


def kept(files: HostFiles, tid: int, path: str) -> tuple[Journal, Target]:
    """A journal that knows the policy of a thread."""
    journal, target = Journal.load(path), thread_policy_target(tid, tid)
    journal.record(
        actuators(files),
        [Write(target=target, value=scheduling.BATCHING, previous="other", reason="r", temporary=True)],
    )
    return journal, target


def test_it_is_set_journalled_and_restored(sleeper: subprocess.Popen[bytes], tmp_path: Path) -> None:
    files = HostFiles()
    journal, target = kept(files, sleeper.pid, f"{tmp_path}/journal")
    (entry,) = journal.entries
    reach = actuators(files)[TargetKind.THREAD]
    reach.write(target, scheduling.BATCHING, entry.identity)
    assert reach.read(target) == "batch+reset-on-fork"
    assert parse_scheduling(files.read(f"/proc/{sleeper.pid}/stat")) == os.SCHED_BATCH
    (lifted,) = restore(actuators(files), Journal.load(journal.path).entries, temporary_only=True)
    assert lifted.changed and os.sched_getscheduler(sleeper.pid) == os.SCHED_OTHER, "the guard lifts it"
    (restored,) = release(actuators(files), Journal.load(journal.path))
    assert restored.error == "" and not restored.gone


def test_another_thread_of_the_same_number_is_not_touched(sleeper: subprocess.Popen[bytes], tmp_path: Path) -> None:
    files = HostFiles()
    journal, target = kept(files, sleeper.pid, f"{tmp_path}/journal")
    (entry,) = journal.entries
    earlier = replace(entry, identity=str(int(entry.identity) - 1))
    os.sched_setscheduler(sleeper.pid, os.SCHED_BATCH, os.sched_param(0))
    (restored,) = restore(actuators(files), [earlier])
    assert restored.gone
    with pytest.raises(InstanceGone):
        actuators(files)[TargetKind.THREAD].write(target, "other", earlier.identity)
    assert os.sched_getscheduler(sleeper.pid) == os.SCHED_BATCH


def test_a_thread_that_is_gone(sleeper: subprocess.Popen[bytes]) -> None:
    files, place = HostFiles(), f"/proc/{sleeper.pid}/task/{sleeper.pid}"
    ticks = files.read_start_ticks(place)
    with pytest.raises(WriteFailed):
        files.write_policy(place, "fifo", start_ticks=ticks)
    sleeper.kill()
    sleeper.wait()
    with pytest.raises(InstanceGone):
        files.write_policy(place, "other", start_ticks=ticks)
    with pytest.raises(Unavailable):
        files.read_policy(place)
