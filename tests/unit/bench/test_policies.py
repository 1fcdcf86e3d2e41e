"""The policies' decisions, and the talk with the agent over a real socket."""

import json
import socket
import threading
import tomllib
from pathlib import Path

import pytest

from stella.bench.policies import NAMES, gos, gos_law, make_policy, static
from stella.bench.policies.agent_client import AgentRefused, AgentUnreachable, ask, read_windows
from stella.bench.policies.gos import GosPolicy
from stella.bench.policies.stella import StellaPolicy, config_text
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
    with pytest.raises(KeyError):
        make_policy("magic", tmp_path)


def test_guests_wait_for_the_policy() -> None:
    assert all(guest.start_idle for guest in guests(SCENARIO))
    assert started_at_once(SCENARIO) == ["net", "disk", "cpu"]
    assert changes(SCENARIO.instance("disk").loads, SCENARIO.events[1].loads) == [(0, {"depth": 4, "rate": 50e6})]


def test_static_divides_the_machine_once() -> None:
    knobs = static.settings(SCENARIO, slos_at_start(SCENARIO), cores=2)
    assert {name: k.cpu_shares for name, k in knobs.items()} == {"net": 512, "disk": 512, "cpu": 205, "hog": 819}
    assert knobs["cpu"].vcpu_quota_us == 50_000
    assert knobs["disk"].disk == {"read-bytes-sec": 330_000_000}
    assert knobs["net"].outbound_bytes is None
    assert static.first_column(" Target   Source\n-----------\n vda   /x\n\n", 0) == ["vda"]


def test_gos_reads_libvirts_statistics() -> None:
    text = "Domain: 'net'\n  net.count=1\n  net.0.tx.pkts={0}\n  net.0.rx.pkts=5\n"
    text += "Domain: 'disk'\n  block.0.name=vda\n  block.0.rd.bytes={1}\n"
    before, now = (gos.parse_domstats(text.format(a, b)) for a, b in ((0, 0), (30_000, 900_000_000)))
    found = {r.name: r for r in gos.readings(SCENARIO, slos_at_start(SCENARIO), before, now, 3.0)}
    assert found["net"].attainment_ratio == pytest.approx(0.5)
    assert found["disk"].attainment_ratio == pytest.approx(1.0)
    assert found["cpu"].attainment_ratio is None
    assert found["cpu"].cpu_floor_cores == pytest.approx(0.2)


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


def test_gos_finds_the_groups_of_v1(tmp_path: Path) -> None:
    group = tmp_path / "cpu" / "lab.partition" / "qemu-3-hog.libvirt-qemu"
    group.mkdir(parents=True)
    assert GosPolicy(tmp_path).group("/lab", "hog") == group
    assert GosPolicy(tmp_path).group("/lab", "og") is None


def serve(path: Path, answer: bytes) -> threading.Thread:
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen(1)

    def once() -> None:
        with server, server.accept()[0] as connection:
            request = json.loads(connection.makefile().readline())
            assert request["op"]
            connection.sendall(answer)

    thread = threading.Thread(target=once)
    thread.start()
    return thread


def test_asking_the_agent(tmp_path: Path) -> None:
    thread = serve(tmp_path / "a", b'{"ok": true, "ticks": 3}\n')
    assert ask(tmp_path / "a", {"op": "status"})["ticks"] == 3
    thread.join()
    thread = serve(tmp_path / "b", b'{"ok": false, "error": {"field": "cpu.floor", "message": "does not fit"}}\n')
    with pytest.raises(AgentRefused, match=r"^cpu\.floor: does not fit$"):
        ask(tmp_path / "b", {"op": "slo.set"})
    thread.join()
    thread = serve(tmp_path / "c", b'{"ok": tr')
    with pytest.raises(AgentUnreachable):
        ask(tmp_path / "c", {"op": "status"})
    thread.join()
    with pytest.raises(AgentUnreachable):
        ask(tmp_path / "nobody", {"op": "status"})


def test_windows_are_named_as_the_scenario_names_them() -> None:
    metric = {"usage": 1.0, "demand": None, "value": 2.0, "status": "VIOLATED", "cause": "cpu"}
    document = {"windows": [{"start": 7, "instances": {"u1": {"cpu": metric}, "u2": {"cpu": metric}}}]}
    (window,) = read_windows(document, {"u1": "vm1"})
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
