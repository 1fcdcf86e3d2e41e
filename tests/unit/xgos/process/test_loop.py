"""The loop's own bookkeeping, on an instance that comes, is promised something, and goes."""

import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from stella.control.memory import Memory, Settings
from stella.control.tick import decide
from stella.model.allocation import Decision, Outcome
from stella.model.intent import IntentState, Mode
from stella.model.slo import Metric, parse_slo
from stella.model.snapshot import HostReading, InstanceReading, Snapshot
from stella.xgos.accounting.history import History
from stella.xgos.accounting.violations import ViolationLog
from stella.xgos.intents.changes import Accepted, Refused
from stella.xgos.intents.reconcile import ASKS_A_TICK
from stella.xgos.intents.store import IntentStore
from stella.xgos.line_log import LineWriter
from stella.xgos.process.config import Config
from stella.xgos.process.loop import Loop, Stores
from tests.unit.xgos.conftest import VM1, VM2, reading


class Host:
    """Sensors and actuation of a host whose clock is ours."""

    def __init__(self) -> None:
        self.paused = False
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

    def pause(self, paused: bool, monotonic_seconds: float, wall_seconds: float) -> None:
        self.paused = paused

    def beat(self) -> None:
        pass


class Watched:
    """A loop, and whom its stores were told to forget."""

    def __init__(self, directory: Path, writer: LineWriter, monkeypatch: pytest.MonkeyPatch) -> None:
        self.host = Host()
        self.directory = directory
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


def test_what_became_of_an_intent_is_published(watched: Watched) -> None:
    watched.ticks(1)
    slo = parse_slo({"cpu": {"floor": 0.2}})
    answered: list[Accepted] = []
    asker = threading.Thread(target=lambda: answered.append(watched.loop.change_slo(VM1, lambda _: slo, dry_run=False)))
    asker.start()
    while asker.is_alive():
        watched.loop._mailbox.run_until(time.monotonic() + 0.01)
    assert answered[0].generation == 1 and IntentStore(watched.directory / "intents.json").slo(VM1) == slo
    watched.ticks(0.25)
    published = watched.loop.published()
    assert published is not None
    assert published.standings[VM1].state is IntentState.ENFORCED and published.standings[VM1].source == "manual"
    assert (
        published.capabilities["cpu_floor"] == "" and "disk traffic" in published.capabilities["block_latency_target"]
    )


def test_before_the_first_tick_nothing_is_changed(watched: Watched) -> None:
    said: list[Refused] = []

    def ask() -> None:
        try:
            watched.loop.change_slo(VM1, lambda _: None, dry_run=False)
        except Refused as refusal:
            said.append(refusal)

    asker = threading.Thread(target=ask)
    asker.start()
    while asker.is_alive():
        watched.loop._mailbox.run_until(time.monotonic() + 0.01)
    assert said[0].field == "agent"


def test_what_a_degraded_intent_misses_for_want_of_cpu_is_for_want_of_capacity(watched: Watched) -> None:
    store = watched.stores.intents
    for uuid in (VM1, VM2):
        store.set(uuid, parse_slo({"cpu": {"floor": 0.2}}), reserved_cpu_cores=0.2, estimated=False)
    store.mark(VM1, IntentState.DEGRADED, reserved_cpu_cores=0.0, reason="full")
    _, _, memory = decide(watched.host.sense(), store.intents, Memory(), Settings())
    assert not memory.instances[VM1].fits and memory.instances[VM2].fits


def test_what_is_admitted_is_acted_on_in_the_same_tick_and_what_waits_is_not_judged(watched: Watched) -> None:
    store = watched.stores.intents
    uuids = [f"00000000-0000-4000-8000-{number:012d}" for number in range(ASKS_A_TICK + 2)]
    watched.host.instances = tuple(reading(uuid, f"vm{number}") for number, uuid in enumerate(uuids))
    for uuid in uuids:
        store.set(uuid, parse_slo({"cpu": {"floor": 0.05}}), reserved_cpu_cores=0.0, estimated=False)
        store.mark(uuid, IntentState.PENDING, reserved_cpu_cores=0.0, reason="the instance is shut off")
    for admitted in (ASKS_A_TICK, len(uuids)):
        watched.ticks(0.25)
        published = watched.loop.published()
        assert published is not None and published.pending == set(uuids)
        states = [store.intents[uuid].state for uuid in uuids]
        assert states.count(IntentState.ENFORCED) == admitted
        managed = {one.uuid for one in published.decision.instances if one.managed}
        assert managed == {uuid for uuid in uuids if store.intents[uuid].state is IntentState.ENFORCED}


@pytest.mark.parametrize(
    ("configured", "asked", "does", "paused"),
    [
        (Mode.ENFORCE, "", Mode.ENFORCE, False),
        (Mode.ENFORCE, "enforce", Mode.ENFORCE, False),
        (Mode.ENFORCE, "maintenance", Mode.ENFORCE, False),
        (Mode.ENFORCE, "observe", Mode.OBSERVE, True),
        (Mode.OBSERVE, "enforce", Mode.OBSERVE, False),
        (Mode.OBSERVE, "maintenance", Mode.OBSERVE, False),
        (Mode.OBSERVE, "observe", Mode.OBSERVE, False),
    ],
)
def test_the_configurations_mode_is_the_most_that_the_api_can_ask_for(
    watched: Watched, configured: Mode, asked: str, does: Mode, paused: bool
) -> None:
    modes = [""]
    stores = replace(watched.stores, api_mode=lambda: modes[0])
    loop = Loop(Config(mode=configured), Settings(), watched.host, watched.host, stores, Memory())
    for mode in ("", asked):
        modes[0] = mode
        watched.host.seconds += 0.25
        loop.tick()
    published = loop.published()
    assert published is not None and (published.mode, published.configured_mode) == (does, configured)
    assert watched.host.paused is paused
