"""Real guests: QEMU and libvirtd are stopped, libvirtd is killed and started again; the other guest goes on (root, minutes)."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from stella.bench.lab import Backend, Guest, Lab, Workload
from stella.bench.policies.stella import config_text
from stella.xgos.local_api.client import Client, RequestRefused, Unreachable
from tests.functional.process import wait

pytestmark = [pytest.mark.vm, pytest.mark.timeout(540)]
DIRECTORY = Path(__file__).parents[2] / ".run" / "bench"
GUESTS = tuple(
    Guest(name=name, disk=("local", 100 * 10**6), workloads=(Workload(kind="cpu"),)) for name in ("kept", "stuck")
)
_STUCK_SECONDS = 8.0
_KNOWN = frozenset({"MET", "NO_DEMAND", "SELF_LIMITED", "VIOLATED", "DEGRADED"})


class Agent:
    """The agent on the laboratory's host, in mode enforce."""

    def __init__(self, lab: Lab, directory: Path) -> None:
        socket = lab.home / "xgos.sock"
        (directory / "state").mkdir(parents=True)
        config = directory / "xgos.toml"
        config.write_text(config_text(mode="enforce", directory=directory, home=lab.home, socket=socket, uri=lab.uri))
        self.log = directory / "log"
        with self.log.open("wb") as log:
            argv = [sys.executable, "-m", "stella.cmd.xgos", "run", "--config", str(config)]
            self.process = lab.spawn(argv, stdout=log, stderr=log)
        self.client = Client(socket, timeout_seconds=5.0)

    def status(self) -> dict[str, Any]:
        try:
            return self.client.status()
        except (Unreachable, RequestRefused):
            return {}

    def statuses(self, lab: Lab, name: str, since: float) -> list[str]:
        """What became of the guest's floor in each window after ``since`` (Unix seconds)."""
        return [
            objective["status"]
            for window in self.client.windows(since)
            for objective in window["instances"].get(lab.uuid(name), {}).values()
        ]

    def disks(self, lab: Lab, name: str) -> Any:
        """What its monitor tells of its disks; None where that is too long ago."""
        found = self.client.ask("snapshot")["snapshot"]["instances"]
        return next(one["disks"] for one in found if one["uuid"] == lab.uuid(name))

    def sensor_fails(self, name: str) -> bool:
        return any(one["name"] == name and not one["ok"] for one in self.status().get("sensors", []))


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(directory=DIRECTORY, backends=(Backend("local"),), progress=print) as made:
        made.boot(GUESTS)
        yield made


@pytest.fixture(scope="module")
def agent(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    made = Agent(lab, tmp_path_factory.mktemp("agent"))
    try:
        assert wait(lambda: made.status().get("instances") == 2, 60), made.log.read_text()
        for guest in GUESTS:
            made.client.set_slo(guest.name, {"cpu": {"floor": 0.2}}, replace=True)
        assert wait(lambda: made.status().get("intent_states", {}).get("enforced") == 2, 60), made.status()
        assert wait(lambda: "MET" in made.statuses(lab, "stuck", time.time() - 10), 60), made.log.read_text()
        yield made
    finally:
        made.process.send_signal(signal.SIGTERM)
        made.process.wait(30)


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def _goes_on(agent: Agent, lab: Lab, seconds: float) -> list[str]:
    """The agent ticks for so long without a failure; the statuses of ``kept`` meanwhile."""
    before, began = agent.status(), time.time()
    time.sleep(seconds)
    after = agent.status()
    assert after["failed_ticks"] == 0
    assert after["ticks"] - before["ticks"] >= seconds / 0.25 * 0.7, "no tick waits for it"
    return agent.statuses(lab, "kept", began)


def test_a_stuck_qemu(lab: Lab, agent: Agent) -> None:
    with stopped(lab.qemu_pids["stuck"]):
        time.sleep(3.0)
        since = time.time()
        kept = _goes_on(agent, lab, _STUCK_SECONDS)
        assert kept and set(kept) <= _KNOWN, kept
        stuck = agent.statuses(lab, "stuck", since)
        assert stuck and "MET" not in stuck, stuck
        assert wait(lambda: agent.disks(lab, "stuck") is None, 30), "its monitor does not answer"
        assert agent.disks(lab, "kept"), "another's does"
    assert wait(lambda: "MET" in agent.statuses(lab, "stuck", time.time() - 4), 60), agent.status()


def test_a_stuck_libvirtd(lab: Lab, agent: Agent, measured: Callable[[str, float], None]) -> None:
    with stopped(lab.libvirtd_pid):
        assert wait(lambda: agent.sensor_fails("hypervisor"), 60), agent.status()["sensors"]
        _goes_on(agent, lab, _STUCK_SECONDS)
    began = time.monotonic()
    assert wait(lambda: not agent.sensor_fails("hypervisor"), 60), agent.status()["sensors"]
    measured("seen again after libvirtd went on", time.monotonic() - began)
    assert wait(lambda: "MET" in agent.statuses(lab, "kept", time.time() - 4), 60), agent.status()


def test_libvirtd_killed_and_started_again(lab: Lab, agent: Agent, measured: Callable[[str, float], None]) -> None:
    """The guests live on, and are found again."""
    lab.hypervisor.daemons["libvirtd"].kill()
    lab.hypervisor.daemons["libvirtd"].wait(30)
    _goes_on(agent, lab, 3.0)
    lab.hypervisor._start("libvirtd", lab.note.add_process)
    began = time.monotonic()
    assert wait(lambda: not agent.sensor_fails("hypervisor"), 90), agent.status()["sensors"]
    measured("seen again after libvirtd was started", time.monotonic() - began)
    began_wall = time.time()
    assert wait(lambda: "MET" in agent.statuses(lab, "kept", began_wall), 60), agent.status()
    assert agent.status()["instances"] == 2


def test_a_guest_dies(lab: Lab, agent: Agent) -> None:
    """Last: it is not started again."""
    os.kill(lab.qemu_pids["stuck"], signal.SIGKILL)
    kept = _goes_on(agent, lab, 4.0)
    assert kept and set(kept) <= _KNOWN, kept
    assert wait(lambda: agent.status().get("instances") == 1, 60), agent.status()
