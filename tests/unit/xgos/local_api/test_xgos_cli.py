"""The command line: one-line errors that name the field, exit codes, and what it prints."""

import json
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from stella.cmd import stella_top, xgos
from stella.cmd.xgos_slo import option_of
from stella.model.attainment import Cause, Status
from stella.model.slo import Metric
from stella.xgos.local_api import format as fmt
from stella.xgos.local_api.client import Client
from stella.xgos.local_api.control_socket import ControlSocket
from stella.xgos.process.config import Config, Mode, Options
from tests.unit.xgos.conftest import NOW, ODD_NAME, VM1, FakePort, report


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
        (["vm1", "--cpu", "2cores"], "(largest that would fit: cpu 1.8 cores)"),
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
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Config, Options]]:
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
    return calls


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


def test_a_name_cannot_write_to_the_terminal() -> None:
    assert fmt.plain("a\x1b[2Jb\n") == "a?[2Jb?"
    assert fmt.show_ratio(0.99999) == "99.99%" and fmt.show_ratio(1.0) == "100%" and fmt.show_ratio(None) == "-"
    assert (
        fmt.show(0.0, "cpu") == "0" and fmt.show(3.0, "smell") == "3" and fmt.show(2e4, "network_packets") == "20 kpps"
    )
