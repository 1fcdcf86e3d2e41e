"""One fault after the other on a running agent: killed, stopped, its state damaged, its knobs and clock changed, its host rebooted."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stella.db import hosts
from stella.xgos.durable_files import write_atomically
from tests.faults.linked import QUOTAS, WEIGHT, Linked, damage, linked_host, minutes_of
from tests.faults.many import watch
from tests.functional.conftest import Cloud
from tests.functional.long import choose
from tests.functional.process import serving, wait

Measured = Callable[[str, float], None]
pytestmark = pytest.mark.timeout(300)

_LIFTED_SECONDS = 2.0
_CONVERGES_SECONDS = 5.0
_AFTER_BOOT_SECONDS = 10.0
_STOPPED_SECONDS = choose(short=4.0, long=30.0)
_STATE = ("intents.json", "intents-cloud.json", "costs.json")


def _lifted(linked: Linked) -> float:
    """Wait until nothing restrains an instance; the seconds that took."""
    began = time.monotonic()
    while linked.restrained():
        assert time.monotonic() - began < _LIFTED_SECONDS, linked.restrained()
        time.sleep(0.01)
    return time.monotonic() - began


def test_killed_and_started_again(linked: Linked, measured: Measured) -> None:
    linked.agent.stop(signal.SIGKILL)
    measured("restraints lifted", _lifted(linked))
    assert linked.is_kept(), "a weight restrains nobody: it stays"
    linked.agent.start()
    measured("in force after its start", linked.until_holds(_CONVERGES_SECONDS))
    linked.connected()
    linked.require_slo()


def test_stopped_and_continued(linked: Linked, measured: Measured) -> None:
    """No giant step afterwards: every knob is what it was, and no second of the pause is a violation."""
    before = linked.knobs()
    linked.agent.send(signal.SIGSTOP)
    measured("restraints lifted", _lifted(linked))
    time.sleep(_STOPPED_SECONDS)
    weights = {path: value for path, value in before.items() if path.endswith("shares")}
    linked.agent.send(signal.SIGCONT)
    began = time.monotonic()
    while not linked.holds():
        assert time.monotonic() - began < _CONVERGES_SECONDS, linked.log()
        now = linked.knobs()
        assert {path: now[path] for path in weights} == weights
    measured("in force after it went on", time.monotonic() - began)
    end = time.monotonic() + 2.0
    while time.monotonic() < end:
        now = linked.knobs()
        assert {path: now[path] for path in weights} == weights and linked.restrained() == len(QUOTAS)
    status = linked.status()
    assert (status["failed_ticks"], status["open_violations"]) == (0, 0)
    linked.require_slo()


def test_its_state_damaged(linked: Linked, measured: Measured) -> None:
    """Each file of its state in each way: set aside, started anyway, in force again from what the API and the kernel say."""
    state, longest = linked.agent.root.parent / "state", 0.0
    for how in ("cut", "garbage", "checksum", "older"):
        linked.agent.stop()  # it writes all of its state when it is told to end
        present = [state / name for name in _STATE if (state / name).exists()]
        assert {path.name for path in present} >= {"intents.json", "intents-cloud.json"}
        for path in present:
            damage(path, how)
        linked.agent.start()
        longest = max(longest, linked.until_holds(_CONVERGES_SECONDS))
        linked.connected()
        linked.require_slo()
    aside = sorted(path.name for path in state.glob("*.set-aside-*"))
    assert {f"{name}.set-aside-{n}" for name in _STATE[:2] for n in range(4)} <= set(aside), aside
    assert linked.status()["failed_ticks"] == 0
    measured("in force after its start", longest)


WRITER = """
import sys
from pathlib import Path
from stella.xgos.durable_files import write_atomically
path, number = Path(sys.argv[1]), 0
while True:
    number += 1
    write_atomically(path, f"{number} " * 20_000 + "end")
    print(number, flush=True)
"""


def test_killed_between_two_writes_of_state(tmp_path: Path) -> None:
    """What is on disk is a whole file, no older than the last write that had ended, whenever the writer is killed."""
    path, chance = tmp_path / "state.json", random.Random(5)
    for _ in range(choose(short=8, long=100)):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"1\n"
        time.sleep(chance.uniform(0.0, 0.05))
        writer.kill()
        ended = int((b"1\n" + writer.communicate()[0]).split()[-1])
        words = path.read_text().split()
        assert words[-1] == "end" and len(words) == 20_001 and len(set(words[:-1])) == 1
        assert int(words[0]) in (ended, ended + 1)
    write_atomically(path, "whole")
    assert path.read_text() == "whole", "what a killed writer left behind is no obstacle"


def test_knobs_changed_by_another_program(linked: Linked, measured: Measured) -> None:
    """A weight is set again, counted and logged. A quota that is lower than what is asked for is another's bound, and is respected."""
    knob = linked.agent.root / WEIGHT
    ours, counted = linked.weight(), linked.status()["reasserted_writes"]
    longest = 0.0
    for _ in range(3):
        knob.write_text(f"{linked.without}\n")
        began = time.monotonic()
        while linked.weight() != ours:
            assert time.monotonic() - began < 2.0, linked.log()
            time.sleep(0.005)
        longest = max(longest, time.monotonic() - began)
    measured("set again", longest)
    assert longest < 1.0, "a period of 0.1 s, and a busy machine"
    assert wait(lambda: linked.status()["reasserted_writes"] >= counted + 3, 10), linked.status()
    assert "changed by another program or an administrator and are set again" in linked.log()
    (linked.agent.root / QUOTAS[0]).write_text("7000\n")
    assert wait(lambda: "Stella stays within it" in linked.log(), 10)
    assert 0 < int(linked.knob(QUOTAS[0])) <= 7000
    linked.require_slo()


def test_an_instance_dies_and_its_process_number_is_given_away(linked: Linked) -> None:
    """The other instance keeps its SLO, no tick fails, and nothing is written to the group of the new process."""
    root = linked.agent.root
    domains = json.loads((root / "hypervisor.json").read_text())["domains"]
    pid = next(one["pid"] for one in domains if one["name"] == "vm3")
    process, kept = root / f"proc/{pid}", root / "kept"
    process.rename(kept)  # in the middle of whatever the agent does; the hypervisor still lists it
    began = time.monotonic()
    while time.monotonic() - began < 1.0:
        assert linked.is_kept()
        time.sleep(0.05)
    for stat in kept.glob("task/*/stat"):
        head, _, rest = stat.read_text().rpartition(")")
        fields = rest.split()
        fields[19] = str(int(fields[19]) + 4711)
        stat.write_text(f"{head}) {' '.join(fields)}\n")
    domains = [{**one, "start_ticks": 1} if one["name"] == "vm3" else one for one in domains]
    (root / "hypervisor.json").write_text(json.dumps({"domains": domains}))
    kept.rename(process)
    assert wait(lambda: linked.restrained() == 0, 20), linked.log()
    began = time.monotonic()
    while time.monotonic() - began < 2.0:
        assert linked.restrained() == 0, "it is another process"
        assert linked.is_kept()
        time.sleep(0.05)
    status = linked.status()
    assert status["failed_ticks"] == 0


def test_its_clock_steps(cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, measured: Measured) -> None:
    """The host's Unix time jumps ahead by 20 min, back by as much and by 2 min more: floors stay, and the API says that it is off."""
    offset, site = tmp_path / "offset", tmp_path / "site"
    site.mkdir()
    offset.write_text("0")
    (site / "sitecustomize.py").write_text(_STEPPED.format(path=str(offset)))
    cloud.clock.now = time.time()
    with serving(cloud.config_path) as server:
        monkeypatch.setenv("PYTHONPATH", f"{site}:{os.environ.get('PYTHONPATH', '')}")
        with linked_host(cloud, server) as linked:
            monkeypatch.undo()
            offset.write_text("1200")
            began = time.monotonic()
            assert wait(lambda: "clock" in linked.agent.link().get("report_error", ""), 30), linked.status()
            measured("told after the step", time.monotonic() - began)
            linked.keeps(0.5)
            offset.write_text("0")
            measured("connected after the clock was right again", linked.connected(60))
            offset.write_text("-120")
            linked.keeps(1.5)
            assert linked.agent.link()["connected"], "so much off is allowed"
            status = linked.status()
            assert (status["failed_ticks"], status["open_violations"]) == (0, 0)
            linked.require_slo()
            linked.agent.stop()
        for minute in minutes_of(cloud):
            assert minute.seconds <= 60 and minute.violated_seconds == 0


_STEPPED = """
import time
_time = time.time
def _stepped():
    try:
        with open({path!r}) as file:
            return _time() + float(file.read() or 0)
    except (OSError, ValueError):
        return _time()
time.time = _stepped
"""
"""Python runs it in the agent before anything else: a Unix clock that the test steps, and a monotonic one that is right."""


def test_its_host_reboots_without_the_api(linked: Linked, measured: Measured) -> None:
    """The last intent is on disk: it is in force before the API is there again."""
    linked.server.stop(signal.SIGKILL)
    linked.reboot()
    assert not linked.holds()
    linked.agent.start()
    measured("in force after the boot", linked.until_holds(_AFTER_BOOT_SECONDS))
    linked.server.start()
    linked.connected()
    linked.require_slo()
    linked.keeps(0.5)


def test_its_credential_is_revoked(linked: Linked, measured: Measured) -> None:
    """The host is refused and goes on with its last intent; a new credential is used without a restart."""
    cloud, credential = linked.cloud, linked.agent.root.parent / "credential"
    cloud.database.write(lambda session: hosts.revoke(session, "host1"))
    assert wait(lambda: "does not know this host by its credential" in linked.agent.link().get("intent_error", ""), 30)
    linked.keeps(1.0)
    linked.require_slo()
    assert cloud.admin.get("/v1/hosts/host1").json["enrolled"] is False
    credential.write_text("wrong\n")
    assert linked.server.ask("GET", "/v1/hosts/host1/intent", headers={"Authorization": "Bearer wrong"})[0] == 401
    new = cloud.database.write(lambda session: hosts.enroll(session, "host1", mode="enforce", now=time.time()))
    credential.write_text(new + "\n")
    measured("connected with the new credential", linked.connected())
    linked.require_slo()
    assert new not in linked.log()


def test_its_disk_is_full_then_read_only(cloud: Cloud, tmp_path: Path, measured: Measured) -> None:
    """It goes on in memory and raises an alarm; when there is room again it catches up with the disk by itself."""
    state = tmp_path / "small"
    state.mkdir()
    _mount("-t", "tmpfs", "-o", "size=2m", "tmpfs", str(state))
    try:
        cloud.clock.now = time.time()
        with (
            serving(cloud.config_path) as server,
            linked_host(cloud, server, state_directory=str(state / "state")) as linked,
        ):
            with (state / "filler").open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
                while True:
                    file.write(b"0" * 4096)
            measured("in force with a full disk", _lower_the_floor(linked, 0.1))
            told = linked.agent.xgos("status").stdout
            assert "ALARM: state cannot be written to disk" in told
            (state / "filler").unlink()
            began = time.monotonic()
            assert wait(lambda: linked.status().get("persisted"), 30), linked.log()
            measured("on disk after there was room", time.monotonic() - began)
            with _read_only(state / "state"):
                measured("in force with a read-only disk", _lower_the_floor(linked, 0.05))
                assert wait(lambda: linked.status()["persisted"] is False, 30)
            assert wait(lambda: linked.status().get("persisted"), 30), linked.log()
            assert linked.status()["failed_ticks"] == 0
            linked.server.stop(signal.SIGKILL)
            linked.reboot()
            linked.agent.start()
            linked.until_holds(_AFTER_BOOT_SECONDS)
            slo = json.loads(linked.agent.xgos("slo", "show", "vm1", "-f", "json").stdout)
            assert "0.05" in json.dumps(slo), "what was asked for meanwhile is on disk"
            linked.server.start()
    finally:
        subprocess.run(["umount", str(state)], check=True)


def _mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True)


@contextmanager
def _read_only(directory: Path) -> Iterator[None]:
    """Whatever is opened below it from now on cannot be written."""
    _mount("--bind", str(directory), str(directory))
    try:
        _mount("-o", "remount,ro,bind", str(directory))
        yield
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=True)


def _lower_the_floor(linked: Linked, floor: float) -> float:
    """Ask for another floor in the cloud; the seconds until the host has it in force. (It is told once the disk takes that.)"""
    known = linked.agent.link()["revision"]
    body = {"objectives": {"cpu": {"floor": floor}}, "generation": linked.generations["vm1"]}
    status, slo = linked.server.ask("PUT", linked.path(), linked.cloud.admin.token, body)
    assert status == 200, slo
    linked.generations = {**linked.generations, "vm1": slo["generation"]}
    began = time.monotonic()
    assert wait(lambda: linked.agent.link().get("revision", 0) > known, 30), linked.log()
    assert wait(lambda: linked.status().get("intent_states", {}).get("enforced") == 2, 30), linked.status()
    assert linked.holds()
    return time.monotonic() - began


def test_a_knob_cannot_be_written(linked: Linked) -> None:
    """The group of one instance is read-only: that is counted and logged, and the other instances are kept."""
    with _read_only((linked.agent.root / QUOTAS[0]).parent):
        body = {"objectives": {"cpu": {"ceiling": 0.5}}, "generation": linked.generations["vm3"]}
        status, slo = linked.server.ask("PUT", linked.path("vm3"), linked.cloud.admin.token, body)
        assert status == 200, slo
        assert wait(lambda: any(int(linked.knob(path)) < 25_000 for path in QUOTAS[1:]), 20), linked.log()
        assert wait(lambda: linked.status().get("writes", {}).get("failed", 0) > 0, 20), linked.status()
        assert linked.is_kept() and linked.status()["failed_ticks"] == 0
    linked.agent.stop()
    assert linked.restrained() == 0, "and everything is restored when it can be"


def test_two_hundred_and_twenty_instances(tmp_path: Path, record_property: Callable[..., None]) -> None:
    """On one host, at the default period: all are read, decided upon and written. What it costs is a figure of `scale host`."""
    found = watch(tmp_path, instances=220, seconds=6.0)
    assert found.failed_ticks == 0 and found.instances == 220 and found.with_slo == 110
    record_property("measured", f"{found.cpu_seconds_per_tick * 1000:.0f} ms of CPU in a period of 250 ms")
