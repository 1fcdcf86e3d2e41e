"""The guard lifts restraints when the agent falls silent or dies. (The process itself: tests/vm.)"""

import os
import threading
from pathlib import Path

import pytest

from stella.model.target import cgroup_target
from stella.xgos.actuation import guard
from stella.xgos.actuation.guard_process import Guard
from stella.xgos.actuation.journal import Journal
from stella.xgos.actuation.journal_text import Entry, current_boot, show_journal
from stella.xgos.host_files import HostFiles

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
