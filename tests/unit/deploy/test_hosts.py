"""Several compute hosts of the laboratory without OpenStack: where each keeps its things, its steps, and its namespaces."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from laboratory import plan, settings, steps
from laboratory.enclosure import HERE, memory_mb
from laboratory.settings import LaboratoryError, Settings, divide

PATIENCE_SECONDS = 20.0
NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root")


def made(directory: Path, cpus: tuple[tuple[int, ...], ...]) -> Settings:
    return Settings(
        run=directory,
        state=directory / "openstack",
        volatile=directory / "shm",
        environments=directory / "venvs",
        ports=dict(settings.PUBLIC_PORTS),
        passwords={name: name for name in settings.PASSWORDS},
        host_cpus=cpus,
    )


@pytest.fixture
def alone(tmp_path: Path) -> Settings:
    return made(tmp_path, ())


@pytest.fixture
def two(tmp_path: Path) -> Settings:
    return made(tmp_path, ((0,), (1,)))


def wait_until(is_true: Callable[[], bool]) -> bool:
    limit = time.monotonic() + PATIENCE_SECONDS
    while not is_true():
        if time.monotonic() > limit:
            return False
        time.sleep(0.02)
    return True


@pytest.mark.parametrize(
    ("cpus", "count", "expected"),
    [
        ([0, 1], 2, ((0,), (1,))),
        ([2, 3, 5, 7, 9], 2, ((2, 3), (5, 7))),
        ([0, 1], 3, ((0,), (1,), (0,))),
        ([4], 2, ((4,), (4,))),
    ],
)
def test_hosts_have_equal_shares_of_the_cpus(
    cpus: list[int], count: int, expected: tuple[tuple[int, ...], ...]
) -> None:
    assert divide(cpus, count) == expected


def test_hosts_together_have_the_memory_that_one_alone_would_give_away() -> None:
    assert [memory_mb(24 * 1024, count) for count in (1, 2, 3)] == [20 * 1024, 10 * 1024, 20 * 1024 // 3]
    assert memory_mb(2048, 2) == 1024


def test_alone_the_compute_host_is_the_control_planes(alone: Settings) -> None:
    assert alone.hosts == alone.computes == (alone.controller,)
    host = alone.controller
    assert (host.name, host.address, host.runs_instances) == ("compute1", "127.0.0.1", True)
    assert (host.etc, host.data, host.run) == (alone.etc, alone.data, alone.volatile / "run")
    assert host.services == alone.volatile / "run" / "services"


def test_each_of_several_hosts_has_its_own(two: Settings) -> None:
    assert [host.name for host in two.hosts] == ["controller", "compute1", "compute2"]
    assert [host.runs_instances for host in two.hosts] == [False, True, True]
    for value in ("name", "address", "etc", "data", "run", "stamps", "services", "logs"):
        assert len({getattr(host, value) for host in two.hosts}) == 3, value
    assert two.host("compute2").cpus == (1,)
    with pytest.raises(LaboratoryError, match="no host 'compute3'; there are controller, compute1, compute2"):
        two.host("compute3")


def test_the_number_of_hosts_is_chosen_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "RUN", tmp_path)
    monkeypatch.setattr(settings, "_is_free", lambda port: True)
    with pytest.raises(LaboratoryError, match="HOSTS: 5 is not from 1 to 4"):
        settings.load(make=True, hosts=5)
    first = settings.load(make=True, hosts=2)
    assert first is not None and len(first.computes) == 2
    assert settings.load(make=True) == settings.load(make=False) == settings.load(make=True, hosts=2) == first
    with pytest.raises(LaboratoryError, match="HOSTS: the laboratory was made with 2: run make openstack-down first"):
        settings.load(make=True, hosts=1)


def test_a_laboratory_of_one_host_has_the_steps_that_it_always_had(alone: Settings) -> None:
    names = {step.name for step in plan.steps(alone)}
    assert {"portal", "openvswitch", "libvirt", "neutron agents", "nova-compute", "hosts"} <= names
    assert not names & {"bridges", "links", "controller"} and not any("compute1" in name for name in names)


def test_steps_of_several_hosts_wait_for_steps_that_there_are(two: Settings) -> None:
    found = plan.steps(two)
    names = [step.name for step in found]
    assert len(set(names)) == len(names)
    for step in found:
        assert set(step.after) <= set(names), step.name
    by_name = {step.name: step for step in found}
    assert {"nova-compute compute1", "nova-compute compute2"} <= set(by_name["hosts"].after)
    assert "libvirt" not in by_name and "nova-compute" not in by_name  # the controller runs no instances
    assert {"libvirt compute1", "portal compute2"} <= set(by_name["stella"].after)


def test_a_host_that_is_started_again_waits_for_its_own_steps_alone() -> None:
    step = steps.Step(name="it", run=lambda: None, after=("mine", "others"))
    assert step.only_after({"mine", "it"}).after == ("mine",)


# --- namespaces


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[int]:
    """What holds the namespaces of a host; its number as this machine knows it."""
    for path in ("run", "etc/libvirt", *(f"data/libvirt/{name}" for name in ("lib", "log", "cache"))):
        (tmp_path / path).mkdir(parents=True)
    (tmp_path / "etc/hosts").write_text("127.0.0.1 localhost\n")
    ready = tmp_path / "ready"
    words = [*map(str, (tmp_path / "run", tmp_path / "data", tmp_path / "etc", ready)), "a-host", "1"]
    unshare = ["/usr/bin/unshare", "--mount", "--net", "--uts", "--pid", "--fork", "--kill-child"]
    process = subprocess.Popen([*unshare, "/bin/bash", str(HERE / "enclosure.sh"), *words])
    try:
        assert wait_until(ready.exists)
        yield int(ready.read_text())
    finally:
        process.kill()
        process.wait()


def entered(holder: int, *words: str) -> list[str]:
    return ["/usr/bin/nsenter", f"--target={holder}", "--mount", "--net", "--uts", "--pid", *words]


@NEEDS_ROOT
def test_a_host_has_a_name_links_and_processes_of_its_own(holder: int) -> None:
    script = "hostname; ls /sys/class/net; cat /proc/1/comm"
    done = subprocess.run(entered(holder, "/bin/sh", "-c", script), capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["a-host", "lo", "bash"]


@NEEDS_ROOT
def test_a_supervisor_on_a_host_is_known_by_its_number_and_hands_signals_on(holder: int, tmp_path: Path) -> None:
    script = f"trap 'echo ended > {tmp_path}/end; exit' TERM; echo $$ > {tmp_path}/child; while :; do sleep 0.1; done"
    supervisor = subprocess.Popen(
        entered(holder, "--no-fork", str(HERE / "supervise.sh"), str(tmp_path), "it", "/bin/sh", "-c", script)
    )
    try:
        assert wait_until(lambda: (tmp_path / "child").exists() and (tmp_path / "child").read_text().strip() != "")
        assert int((tmp_path / "it.pid").read_text()) == supervisor.pid
        children = Path(f"/proc/{supervisor.pid}/task/{supervisor.pid}/children").read_text().split()
        (numbers,) = (
            line.split()[1:]
            for line in Path(f"/proc/{children[0]}/status").read_text().splitlines()
            if line.startswith("NSpid:")
        )
        assert numbers == [children[0], (tmp_path / "child").read_text().strip()]
        supervisor.send_signal(signal.SIGTERM)
        supervisor.wait(PATIENCE_SECONDS)
        assert (tmp_path / "end").exists()
    finally:
        supervisor.kill()
        supervisor.wait()


@NEEDS_ROOT
def test_nothing_outlives_a_host_that_is_cut_off(holder: int, tmp_path: Path) -> None:
    process = subprocess.Popen(entered(holder, "/bin/sleep", "1000"))
    os.kill(holder, signal.SIGKILL)
    assert process.wait(PATIENCE_SECONDS) != 0
