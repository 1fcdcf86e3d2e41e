"""Scenarios: what is read, and that every mistake names its key in one line."""

from dataclasses import fields
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from stella.bench.keys import InvalidScenario
from stella.bench.scenario import LOAD_FIELDS, Load, check_machine, shortened
from stella.bench.scenario_file import load_scenario, parse_scenario
from stella.model.slo import Metric

GOOD = """
name: t
duration: 100s
warmup: 0s
host: {cores: 2, uplinks: {up0: {rate: 1Gbit/s}}, backends: {local: {kind: file}, shared: {kind: nbd, rate: 400MB/s}}}
instances:
  - name: vm1
    workload: {kind: udp, packet_bytes: 64, direction: tx}
    slo: {network_packets: {floor: 20kpps, direction: tx}}
  - name: vm2
    disk: {backend: shared, size: 2GB}
    workload: [{kind: disk, pattern: randread, block: 64KiB, depth: 8}, {kind: cpu, threads: 0}]
    slo: {block_bytes: {floor: 300MB/s}}
  - name: hog
    vcpus: 4
    workload: {kind: cpu}
events:
  - {at: 60s, instance: vm1, slo: {network_packets: {floor: 30kpps, direction: tx}}}
  - {at: 30s, instance: hog, start: true}
  - {at: 70s, instance: vm1, slo: null}
  - {at: 80s, instance: vm2, workload: {kind: disk, rate: 100MB/s}}
  - {at: 85s, instance: vm2, workload: {kind: disk, rate: null}}
  - {at: 90s, agent: kill}
"""
SCENARIOS = sorted((Path(__file__).parents[3] / "scenarios").rglob("*.yaml"))


def test_reads_what_the_format_has() -> None:
    s = parse_scenario(GOOD)
    assert (s.duration_seconds, s.warmup_seconds, s.cores) == (100, 0.0, 2)
    assert s.backends[1].rate_bytes_per_second == 400e6
    assert s.instance("hog").memory_bytes == 512_000_000
    assert s.instance("hog").loads[0].threads == 4
    assert s.instance("vm2").loads[1].threads == 0
    assert [e.label for e in s.events][:3] == ["hog start", "vm1 slo", "vm1 slo removed"]
    assert s.starts_idle("hog")
    assert not s.starts_idle("vm1")
    assert s.has_slo("vm1")
    assert not s.has_slo("hog")


def test_time_decides_what_is_in_force() -> None:
    s = parse_scenario(GOOD)
    floors = [slo.floor(Metric.NETWORK_PACKETS) if (slo := s.slo_at("vm1", t)) else None for t in (0, 59.9, 60, 70)]
    assert floors == [20e3, 20e3, 30e3, None]
    rates = [s.loads_at("vm2", t)[0].rate for t in (79, 80, 85)]
    assert rates == [None, 100e6, None]
    assert s.loads_at("vm2", 80)[0].block_bytes == 65536


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("duration: 100s", "duration: 100", None),
        ("duration: 100s", "duration: soon", "duration"),
        ("duration: 100s", "durations: 100s", "durations"),
        ("duration: 100s", "duration: 1.5s", "duration"),
        ("cores: 2", "cores: two", "host.cores"),
        ("rate: 1Gbit/s", "rate: 1Gb/s", "host.uplinks.up0.rate"),
        ("kind: file", "kind: tape", "host.backends.local.kind"),
        ("kind: file", "kind: file, rate: 1MB/s", "host.backends.local.rate"),
        ("pattern: randread", "pattern: zigzag", "instances[1].workload[0].pattern"),
        ("block: 64KiB", "block: 64KB", None),
        ("block: 64KiB", "block: 1000B", "instances[1].workload[0].block"),
        ("packet_bytes: 64", "packet_bytes: 9000", "instances[0].workload.packet_bytes"),
        ("packet_bytes: 64", "threads: 1", "instances[0].workload.threads"),
        ("floor: 20kpps", "floor: 20MB/s", "instances[0].slo.network_packets.floor"),
        ("floor: 20kpps", "floor: -1kpps", "instances[0].slo.network_packets.floor"),
        ("{network_packets: {floor: 20kpps, direction: tx}}", "{network: 1}", "instances[0].slo.network"),
        ("backend: shared", "backend: far", "instances[1].disk.backend"),
        ("vcpus: 4", "vcpus: 0", "instances[2].vcpus"),
        ("vcpus: 4", "vcpus: 4\n    vcpus: 5", "scenario"),
        ("name: hog", "name: vm1", "instances[2].name"),
        ("name: hog", "name: ../x", "instances[2].name"),
        ("name: t", "name: [", "scenario"),
        ("at: 30s", "at: 100s", "events[1].at"),
        ("at: 30s", "at: .nan", "events[1].at"),
        ("instance: hog, start: true", "instance: hg, start: true", "events[1].instance"),
        ("start: true", "start: yes please", "events[1].start"),
        ("start: true", "start: true, stop: true", "events[1].stop"),
        ("start: true", "begin: true", "events[1].begin"),
        ("agent: kill", "agent: nap", "events[5].agent"),
        ("agent: kill", "agent: kill, instance: vm1", "events[5].instance"),
        ("{kind: disk, rate: 100MB/s}", "{rate: 100MB/s}", "events[3].workload.kind"),
        ("{kind: disk, rate: 100MB/s}", "{kind: udp, rate: 1}", "events[3].workload.kind"),
        ("{kind: disk, rate: 100MB/s}", "{kind: disk, rate: 5kpps}", "events[3].workload.rate"),
        ("slo: null", "slo: null, workload: {rate: 1}", "events[2].workload"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_key(old: str, new: str, key: str | None) -> None:
    assert old in GOOD
    text = GOOD.replace(old, new, 1)
    if key is None:
        parse_scenario(text)
        return
    with pytest.raises(InvalidScenario) as caught:
        parse_scenario(text)
    assert caught.value.key == key
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{key}: ")


@pytest.mark.parametrize(
    "text", ["", "[]", "name: x\nduration: 1s\n", "name: x\nduration: 1s\ninstances: []\n", "a: &a [*a]"]
)
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(InvalidScenario):
        parse_scenario(text)


def test_the_schema_is_one_and_knows_every_field_of_a_load() -> None:
    text = (Path(__file__).parents[3] / "stella" / "bench" / "scenario.schema.yaml").read_text()
    Draft202012Validator.check_schema(yaml.safe_load(text))
    assert {"kind"}.union(*LOAD_FIELDS.values()) == {field.name for field in fields(Load)}


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidScenario, match="No such file"):
        load_scenario(tmp_path / "none.yaml")


def test_a_machine_that_is_too_small() -> None:
    check_machine(parse_scenario(GOOD), cores=2)
    with pytest.raises(InvalidScenario, match=r"^host\.cores: "):
        check_machine(parse_scenario(GOOD), cores=1)


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda p: p.stem)
def test_our_own_scenarios(path: Path) -> None:
    assert load_scenario(path).name == path.stem


def test_a_scenario_is_shortened_as_far_as_its_events_allow() -> None:
    scenario = parse_scenario(
        "name: t\nduration: 20s\ninstances: [{name: a, workload: {kind: cpu}}]\nevents: [{at: 9s, instance: a, stop: true}]\n"
    )
    assert shortened(scenario, None) is scenario
    assert shortened(scenario, 10).duration_seconds == 10
    with pytest.raises(InvalidScenario, match=r"^--seconds: the last event comes at 9 s$"):
        shortened(scenario, 9)
