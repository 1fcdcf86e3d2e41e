"""The host's CPUs and their times."""

import shutil
from pathlib import Path

import pytest

from stella.model.snapshot import HostReading
from stella.xgos.host_files import HostFiles, Unavailable
from stella.xgos.sensing.groups import find_hierarchy
from stella.xgos.sensing.host import Host

HOSTS = Path(__file__).parents[3] / "fixtures" / "hosts"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return Path(shutil.copytree(HOSTS / "v1-namespaced", tmp_path / "host"))


def make(root: Path) -> Host:
    files = HostFiles(str(root))
    return Host(files, find_hierarchy(files))


def read(root: Path) -> HostReading:
    return make(root).read(())


def stat(root: Path, cpus: dict[int, str], rest: str = "intr 9 0 0\nctxt 5\n") -> None:
    lines = "".join(f"cpu{cpu} {words}\n" for cpu, words in cpus.items())
    (root / "proc/stat").write_text(f"cpu  0 0 0 0\n{lines}{rest}")


def allow(root: Path, text: str) -> None:
    for name in ("cpuset.cpus", "cpuset.effective_cpus"):
        (root / "sys/fs/cgroup/cpuset" / name).write_text(text)


def test_a_host_that_is_a_part_of_a_machine(root: Path) -> None:
    stat(root, {0: "100 0 0 900", 1: "200 0 0 800 0 0 40 7"})
    found = read(root)
    assert (found.cpus, found.cores) == ((1,), 1)
    assert (found.cgroup_mount, found.cpuset_mount) == ("/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpuset")
    seconds = (found.busy_seconds, found.idle_seconds, found.softirq_seconds, found.steal_seconds)
    assert seconds == pytest.approx((2.4, 8.0, 0.4, 0.07)), "of its own CPUs alone"


@pytest.mark.parametrize(("text", "cpus"), [("0-511\n", (0, 1)), ("\n", (0, 1)), ("7\n", (0, 1)), ("0,5\n", (0,))])
def test_what_is_on_line_and_allowed(root: Path, text: str, cpus: tuple[int, ...]) -> None:
    stat(root, {0: "1 0 0 1", 1: "1 0 0 1"})
    allow(root, text)
    assert read(root).cpus == cpus


def test_without_a_cpuset_hierarchy_the_first_process_tells(root: Path) -> None:
    shutil.rmtree(root / "sys/fs/cgroup/cpuset")
    stat(root, dict.fromkeys(range(4), "1 0 0 1"))
    assert read(root).cpus == (0, 1, 2, 3)
    (root / "proc/1").mkdir()
    (root / "proc/1/status").write_text("Name:\tinit\nCpus_allowed_list:\t2-3\n")
    found = read(root)
    assert (found.cpus, found.cpuset_mount) == ((2, 3), "")


def test_many_cpus_and_interrupts(root: Path) -> None:
    words = "1234567890 123456 1234567890 12345678901 1234567 0 12345678 1234567 0 0"
    stat(root, dict.fromkeys(range(512), words), "intr 1" + " 123456" * 20_000 + "\nctxt 5\n")
    allow(root, "0-511\n")
    host = make(root)
    assert host.read(()).cores == 512
    assert host._stat_bytes < 1 << 17, "not all of it is read again and again"
    allow(root, ",".join(map(str, range(0, 512, 2))) + "\n")
    assert host.read(()).cpus == tuple(range(0, 512, 2))


def test_times_only_grow(root: Path) -> None:
    allow(root, "0-3\n")
    host = make(root)

    def busy(cpus: dict[int, str]) -> float:
        stat(root, cpus)
        return host.read(()).busy_seconds

    assert busy({0: "100 0 0 0", 1: "100 0 0 0"}) == 2.0
    assert busy({0: "150 0 0 0", 1: "90 0 0 0"}) == 2.5, "a counter that goes back adds nothing"
    assert busy({0: "150 0 0 0", 1: "110 0 0 0"}) == 2.6, "nor is what it lost counted twice"
    assert busy({0: "150 0 0 0"}) == 2.6, "a CPU that went takes nothing with it"
    assert busy({0: "150 0 0 0", 1: "500 0 0 0", 2: "9000 0 0 0"}) == 2.6, "one that comes brings nothing"
    assert busy({0: "150 0 0 0", 1: "600 0 0 0", 2: "9100 0 0 0"}) == 4.6


@pytest.mark.parametrize("text", ["", "cpu", "cpu 1 2 3\n", "cpu0 x\n", "\0\0", "intr 1\n"])
def test_garbage_is_unavailable(root: Path, text: str) -> None:
    host = make(root)
    (root / "proc/stat").write_text(text)
    with pytest.raises(Unavailable):
        host.read(())
