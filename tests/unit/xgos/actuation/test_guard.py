"""The guard lifts restraints when the agent falls silent or dies. (The process itself: tests/vm.)"""

import contextlib
import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from stella.model.target import cgroup_target
from stella.xgos.actuation import guard
from stella.xgos.actuation.guard_process import Guard
from stella.xgos.actuation.journal import Journal
from stella.xgos.actuation.journal_storage import JournalLock
from stella.xgos.actuation.journal_text import Entry, current_boot, show_entry, show_journal
from stella.xgos.host_files import HostFiles

REPOSITORY = Path(__file__).parents[4]
QUOTA, SHARES = "/cgroup/a/cpu.cfs_quota_us", "/cgroup/a/cpu.shares"


@pytest.fixture
def host(tmp_path: Path) -> tuple[HostFiles, Path]:
    (tmp_path / "cgroup/a").mkdir(parents=True)
    (tmp_path / QUOTA[1:]).write_text("5000\n")
    (tmp_path / SHARES[1:]).write_text("9\n")
    files = HostFiles(str(tmp_path))
    inode = str(files.identity(QUOTA))
    journal = tmp_path / "journal"
    journal.write_text(
        show_journal(
            [
                Entry(
                    target=cgroup_target("/cgroup/a", "cpu.cfs_quota_us"), identity=inode, original="-1", temporary=True
                ),
                Entry(target=cgroup_target("/cgroup/a", "cpu.shares"), identity=inode, original="1024"),
            ],
            current_boot(),
        )
    )
    return files, journal


def test_end_of_file_lifts_and_ends(host: tuple[HostFiles, Path], capfd: pytest.CaptureFixture[str]) -> None:
    files, journal = host
    reading, writing = os.pipe()
    os.write(writing, b"..")
    os.close(writing)
    guard.watch(reading, files.root, str(journal))
    os.close(reading)
    assert files.read(QUOTA) == "-1\n" and files.read(SHARES) == "9\n"
    assert "1 temporary restraints lifted" in capfd.readouterr().err


def test_silence_lifts_once_and_waits_on(host: tuple[HostFiles, Path], capfd: pytest.CaptureFixture[str]) -> None:
    files, journal = host
    reading, writing = os.pipe()
    thread = threading.Thread(target=guard.watch, args=(reading, files.root, str(journal), 0.01))
    thread.start()
    while files.read(QUOTA) != "-1\n":
        pass
    assert thread.is_alive()
    os.close(writing)
    thread.join()
    os.close(reading)
    assert "no tick for 0.01 s: 1 temporary restraints lifted" in capfd.readouterr().err


def test_no_journal_is_nothing_to_do(tmp_path: Path) -> None:
    assert guard.entries_of(guard.Memory(), str(tmp_path / "none")) == ()


def test_heartbeat_without_a_guard() -> None:
    assert not Guard("/", "/nowhere").beat()


def test_the_process_itself(host: tuple[HostFiles, Path]) -> None:
    files, journal = host
    process = Guard(files.root, str(journal), Journal.load(str(journal)).lines)
    journal.write_text("garbled: the guard does not need it")
    process.start()
    try:
        assert process.pid and os.getsid(process.pid) == process.pid
        assert process.beat() and files.read(QUOTA) == "5000\n"
    finally:
        process.close()
    assert files.read(QUOTA) == "-1\n"
    assert not process.beat()
    mended = {e.target.knob: (e.original, e.lifted) for e in Journal.load(str(journal)).entries}
    assert mended == {"cpu.cfs_quota_us": ("-1", True), "cpu.shares": ("1024", False)}


def test_what_is_written_during_a_silence_is_lifted_too(
    host: tuple[HostFiles, Path], capfd: pytest.CaptureFixture[str]
) -> None:
    files, journal = host
    reading, writing = os.pipe()
    thread = threading.Thread(target=guard.watch, args=(reading, files.root, str(journal), 0.01))
    thread.start()
    for _ in range(3):  # an agent that hangs in the middle of its writes
        wait_for(lambda: files.read(QUOTA) == "-1\n")
        files.write_knob(QUOTA, "6000")
    wait_for(lambda: files.read(QUOTA) == "-1\n")
    os.close(writing)
    thread.join()
    os.close(reading)
    assert capfd.readouterr().err.count("1 temporary restraints lifted") >= 3


def wait_for(true: Callable[[], bool]) -> None:
    while not true():  # pytest's own limit ends what never comes
        threading.Event().wait(0.001)


def test_memory_of_what_the_agent_told() -> None:
    weight = Entry(target=cgroup_target("/cgroup/a", "cpu.shares"), identity="1", original="1024")
    quota = replace(weight, target=cgroup_target("/cgroup/a", "cpu.max"), temporary=True)
    memory = guard.Memory()
    assert memory.entries is None
    told = (
        f".\n=\n+{show_entry(weight)}\n+{show_entry(quota)}\n+no entry\n\xff\n.\n-{show_entry(weight)}\n+half".encode()
    )
    for n in range(len(told)):
        memory.feed(told[n : n + 1])
    assert memory.entries == {quota.target: quota}


def test_no_guard_is_tried_now_and_then_and_logged_once(
    host: tuple[HostFiles, Path], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    files, journal = host
    process = Guard(files.root, str(journal), Journal.load(str(journal)).lines)

    def refuse(*_: object, **__: object) -> object:
        raise OSError(errno.EAGAIN, "no process can be made")

    with monkeypatch.context() as broken:
        broken.setattr("stella.xgos.actuation.guard_process.subprocess.Popen", refuse)
        assert [process.ensure(seconds) for seconds in (1.0, 2.0, 7.0, 13.0)] == [False] * 4
        assert not process.alive and caplog.text.count("no restraint is set") == 1
    assert not process.ensure(14.0), "not before its time"
    try:
        assert process.ensure(19.0) and "there is a guard again" in caplog.text
        wait_for(lambda: process.ensure(20.0) and process.alive)  # once it has read what it was told
    finally:
        process.close()


def test_a_guard_that_reads_nothing_is_replaced(host: tuple[HostFiles, Path]) -> None:
    files, journal = host
    process = Guard(files.root, str(journal), Journal.load(str(journal)).lines)
    try:
        assert process.ensure(1.0) and process.pid
        wait_for(lambda: process.ensure(1.0) and process.alive)
        stopped = process.pid
        os.kill(stopped, signal.SIGSTOP)
        assert [process.ensure(seconds) for seconds in (2.0, 3.0, 4.0)] == [True] * 3
        assert process.ensure(9.0) and process.pid != stopped and process.starts == 2
    finally:
        process.close()


def test_the_guard_leaves_the_journal_to_a_successor(host: tuple[HostFiles, Path]) -> None:
    _, journal = host
    memory = guard.Memory()
    memory.feed("".join(f"{line}\n" for line in Journal.load(str(journal)).lines()).encode())
    journal.write_text("the successor's")
    with contextlib.closing(JournalLock(str(journal))):
        guard.mend(memory, str(journal), ())
        assert journal.read_text() == "the successor's"
    guard.mend(memory, str(journal), ())
    assert len(Journal.load(str(journal)).entries) == 2


def test_it_imports_little() -> None:
    code = "import sys, stella.xgos.actuation.guard; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY
    )
    heavy = {"json", "logging", "subprocess", "pathlib", "stella.model.allocation", "stella.control", "argparse"}
    assert heavy & set(done.stdout.split()) == set()
