"""The agent as a process: one at a time, on a copy of a recorded host."""

import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stella.model.target import cgroup_target
from stella.xgos.actuation.journal_text import Entry, current_boot, show_journal
from stella.xgos.host_files import HostFiles

from .conftest import HOSTS, REPOSITORY, xgos

HOST = "v1-libvirt9"
VCPU = "/sys/fs/cgroup/cpu/machine/qemu-1-vm1.libvirt-qemu/vcpu0"
OWN = "/sys/fs/cgroup/cpu/machine/qemu-1-vm1.libvirt-qemu"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A host that may be changed."""
    return Path(shutil.copytree(HOSTS / HOST, tmp_path / "host"))


class Agent:
    """A running agent and what it says."""

    def __init__(self, root: Path, config: Path) -> None:
        argv = [sys.executable, "-m", "stella.cmd.xgos", "--root", str(root), "--config", str(config)]
        self.process = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True, cwd=REPOSITORY)
        self.lines: list[str] = []

    def wait_for(self, words: str) -> str:
        """Read on to the line with these words (pytest's own limit ends what never comes)."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)
            if words in line:
                return line
        raise AssertionError("".join(self.lines))

    def end(self) -> int:
        """End it as a service manager does; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        self.lines += self.process.communicate(timeout=30)[1].splitlines(keepends=True)
        return self.process.returncode


@pytest.fixture
def start(root: Path) -> Iterator[Callable[[Path], Agent]]:
    """Starts agents, and leaves none."""
    agents: list[Agent] = []

    def one(config: Path) -> Agent:
        agents.append(Agent(root, config))
        return agents[-1]

    yield one
    for agent in agents:
        agent.process.kill()
        agent.process.wait()


def leave_behind(root: Path, journal: Path) -> None:
    """A host as an agent that was killed together with its guard leaves it: a weight and a quota, and where they came from."""
    files = HostFiles(str(root))
    quota, period, shares = f"{VCPU}/cpu.cfs_quota_us", f"{VCPU}/cpu.cfs_period_us", f"{OWN}/cpu.shares"
    before = [(quota, "-1", "5000", True), (period, "100000", "50000", True), (shares, "1024", "77", False)]
    entries = []
    for path, original, now, temporary in before:
        target = cgroup_target(*path.rsplit("/", 1))
        entries.append(Entry(target=target, identity=str(files.identity(path)), original=original, temporary=temporary))
        files.write_knob(path, now)
    journal.parent.mkdir(parents=True)
    journal.write_text(show_journal(entries, current_boot()))


@pytest.mark.parametrize("words", [["--once"], ["--once", "--dry-run"], ["release"], ["run"]])
def test_a_tree_without_cgroups_is_one_line(words: list[str], configured: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = xgos(*words, "--root", tmp_path / "empty", "--config", configured())
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("xgos: ") and done.stderr.count("\n") == 1


def test_one_agent_for_a_host(
    root: Path, configured: Callable[..., Path], tmp_path: Path, start: Callable[[Path], Agent]
) -> None:
    config = configured(mode="observe")
    agent = start(config)
    agent.wait_for("mode observe")
    other = configured(mode="enforce", state_directory=str(tmp_path / "other"), run_directory=str(tmp_path / "other"))
    for words in (["run"], ["release"], ["--once"]):
        done = xgos(*words, "--root", root, "--config", other)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == "xgos: another agent manages /sys/fs/cgroup/cpu\n"
    assert agent.end() == 0
    assert xgos("release", "--root", root, "--config", other).returncode == 0


def test_what_a_killed_agent_left_is_lifted_first_and_its_originals_are_kept(
    root: Path, configured: Callable[..., Path], tmp_path: Path, start: Callable[[Path], Agent]
) -> None:
    leave_behind(root, tmp_path / "run" / "journal")
    files = HostFiles(str(root))
    agent = start(configured())
    agent.wait_for("2 restraints lifted, 3 knobs taken over")
    assert (files.read(f"{VCPU}/cpu.cfs_quota_us"), files.read(f"{VCPU}/cpu.cfs_period_us")) == ("-1\n", "100000\n")
    agent.wait_for("mode enforce")
    while files.read(f"{OWN}/cpu.shares") == "77\n":  # until it has decided anew
        threading.Event().wait(0.02)
    assert agent.end() == 0
    assert files.read(f"{OWN}/cpu.shares") == "1024\n" and not (tmp_path / "run" / "journal").exists()


def test_to_observe_is_to_see_the_host_as_it_is(
    root: Path, configured: Callable[..., Path], tmp_path: Path, start: Callable[[Path], Agent]
) -> None:
    leave_behind(root, tmp_path / "run" / "journal")
    agent = start(configured(mode="observe"))
    agent.wait_for("3 knobs of its journal restored")
    assert HostFiles(str(root)).read(f"{OWN}/cpu.shares") == "1024\n"
    assert agent.end() == 0
