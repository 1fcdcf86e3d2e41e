"""The command line: one-line errors that name the field, exit codes, and what it prints."""

import json
import os
import sys
import types
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from stella.cmd import stella_top, xgos
from stella.cmd.xgos_slo import option_of, refusal
from stella.model import units
from stella.model.attainment import Cause, Status
from stella.model.intent import Mode
from stella.model.slo import Metric
from stella.sla.terms import Terms
from stella.xgos.local_api import format as fmt
from stella.xgos.local_api.agent_api import SlaClass
from stella.xgos.local_api.client import Client, RequestRefused
from stella.xgos.local_api.control_socket import ControlSocket
from stella.xgos.process.config import Config, Options
from tests.unit.xgos.conftest import NOW, ODD_NAME, VM1, VM2, FakePort, report


@pytest.fixture
def socket(port: FakePort, tmp_path: Path) -> Iterator[str]:
    path = tmp_path / "s"
    server = ControlSocket(path, port, clock=lambda: NOW + 5)
    yield str(path)
    server.close()


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["twin", "--cpu", "20%"], "instance: 'twin' is ambiguous"),
        (["nobody", "--cpu", "20%"], "instance: no instance 'nobody'"),
        (["no\nbody;id", "--cpu", "20%"], "instance: no instance"),
        (["vm1"], "slo: name at least one objective"),
        (["vm1", "--cpu", "20pps"], "--cpu: cpu.floor: '20pps'"),
        (["vm1", "--cpu", "nan"], "--cpu: cpu.floor:"),
        (["vm1", "--cpu", "-1"], "--cpu: cpu.floor:"),
        (["vm1", "--cpu=-20%"], "--cpu: cpu.floor:"),
        (["vm1", "--cpu", "0"], "--cpu: cpu.floor:"),
        (["vm1", "--cpu", ""], "--cpu: cpu.floor:"),
        (["vm1", "--net-pps", "1e309"], "--net-pps: network_packets.floor:"),
        (["vm1", "--net-bytes", "500Mb/s"], "--net-bytes: network_bytes.floor:"),
        (["vm1", "--disk-latency", "5m"], "--disk-latency: block_latency.target:"),
        (["vm1", "--cpu", "2cores", "--cpu-ceiling", "1"], "--cpu: cpu.floor: is above the ceiling"),
        (["vm1", "--cpu-weight", "heavy"], "--cpu-weight: cpu.weight:"),
        (["vm1", "--cpu-weight", "nan"], "--cpu-weight: cpu.weight:"),
        (["vm1", "--cpu", "1", "--priority", "101"], "--priority: cpu.priority:"),
        (["vm1", "--net-pps", "1k", "--net-direction", "up"], "--net-direction: network_packets.direction:"),
        (["vm1", "--cpu", "1", "--net-direction", "tx"], "--net-direction: network.direction:"),
        (["vm1", "--smell", "3"], "--smell"),
        (["vm1", "--cpu"], "--cpu"),
        (["vm1", "--cpu", "2cores"], "; largest that fits: 1.8 cores"),
    ],
)
def test_what_is_wrong_is_one_line_and_changes_nothing(
    socket: str, port: FakePort, capsys: pytest.CaptureFixture[str], words: list[str], named: str
) -> None:
    assert xgos.main(["slo", "set", *words, "--socket", socket]) == 2
    captured = capsys.readouterr()
    assert named in captured.err and captured.err.count("\n") == 1 and captured.out == ""
    assert not port.store.intents


def test_set_answers_what_was_reserved(socket: str, port: FakePort, capsys: pytest.CaptureFixture[str]) -> None:
    words = "--net-pps 20k --net-bytes 500Mbit/s --disk 300MB/s --disk-iops 8k --disk-latency 5ms --cpu 20% --cpu-ceiling 1.5cores"
    more = "--net-pps-ceiling 40k --cpu-weight 200 --priority 7 --net-direction tx --disk-direction read"
    assert xgos.main(["slo", "set", "vm1", *words.split(), *more.split(), "--socket", socket]) == 0
    assert "0.20 cores of CPU reserved (estimated" in capsys.readouterr().out
    slo = port.store.intents[VM1].slo
    packets, block = slo.objective(Metric.NETWORK_PACKETS), slo.objective(Metric.BLOCK_BYTES)
    assert packets and block
    assert (packets.floor, packets.ceiling, packets.direction, packets.priority) == (20e3, 40e3, "tx", 7)
    assert (block.floor, block.direction) == (300e6, "read")
    assert len(slo.objectives) == 6


def test_a_later_set_keeps_the_rest_and_none_takes_away(socket: str, port: FakePort) -> None:
    assert xgos.main(["slo", "set", "vm1", "--cpu", "20%", "--cpu-ceiling", "1", "--socket", socket]) == 0
    assert xgos.main(["slo", "set", VM1, "--disk", "1MB/s", "--socket", socket]) == 0
    assert xgos.main(["slo", "set", VM1, "--cpu-ceiling", "none", "--socket", socket]) == 0
    slo = port.store.intents[VM1].slo
    assert slo.floor(Metric.CPU) == 0.2 and slo.floor(Metric.BLOCK_BYTES) == 1e6
    assert slo.objectives[0].ceiling is None
    assert xgos.main(["slo", "unset", VM1, "cpu", "--socket", socket]) == 0
    assert [o.metric for o in port.store.intents[VM1].slo.objectives] == [Metric.BLOCK_BYTES]
    assert xgos.main(["slo", "set", VM1, "--cpu", "1", "--replace", "--socket", socket]) == 0
    assert [o.metric for o in port.store.intents[VM1].slo.objectives] == [Metric.CPU]
    assert xgos.main(["slo", "unset", VM1, "--socket", socket]) == 0 and not port.store.intents


def test_dry_run(socket: str, port: FakePort, capsys: pytest.CaptureFixture[str]) -> None:
    assert xgos.main(["slo", "set", ODD_NAME, "--cpu", "1", "--dry-run", "--socket", socket]) == 0
    assert "would be reserved" in capsys.readouterr().out and not port.store.intents


@pytest.mark.parametrize(
    "words",
    [["slo", "list"], ["slo", "show", "vm1"], ["status"], ["events"], ["events", "vm1"], ["instances"], ["calibrate"]],
)
def test_tables_and_json(socket: str, port: FakePort, capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    xgos.main(["slo", "set", "vm1", "--cpu", "20%", "--socket", socket])
    for second in range(2):
        port.violations.record(NOW + second, [(VM1, "vm1", [report(Status.VIOLATED, cause=Cause.CPU)])])
    capsys.readouterr()
    assert xgos.main([*words, "--socket", socket]) == 0
    assert capsys.readouterr().out.strip()
    assert xgos.main([*words, "-f", "json", "--socket", socket]) == 0
    assert json.loads(capsys.readouterr().out)


def test_no_agent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert xgos.main(["status", "--socket", str(tmp_path / "none")]) == 3
    assert capsys.readouterr().err.count("\n") == 1
    assert stella_top.main(["--once", "--socket", str(tmp_path / "none")]) == 3
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    "words", [[], ["dance"], ["slo"], ["slo", "dance"], ["run", "--mode", "x"], ["slo", "show"], ["--onc"]]
)
def test_wrong_usage(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    assert xgos.main(words) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[Config, Options]]]:
    """What the loop was started with."""
    calls: list[tuple[Config, Options]] = []

    def run(config: Config, options: Options) -> int:
        calls.append((config, options))
        return 0

    module = types.ModuleType("stella.xgos.process.main")
    module.run = run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "stella.xgos.process.main", module)
    monkeypatch.setattr(sys.modules["stella.xgos"], "agent", module, raising=False)
    monkeypatch.setattr("stella.xgos.process.config.DEFAULT_PATH", Path("/nonexistent/xgos.toml"))
    before = os.umask(0o022)
    yield calls
    os.umask(before)


@pytest.mark.usefixtures("started")
def test_files_of_the_agent_are_not_for_everybody(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        assert xgos.main(["run", "--root", str(tmp_path)]) == 0
        (tmp_path / "history").mkdir()
        (tmp_path / "history" / "lines").touch()
    finally:
        os.umask(before)
    assert (tmp_path / "history" / "lines").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "history").stat().st_mode & 0o777 == 0o751


def test_ways_to_start(started: list[tuple[Config, Options]], tmp_path: Path) -> None:
    root = str(tmp_path)
    config = tmp_path / "c.toml"
    config.write_text('mode = "enforce"\n')
    for words in (["--root", root, "--once"], ["run", "--once", "--root", root]):
        assert xgos.main(words) == 0
        assert started.pop() == (Config(), Options(once=True, root=tmp_path))
    for words in (["--release"], ["release"], ["run", "--release"]):
        assert xgos.main(words) == 0
        assert started.pop()[1].release
    assert xgos.main(["--config", str(config), "--dry-run"]) == 0
    assert started.pop() == (Config(mode=Mode.ENFORCE), Options(dry_run=True))
    assert xgos.main(["run", "--config", str(config), "--mode", "observe"]) == 0
    assert started.pop()[0].mode is Mode.OBSERVE


def test_a_wrong_configuration(
    started: list[tuple[Config, Options]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "c.toml"
    for text, named in (("mode = 3", "mode:"), ("\x00", "config:"), ("tick_milliseconds = 1", "tick_milliseconds:")):
        config.write_text(text)
        assert xgos.main(["run", "--config", str(config)]) == 2
        error = capsys.readouterr().err
        assert named in error and error.count("\n") == 1
    assert xgos.main(["--root", str(tmp_path / "none")]) == 2
    assert "--root" in capsys.readouterr().err
    assert started == []


def test_options_of_fields() -> None:
    assert option_of("block_latency.target") == "--disk-latency"
    assert option_of("block_bytes.direction") == "--disk-direction"
    assert option_of("cpu.priority") == "--priority" and option_of("instance") is None


def test_stella_top_fits_80_columns(socket: str, port: FakePort, capsys: pytest.CaptureFixture[str]) -> None:
    xgos.main(["slo", "set", "vm1", "--cpu", "20%", "--socket", socket])
    capsys.readouterr()
    port.history.record(NOW, [(VM1, [report()])])
    client = Client(Path(socket))
    console = Console(width=80, force_terminal=False)
    with console.capture() as captured:
        console.print(stella_top.frame(client.status(), client.instances()))
    text = captured.get()
    assert max(len(line) for line in text.splitlines()) <= 80
    for word in ("VIOLATED", "MET", "cause: cpu", "vm1", "net packets", "100%", "floor of cpu", "enforce"):
        assert word in text, text
    assert stella_top.main(["--once", "--socket", socket]) == 0
    assert stella_top.main(["--interval", "0", "--socket", socket]) == 2


def test_stella_top_shows_budget_and_offender(socket: str, port: FakePort, capsys: pytest.CaptureFixture[str]) -> None:
    xgos.main(["slo", "set", "vm1", "--cpu", "20%", "--socket", socket])
    port.link = replace(
        port.link, classes={VM1: SlaClass(name="gold", terms=Terms(target_ppm=990_000), start=0, end=2**40)}
    )
    missed = replace(report(Status.VIOLATED, metric=Metric.NETWORK_PACKETS, cause=Cause.CPU), offender=VM2)
    for second in range(200):
        told = missed if second > 195 else replace(missed, status=Status.MET, cause=None, offender=None)
        port.history.record(NOW + second, [(VM1, [report(), told])])
        port.violations.record(NOW + second, [(VM1, "vm1", [told])])
    reader = stella_top.Reader(Client(Path(socket)))
    status, instances = reader.read(10.0)
    assert reader.read(69.0)[1] == instances, "the month is kept"
    for width in (80, 120):
        console = Console(width=width, force_terminal=False)
        with console.capture() as captured:
            console.print(stella_top.frame(status, instances, width=width))
        text = captured.get()
        assert max(len(line) for line in text.splitlines()) <= width
        for word in ("BUDGET", " 2s", "-2s", "twin", "offends 1"):
            assert word in text, text
        assert ("OFFENDER" in text) == (width == 120) and ("offender:" in text) == (width == 80), text
    for instance in instances:
        for objective in instance["objectives"]:
            objective["budget"] = None
    console = Console(width=120, force_terminal=False)
    with console.capture() as captured:
        console.print(stella_top.instance_table(instances, wide=True))
    assert captured.get().count("98.00%") >= 1, "without a class the attainment of the month"


def test_a_name_cannot_write_to_the_terminal() -> None:
    assert fmt.plain("a\x1b[2Jb\n") == "a?[2Jb?"
    assert fmt.show_ratio(0.99999) == "99.99%" and fmt.show_ratio(1.0) == "100%" and fmt.show_ratio(None) == "-"
    assert (
        fmt.show(0.0, "cpu") == "0" and fmt.show(3.0, "smell") == "3" and fmt.show(2e4, "network_packets") == "20 kpps"
    )


@pytest.mark.parametrize(
    ("field", "largest", "end"),
    [
        ("network_packets.floor", {"cpu": 0.0, "network_packets": 31_456.0}, "; largest that fits: 31.4 kpps"),
        (
            "cpu.floor",
            {"cpu": 0.5, "network_packets": 0.0, "block_bytes": 2e8},
            "; largest that fits: cpu 50% or block_bytes 200 MB/s",
        ),
        ("cpu.floor", {"cpu": 0.0, "block_bytes": 0.0}, "; no combination of these floors fits now"),
        ("cpu.floor", {"cpu": 0.0}, "; no floor fits now"),
        ("cpu.floor", {}, "on this host"),
    ],
)
def test_a_refusal_names_only_what_helps(field: str, largest: dict[str, float], end: str) -> None:
    line = refusal(RequestRefused(field, "needs 1.20 cores, 0.70 are free on this host", largest))
    assert line.startswith(f"{option_of(field)}: {field}: needs") and line.endswith(end)
    assert " 0" not in line.partition("; ")[2]


@pytest.mark.parametrize("value", [0.01234567, 0.99999, 1.79999, 31_456.7, 299_999_999.0, 1.8, 20_000.0, 1.0, 0.3])
def test_an_offer_still_fits_when_it_is_typed_in(value: float) -> None:
    for metric in (Metric.CPU, Metric.NETWORK_PACKETS, Metric.BLOCK_BYTES):
        offered = units.parse(fmt.show_at_most(value, metric), metric.unit)
        assert 0.99 * value <= offered <= value * (1 + 1e-9)


INSTANCE = {
    "uuid": VM1,
    "name": "vm1",
    "state": "running",
    "project": "p1",
    "flavor": "m1.large",
    "intent": {
        "source": "cloud",
        "revision": 4,
        "state": "refused",
        "reason": "does not fit",
        "largest": {},
        "slo": None,
        "in_force_source": "file",
        "in_force_revision": 3,
    },
    "slo": {
        "network_packets": {"floor": 20e3, "direction": "tx", "priority": 7},
        "block_bytes": {"floor": 3e8, "ceiling": 5e8, "weight": 2.0, "unit": 4096.0},
        "block_latency": {"target": 0.005},
    },
    "reserved_cpu_cores": 0.5,
    "estimated": True,
    "cpu": None,
    "cpu_cost": {
        "network_packets": {"vcpu_seconds_per_unit": 12e-6, "io_seconds_per_unit": 11e-6, "estimated": False},
        "block_bytes": {"vcpu_seconds_per_unit": 0.25e-9, "io_seconds_per_unit": 0.3e-9, "estimated": True},
        "cpu": {"vcpu_seconds_per_unit": 1.0, "io_seconds_per_unit": 0.06, "estimated": True},
        "later_metric": {"vcpu_seconds_per_unit": 1.0},
        "network_bytes": 3.0,
    },
    "objectives": [],
}


def test_an_instance_is_shown_in_human_units_without_python() -> None:
    text = fmt.instance_text(INSTANCE)
    assert not set("{}'") & set(text), text
    lines = [" ".join(line.split()) for line in text.splitlines()]
    for line in (
        "project p1, flavor m1.large",
        "SLO: cloud revision 4: refused (does not fit); in force: file revision 3",
        "network_packets floor 20 kpps, priority 7, direction tx",
        "block_bytes floor 300 MB/s, ceiling 500 MB/s, weight 2, unit 4 KiB",
        "block_latency target 5 ms",
        "network_packets 12 us 11 us packet measured",
        "block_bytes 250 us 300 us MB estimated",
        "cpu - 60 ms CPU second of the guest estimated",
    ):
        assert line in lines, text
    listed = fmt.list_text([INSTANCE])
    assert "cloud revision 4: refused" in listed and "floor 20 kpps" in listed and "{" not in listed


def test_an_slo_that_waits_for_its_instance_is_shown() -> None:
    waiting = {
        "uuid": VM1,
        "name": "",
        "slo": None,
        "reserved_cpu_cores": 0.0,
        "intent": {"source": "file", "revision": 1, "state": "pending", "reason": "", "slo": {"cpu": {"floor": 0.2}}},
        "objectives": [],
    }
    text, listed = fmt.instance_text(waiting), fmt.list_text([waiting])
    assert "not running" in text and "SLO: file revision 1: pending\n" in text and "no SLO" not in text
    assert "floor 20%" in text and "floor 20%" in listed and "PENDING" in listed
    refused = {**waiting, "intent": {**waiting["intent"], "state": "refused"}}
    assert "PENDING" not in fmt.list_text([refused])
    assert "no SLO: best effort" in fmt.instance_text({**waiting, "intent": None})


def test_status_lists_capabilities_and_restarted_threads(socket: str) -> None:
    status = Client(Path(socket)).status()
    event = {"wall_seconds": NOW, "uuid": VM1, "message": "refused:\x1b no room"}
    intents = {"intent_states": {"enforced": 2, "refused": 1, "pending": 0}, "intent_events": [event] * 9}
    assert "SLOs: 2 enforced, 1 refused\n" in fmt.status_text({**status, **intents})
    assert fmt.status_text({**status, **intents}).count("refused:? no room") == 5
    more = {"capabilities": {"cpu": "", "block_ceiling": "part 8", "a\x1b": ""}, "thread_restarts": {"saver": 2}}
    text = fmt.status_text({**status, **more})
    assert "can enforce: a?, cpu\n" in text and "cannot enforce block_ceiling: part 8\n" in text
    assert "threads restarted after an error (see the log): saver 2" in text
    assert "enforce:" not in fmt.status_text({**status, "capabilities": {}, "thread_restarts": {}})


@pytest.mark.parametrize(
    "words",
    [[], *([w] for w in ("run", "release", "slo", "events", "status", "instances", "calibrate")), ["slo", "set"],
     ["slo", "unset"], ["slo", "list"], ["slo", "show"]],
)  # fmt: skip
def test_every_command_has_help_with_an_example(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    assert xgos.main([*words, "--help"]) == 0
    text = capsys.readouterr().out
    examples = [line for line in text.partition("example")[2].splitlines() if line.startswith("  xgos")]
    assert examples and all(line.startswith(f"  {' '.join(['xgos', *words])}") for line in examples)
    assert max(len(line) for line in text.splitlines()) <= 135


@pytest.mark.parametrize(
    ("configured", "asked", "told"),
    [
        ("enforce", "enforce", ""),
        ("enforce", "observe", "mode observe: SLOs are evaluated and reported, nothing is enforced"),
        ("enforce", "maintenance", "mode maintenance: what is enforced stays"),
        ("observe", "enforce", 'mode enforce; its configuration (mode = "observe") allows no more'),
        ("observe", "observe", ""),
        ("enforce", "", ""),
    ],
)
def test_status_says_what_the_apis_mode_means_here(configured: str, asked: str, told: str) -> None:
    lines = fmt._mode_lines(asked, {"mode": "observe", "configured_mode": configured})
    assert (told in lines[0]) if told else lines == []
