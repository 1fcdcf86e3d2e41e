"""Results, fair shares, generated scenarios, the report and the command line, on runs made by hand."""

import csv
import json
import math
from pathlib import Path
from typing import Any

import pytest
import yaml

from stella.bench.fair import Solo, done_ratio, fair_cores, floor_cores, max_min
from stella.bench.generate import generate, split
from stella.bench.judge import judge
from stella.bench.policies import WHAT_THEY_ARE
from stella.bench.recording import Asked, InstanceRecording, Recording, Series
from stella.bench.report import text_table, write_report
from stella.bench.report.panels import NoPanels, write_panels
from stella.bench.report.sections import sections
from stella.bench.report.series import read_table
from stella.bench.results import PolicyReport, Refusal, Run, policy_result, results, write_results, write_series
from stella.bench.scenario import Scenario
from stella.bench.scenario_file import load_scenario, parse_scenario, read_scenario
from stella.bench.verdict import AgentWindow
from stella.cmd.stella_bench import main
from stella.control.memory import Settings, fresh_costs
from stella.control.reservation import reserve
from stella.model.attainment import Cause, Status
from stella.model.slo import parse_slo

START = 1000.0
TEXT = """
name: "<t>"
duration: 20s
instances:
  - {name: vm1, workload: {kind: udp}, slo: {network_packets: {floor: 20kpps, direction: tx}}}
  - {name: hog, vcpus: 4, workload: {kind: cpu}}
events: [{at: 10s, instance: hog, start: true}]
"""


def steady(rate: float, rate_after: float | None = None) -> Series:
    after = rate if rate_after is None else rate_after
    return Series([START - 1, START + 10, START + 21], [0.0, rate * 11, rate * 11 + after * 11])


def run_of(scenario: Scenario, policy: str, rate_after: float) -> Run:
    vm1 = InstanceRecording(
        windows={"network_packets.tx": steady(30e3, rate_after)},
        asked=[Asked(START - 1, "network_packets.tx", math.inf)],
    )
    hog = InstanceRecording(windows={"cpu_events": steady(0, 500), "cpu": steady(0, 1.2)})
    recording = Recording(start=START, end=START + 20, instances={"vm1": vm1, "hog": hog})
    vm1.cpu, hog.cpu = steady(0.5), steady(0.0, 1.2)
    recording.host_cpu, recording.instances_cpu = steady(1.9), steady(1.7)
    recording.agent_cpu = steady(0.02)
    said = [
        AgentWindow(
            start=int(START) + k,
            instance="vm1",
            metric="network_packets",
            usage=30e3,
            demand=None,
            value=20e3,
            status=Status.MET if k < 10 else Status.VIOLATED,
            cause=None if k < 10 else Cause.CPU,
        )
        for k in range(20)
    ]
    report = PolicyReport(windows=tuple(said) if policy == "stella" else (), ticks=80, refused=())
    if policy == "static":
        report = PolicyReport(refused=(Refusal(instance="vm1", at_seconds=0.0, message="<script>"),))
    verdict = judge(scenario, recording, report.windows, cores=2)
    return Run(policy=policy, cores=2, verdict=verdict, report=report, start_unix_seconds=START)


SOLO = {
    "vm1": Solo(instance="vm1", cores=1.5, vcpu_cores=1.0, work={"network_packets.tx": 60e3}),
    "hog": Solo(instance="hog", cores=2.0, vcpu_cores=2.0, work={"cpu_events": 1000.0}),
}


def document_of(tmp_path: Path) -> dict[str, object]:
    scenario = parse_scenario(TEXT)
    found = {}
    for policy, after in (("none", 9e3), ("static", 19.5e3), ("stella", 21e3)):
        run = run_of(scenario, policy, after)
        write_series(tmp_path / f"{policy}.csv", run)
        found[policy] = [policy_result(scenario, run, SOLO, series=f"{policy}.csv")]
    machine = {"cores": 2, "accelerator": "tcg", "kernel": "6", "cgroup": "v1"}
    made_by = {"commit": "a1b2c3", "command": "stella-bench run x.yaml"}
    document = results(scenario, machine, 0.0, found, SOLO, made_by)
    write_results(tmp_path / "results.json", document)
    return document


def test_results_have_the_fixed_shape(tmp_path: Path) -> None:
    document_of(tmp_path)
    document = json.loads((tmp_path / "results.json").read_text())
    assert {"scenario", "machine", "started", "policies"} <= document.keys()
    assert document["started"] == "1970-01-01T00:00:00Z"
    policy = document["policies"]["stella"]
    assert {
        *(
            "all_met_95_ratio",
            "all_met_100_ratio",
            "windows",
            "disturbed_windows",
            "objectives",
            "events",
            "useful_work",
        ),
        *("best_effort", "host_cpu_cores", "receiver_cpu_cores", "steal_cores", "agent", "series"),
    } <= policy.keys()
    (objective,) = policy["objectives"]
    assert {
        k: objective[k] for k in ("instance", "metric", "kind", "value", "unit", "windows", "windows_with_demand")
    } == {
        "instance": "vm1",
        "metric": "network_packets",
        "kind": "floor",
        "value": 20000.0,
        "unit": "packets/s",
        "windows": 20,
        "windows_with_demand": 20,
    }
    assert {"met_95_ratio", "met_100_ratio", "mean", "p5", "stdev"} <= objective.keys()
    assert {
        "cpu_cores",
        "peak_rss_bytes",
        "ticks",
        "late_ticks",
        "libvirtd_cpu_cores_over_idle",
        "status_agreement_ratio",
    } <= policy["agent"].keys()
    assert policy["events"][0].keys() >= {"at_seconds", "what", "windows_lost", "recovered_seconds"}
    (work,) = policy["best_effort"]
    assert work["instance"] == "hog"
    assert work["share_of_solo"] == pytest.approx(250 / 1000, rel=0.01)
    assert document["policies"]["none"]["all_met_95_ratio"] == 0.5


def test_the_median_of_repeats_stands_for_the_policy() -> None:
    runs = [{"all_met_95_ratio": r, "invalid": []} for r in (0.9, 0.7, 0.8)]
    document = results(parse_scenario(TEXT), {}, 0.0, {"none": runs}, {})
    assert document["policies"]["none"]["all_met_95_ratio"] == 0.8
    assert document["policies"]["none"]["all_met_95_spread"] == [0.7, 0.9]
    assert len(document["policies"]["none"]["repeats"]) == 3


def test_the_series_have_the_fixed_columns(tmp_path: Path) -> None:
    document_of(tmp_path)
    with (tmp_path / "stella.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 20
    row = rows[15]
    assert row["time_seconds"] == "15"
    assert float(row["vm1.network_packets"]) == pytest.approx(21e3)
    assert [row[f"vm1.network_packets.{c}"] for c in ("agent", "status", "cause")] == ["30000.0", "VIOLATED", "cpu"]
    assert float(row["hog.cpu_events"]) == pytest.approx(500)
    with (tmp_path / "none.csv").open() as file:
        assert next(csv.DictReader(file))["vm1.network_packets.status"] == ""


def test_the_report_stands_alone_and_escapes(tmp_path: Path) -> None:
    document = document_of(tmp_path)
    page = write_report(tmp_path, document)
    text = page.read_text()
    assert "<script" not in text
    assert "&lt;t&gt;" in text
    assert text.count("<svg") == 3
    for outside in ('src="http', 'href="http', "@import", "url(http"):
        assert outside not in text
    pictures = ["cpu.png", "hog.cpu_events.png", "vm1.network_packets.png"]
    assert sorted(p.name for p in tmp_path.glob("*.png")) == pictures
    for name in ("results.json", "stella.csv", *pictures):
        assert f'href="{name}"' in text


def test_the_report_says_what_a_newcomer_asks(tmp_path: Path) -> None:
    text = write_report(tmp_path, document_of(tmp_path)).read_text()
    assert (
        "Every objective was met at once: without Stella 10 of 20 seconds, with the best static arrangement 20," in text
    )
    assert "These guests are emulated" in text
    assert WHAT_THEY_ARE["static"] in text.replace("&#39;", "'")
    assert "a1b2c3" in text
    assert "stella-bench run x.yaml" in text
    for title in (
        "Verdict",
        "Objectives",
        "CPU of each guest",
        "What the agent said",
        "Total useful work",
        "Best-effort",
    ):
        assert title in text
    assert "cpu 10" in text  # the cause of what the agent calls missed
    assert "5th percentile" in text


def test_tables_are_as_wide_for_six_policies_as_for_two(tmp_path: Path) -> None:
    document = document_of(tmp_path)
    tables = {name: read_table(tmp_path / f"{name}.csv") for name in ("none", "static", "stella")}
    two = {**document, "policies": {name: document["policies"][name] for name in ("none", "stella")}}  # type: ignore[index]
    widths = [{s.title: len(s.head) for s in sections(d, tables)} for d in (document, two)]
    assert widths[0] == widths[1]
    assert max(widths[0].values()) <= 10
    assert all(len(row) == len(s.head) for s in sections(document, tables) for row in s.rows)


def test_the_spread_of_repeats_is_told(tmp_path: Path) -> None:
    document = document_of(tmp_path)
    stella = document["policies"]["stella"]  # type: ignore[index]
    stella["repeats"], stella["all_met_95_spread"] = [{}, {}, {}], [0.9, 1.0]
    verdicts = sections(document, {})[0]
    assert verdicts.rows[-1][-1] == "90.0% to 100% in 3"
    assert verdicts.rows[0][-1] == "one run"
    assert [row[2] for row in verdicts.rows] == ["broken", "kept", "kept"]


def test_the_table_for_the_terminal(tmp_path: Path) -> None:
    lines = text_table(document_of(tmp_path)).splitlines()
    assert lines[0].endswith("with Stella 20.")
    row = next(line for line in lines if line.startswith("vm1"))
    assert "20 kpps" in row
    assert "none" in row
    assert "50.0%" in row
    assert row.endswith("broken")
    assert any("refused vm1" in line for line in lines)


def test_the_chart_for_the_readme(tmp_path: Path) -> None:
    document = document_of(tmp_path)
    write_panels(tmp_path, document, tmp_path / "a.svg")
    write_panels(tmp_path, document, tmp_path / "b.svg")
    text = (tmp_path / "a.svg").read_text()
    assert text == (tmp_path / "b.svg").read_text()
    assert "met in 10 of 20 seconds" in text
    assert main(["report", str(tmp_path), "--chart", str(tmp_path / "c.svg")]) == 0
    assert (tmp_path / "c.svg").read_text() == text
    assert main(["report", str(tmp_path), "--chart", str(tmp_path / "nowhere" / "c.svg")]) == 2
    del document["policies"]["none"]  # type: ignore[attr-defined]
    with pytest.raises(NoPanels, match="none"):
        write_panels(tmp_path, document, tmp_path / "a.svg")


def test_max_min_is_fair_and_conserves() -> None:
    assert max_min(1.0, {"a": 4.0, "b": 0.2, "c": 4.0}) == pytest.approx({"a": 0.4, "b": 0.2, "c": 0.4})
    assert max_min(10.0, {"a": 1.0, "b": 2.0}) == {"a": 1.0, "b": 2.0}
    assert max_min(0.0, {"a": 1.0}) == {"a": 0.0}


SLO = parse_scenario(TEXT).instance("vm1").slo


def test_neighbours_can_expect_what_the_floors_leave() -> None:
    assert SLO is not None
    floors = {"vm1": [(SLO.objectives[0], 20e3)]}
    # The floor costs 20e3 * 1.5 / 60e3 = 0.5 core; both want more of the other 1.3.
    assert fair_cores(SOLO, floors, capacity_cores=1.8) == pytest.approx({"vm1": 0.5 + 0.65, "hog": 0.65})
    floors = {"vm1": [(SLO.objectives[0], 10e3)]}  # missed: it costs what it got
    assert fair_cores(SOLO, floors, capacity_cores=1.8)["hog"] == pytest.approx(0.775)


def test_what_floors_cost_by_the_solo_run() -> None:
    slo = parse_slo({"cpu": {"floor": "80%"}, "network_packets": {"floor": "20kpps", "direction": "tx"}})
    floors = [(o, o.floor or 0.0) for o in slo.objectives]
    assert floor_cores(SOLO["vm1"], floors) == pytest.approx((0.8, 0.5 / 3))  # drivers run within the CPU floor
    assert floor_cores(SOLO["vm1"], floors[1:]) == pytest.approx((1 / 3, 0.5 / 3))
    assert floor_cores(None, floors) == (0.8, 0.0)


def test_work_is_told_in_parts_of_the_work_alone() -> None:
    two = Solo(instance="x", cores=1.0, work={"block_bytes.read": 100.0, "network_packets.tx": 10.0})
    assert done_ratio(two, {"block_bytes.read": 5.0, "network_packets.tx": 1.5}, 0.2) == pytest.approx(0.1)
    assert done_ratio(SOLO["hog"], {"cpu_events": 500.0}, 0.1) == pytest.approx(0.05)  # sysbench tells late
    assert done_ratio(two, {}, 0.0) is None


def reserved_for(instance: dict[str, object]) -> tuple[float, int]:
    """What admission would set aside for it in cores, and its number of vCPUs."""
    scenario = read_scenario({"name": "x", "duration": "1s", "instances": [instance]})
    (one,) = scenario.instances
    assert one.slo is not None
    costs = fresh_costs(Settings().prior, one.slo)
    return reserve(one.slo, costs, vcpus=one.vcpus, margin=Settings().margin).cores, one.vcpus


def test_generated_scenarios_are_repeatable_valid_and_sized() -> None:
    keys: dict[str, Any] = {"settings": Settings(), "capacity_cores": 1.8}
    made = generate(7, 40, **keys)
    assert made == generate(7, 40, **keys)
    assert made[:5] == generate(7, 5, **keys)
    assert made != generate(8, 40, **keys)
    kinds = set()
    for document in made:
        scenario = parse_scenario(yaml.safe_dump(document))
        promised = [i for i in document["instances"] if "slo" in i]
        kinds |= {i.loads[0].kind for i in scenario.instances if scenario.has_slo(i.name)}
        assert 2 <= len(promised) <= 4
        assert any(not scenario.has_slo(i.name) for i in scenario.instances)
        needs = [reserved_for(i) for i in promised]
        assert 0.6 * 1.8 <= sum(cores for cores, _ in needs) <= 0.8 * 1.8
    assert kinds == {"udp", "disk", "cpu"}


def test_splitting_gives_what_one_cannot_take_to_the_others() -> None:
    assert split(1.0, [1, 1], [0.3, 5]) == pytest.approx([0.3, 0.7])
    assert split(1.0, [1, 3], [5, 5]) == pytest.approx([0.25, 0.75])


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", "--seed", "1", "--count", "2", "--output", str(tmp_path / "s")]) == 0
    paths = sorted((tmp_path / "s").glob("*.yaml"))
    assert main(["check", *map(str, paths)]) == 0
    assert load_scenario(paths[0]).duration_seconds == 60
    paths[0].write_text(TEXT.replace("kind: udp", "kind: udp, pattern: x"))
    capsys.readouterr()
    assert main(["check", str(paths[0])]) == 2
    assert main(["run", str(paths[0]), "--output", str(tmp_path)]) == 2
    error = capsys.readouterr().err.splitlines()
    assert len(error) == 2
    assert all(line.startswith("instances[0].workload.pattern: ") for line in error)
    document_of(tmp_path)
    assert main(["report", str(tmp_path)]) == 0
    assert "report.html" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["run", str(paths[0]), "--output", str(tmp_path), "--policy", "none,magic"])
