"""Asking the hypervisor in threads: what is stuck or fails delays nobody else, and is noticed."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from stella.model.snapshot import DiskReading
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
