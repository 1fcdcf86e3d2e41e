"""The policies' decisions, and the talk with the agent over a real socket."""

import json
import socket
import threading
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from stella.bench.fair import Solo
from stella.bench.policies import COMPARED, NAMES, WHAT_THEY_ARE, gos, gos_law, make_policy, nova, static
from stella.bench.policies.base import PolicyError, cpu_map, guest_group
from stella.bench.policies.nova import NovaPolicy
from stella.bench.policies.static import StaticPolicy
from stella.bench.policies.stella import StellaPolicy, config_text
from stella.bench.policies.window_log import WindowLog, read_windows
from stella.bench.scenario_file import parse_scenario
from stella.bench.stage import changes, guests, slos_at_start, started_at_once
from stella.model.attainment import Status

TEXT = """
name: t
duration: 10s
instances:
  - {name: net, workload: {kind: udp}, slo: {network_packets: {floor: 20kpps, direction: tx}}}
  - {name: disk, disk: {size: 1GB}, workload: {kind: disk}, slo: {block_bytes: {floor: 300MB/s, direction: read}}}
  - {name: cpu, vcpus: 2, workload: {kind: cpu}, slo: {cpu: {floor: 20%, ceiling: 1cores}}}
  - {name: hog, vcpus: 4, workload: {kind: cpu}}
events:
  - {at: 3s, instance: hog, start: true}
  - {at: 5s, instance: disk, workload: {rate: 50MB/s, depth: 4}}
"""
SCENARIO = parse_scenario(TEXT)


def test_every_name_makes_a_policy(tmp_path: Path) -> None:
    assert [make_policy(name, tmp_path).name for name in NAMES] == list(NAMES)
    assert set(COMPARED) <= set(NAMES) == set(WHAT_THEY_ARE)
    with pytest.raises(KeyError):
        make_policy("magic", tmp_path)


def test_guests_wait_for_the_policy() -> None:
    assert all(guest.start_idle for guest in guests(SCENARIO))
    assert started_at_once(SCENARIO) == ["net", "disk", "cpu"]
    assert changes(SCENARIO.instance("disk").loads, SCENARIO.events[1].loads) == [(0, {"depth": 4, "rate": 50e6})]


def test_nova_divides_the_machine_once() -> None:
    knobs = nova.settings(SCENARIO, slos_at_start(SCENARIO), cpus=(0, 1))
    assert {name: k.cpu_shares for name, k in knobs.items()} == {"net": 512, "disk": 512, "cpu": 205, "hog": 819}
    assert knobs["cpu"].vcpu_quota_us == 50_000
    assert knobs["disk"].disk == {"read_bytes_sec": 330_000_000}
    assert knobs["net"].outbound_bytes is None
    assert all(
        not k.vcpu_cpus and not k.emulator_cpus for k in knobs.values()
    )  # four vCPUs do not fit beside one that is left


def test_nova_dedicates_cpus_where_they_fit() -> None:
    knobs = nova.settings(SCENARIO, slos_at_start(SCENARIO), cpus=tuple(range(8)))
    pinned = [cpus for name in ("net", "disk", "cpu") for cpus in knobs[name].vcpu_cpus]
    assert pinned == [(0,), (1,), (2,), (3,)]
    assert knobs["hog"].vcpu_cpus == ((4, 5, 6, 7),) * 4
    assert {k.emulator_cpus for k in knobs.values()} == {(4, 5, 6, 7)}  # emulator_threads_policy=share


def alone(name: str, cores: float, *, vcpu: float, work: dict[str, float], main: float = 0.0, io: float = 0.0) -> Solo:
    return Solo(instance=name, cores=cores, vcpu_cores=vcpu, main_cores=main, iothread_cores=io, work=work)


SOLO = {
    "net": alone("net", 1.5, vcpu=0.9, main=0.6, work={"network_packets.tx": 60_000.0}),
    "disk": alone("disk", 1.6, vcpu=0.8, io=0.8, work={"block_bytes.read": 960e6}),
    "cpu": alone("cpu", 1.0, vcpu=1.0, work={"cpu_events": 500.0}),
    "hog": alone("hog", 1.9, vcpu=1.9, work={"cpu_events": 950.0}),
}


def test_static_is_sized_from_the_solo_runs() -> None:
    sized = static.sized_cores(SCENARIO, slos_at_start(SCENARIO), SOLO, capacity_cores=1.8)
    margin = static.MARGIN_RATIO
    assert sized["net"] == pytest.approx(0.5 * margin)
    assert sized["disk"] == pytest.approx(0.5 * margin)
    assert sized["cpu"] == pytest.approx(0.2 * margin)
    assert sized["hog"] == pytest.approx(1.8 - 1.2 * margin)
    assert static.sized_cores(SCENARIO, slos_at_start(SCENARIO), SOLO, capacity_cores=1.0)["hog"] == static.LEAST_CORES


def test_static_gives_each_thread_a_cpu_and_neighbours_a_quota() -> None:
    found = static.arrange(SCENARIO, slos_at_start(SCENARIO), SOLO, cpus=(3, 5), overhead_cores=0.2)
    homes = {name: (*one.vcpu_cpus, one.serving_cpu) for name, one in found.items()}
    assert len(set(homes["net"])) == len(set(homes["disk"])) == 1
    assert homes["net"][0] != homes["disk"][0]  # the two that need most are on different CPUs
    assert {cpu for cpus in homes.values() for cpu in cpus} == {3, 5}
    assert found["net"].quota_cores is None
    assert found["cpu"].quota_cores == 1.0  # its ceiling
    assert found["hog"].quota_cores == pytest.approx(found["hog"].cores)
    assert found["net"].inner == pytest.approx({"vcpu": 0.9, "emulator": 1.2, "iothread": static.LEAST_CORES})
    assert "net: sized for 0.57 core, vCPUs on CPU" in static.show("net", found["net"])


def test_static_takes_a_large_instance_apart_and_packs_many_without_trying_all() -> None:
    pieces = [static._Piece(f"i{n}", (0, -1), 0.1 + n / 100) for n in range(30)]
    placed = static.place((0, 1, 2, 3), pieces, [])
    load = [sum(piece.cores for piece, cpu in placed if cpu == n) for n in range(4)]
    assert max(load) - min(load) < 0.2
    (one,) = parse_scenario(TEXT.replace("vcpus: 2, ", "vcpus: 4, ")).instances[2:3]
    apart = static._pieces(one, 1.6, SOLO["cpu"], guaranteed=True)
    assert [piece.threads for piece in apart] == [(0,), (1,), (2,), (3,), (-1,)]


def test_static_refuses_to_guess() -> None:
    with pytest.raises(PolicyError, match="no solo runs"):
        StaticPolicy().begin(None, SCENARIO, {})  # type: ignore[arg-type]


def test_static_weighs_inside(tmp_path: Path) -> None:
    group = tmp_path / "cpu" / "lab.partition" / "qemu-1-net.libvirt-qemu"
    for name in ("emulator", "iothread1", "vcpu0"):
        (group / name).mkdir(parents=True)
        (group / name / "cpu.shares").write_text("1024")
    one = static.arrange(SCENARIO, slos_at_start(SCENARIO), SOLO, cpus=(0, 1), overhead_cores=0.2)["net"]
    StaticPolicy(tmp_path)._weigh_inside("/lab", "net", one)
    found = {path.name: (path / "cpu.shares").read_text() for path in group.iterdir()}
    assert found == {"emulator": "1229", "iothread1": "51", "vcpu0": "922"}


def test_libvirt_is_told_cpus_as_flags() -> None:
    assert cpu_map((1, 3), 4) == (False, True, False, True)


def test_gos_reads_libvirts_statistics() -> None:
    before, now = (
        {"net": {"net.0.tx.pkts": a, "net.0.rx.pkts": 5}, "disk": {"block.0.rd.bytes": b}}
        for a, b in ((0, 0), (30_000, 900_000_000))
    )
    found = {r.name: r for r in gos.readings(SCENARIO, slos_at_start(SCENARIO), before, now, 3.0)}
    assert found["net"].attainment_ratio == pytest.approx(0.5)
    assert found["disk"].attainment_ratio == pytest.approx(1.0)
    assert found["cpu"].attainment_ratio is None
    assert found["cpu"].cpu_floor_cores == pytest.approx(0.2)
    higher = {r.name: r for r in gos.readings(SCENARIO, slos_at_start(SCENARIO), before, now, 3.0, 1.25)}
    assert higher["net"].attainment_ratio == pytest.approx(0.4)


def point(held: float, ratio: float) -> gos_law.Point:
    return gos_law.Point(held_cores=held, attainment_ratio=ratio)


@pytest.mark.parametrize(
    ("now", "before", "step"),
    [
        (point(0.5, 1.0), None, 0.0),
        (point(0.5, 0.991), point(0.4, 0.5), 0.0),
        (point(0.0, 0.5), None, gos_law.FIRST_STEP_CORES),
        (point(0.5, 1.5), None, -gos_law.FIRST_STEP_CORES),
        (point(0.2, 0.8), point(0.1, 0.6), 0.1),  # 2 per core: 0.2 missing is 0.1 core
        (point(0.2, 1.2), point(0.1, 0.8), -0.05),
        (point(0.2, 0.5), point(0.1, 0.6), gos_law.FIRST_STEP_CORES),  # more CPU, less performance: the line has no use
        (point(0.2, 0.5), point(0.2, 0.6), gos_law.FIRST_STEP_CORES),
        (point(0.2, 0.5), point(0.1, 0.499), gos_law.LARGEST_STEP_CORES),
    ],
)
def test_the_secant_step(now: gos_law.Point, before: gos_law.Point | None, step: float) -> None:
    assert gos_law.secant_step(now, before) == pytest.approx(step)


def test_gos_converges_on_a_linear_host_and_respects_cpu_floors() -> None:
    state, held = gos_law.State(), 0.0
    for _ in range(20):
        reading = gos_law.Reading(name="io", vcpus=1, attainment_ratio=0.4 + 0.8 * held)
        others = (gos_law.Reading(name="cpu", vcpus=1, cpu_floor_cores=0.3), gos_law.Reading(name="hog", vcpus=4))
        state, quotas = gos_law.decide(state, (reading, *others), cores=2)
        held = state.held_cores["io"]
        assert quotas["io"] is None
        assert (quotas["cpu"] or 2.0) >= 0.3
    assert 0.99 <= 0.4 + 0.8 * held <= 1.01
    assert sum(q for q in quotas.values() if q) == pytest.approx(2 - held)


def test_a_guests_group_is_found_on_v1(tmp_path: Path) -> None:
    group = tmp_path / "cpu" / "lab.partition" / "qemu-3-hog.libvirt-qemu"
    group.mkdir(parents=True)
    assert guest_group(tmp_path, "/lab", "hog") == group
    assert guest_group(tmp_path, "/lab", "og") is None
    (group.parent / "qemu-4-noisy-hog.libvirt-qemu").mkdir()
    assert guest_group(tmp_path, "/lab", "hog") == group
    newer = group.parent / "qemu-10-hog.libvirt-qemu"
    newer.mkdir()
    assert guest_group(tmp_path, "/lab", "hog") == newer


METRIC = {"usage": 1.0, "demand": None, "value": 2.0, "status": "VIOLATED", "cause": "cpu"}


def test_windows_are_collected_over_the_agents_socket(tmp_path: Path) -> None:
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(tmp_path / "s"))
    server.listen(1)
    asked = []

    def once() -> None:
        with server, server.accept()[0] as connection:
            asked.append(json.loads(connection.makefile().readline()))
            windows = [{"start": 7, "instances": {"u1": {"cpu": METRIC}}}]
            connection.sendall(json.dumps({"ok": True, "windows": windows}).encode() + b"\n")

    thread = threading.Thread(target=once)
    thread.start()
    log = WindowLog({"u1": "vm1"})
    log.collect(tmp_path / "s")
    thread.join()
    assert asked[0]["op"] == "windows"
    assert [(w.instance, w.start, w.status) for w in log.windows()] == [("vm1", 7, Status.VIOLATED)]


def test_windows_are_named_as_the_scenario_names_them() -> None:
    windows = [{"start": 7, "instances": {"u1": {"cpu": METRIC}, "u2": {"cpu": METRIC}}}]
    (window,) = read_windows(windows, {"u1": "vm1"})
    assert (window.start, window.instance, window.status, window.usage) == (7, "vm1", Status.VIOLATED, 1.0)


def test_the_agents_configuration_is_toml() -> None:
    text = config_text(mode="observe", directory=Path("/r"), home=Path("/h"), socket=Path("/s"), uri='qemu:///"x"')
    keys = tomllib.loads(text)
    assert (keys["mode"], keys["tick_milliseconds"], keys["libvirt_uri"]) == ("observe", 250, 'qemu:///"x"')
    assert (keys["state_directory"], keys["run_directory"]) == ("/r/state", "/h/xgos")


def test_the_agent_is_given_absolute_directories_whatever_the_bench_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    policy = StellaPolicy(Path("results"), mode="enforce")
    assert policy._directory == tmp_path / "results" / "agent"


class Domain:
    """What libvirt was told of one domain."""

    def __init__(self, name: str) -> None:
        self.told: list[tuple[object, ...]] = []
        self._name = name

    def XMLDesc(self) -> str:  # noqa: N802 (libvirt's name)
        disk = "<disk><target dev='vda'/></disk>" if self._name == "disk" else ""
        return f"<domain><devices>{disk}<interface><target dev='tap1'/></interface></devices></domain>"

    def __getattr__(self, call: str) -> Callable[..., None]:
        return lambda *given: self.told.append((call, *given[:2]))


class Connection:
    def __init__(self) -> None:
        self.domains = {name: Domain(name) for name in ("net", "disk", "cpu", "hog")}
        self.is_closed = False

    def lookupByName(self, name: str) -> Domain:  # noqa: N802
        return self.domains[name]

    def close(self) -> None:
        self.is_closed = True


LAB = SimpleNamespace(uri="", cpus=(0, 1), partition="/lab")


def test_nova_sets_its_knobs_and_lifts_the_caps_that_no_group_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("libvirt")
    connection = Connection()
    monkeypatch.setattr(nova, "connect", lambda uri: connection)
    policy = NovaPolicy()
    policy.end()  # before it began there is nothing to lift
    policy.begin(LAB, SCENARIO, slos_at_start(SCENARIO))  # type: ignore[arg-type]
    disk = connection.domains["disk"].told
    assert disk == [
        ("setSchedulerParametersFlags", {"cpu_shares": 512}, 1),
        ("setBlockIoTune", "vda", {"read_bytes_sec": 330_000_000}),
    ]
    assert connection.domains["cpu"].told[1][1] == {"vcpu_period": 100_000, "vcpu_quota": 50_000}
    policy.end()
    assert disk[-1] == ("setBlockIoTune", "vda", {"read_bytes_sec": 0})
    assert connection.is_closed
    assert policy.report().notes == ()


def test_static_tells_libvirt_its_arrangement(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("libvirt")
    connection = Connection()
    monkeypatch.setattr(static, "connect", lambda uri: connection)
    policy = StaticPolicy(tmp_path)
    policy.solo, policy.overhead_cores = SOLO, 0.2
    policy.begin(LAB, SCENARIO, slos_at_start(SCENARIO))  # type: ignore[arg-type]
    calls = [call for call, *_ in connection.domains["hog"].told]
    assert calls == ["setSchedulerParametersFlags", *["pinVcpuFlags"] * 4, "pinEmulator", "pinIOThread"]
    knobs = connection.domains["hog"].told[0][1]
    assert isinstance(knobs, dict)
    assert knobs.keys() == {"cpu_shares", "global_period", "global_quota"}
    assert connection.domains["net"].told[0][1].keys() == {"cpu_shares"}  # type: ignore[attr-defined]
    assert len(policy.report().notes) == 4
    policy.slo_changed("net", None, 3.0)
    assert "set once" in policy.report().notes[-1]
