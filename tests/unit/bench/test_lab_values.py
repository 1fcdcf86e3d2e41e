"""The lab's pure parts: what tools print, clocks, kernel text, what workloads ask for."""

import json
from pathlib import Path

import pytest

from stella.bench.lab import Workload, WorkloadError, tools
from stella.bench.lab.channel import Clock, Ping, fit_clock
from stella.bench.lab.confining import choose_cpus, with_fewer_cpus
from stella.bench.lab.groups import current_paths, parse_mounts, read_cpu_seconds, remove_tree
from stella.bench.lab.image import kernel_arguments
from stella.bench.lab.leftovers import sweep
from stella.bench.lab.model import Guest
from stella.bench.lab.network import udp_received
from stella.bench.lab.sampler import Account, fill_gaps, parse_io, role_of
from stella.bench.recording import Series

HYBRID = """tmpfs /sys/fs/cgroup tmpfs rw 0 0
cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,relatime,cpu,cpuacct 0 0
cgroup /sys/fs/cgroup/memory cgroup rw,relatime,memory 0 0
cgroup /sys/fs/cgroup/systemd cgroup rw,relatime,name=systemd 0 0
cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0
"""


def fio_report(stamp_ms: int, read_bytes: int) -> str:
    side = {"io_bytes": read_bytes, "total_ios": read_bytes // 65536, "lat_ns": {"mean": 2e6, "N": 10}}
    nothing = {"io_bytes": 0, "total_ios": 0, "lat_ns": {"mean": 0.0}}
    return json.dumps({"timestamp_ms": stamp_ms, "jobs": [{"read": side, "write": nothing}]}, indent=2) + "\n"


def test_fio_reports_are_found_in_pieces_and_between_other_text() -> None:
    text = "fio: this file will be read\n" + fio_report(5000, 65536) + "\n" + fio_report(5500, 131072)
    reports = tools.FioReports()
    found = [report for start in range(0, len(text), 7) for report in reports.feed(9.0, text[start : start + 7])]
    assert [(moment, values["block_bytes.read"]) for moment, values in found] == [(5.0, 65536.0), (5.5, 131072.0)]
    assert found[0][1]["block_seconds.read"] == pytest.approx(0.02)


def test_sysbench_events_are_rates_times_the_time_between_reports() -> None:
    reports = tools.SysbenchReports()
    line = "[ {}s ] thds: 4 eps: {} lat (ms,0%): 0.00\n"
    first = list(reports.feed(100.0, "Threads started!\n\n" + line.format(1, 900.0) + "[ 2s ] thds: 4 "))
    second = list(reports.feed(102.5, "eps: 400.00 lat (ms,0%): 0.00\n"))
    assert first == [(100.0, {"cpu_events": 900.0})]
    assert second == [(102.5, {"cpu_events": 900.0 + 400.0 * 2.5})]


def test_a_clock_that_runs_off_is_followed_and_slow_answers_are_ignored() -> None:
    true = [
        Ping(host_seconds=float(t), round_trip_seconds=0.001, offset_seconds=0.5 + 0.01 * t) for t in range(0, 60, 2)
    ]
    slow = [Ping(host_seconds=t + 1.0, round_trip_seconds=0.4, offset_seconds=3.0) for t in range(0, 60, 2)]
    clock = fit_clock([*true, *slow])
    assert clock.to_host(30.0 + 0.8) == pytest.approx(30.0, abs=0.01)
    assert Clock().to_host(7.0) == 7.0


def test_workloads_are_checked_by_key() -> None:
    for wrong, key in (
        (Workload(kind="cpu", rate=1.0), "rate"),
        (Workload(kind="udp", depth=3), "depth"),
        (Workload(kind="udp", packet_bytes=4), "packet_bytes"),
        (Workload(kind="disk", pattern="zigzag"), "pattern"),
        (Workload(kind="disk", block_bytes=1000), "block"),
        (Workload(kind="disk", rate=0.0), "rate"),
        (Workload(kind="tape"), "kind"),
    ):
        with pytest.raises(WorkloadError, match=rf"^{key}:"):
            tools.check(wrong)
    with pytest.raises(WorkloadError, match=r"^depth:"):
        tools.changed(Workload(kind="udp"), {"depth": 2})
    assert tools.changed(Workload(kind="disk"), {"rate": 5e6}).rate == 5e6


def test_what_workloads_ask_for() -> None:
    assert tools.asked_rates(Workload(kind="udp", rate=1000.0), 1)["network_bytes.tx"] == 106_000.0
    assert tools.asked_rates(Workload(kind="cpu", threads=8), 4)["cpu"] == 4.0
    mixed = tools.asked_rates(Workload(kind="disk", pattern="iometer", rate=100e6), 1)
    assert mixed["block_bytes.read"] == pytest.approx(80e6)
    assert mixed["block_bytes.write"] == pytest.approx(20e6)
    assert "block_bytes.write" not in tools.asked_rates(Workload(kind="disk"), 1)
    assert tools.asked_rates(Workload(kind="idle"), 1) == {}


def test_kernel_text() -> None:
    snmp = "Ip: a\nIp: 1\nUdp: InDatagrams NoPorts\nUdp: 42 7\nUdpLite: InDatagrams\nUdpLite: 9\n"
    assert udp_received(snmp) == 42
    values = tools.disk_stat_values("   10 0 2048 30 4 0 8 50 0 60 80 0 0 0 0 0 0\n")
    assert values["block_bytes.read"] == 2048 * 512
    assert values["block_seconds.write"] == 0.05
    virtual = "flags\t\t: fpu hypervisor lahf_lm\ncpu MHz\t\t: 2596.098\n"
    assert "tsc_early_khz=2596098 " in kernel_arguments(virtual)
    assert "tsc_early_khz" not in kernel_arguments(virtual.replace("hypervisor ", ""))


def test_cgroup_layouts(tmp_path: Path) -> None:
    layout = parse_mounts(HYBRID)
    assert layout.version == 1
    assert layout.accounted() == (Path("/sys/fs/cgroup/cpu,cpuacct"),)
    assert current_paths("3:cpu,cpuacct:/a/b\n0::/\n", layout) == (Path("/sys/fs/cgroup/cpu,cpuacct/a/b"),)
    (tmp_path / "cgroup.controllers").write_text("cpu io memory\n")
    unified = parse_mounts(f"cgroup2 {tmp_path} cgroup2 rw 0 0\n")
    assert (unified.version, unified.cpu_root) == (2, tmp_path)
    assert current_paths("0::/user.slice\n", unified) == (tmp_path / "user.slice",)
    group = tmp_path / "g" / "h"
    group.mkdir(parents=True)
    assert remove_tree(tmp_path / "g")
    (tmp_path / "cpu.stat").write_text("usage_usec 2500000\nuser_usec 1\n")
    assert read_cpu_seconds((tmp_path,)) == 2.5


def test_an_agent_that_is_gone_keeps_what_it_used() -> None:
    account = Account()
    account.follow(1)
    before = account.read()
    account.follow(2**22 + 1)  # no such process
    assert account.read() == pytest.approx(before, abs=1.0)


def test_guests_keep_their_uuid_and_a_living_bench_is_not_swept(tmp_path: Path) -> None:
    assert Guest(name="vm1").uuid == Guest(name="vm1", vcpus=4).uuid != Guest(name="vm2").uuid
    assert sweep(tmp_path / "nothing") == []


def test_work_between_far_reports_is_laid_where_it_was_done() -> None:
    shape = Series([0.0, 1.0, 2.0, 9.0, 10.0], [5.0, 5.0, 6.0, 6.0, 9.0])
    filled = fill_gaps(Series([0.0, 10.0], [100.0, 500.0]), shape)
    assert filled.at(9.0) == filled.at(2.0) == 200.0
    assert (filled.values[0], filled.values[-1]) == (100.0, 500.0)
    near = Series([0.0, 1.0], [0.0, 7.0])
    assert fill_gaps(near, Series([0.0, 1.0], [0.0, 3.0])) == near
    stopped = fill_gaps(Series([0.0, 1.0], [0.0, 10.0]), Series([0.0, 1.0, 1.5, 3.0], [0.0, 1.0, 1.5, 1.5]))
    assert (stopped.at(1.5), stopped.at(3.0)) == (15.0, 15.0)


def test_reports_are_laid_where_the_host_saw_the_bytes_move() -> None:
    host = Series([0.0, 0.2, 0.4, 1.0], [0.0, 0.0, 90.0, 100.0])
    filled = fill_gaps(Series([0.0, 1.0], [0.0, 50.0]), host, 0.0)
    assert (filled.at(0.2), filled.at(0.4), filled.at(1.0)) == (0.0, 45.0, 50.0)
    text = "rchar: 1\nread_bytes: 4096\nwrite_bytes: 0\ncancelled_write_bytes: 7\n"
    assert parse_io(text) == {"block_bytes.read": 4096.0, "block_bytes.write": 0.0}


@pytest.mark.parametrize(
    ("comm", "tid", "role"),
    [
        ("CPU 0/TCG\n", 11, "vcpu"),
        ("IO iothread1\n", 12, "iothread"),
        ("qemu-system-x86\n", 10, "main"),
        ("worker\n", 13, ""),
    ],
)
def test_roles(comm: str, tid: int, role: str) -> None:
    assert role_of(comm, tid=tid, pid=10) == role


def test_a_confined_laboratory_takes_whole_cores_first() -> None:
    pairs = {0: (0, 2), 1: (1, 3), 2: (0, 2), 3: (1, 3)}
    assert choose_cpus(range(4), pairs, 2) == (0, 1)
    assert choose_cpus((2, 3, 4), {**pairs, 4: (4,)}, 2) == (2, 3)
    assert choose_cpus(range(4), {0: (0, 1), 1: (0, 1), 2: (2, 3), 3: (2, 3)}, 2) == (0, 2)
    assert choose_cpus(range(4), pairs, 3) == (0, 1, 2)
    assert choose_cpus(range(2), {}, 2) == choose_cpus(range(2), {}, None) == choose_cpus(range(2), {}, 9) == (0, 1)


def test_the_agent_of_a_confined_laboratory_sees_its_cpus(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpu cpuset\n")
    (tmp_path / "cpuset.cpus.effective").write_text("0-15\n")
    layout = parse_mounts(f"cgroup2 {tmp_path} cgroup2 rw 0 0\n")
    argv = with_fewer_cpus(["xgos", "run"], Path("/lab/cpus"), layout)
    assert argv[-5:] == ["/lab/cpus", "1", str(tmp_path / "cpuset.cpus.effective"), "xgos", "run"]
