"""The agent killed by SIGKILL, its journal in every state: nothing stays restrained, and `xgos release` finds everything."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stella.xgos.actuation.journal import Journal

from .conftest import HOSTS, REPOSITORY, xgos

HOST = "v1-libvirt9"
GROUPS = "sys/fs/cgroup/cpu"
VCPUS = f"{GROUPS}/machine/qemu-2-vm3.libvirt-qemu/vcpu*/cpu.cfs_quota_us"
WEIGHT = f"{GROUPS}/machine/qemu-1-vm1.libvirt-qemu/cpu.shares"
SLOS = "instances:\n  vm1: {cpu: {floor: 20%}}\n  vm3: {cpu: {ceiling: 100%}}\n"
LIFTED_WITHIN_SECONDS = 2.0


def wait_until(true: Callable[[], bool], seconds: float) -> bool:
    """Whether it came true in time."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def read_knob(path: Path) -> str:
    """The value of a knob. A copied tree is of ordinary files, so a reader can meet one between truncation and write."""
    for _ in range(100):
        if value := path.read_text():
            return value
        time.sleep(0.01)
    raise AssertionError(f"{path} stays empty")


def texts(root: Path) -> dict[str, bytes]:
    """Every file of the host's tree, bit for bit; directories too."""
    return {str(p.relative_to(root)): p.read_bytes() if p.is_file() else b"" for p in root.rglob("*")}


class Killed:
    """An agent in enforce mode on a copied host."""

    def __init__(self, directory: Path, configured: Callable[..., Path], **keys: object) -> None:
        self.root = Path(shutil.copytree(HOSTS / HOST, directory / "host"))
        self.before = texts(self.root)
        (directory / "slo.yaml").write_text(SLOS)
        self.config = configured(slo_file=str(directory / "slo.yaml"), tick_milliseconds=100, **keys)
        self.journal = directory / "run" / "journal"
        argv = [sys.executable, "-m", "stella.cmd.xgos", "--root", str(self.root), "--config", str(self.config)]
        self.log = (directory / "log").open("w+b")
        self.process = subprocess.Popen(argv, stderr=self.log, cwd=REPOSITORY)

    def restrained(self) -> list[str]:
        return [str(p) for p in self.root.glob(VCPUS) if read_knob(p) != "-1\n"]

    def wait_for_restraints(self) -> None:
        set_ = wait_until(lambda: len(self.restrained()) == 4 and self.weight() != "1024\n", 10.0)
        assert set_, Path(self.log.name).read_text()

    def weight(self) -> str:
        return read_knob(self.root / WEIGHT)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def release(self) -> None:
        done = xgos("release", "--root", self.root, "--config", self.config)
        assert (done.returncode, "0 failed" in done.stdout) == (0, True), done.stderr
        after = texts(self.root)
        assert {p for p in {*self.before, *after} if self.before.get(p) != after.get(p)} == set()


@pytest.fixture
def agent(tmp_path: Path, configured: Callable[..., Path]) -> Iterator[Killed]:
    one = Killed(tmp_path, configured)
    yield one
    one.process.kill()
    one.process.wait()
    one.log.close()


def guards_of(pid: int) -> list[int]:
    """The guard of an agent: its only child."""
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def cut(journal: Path) -> None:
    os.truncate(journal, journal.stat().st_size // 2)


def garbled(journal: Path) -> None:
    journal.write_bytes(re.sub(rb"-1|100000|1024", b"77", journal.read_bytes()))


STATES: dict[str, Callable[[Path], None]] = {
    "intact": lambda _: None,
    "cut": cut,
    "garbled": garbled,
    "missing": Path.unlink,
}


MOMENTS = [("intact", at) for at in (0.0, 0.02, 0.05, 0.2)] + [
    (state, at) for state in ("cut", "garbled", "missing") for at in (0.0, 0.1)
]
"""The journal's state, and the seconds from the first restraint to the kill."""


@pytest.mark.parametrize(("state", "seconds"), MOMENTS)
def test_nothing_stays_restrained_and_release_is_bit_for_bit(agent: Killed, state: str, seconds: float) -> None:
    assert wait_until(lambda: agent.restrained() != [], 10.0), Path(agent.log.name).read_text()
    time.sleep(seconds)
    STATES[state](agent.journal)
    agent.kill()
    assert wait_until(lambda: not agent.restrained(), LIFTED_WITHIN_SECONDS), agent.restrained()
    assert agent.weight() != "1024\n", "a weight is no restraint: it stays until release"
    agent.release()


@pytest.mark.parametrize("state", ["cut", "missing"])
def test_release_without_guard_and_journal(agent: Killed, state: str) -> None:
    agent.wait_for_restraints()
    copy = agent.journal.parent.parent / "state" / "journal.copy"
    assert wait_until(lambda: copy.exists() and len(Journal.load(str(copy)).entries) > 8, 5.0)
    (guard,) = guards_of(agent.process.pid)
    os.kill(agent.process.pid, signal.SIGSTOP)
    os.kill(guard, signal.SIGKILL)
    STATES[state](agent.journal)
    agent.kill()
    assert len(agent.restrained()) == 4
    agent.release()
    assert not copy.exists()


def test_a_stopped_agent_is_lifted_and_goes_on(agent: Killed) -> None:
    agent.wait_for_restraints()
    os.kill(agent.process.pid, signal.SIGSTOP)
    assert wait_until(lambda: not agent.restrained(), LIFTED_WITHIN_SECONDS)
    os.kill(agent.process.pid, signal.SIGCONT)
    agent.wait_for_restraints()  # it goes on as if nothing had been
    agent.process.terminate()
    assert agent.process.wait(timeout=10) == 0
    after = texts(agent.root)
    assert {p for p in {*agent.before, *after} if agent.before.get(p) != after.get(p)} == set()


def test_files_are_not_for_everybody(agent: Killed) -> None:
    agent.wait_for_restraints()
    agent.process.terminate()
    assert agent.process.wait(timeout=10) == 0
    state = agent.journal.parent.parent / "state"
    open_to_others = [str(p) for p in state.rglob("*") if p.stat().st_mode & 0o007]
    assert open_to_others == [] and state.stat().st_mode & 0o777 == 0o750
    assert (state / "audit.jsonl").stat().st_mode & 0o777 == 0o640


def test_a_single_run_sets_no_restraint(tmp_path: Path, configured: Callable[..., Path]) -> None:
    root = Path(shutil.copytree(HOSTS / HOST, tmp_path / "host"))
    before = texts(root)
    (tmp_path / "slo.yaml").write_text(SLOS)
    config = configured(slo_file=str(tmp_path / "slo.yaml"))
    done = xgos("--root", root, "--once", "--config", config)
    assert done.returncode == 0, done.stderr
    assert [p for p in root.glob(VCPUS) if read_knob(p) != "-1\n"] == []
    assert (root / WEIGHT).read_text() != "1024\n"
    assert "no guard runs: restraints are not set" in done.stdout
    assert xgos("release", "--root", root, "--config", config).returncode == 0
    assert texts(root) == before


def test_observing_needs_no_guard(tmp_path: Path, configured: Callable[..., Path]) -> None:
    agent = Killed(tmp_path, configured, mode="observe")
    try:
        log = Path(agent.log.name)
        assert wait_until(lambda: "mode observe" in log.read_text(), 10.0)
        assert guards_of(agent.process.pid) == []
        time.sleep(0.3)
        agent.process.terminate()
        assert agent.process.wait(timeout=10) == 0
        assert "the guard" not in log.read_text() and texts(agent.root) == agent.before
    finally:
        agent.process.kill()
        agent.process.wait()
        agent.log.close()
