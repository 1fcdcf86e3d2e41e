"""Asking the hypervisor in threads: what is stuck or fails delays nobody else, and is noticed."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from stella.model.snapshot import DiskReading
from stella.xgos import supervision
from stella.xgos.host_files import HostFiles, Unavailable
from stella.xgos.sensing.block_workers import BlockWorkers
from stella.xgos.sensing.discovery import Discovery
from stella.xgos.sensing.domains import DomainList, RecordedHypervisor, read_disks

HOSTS = Path(__file__).parents[3] / "fixtures" / "hosts"
DISK = DiskReading(
    name="vda",
    read_operations=1,
    read_bytes=1,
    read_seconds=1,
    write_operations=0,
    write_bytes=0,
    write_seconds=0,
)


class Clock:
    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_block_records() -> None:
    record = {"block.count": 2, "block.0.name": "vda", "block.0.rd.reqs": 5, "block.0.rd.times": 2 * 10**9}
    record |= {"block.1.name": "vda", "block.1.backingIndex": 3}
    disks = read_disks(record)
    assert disks and len(disks) == 1 and disks[0].read_seconds == 2.0
    assert read_disks({"block.count": 1, "block.0.name": "vda"}) is None  # its monitor was busy


def wait_for(condition: Callable[[], object]) -> None:
    """Spin until other threads have done it (pytest's own limit ends what never comes)."""
    while not condition():
        os.sched_yield()


def test_a_stuck_monitor_delays_nobody_else(clock: Clock) -> None:
    files = HostFiles(str(HOSTS / "v1-libvirt9"))
    let_go = threading.Event()

    class Stuck(RecordedHypervisor):
        def block_statistics(self, uuids: tuple[str, ...]) -> dict[str, tuple[DiskReading, ...]]:
            if "stuck" in uuids:
                let_go.wait(10)
                raise Unavailable("it was stuck")
            return {uuid: (DISK,) for uuid in uuids}

    workers = BlockWorkers(lambda: Stuck(files), monotonic=clock, interval_seconds=0.25)
    try:
        workers.watch(frozenset({"stuck", "a", "b"}))
        wait_for(lambda: {"a", "b"} <= workers.seen()[0].keys())
        for _ in range(5):
            clock.seconds += 1.1
            workers.watch(frozenset({"stuck", "a", "b"}))
            wait_for(lambda: all(workers.seen()[0][uuid].monotonic_seconds == clock.seconds for uuid in ("a", "b")))
        assert "stuck" not in workers.seen()[0] and not workers.answered()
    finally:
        let_go.set()
        workers.close()


def test_a_stuck_list_never_blocks(clock: Clock) -> None:
    files = HostFiles(str(HOSTS / "v1-libvirt9"))
    let_go = threading.Event()
    made: list[object] = []

    class Stuck(RecordedHypervisor):
        def domains(self) -> DomainList:
            if len(made) == 1:
                let_go.wait(10)
            return super().domains()

    def connect() -> Stuck:
        made.append(None)
        return Stuck(files)

    discovery = Discovery(connect, connect_worker=lambda: RecordedHypervisor(files), monotonic=clock)
    try:
        wait_for(lambda: discovery.seen() and discovery._call_since is not None)
        assert discovery.seen().domains_error == "not asked yet"
        clock.seconds += 5.0
        wait_for(lambda: discovery.seen().domains and discovery.seen().disks)
        assert discovery.seen().domains_error == "" and len(made) == 2
    finally:
        let_go.set()
        discovery.close()


class Failing(RecordedHypervisor):
    """One that has a fault of its own, until it is mended."""

    broken = True

    def __init__(self) -> None:
        super().__init__(HostFiles(str(HOSTS / "v1-libvirt9")))

    def domains(self) -> DomainList:
        if self.broken:
            raise RuntimeError("a fault")
        return super().domains()

    def block_statistics(self, uuids: tuple[str, ...]) -> dict[str, tuple[DiskReading, ...]]:
        if self.broken:
            raise RuntimeError("a fault")
        return {uuid: (DISK,) for uuid in uuids}


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> type[Failing]:
    def impatient(target: Callable[[], None], *, name: str, stop: threading.Event | None = None) -> threading.Thread:
        return start(target, name=name, stop=stop, pause_seconds=0.001)

    start = supervision.start
    monkeypatch.setattr(supervision, "start", impatient)
    monkeypatch.setattr(Failing, "broken", True)
    return Failing


def test_a_block_worker_that_fails_blinds_nobody(clock: Clock, failing: type[Failing]) -> None:
    workers = BlockWorkers(failing, monotonic=clock, interval_seconds=0.25)
    before = supervision.restarts().get("block", 0)
    try:
        workers.watch(frozenset("ab"))

        def failed() -> bool:
            clock.seconds += 0.25
            return supervision.restarts().get("block", 0) > before + 4

        wait_for(failed)
        assert workers.seen()[1] == "RuntimeError: a fault" and workers.answered()
        for _ in range(20):
            clock.seconds += 1.1
            workers.watch(frozenset("ab"))
        assert len(workers._state.workers) <= 2, "no more of them than before"
        failing.broken = False

        def all_told() -> bool:
            clock.seconds += 0.25
            workers.watch(frozenset("ab"))
            return workers.seen()[0].keys() == {"a", "b"}

        wait_for(all_told)
    finally:
        workers.close()


def test_a_list_that_fails_is_told_and_asked_again(clock: Clock, failing: type[Failing]) -> None:
    discovery = Discovery(failing, monotonic=clock)
    try:
        wait_for(lambda: discovery.seen().domains_error == "RuntimeError: a fault")
        assert discovery.seen().domains is None and discovery.seen().shut_off is None
        failing.broken = False
        wait_for(lambda: discovery.seen().domains)
        assert discovery.seen().domains_error == ""
    finally:
        discovery.close()


def test_instances_that_are_shut_off_are_known_while_the_hypervisor_answers(clock: Clock) -> None:
    class Switched(RecordedHypervisor):
        fails = False

        def domains(self) -> DomainList:
            if self.fails:
                raise Unavailable("no daemon")
            return DomainList(shut_off=("x",))

    discovery = Discovery(lambda: Switched(HostFiles()), monotonic=clock, threaded=False)
    assert discovery.seen().shut_off == ("x",)
    Switched.fails = True
    assert discovery.seen().shut_off is None and discovery.seen().domains_error == "no daemon"
