"""The demonstration through stella-api: options of the client, whole minutes, the same seconds on both sides, the relay."""

import argparse
import math
import socket
import threading
from pathlib import Path

import pytest
from stellaclient.osc.slo import asked

from stella.bench.demo import make
from stella.bench.figures.attainment import largest_difference, unknown_seconds
from stella.bench.figures.row import Facts
from stella.bench.judge import judge
from stella.bench.lab.relay import Relay, listen_inside
from stella.bench.policies.tenant import NoSuchOption, parse_attainment, set_options, whole_minutes
from stella.bench.policies.through_api import ApiPolicy
from stella.bench.recording import Asked, InstanceRecording, Recording, Series
from stella.bench.report.sections import api_rows, text_table
from stella.bench.results import ApiAttainment, PolicyReport, Run, policy_result, results
from stella.bench.scenario_file import load_scenario, parse_scenario
from stella.model.report import StatusCounts
from stella.model.slo import Direction, Metric, Objective, Slo

ROOT = Path(__file__).parents[3]
START = 1_795_600_020.0  # a whole minute
TEXT = """
name: t
duration: 120s
instances:
  - {name: vm1, workload: {kind: udp}, slo: {network_packets: {floor: 20kpps, direction: tx}}}
"""


def test_the_demonstrations_slos_are_options_of_the_client() -> None:
    words = {
        i.name: set_options(i.slo) for i in load_scenario(ROOT / "scenarios" / "demonstration.yaml").instances if i.slo
    }
    assert words == {
        "vm1": ["--net-pps", "20000.0", "--net-direction", "tx"],
        "vm2": ["--disk", "300000000.0"],
        "vm3": ["--cpu", "0.2"],
    }


def test_every_quantity_is_read_by_the_client_as_it_was_meant() -> None:
    objectives = (
        Objective(metric=Metric.CPU, floor=0.1 + 0.2, ceiling=1.5, priority=7),
        Objective(metric=Metric.BLOCK_LATENCY, target=0.005, priority=7, direction=Direction.READ),
        Objective(metric=Metric.BLOCK_OPERATIONS, floor=8e3, ceiling=2e4, priority=7, direction=Direction.READ),
    )
    words = set_options(Slo(objectives))
    given = dict(zip(words[::2], words[1::2], strict=True))
    assert given.pop("--priority") == "7"
    assert given.pop("--disk-direction") == "read"
    options = ("net_pps", "net_bandwidth", "disk", "disk_iops", "cpu")
    known = {f"{name}{end}": None for name in options for end in ("", "_ceiling")} | {"disk_latency": None}
    parsed = argparse.Namespace(**known | {k[2:].replace("-", "_"): v for k, v in given.items()})
    assert asked(parsed) == {
        "cpu": {"floor": 0.1 + 0.2, "ceiling": 1.5},
        "block_latency": {"target": 0.005},
        "block_operations": {"floor": 8e3, "ceiling": 2e4},
    }


@pytest.mark.parametrize(
    ("objectives", "word"),
    [
        ((Objective(metric=Metric.CPU, floor=0.2, weight=2.0),), "weight"),
        (
            (Objective(metric=Metric.CPU, floor=0.2), Objective(metric=Metric.BLOCK_BYTES, floor=1e6, priority=1)),
            "priority",
        ),
        (
            (
                Objective(metric=Metric.NETWORK_PACKETS, floor=2.0, direction=Direction.TX),
                Objective(metric=Metric.NETWORK_BYTES, floor=2.0, direction=Direction.RX),
            ),
            "direction",
        ),
    ],
)
def test_what_the_client_cannot_say_is_refused(objectives: tuple[Objective, ...], word: str) -> None:
    with pytest.raises(NoSuchOption, match=word):
        set_options(Slo(objectives))


def test_whole_minutes_of_the_clock() -> None:
    assert whole_minutes(120.0, 240.0) == (120, 240)
    assert whole_minutes(120.5, 299.0) == (180, 240)
    assert whole_minutes(121.0, 170.0) == (180, 180)


def test_attainment_is_read_by_metric_and_later_words_are_left_out() -> None:
    answer = {
        "objectives": [{"metric": "cpu", "seconds": {"met": 58, "violated": 2, "later": 9}, "attainment_ratio": 1}]
    }
    (found,) = parse_attainment(answer, "vm3", 0, 60).values()
    assert (found.metric, found.seconds) == ("cpu", StatusCounts(met=58, violated=2))


def test_both_sides_are_over_the_same_seconds() -> None:
    scenario = parse_scenario(TEXT)
    # 60 s below the floor, then 60 s above: of the second minute all is met, whatever was before
    sent = Series([START - 1, START + 60, START + 121], [0.0, 61 * 10e3, 61 * 10e3 + 61 * 30e3])
    record = InstanceRecording(
        windows={"network_packets.tx": sent}, asked=[Asked(START - 1, "network_packets.tx", math.inf)]
    )
    recording = Recording(start=START, end=START + 120, instances={"vm1": record})
    said = ApiAttainment(
        instance="vm1",
        metric="network_packets",
        start=int(START) + 60,
        end=int(START) + 120,
        seconds=StatusCounts(met=57, violated=2, unknown=1),
    )
    report = PolicyReport(attainment=(said,), control_plane_cpu_cores=0.03)
    run = Run(
        policy="stella", cores=2, verdict=judge(scenario, recording, cores=2), report=report, start_unix_seconds=START
    )
    result = policy_result(scenario, run, {}, series="")
    (row,) = result["api"]
    assert (row["outside_windows_met"], row["outside_windows_with_demand"], row["outside_ratio"]) == (60, 60, 1.0)
    assert row["difference_ratio"] == pytest.approx(57 / 59 - 1, abs=1e-6)
    assert result["control_plane_cpu_cores"] == 0.03
    assert api_rows(result) == [
        ["vm1", "network packets", "96.6% (57 of 59 s)", "100% (60 of 60 s)", "-3.39 %"],
    ]
    assert "57 of 59 s" in text_table(results(scenario, {}, START, {"stella": [result]}, {}))


def test_without_an_api_there_is_nothing_to_compare() -> None:
    scenario = parse_scenario(TEXT)
    recording = Recording(start=START, end=START + 120, instances={"vm1": InstanceRecording()})
    run = Run(policy="none", cores=2, verdict=judge(scenario, recording, cores=2), start_unix_seconds=START)
    result = policy_result(scenario, run, {}, series="")
    assert "api" not in result
    assert api_rows(result) == []


def test_the_figure_is_the_objective_that_differs_most_and_needs_all_of_them() -> None:
    def facts(*differences: float | None) -> Facts:
        rows = [{"difference_ratio": d, "seconds": {"unknown": 1}} for d in differences]
        return {"result": {"objectives": [{}, {}], "api": rows}}

    assert largest_difference(facts(0.004, -0.008)) == 0.008
    assert largest_difference(facts(0.0)) is None
    assert largest_difference(facts(0.0, None)) is None
    assert unknown_seconds(facts(0.0, 0.0)) == 2.0


def test_the_demonstration_goes_through_the_api_with_a_fresh_directory(tmp_path: Path) -> None:
    (tmp_path / "stella" / "api").mkdir(parents=True)
    policy = make("stella", tmp_path / "stella")
    assert isinstance(policy, ApiPolicy)
    assert not (tmp_path / "stella").exists()
    assert make("none", tmp_path / "none").name == "none"


def test_the_relay_forwards_both_ways_and_ends_connections_together() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        relay = Relay(listener := socket.create_server(("127.0.0.1", 0)), server.getsockname()[1])
        address = listener.getsockname()

        def echo() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(connection.recv(100).upper())

        thread = threading.Thread(target=echo)
        thread.start()
        with socket.create_connection(address, timeout=15) as client:
            client.sendall(b"hello")
            assert client.recv(100) == b"HELLO"
            assert client.recv(100) == b"", "the server has closed it"
        thread.join()
    with socket.create_connection(address, timeout=15) as client:
        assert client.recv(1) == b"", "nobody listens behind it"
    relay.close()
    with pytest.raises(OSError):
        socket.create_connection(address, timeout=15)


def test_a_namespace_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        listen_inside(tmp_path / "none", 1)
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="setns"):
        listen_inside(tmp_path / "file", 1)
