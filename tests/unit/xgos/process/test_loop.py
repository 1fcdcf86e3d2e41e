"""The loop's own bookkeeping, on an instance that comes, is promised something, and goes."""

from pathlib import Path

import pytest

from stella.control.memory import Memory, Settings
from stella.model.allocation import Decision, Outcome
from stella.model.slo import Metric, parse_slo
from stella.model.snapshot import HostReading, InstanceReading, Snapshot
from stella.xgos.accounting.history import History
from stella.xgos.accounting.violations import ViolationLog
from stella.xgos.intents.store import IntentStore
from stella.xgos.line_log import LineWriter
from stella.xgos.process.config import Config
from stella.xgos.process.loop import Loop, Stores
from tests.unit.xgos.conftest import VM1, VM2, reading


class Host:
    """Sensors and actuation of a host whose clock is ours."""

    def __init__(self) -> None:
        self.seconds = 1000.0
        self.instances: tuple[InstanceReading, ...] = (reading(VM1, "vm1"), reading(VM2, "vm2"))

    def sense(self) -> Snapshot:
        host = HostReading(
            cores=2, busy_seconds=1, idle_seconds=self.seconds, softirq_seconds=0, steal_seconds=0, cgroup_version=1
        )
        now = self.seconds
        return Snapshot(monotonic_seconds=now, wall_seconds=1e9 + now, host=host, instances=self.instances)

    def bounds(self, snapshot: Snapshot) -> Snapshot:
        return snapshot

    def act(self, snapshot: Snapshot, decision: Decision) -> tuple[tuple[Outcome, ...], int]:
        return (), 0

    def beat(self) -> None:
        pass


class Watched:
    """A loop, and whom its stores were told to forget."""

    def __init__(self, directory: Path, writer: LineWriter, monkeypatch: pytest.MonkeyPatch) -> None:
        self.host = Host()
        self.forgotten: list[str] = []
        self.stores = Stores(
            intents=IntentStore(directory / "intents.json"),
            history=History(directory / "history", writer, now_seconds=1e9, background=False),
            violations=ViolationLog(directory / "violations.jsonl", writer),
        )
        monkeypatch.setattr(self.stores.history, "forget", self.forgotten.append)
        self.loop = Loop(Config(), Settings(), self.host, self.host, self.stores, Memory())

    def ticks(self, seconds: float, period: float = 0.25) -> None:
        for _ in range(round(seconds / period)):
            self.host.seconds += period
            self.loop.tick()


@pytest.fixture
def watched(tmp_path: Path, writer: LineWriter, monkeypatch: pytest.MonkeyPatch) -> Watched:
    return Watched(tmp_path, writer, monkeypatch)


def test_an_instance_that_is_gone_is_forgotten_unless_it_is_promised_something(watched: Watched) -> None:
    watched.stores.intents.set(VM1, parse_slo({"cpu": {"floor": 0.2}}), reserved_cpu_cores=0.2, estimated=False)
    watched.ticks(2)
    watched.host.instances = ()
    watched.ticks(59, period=1.0)
    assert watched.forgotten == []
    watched.ticks(3, period=1.0)
    assert watched.forgotten == [VM2]
    watched.stores.intents.unset(VM1)
    watched.ticks(2, period=1.0)
    assert watched.forgotten == [VM2, VM1]


def test_an_slo_is_pending_until_its_first_window(watched: Watched) -> None:
    watched.ticks(3)
    for floor in (0.2, 0.3):  # new, and changed
        slo = parse_slo({"cpu": {"floor": floor}})
        watched.stores.intents.set(VM1, slo, reserved_cpu_cores=floor, estimated=False)
        watched.ticks(0.25)
        published = watched.loop.published()
        assert published is not None and published.pending == {VM1}
        watched.ticks(3)
        published = watched.loop.published()
        assert published is not None and published.pending == frozenset()
        assert watched.stores.history.tally(VM1, Metric.CPU, 0.0).no_demand
