"""Disk limits of the real agent on real guests: kept as seen from outside, and the host is left as an operator had it (root)."""

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stella.bench.lab import Backend, Guest, Lab, Workload
from stella.bench.policies.stella import config_text
from stella.linux.block_throttle import before_stella
from stella.linux.domain_xml import parse_domain
from stella.model.snapshot import NO_THROTTLE, Throttle
from stella.xgos.block_throttles import LibvirtThrottles

pytestmark = [pytest.mark.vm, pytest.mark.timeout(180)]
DIRECTORY = Path(__file__).parents[2] / ".run" / "bench"
MB = 10**6
SIZE = 200 * MB
OPERATORS = Throttle(limits=(("total_bytes_sec", 50 * MB),))
GUESTS = tuple(
    Guest(name=name, disk=("local", SIZE), workloads=(Workload(kind="disk"),), start_idle=name == "flood")
    for name in ("disk", "flood")
)


def throttle(lab: Lab, name: str) -> Throttle:
    """What libvirt says of a guest's only disk."""
    domain = lab.hypervisor.connection.lookupByUUIDString(lab.uuid(name))
    return parse_domain(domain.XMLDesc(0)).block[0].throttle


def wait_until(holds: Callable[[], bool], seconds: float, what: str) -> float:
    begin = time.monotonic()
    while not holds():
        assert time.monotonic() < begin + seconds, what
        time.sleep(0.05)
    return time.monotonic() - begin


def rates(lab: Lab, seconds: int) -> dict[str, float]:
    """Bytes/s that each guest read, as QEMU's process counts them: from the statistics of its disk, not the agent's."""
    connection = lab.hypervisor.connection

    def read() -> dict[str, tuple[float, int]]:
        found = {}
        for guest in GUESTS:
            domain = connection.lookupByUUIDString(guest.uuid)
            disk = parse_domain(domain.XMLDesc(0)).block[0].name
            begin = time.monotonic()
            count = domain.blockStats(disk)[1]
            found[guest.name] = ((begin + time.monotonic()) / 2, count)
        return found

    before = read()
    time.sleep(seconds)
    after = read()
    return {n: (after[n][1] - before[n][1]) / (after[n][0] - before[n][0]) for n in before}


def release(lab: Lab, directory: Path) -> int:
    """The exit status of `xgos release`."""
    words = [sys.executable, "-m", "stella.cmd.xgos", "release", "--config", str(directory / "xgos.toml")]
    return lab.spawn(words).wait(timeout=30)


@contextlib.contextmanager
def agent(
    lab: Lab, directory: Path, slos: dict[str, Any], capacity_mb: float = 0.0
) -> Iterator[subprocess.Popen[bytes]]:
    directory.mkdir(exist_ok=True)
    (directory / "state").mkdir(exist_ok=True)
    (directory / "slos.yaml").write_text(json.dumps({"instances": {lab.uuid(name): slo for name, slo in slos.items()}}))
    text = config_text(mode="enforce", directory=directory, home=lab.home, socket=lab.home / "xgos.sock", uri=lab.uri)
    text += f'slo_file = "{directory / "slos.yaml"}"\n'
    if capacity_mb:
        text += f'block_backends = [{{ name = "disk", sources = ["{lab.disks}"], capacity_megabytes_per_second = {capacity_mb} }}]\n'
    (directory / "xgos.toml").write_text(text)
    with (directory / "xgos.log").open("ab") as log:
        words = [sys.executable, "-m", "stella.cmd.xgos", "run", "--config", str(directory / "xgos.toml")]
        process = lab.spawn(words, stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=20)
            assert release(lab, directory) == 0
            print((directory / "xgos.log").read_text())


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(directory=DIRECTORY, backends=(Backend("local"),), progress=print) as made:
        made.boot(GUESTS)
        yield made


def test_a_ceiling_is_kept_and_release_gives_the_operators_limit_back(lab: Lab, tmp_path: Path) -> None:
    setter = LibvirtThrottles(lab.uri)
    disk = parse_domain(lab.hypervisor.connection.lookupByUUIDString(lab.uuid("disk")).XMLDesc(0)).block[0].name
    setter.set(lab.uuid("disk"), disk, OPERATORS)
    with agent(lab, tmp_path, {"disk": {"block_bytes": {"ceiling": 3 * MB}}}) as process:
        wait_until(lambda: throttle(lab, "disk").limit("total_bytes_sec") == 3 * MB, 30, "no ceiling was set")
        time.sleep(2)
        assert rates(lab, 8)["disk"] == pytest.approx(3 * MB, rel=0.05)
        assert before_stella(throttle(lab, "disk")) == OPERATORS
        process.send_signal(signal.SIGKILL)
        process.wait()
        time.sleep(2)
        assert throttle(lab, "disk").limit("total_bytes_sec") == 3 * MB, "what was asked for stays"
        assert release(lab, tmp_path) == 0
    assert throttle(lab, "disk") == OPERATORS
    setter.set(lab.uuid("disk"), disk, NO_THROTTLE)
    setter.close()
    assert throttle(lab, "disk") == NO_THROTTLE


def test_a_floor_is_kept_on_a_full_back_end_and_the_guard_lets_the_flood_go(lab: Lab, tmp_path: Path) -> None:
    lab.start("flood")
    with agent(lab, tmp_path, {"disk": {"block_bytes": {"floor": 4 * MB}}}, capacity_mb=6) as process:
        wait_until(lambda: throttle(lab, "flood") != NO_THROTTLE, 30, "the flood was not held back")
        time.sleep(3)
        found = rates(lab, 6)
        assert found["disk"] >= 0.95 * 4 * MB
        assert found["disk"] + found["flood"] <= 6 * MB * 1.05
        process.send_signal(signal.SIGKILL)
        process.wait()
        taken = wait_until(lambda: throttle(lab, "flood") == NO_THROTTLE, 5, "the guard lifted nothing")
        assert taken < 2.5
